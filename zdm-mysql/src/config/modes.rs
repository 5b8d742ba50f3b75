//! The words of `mysql` for how a connection is protected and packed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zdm_core::{Error, ErrorKind};

/// How TLS is used, as `--ssl-mode` of MySQL's clients says it. Unix sockets
/// never use TLS.
///
/// <https://dev.mysql.com/doc/refman/en/connection-options.html#option_general_ssl-mode>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SslMode {
    /// Never.
    Disabled,
    /// If the server offers it; plain otherwise. Nothing is verified.
    #[default]
    Preferred,
    /// Always. Nothing is verified.
    Required,
    /// Always, and the certificate must come from a trusted authority.
    VerifyCa,
    /// Always, and the certificate must also bear the host's name.
    VerifyIdentity,
}

impl SslMode {
    const ALL: [(&'static str, Self); 5] = [
        ("disabled", Self::Disabled),
        ("preferred", Self::Preferred),
        ("required", Self::Required),
        ("verify_ca", Self::VerifyCa),
        ("verify_identity", Self::VerifyIdentity),
    ];

    /// Whether the certificate is checked for its authority at all.
    pub(crate) const fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyIdentity)
    }
}

impl FromStr for SslMode {
    type Err = Error;

    /// In any case, with `_` or `-`.
    fn from_str(word: &str) -> Result<Self, Error> {
        let word = word.to_ascii_lowercase().replace('-', "_");
        Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, mode)| mode).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "unknown ssl-mode: write disabled, preferred, required, verify_ca or verify_identity",
            )
        })
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // OK because `ALL` lists every variant.
        f.write_str(Self::ALL.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name))
    }
}

/// How the bytes of the protocol are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// zlib, which every server has.
    Zlib,
    /// zstd, which MySQL has since 8.0.18, for the log and for the rows of a
    /// copy. Sessions for statements go without: their client has none of it.
    Zstd,
}

impl Compression {
    /// Reads a word; `uncompressed` is none.
    pub(super) fn from_word(word: &str) -> Result<Option<Self>, Error> {
        match word.to_ascii_lowercase().as_str() {
            "zlib" => Ok(Some(Self::Zlib)),
            "uncompressed" | "none" => Ok(None),
            "zstd" => Ok(Some(Self::Zstd)),
            _ => Err(Error::new(ErrorKind::Config, "unknown compression: write zlib, zstd or uncompressed")),
        }
    }
}
