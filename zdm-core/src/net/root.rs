//! Whom to trust.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whom we trust to sign the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum RootCert {
    /// The authorities that the operating system trusts: the word `system`.
    System,
    /// The certificates in a PEM file.
    File(PathBuf),
}

impl From<PathBuf> for RootCert {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "system" { Self::System } else { Self::File(path) }
    }
}

impl From<&str> for RootCert {
    fn from(path: &str) -> Self {
        Self::from(PathBuf::from(path))
    }
}

impl From<RootCert> for PathBuf {
    fn from(root: RootCert) -> Self {
        match root {
            RootCert::System => Self::from("system"),
            RootCert::File(path) => path,
        }
    }
}
