//! TLS with a throwaway certificate authority for one server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::account::Account;
use crate::error::{Doing, Result};

/// Whether the server speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsMode {
    /// It does not.
    #[default]
    Off,
    /// It does when asked, with a certificate of a throwaway authority for
    /// `localhost` and `127.0.0.1`.
    Offered,
    /// It refuses connections over TCP without it.
    Required,
}

/// What the server's TLS is made of, in the folder of the server.
///
/// The certificates are of a new authority for each server, so those of one
/// server are right for the test that must be refused by another.
#[derive(Debug)]
pub struct TlsFiles {
    dir: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PKCS#8 in PEM.
    pub key: PathBuf,
}

impl TlsFiles {
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let doing = || "making certificates".to_owned();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "zdm throwaway authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().doing(doing)?;
        let authority = CertifiedIssuer::self_signed(params, key).doing(doing)?;
        let files = Self { dir: dir.into(), authority };
        fs::create_dir(dir).doing(doing)?;
        Account::of_servers().give(dir)?;
        files.write("ca.pem", &files.authority.pem())?;
        files.sign("server", "localhost", &["localhost", "127.0.0.1"])?;
        Ok(files)
    }

    /// The authority's certificate, PEM: what a client trusts (`sslrootcert`).
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The same as text.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// The server's own certificate, PEM, for `localhost` and `127.0.0.1`.
    pub fn server_certificate(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    pub(crate) fn server_key(&self) -> PathBuf {
        self.dir.join("server.key")
    }

    /// Makes a certificate with which `user` can log in ([`Auth::Cert`](crate::postgres::Auth::Cert)).
    pub fn client(&self, user: &str) -> Result<ClientIdentity> {
        self.sign(&format!("client-{user}"), user, &[])?;
        Ok(ClientIdentity {
            certificate: self.dir.join(format!("client-{user}.pem")),
            key: self.dir.join(format!("client-{user}.key")),
        })
    }

    fn sign(&self, file: &str, name: &str, hosts: &[&str]) -> Result<()> {
        let doing = || format!("making a certificate for {name}");
        let hosts: Vec<String> = hosts.iter().map(|&host| host.into()).collect();
        let mut params = CertificateParams::new(hosts).doing(doing)?;
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().doing(doing)?;
        let certificate = params.signed_by(&key, &self.authority).doing(doing)?;
        self.write(&format!("{file}.pem"), &certificate.pem())?;
        self.write(&format!("{file}.key"), &key.serialize_pem())
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.dir.join(file);
        let doing = || format!("writing {}", path.display());
        fs::write(&path, text).doing(doing)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).doing(doing)?;
        Account::of_servers().give(&path)
    }
}
