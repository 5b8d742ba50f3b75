//! The password file, as libpq reads it.
//!
//! Lines of `host:port:database:user:password`; `*` matches anything, a
//! backslash escapes `:` and itself, `#` opens a comment, and the first line
//! that matches wins. A file that others can read is not used.

use std::path::Path;

use super::Secret;

/// The folder that libpq was most often built with; entries for it may say
/// `localhost`.
const DEFAULT_SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

pub(super) struct Wanted<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) dbname: &'a str,
    pub(super) user: &'a str,
}

/// The password for a login, if the file has one and is safe to use.
pub(super) fn lookup(path: &Path, wanted: &Wanted<'_>) -> Option<Secret> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!(path = %path.display(), "password file ignored: it is not a plain file");
        return None;
    }
    if readable_by_others(&metadata) {
        tracing::warn!(path = %path.display(), "password file ignored: others may read it, set its mode to 0600");
        return None;
    }
    match std::fs::read_to_string(path) {
        Ok(text) => find(&text, wanted),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "password file ignored: it cannot be read");
            None
        }
    }
}

pub(super) fn find(text: &str, wanted: &Wanted<'_>) -> Option<Secret> {
    let port = wanted.port.to_string();
    let host = if DEFAULT_SOCKET_FOLDERS.contains(&wanted.host) { "localhost" } else { wanted.host };
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line.strip_suffix('\r').unwrap_or(line);
        for value in [host, &port, wanted.dbname, wanted.user] {
            let (field, after) = field(rest)?;
            // A bare star only: `\*` is the letter.
            let star = rest.starts_with("*:");
            if !star && field != value {
                return None;
            }
            rest = after;
        }
        let password = unescape(rest);
        (!password.is_empty()).then(|| Secret::new(password))
    })
}

/// Cuts the next field off, up to a colon that is not escaped.
fn field(line: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((unescape(&line[..at]), &line[at + 1..])),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

#[cfg(unix)]
fn readable_by_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.mode() & 0o077 != 0
}

/// Elsewhere, as in libpq, the folder is trusted to be private.
#[cfg(not(unix))]
fn readable_by_others(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str, host: &str) -> Option<String> {
        let wanted = Wanted { host, port: 5432, dbname: "shop", user: "a:b" };
        find(text, &wanted).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn first_match_wins_with_stars_and_escapes() {
        let file = "# comment\nother:5432:shop:a\\:b:no\n*:5432:*:a\\:b:p\\:w\\\\x:y\n*:*:*:*:late\n";
        assert_eq!(ask(file, "db1").as_deref(), Some("p:w\\x:y"));
        assert_eq!(ask("localhost:*:*:*:sock", "/var/run/postgresql").as_deref(), Some("sock"));
        assert_eq!(ask("\\*:*:*:*:literal star", "db1"), None);
        assert_eq!(ask("db1:5432:shop", "db1"), None);
        assert_eq!(ask("", "db1"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("zdm-pgpass-{}", std::process::id()));
        std::fs::write(&path, "*:*:*:*:pw\n").unwrap();
        let wanted = Wanted { host: "h", port: 1, dbname: "d", user: "u" };
        for (mode, used) in [(0o640, false), (0o604, false), (0o600, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(lookup(&path, &wanted).is_some(), used, "mode {mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
