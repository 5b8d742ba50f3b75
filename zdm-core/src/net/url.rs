//! Connection URLs, as the clients of every engine read them.

use std::borrow::Cow;

use crate::{Error, ErrorKind, Result};

/// Reads what follows the scheme,
/// `[user[:password]@][host][:port][/database][?key=value[&…]]`, and hands each
/// part that is there to `set`: `user`, `password`, `host`, `port`, the database
/// by the name `database`, and the parameters by theirs.
///
/// Values are percent-encoded; a host in brackets is an IPv6 address; an
/// encoded host may be the folder of a Unix socket.
///
/// # Errors
///
/// [`Config`](ErrorKind::Config), and whatever `set` fails with. No part of
/// the URL is shown, since a misplaced one may be a password.
pub fn parse_url(rest: &str, database: &str, set: &mut dyn FnMut(&str, &str) -> Result<()>) -> Result<()> {
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // From the right: a raw `@` in a password is a common slip, and has only
    // one reading.
    let (login, place) = authority.rsplit_once('@').map_or((None, authority), |(l, p)| (Some(l), p));
    if let Some(login) = login {
        let (user, password) = login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)));
        some(user, "user", set)?;
        some(password.unwrap_or(""), "password", set)?;
    }
    let (host, port) = split_port(place)?;
    some(host, "host", set)?;
    some(port, "port", set)?;
    some(path, database, set)?;
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| broken("has a parameter without a value"))?;
        set(&decode(key)?, &decode(value)?)?;
    }
    Ok(())
}

fn some(value: &str, key: &str, set: &mut dyn FnMut(&str, &str) -> Result<()>) -> Result<()> {
    if value.is_empty() { Ok(()) } else { set(key, &decode(value)?) }
}

fn split_port(place: &str) -> Result<(&str, &str)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| broken("has a `[` without a `]`"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(broken("has something other than a port behind the `]`")),
        };
    }
    if place.contains(',') {
        return Err(broken("must name one host: the server that is to be migrated"));
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(broken("needs brackets around its IPv6 address")),
        Some(parts) => Ok(parts),
        None => Ok((place, "")),
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match (rest.next().and_then(hex), rest.next().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(broken("has a `%` that two hex digits do not follow: write %25 for it")),
            },
            byte => byte,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| broken("is not UTF-8 once it is decoded"))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the connection URL {what}")).during("config.parse")
}
