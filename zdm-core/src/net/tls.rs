//! The handshake, and who is trusted: the modes of every engine, on rustls.

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

use super::RootCert;
use crate::{Error, ErrorKind, Result};

/// How a session is to be protected.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'a> {
    /// The host as the user named it, which a certificate is checked for.
    pub host: &'a str,
    /// What is asked of the server's certificate.
    pub verify: Verify<'a>,
    /// The PEM files of our own certificate and its key, if the server is to
    /// know us by them.
    pub client: Option<(&'a Path, &'a Path)>,
    /// The engine's names for all that, for errors.
    pub words: TlsWords,
}

/// What is asked of a server's certificate.
#[derive(Debug, Clone, Copy)]
pub enum Verify<'a> {
    /// Nothing: nobody may listen, and somebody may pretend.
    Nothing,
    /// That somebody whom we trust has signed it.
    Chain(&'a RootCert),
    /// That, and that it names the host.
    Name(&'a RootCert),
}

/// What the users of an engine call the settings.
#[derive(Debug, Clone, Copy)]
pub struct TlsWords {
    /// The mode, as in `sslmode`.
    pub mode: &'static str,
    /// The mode in which names are checked, as in `sslmode=verify-full`.
    pub named: &'static str,
    /// Whom to trust, as in `sslrootcert`.
    pub root: &'static str,
    /// Our certificate, as in `sslcert`.
    pub cert: &'static str,
    /// Its key, as in `sslkey`.
    pub key: &'static str,
}

impl Tls<'_> {
    /// Shakes hands over a stream on which the server has agreed to.
    ///
    /// Dropped, it closes the connection.
    ///
    /// # Errors
    ///
    /// [`Authentication`](ErrorKind::Authentication) for a certificate that is
    /// not trusted, with the [`rustls::Error`] as its cause;
    /// [`Config`](ErrorKind::Config) for files that cannot be read;
    /// [`Protocol`](ErrorKind::Protocol) and
    /// [`Connection`](ErrorKind::Connection) for a handshake that fails.
    pub async fn handshake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>> {
        let name = self.server_name(&tcp)?;
        let connector = TlsConnector::from(Arc::new(self.client_config()?));
        connector.connect(name, tcp).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned() {
                Some(refused) => self.words.refused(refused),
                None => Error::new(ErrorKind::Connection, "the connection was lost during the tls handshake")
                    .caused_by(error),
            }
        })
    }

    fn server_name(&self, tcp: &TcpStream) -> Result<ServerName<'static>> {
        match (ServerName::try_from(self.host.to_owned()), self.verify) {
            (Ok(name), _) => Ok(name),
            (Err(error), Verify::Name(_)) => {
                let message = format!("{} needs a host that a certificate can name", self.words.named);
                Err(Error::new(ErrorKind::Config, message).caused_by(error))
            }
            // Without a check of the name, any will do: it is not even sent.
            (Err(_), _) => Ok(ServerName::from(
                tcp.peer_addr().map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |address| address.ip()),
            )),
        }
    }

    fn client_config(&self) -> Result<ClientConfig> {
        // Named explicitly, so that an application's choice for the whole process
        // is neither needed nor disturbed.
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier { provider: Arc::clone(&provider), trust: self.trust()? };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Config, "tls cannot be set up").caused_by(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let Some((cert, key)) = self.client else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(cert, self.words.cert)?;
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| unreadable(self.words.key, key).caused_by(error))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| {
            let message = format!("{} and {} do not fit together", self.words.cert, self.words.key);
            Error::new(ErrorKind::Config, message).caused_by(error)
        })
    }

    fn trust(&self) -> Result<Trust> {
        match self.verify {
            Verify::Nothing => Ok(Trust::Anybody),
            Verify::Chain(root) => Ok(Trust::Chain { roots: self.roots(root)?, name: false }),
            Verify::Name(root) => Ok(Trust::Chain { roots: self.roots(root)?, name: true }),
        }
    }

    fn roots(&self, root: &RootCert) -> Result<Roots> {
        let pinned = match root {
            RootCert::System => rustls_native_certs::load_native_certs().certs,
            RootCert::File(path) => certificates(path, self.words.root)?,
        };
        let mut store = RootCertStore::empty();
        let (usable, _) = store.add_parsable_certificates(pinned.iter().cloned());
        if usable == 0 {
            let message = format!("{} holds no usable certificate", self.words.root);
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Roots { store, pinned })
    }
}

impl TlsWords {
    /// What a TLS handshake that rustls refused comes to.
    pub fn refused(&self, error: rustls::Error) -> Error {
        let Self { root, mode, .. } = self;
        match error {
            rustls::Error::InvalidCertificate(_) => Error::new(
                ErrorKind::Authentication,
                format!(
                    "the server's certificate is not trusted: check {root}, the host's name and the {mode}"
                ),
            ),
            _ => Error::new(ErrorKind::Protocol, "the tls handshake with the server failed"),
        }
        .caused_by(error)
    }
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

/// What is made of the certificate.
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

/// Verifies as was asked. The handshake's signature is always checked, so
/// that the certificate is at least the peer's own: channel binding rests on it.
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
