//! MySQL's `ssl-mode`s.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use zdm_core::net::{Tls, Verify};
use zdm_core::{Error, ErrorKind, Result};

use crate::config::{MySqlConfig, SslMode};
use crate::error::TLS_WORDS;

/// Shakes hands over a stream on which the server has agreed to.
///
/// <https://dev.mysql.com/doc/refman/en/connection-options.html#option_general_ssl-mode>
pub(super) async fn handshake(config: &MySqlConfig, tcp: TcpStream) -> Result<TlsStream<TcpStream>> {
    let verify = match (config.ssl_mode(), config.ssl_ca()) {
        (SslMode::VerifyIdentity, Some(root)) => Verify::Name(root),
        (mode, Some(root)) if mode.verifies() => Verify::Chain(root),
        // As MySQL's clients do it: the other modes verify nothing.
        (mode, _) if !mode.verifies() => Verify::Nothing,
        // OK because `MySqlConfigBuilder::build` lets no such mode through.
        _ => return Err(Error::new(ErrorKind::Config, "ssl-ca is missing")),
    };
    Tls { host: config.host(), verify, client: config.client_cert(), words: TLS_WORDS }.handshake(tcp).await
}
