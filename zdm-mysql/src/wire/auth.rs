//! Proving who we are: `caching_sha2_password`, `mysql_native_password` and
//! MariaDB's `client_ed25519`.
//!
//! `caching_sha2_password` is *fast* when the server remembers the password's
//! hash. Otherwise it wants the password itself: over TLS or a Unix socket as
//! it is, else encrypted for the server's RSA key. Who could stand in between
//! could give a key of their own; where that matters, TLS is the answer.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html>,
//! <https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection>

use mysql_common::crypto;
use mysql_common::scramble::{create_response_for_ed25519, scramble_native, scramble_sha256};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};
use zdm_core::{Error, ErrorKind, Result};

use super::channel::Channel;
use super::greeting::Greeting;
use super::reader::Reader;
use super::rows;
use crate::config::MySqlConfig;
use crate::error;

/// No packet of a login is longer.
const MAX_PACKET: usize = 64 << 10;
/// What `caching_sha2_password` says beside OK and error.
const FAST_OK: u8 = 3;
const FULL: u8 = 4;
/// Asks for the server's RSA key.
const KEY_PLEASE: u8 = 2;

/// Answers the greeting and goes on until the server has let us in. `private`
/// says that nobody in between can read.
pub(super) async fn login<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
    greeting: &Greeting,
    config: &MySqlConfig,
    tls: bool,
    private: bool,
) -> Result<()> {
    let password = config.password().map_or("", |password| password.expose());
    let mut nonce = greeting.nonce.clone();
    // A plugin that we do not know: the server will ask for the user's own.
    let mut plugin = Plugin::named(&greeting.plugin).unwrap_or(Plugin::Native);
    let proof = plugin.proof(password, &nonce);
    channel.send(&greeting.answer(config, tls, plugin.name(), &proof)).await?;
    let mut switched = false;
    loop {
        let packet = channel.packet(MAX_PACKET).await?;
        match packet.first() {
            Some(0x00) => return Ok(()),
            Some(0xff) => return Err(rows::server_error(&packet)),
            Some(0xfe) if packet.len() == 1 => return Err(error::unknown_plugin("mysql_old_password")),
            // Once: a server that goes on asking would never end.
            Some(0xfe) if !switched => {
                switched = true;
                let mut request = Reader::new(packet.get(1..).unwrap_or_default());
                let name = request.until_zero()?;
                plugin = std::str::from_utf8(name)
                    .ok()
                    .and_then(Plugin::named)
                    .ok_or_else(|| error::unknown_plugin(&String::from_utf8_lossy(name)))?;
                let data = request.rest();
                nonce = match plugin {
                    // 32 octets, the last of which may be zero: MariaDB ends
                    // them with none.
                    Plugin::Ed25519 => data.get(..32).unwrap_or(data),
                    _ => data.strip_suffix(&[0]).unwrap_or(data),
                }
                .to_vec();
                channel.send(&plugin.proof(password, &nonce)).await?;
            }
            Some(0x01) if plugin == Plugin::CachingSha2 && packet.get(1) == Some(&FAST_OK) => {}
            Some(0x01) if plugin == Plugin::CachingSha2 && packet.get(1) == Some(&FULL) => {
                full(channel, password, &nonce, private).await?;
            }
            _ => return Err(error::protocol("the server answered the login with a packet out of turn")),
        }
    }
}

/// A way to prove that we know the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plugin {
    Native,
    CachingSha2,
    Ed25519,
}

impl Plugin {
    fn named(name: &str) -> Option<Self> {
        match name {
            "mysql_native_password" => Some(Self::Native),
            "caching_sha2_password" => Some(Self::CachingSha2),
            "client_ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Ed25519 => "client_ed25519",
        }
    }

    /// The proof; with no password there is nothing to prove.
    fn proof(self, password: &str, nonce: &[u8]) -> Vec<u8> {
        let password = password.as_bytes();
        match self {
            Self::Native => scramble_native(nonce, password).map(Vec::from),
            Self::CachingSha2 => scramble_sha256(nonce, password).map(Vec::from),
            Self::Ed25519 if password.is_empty() => None,
            Self::Ed25519 => Some(Vec::from(create_response_for_ed25519(password, nonce))),
        }
        .unwrap_or_default()
    }
}

/// Gives the password itself, so that only the server can read it.
async fn full<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
    password: &str,
    nonce: &[u8],
    private: bool,
) -> Result<()> {
    let mut plain = [password.as_bytes(), &[0]].concat();
    if private {
        return channel.send(&plain).await;
    }
    channel.send(&[KEY_PLEASE]).await?;
    let packet = channel.packet(MAX_PACKET).await?;
    match packet.split_first() {
        Some((0x01, key)) => {
            // Else the same password would always look the same.
            for (byte, mask) in plain.iter_mut().zip(nonce.iter().cycle()) {
                *byte ^= mask;
            }
            channel.send(&encrypt(&plain, key)?).await
        }
        Some((0xff, _)) => Err(rows::server_error(&packet)),
        _ => Err(error::protocol("the server did not give its key")),
    }
}

/// RSA with OAEP padding, for a key in PEM.
fn encrypt(plain: &[u8], pem: &[u8]) -> Result<Vec<u8>> {
    let broken = || error::protocol("the server's rsa key cannot be read: use tls");
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| broken())?;
    let bytes = key_bytes(der.as_ref()).ok_or_else(broken)?;
    // OAEP takes 42 bytes of the key's length, and `crypto` counts one less
    // where the first bit is clear.
    if plain.len() + 43 > bytes {
        return Err(Error::new(
            ErrorKind::Authentication,
            "the password is too long for the server's rsa key: use tls",
        ));
    }
    Ok(crypto::encrypt(plain, pem))
}

/// The length of an RSA key's modulus, if the whole is in the shape that
/// `crypto` relies on: it panics at any other.
///
/// `SEQUENCE { SEQUENCE { algorithm }, BIT STRING { SEQUENCE { INTEGER modulus, INTEGER exponent } } }`
fn key_bytes(der: &[u8]) -> Option<usize> {
    let (whole, rest) = element(0x30, der)?;
    let (_, behind) = element(0x30, whole)?;
    let (bits, end) = element(0x03, behind)?;
    let (unused, key) = bits.split_first()?;
    let (numbers, tail) = element(0x30, key)?;
    let (modulus, exponent) = element(0x02, numbers)?;
    let (exponent, last) = element(0x02, exponent)?;
    let complete = [rest, end, tail, last].iter().all(|left| left.is_empty()) && *unused == 0;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    // Odd, as every product of two primes: a modulus of zero cannot divide.
    let sound = modulus.last().is_some_and(|last| last & 1 == 1) && exponent.iter().any(|b| *b != 0);
    (complete && sound && modulus.len() <= 2048 && exponent.len() <= 8).then_some(modulus.len())
}

/// The content of the DER element that begins here, and what is behind it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), rest.get(2..)?),
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests;
