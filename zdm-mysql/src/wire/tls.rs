//! The handshake, and who is trusted: MySQL's `ssl-mode`s on rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zdm_core::{Error, ErrorKind, Result};

use crate::config::{MySqlConfig, RootCert, SslMode};
use crate::error;

/// Shakes hands over a stream on which the server has agreed to.
pub(super) async fn handshake(config: &MySqlConfig, tcp: TcpStream) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(config.host().to_owned()).or_else(|error| {
        // Without a check of the name, any will do: it is not even sent.
        if config.ssl_mode() == SslMode::VerifyIdentity {
            Err(error)
        } else {
            Ok(ServerName::from(tcp_peer(&tcp)))
        }
    });
    let name = name.map_err(|_| {
        Error::new(ErrorKind::Config, "ssl-mode=verify_identity needs a host that a certificate can name")
    })?;
    let connector = TlsConnector::from(Arc::new(client_config(config)?));
    connector.connect(name, tcp).await.map_err(|error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned() {
            Some(refused) => error::tls(refused),
            None => Error::new(ErrorKind::Connection, "the connection was lost during the tls handshake")
                .caused_by(error),
        }
    })
}

fn tcp_peer(tcp: &TcpStream) -> std::net::IpAddr {
    tcp.peer_addr().map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |address| address.ip())
}

fn client_config(config: &MySqlConfig) -> Result<ClientConfig> {
    // Named explicitly, so that an application's choice for the whole process
    // is neither needed nor disturbed.
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier { provider: Arc::clone(&provider), trust: trust(config)? };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Config, "tls cannot be set up").caused_by(error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((cert, key)) = config.client_cert() else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(cert, "ssl_cert")?;
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("ssl_key", key).caused_by(error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        Error::new(ErrorKind::Config, "ssl_cert and ssl_key do not fit together").caused_by(error)
    })
}

/// What the mode makes of the certificate.
#[derive(Debug)]
enum Trust {
    Anybody,
    Chain { roots: Roots, name: bool },
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// The trusted certificates themselves: a server's self-signed one may be
    /// among them.
    pinned: Vec<CertificateDer<'static>>,
}

fn trust(config: &MySqlConfig) -> Result<Trust> {
    let mode = config.ssl_mode();
    match config.ssl_ca() {
        Some(root) if mode.verifies() => {
            Ok(Trust::Chain { roots: roots(root)?, name: mode == SslMode::VerifyIdentity })
        }
        // As MySQL's clients do it: the other modes verify nothing.
        _ if !mode.verifies() => Ok(Trust::Anybody),
        // OK because `MySqlConfigBuilder::build` lets no such mode through.
        _ => Err(Error::new(ErrorKind::Config, "ssl_ca is missing")),
    }
}

fn roots(root: &RootCert) -> Result<Roots> {
    let pinned = match root {
        RootCert::System => rustls_native_certs::load_native_certs().certs,
        RootCert::File(path) => certificates(path, "ssl_ca")?,
    };
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(pinned.iter().cloned());
    if usable == 0 {
        return Err(Error::new(ErrorKind::Config, "ssl_ca holds no usable certificate"));
    }
    Ok(Roots { store, pinned })
}

fn certificates(path: &Path, field: &'static str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(field, path).caused_by(error))
}

fn unreadable(field: &'static str, path: &Path) -> Error {
    Error::new(ErrorKind::Config, format!("{field} cannot be read: it must be a PEM file"))
        .with("path", path.display())
}

/// Verifies as the mode says. The handshake's signature is always checked, so
/// that the certificate is at least the peer's own.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Trust::Chain { roots, name } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(cert)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(&parsed, &roots.store, intermediates, now, algorithms)
        {
            Ok(()) => {}
            // A self-signed server certificate given as its own root, which
            // OpenSSL accepts and webpki does not (it is marked as an
            // authority). webpki looks at the dates first.
            Err(error) if !is_about_dates(&error) && roots.pinned.iter().any(|root| root == cert) => {}
            Err(error) => return Err(error),
        }
        if *name {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_about_dates(error: &rustls::Error) -> bool {
    use CertificateError as E;
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. }
        )
    )
}
