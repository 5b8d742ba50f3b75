//! libpq's `sslmode`s.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use zdm_core::net::{Tls, TlsWords, Verify};
use zdm_core::{Error, ErrorKind, Result};

use crate::config::{PgConfig, SslMode};

const WORDS: TlsWords = TlsWords {
    mode: "sslmode",
    named: "sslmode=verify-full",
    root: "sslrootcert",
    cert: "sslcert",
    key: "sslkey",
};

/// Shakes hands over a stream on which the server has agreed to.
///
/// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-SSLMODE-STATEMENTS>
pub(super) async fn handshake(config: &PgConfig, tcp: TcpStream) -> Result<TlsStream<TcpStream>> {
    let verify = match (config.sslmode(), config.sslrootcert()) {
        // `prefer` would fall back to a plain connection: less than unverified.
        (SslMode::Disable | SslMode::Prefer, _) | (SslMode::Require, None) => Verify::Nothing,
        (SslMode::VerifyFull, Some(root)) => Verify::Name(root),
        (_, Some(root)) => Verify::Chain(root),
        // OK because `PgConfigBuilder::build` lets no other mode through.
        (_, None) => return Err(Error::new(ErrorKind::Config, "sslrootcert is missing")),
    };
    Tls { host: config.host(), verify, client: config.client_cert(), words: WORDS }.handshake(tcp).await
}
