//! The words of libpq for how much a connection has to be protected.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zdm_core::{Error, ErrorKind};

/// How TLS is used, as in libpq. Unix sockets never use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server offers it; plain otherwise. Nothing is verified.
    #[default]
    Prefer,
    /// Always. With an `sslrootcert`, the same as [`VerifyCa`](Self::VerifyCa);
    /// nothing is verified without one.
    Require,
    /// Always, and the certificate must come from a trusted authority.
    VerifyCa,
    /// Always, and the certificate must also bear the host's name.
    VerifyFull,
}

impl SslMode {
    const ALL: [(&'static str, Self); 5] = [
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// Whether the certificate is checked for its authority at all.
    pub(crate) const fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

impl FromStr for SslMode {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            // libpq tries plain first, then TLS: the outcome on a server that
            // has both is plain, which `disable` says honestly.
            "allow" => Err(Error::new(
                ErrorKind::Unsupported,
                "sslmode=allow is not supported: write prefer to use encryption where the server has it",
            )),
            _ => {
                Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, mode)| mode).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Config,
                        "unknown sslmode: write disable, prefer, require, verify-ca or verify-full",
                    )
                })
            }
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // OK because `ALL` lists every variant.
        f.write_str(Self::ALL.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name))
    }
}

/// Whether SCRAM is bound to the TLS channel, so that nobody in between can
/// relay it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where server and certificate allow it.
    #[default]
    Prefer,
    /// Refuse a server that does not.
    Require,
}

impl FromStr for ChannelBinding {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            _ => Err(Error::new(
                ErrorKind::Config,
                "unknown channel_binding: write disable, prefer or require",
            )),
        }
    }
}
