//! Places in the files of one server.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;
use zdm_core::{Error, ErrorKind, Result};

use super::strange;

/// The longest name of a file: what the server's own buffers hold (`FN_REFLEN`).
const LONGEST_NAME: usize = 512;

/// A byte of a binary log, in one server's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coordinates {
    /// `server_id` of the server: in one topology no two have the same.
    pub(crate) server: u32,
    pub(crate) point: FilePoint,
}

/// A byte of a file. Files are ordered by the number that ends their name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePoint {
    /// `binlog.000012`, mostly short enough to be copied with the rest.
    file: SmolStr,
    /// 12.
    number: u64,
    pub(crate) offset: u64,
}

impl Coordinates {
    /// Whether a reader that is here has everything up to `goal`.
    ///
    /// # Errors
    /// `Gap` when they are two servers': which is further, nobody can say.
    pub(crate) fn reached(&self, goal: &Self) -> Result<bool> {
        if self.server != goal.server || self.point.base() != goal.point.base() {
            return Err(Error::new(
                ErrorKind::Gap,
                "the run waits for a point in another server's log than the one it reads: go on with the first \
                 server, or start the run anew",
            )
            .with("position", self)
            .with("goal", goal));
        }
        Ok(self.point.key() >= goal.point.key())
    }
}

impl FilePoint {
    /// A byte of that file.
    ///
    /// # Errors
    /// `Protocol` when the name does not end in a number, `Unsupported` when a
    /// position could not be written with it.
    pub(crate) fn new(file: &str, offset: u64) -> Result<Self> {
        let digits = file.rsplit_once('.').map_or("", |(_, digits)| digits);
        let number = if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None };
        let number = number.ok_or_else(|| strange("a file's name ends in a number, as in binlog.000012"))?;
        if file.len() > LONGEST_NAME {
            return Err(strange("a file's name is too long"));
        }
        if file.contains(['/', ';', '@', ':', '\0']) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the binary log's files have a name with one of / ; @ : in it: choose another log_bin",
            ));
        }
        Ok(Self { file: file.into(), number, offset })
    }

    /// The file's name.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// The number that ends the file's name.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    fn base(&self) -> &str {
        self.file.rsplit_once('.').map_or("", |(base, _)| base)
    }

    fn key(&self) -> (u64, u64) {
        (self.number, self.offset)
    }
}

/// By the file's number: all are one server's.
impl PartialOrd for FilePoint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.base() == other.base()).then(|| self.key().cmp(&other.key()))
    }
}

impl FromStr for Coordinates {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (server, point) = text.split_once('/').ok_or_else(|| strange("it has no server id"))?;
        Ok(Self { server: plain(server)?, point: point.parse()? })
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.point)
    }
}

impl FromStr for FilePoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (file, offset) = text.split_once(':').ok_or_else(|| strange("it has no offset"))?;
        Self::new(file, plain(offset)?)
    }
}

impl fmt::Display for FilePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// A number as it is written by machines: no sign, no needless zero.
pub(super) fn plain<T: FromStr>(text: &str) -> Result<T> {
    let written = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if written { text.parse().ok() } else { None }.ok_or_else(|| strange("a number is out of shape"))
}
