//! What went wrong with a server, and what to do about it.

use std::error::Error as StdError;
use std::fmt;

/// What this crate's operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server could not be found, fetched, started or asked.
///
/// Both `Display` and `Debug` tell the whole story (the operation, the cause,
/// and what to do), so that an `unwrap` in a test prints all that its reader
/// needs.
pub struct Error {
    doing: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    advice: Option<String>,
}

impl Error {
    pub(crate) fn new(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), cause: None, advice: None }
    }

    pub(crate) fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The PostgreSQL error behind this one, if that is what it is.
    pub fn as_postgres(&self) -> Option<&tokio_postgres::Error> {
        self.cause.as_ref()?.downcast_ref()
    }

    /// The error of MySQL or MariaDB behind this one, if that is what it is.
    pub fn as_mysql(&self) -> Option<&mysql_async::Error> {
        self.cause.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        let mut cause = self.cause.as_ref().map(|cause| &**cause as &dyn StdError);
        while let Some(this) = cause {
            write!(f, ": {this}")?;
            cause = this.source();
        }
        match &self.advice {
            Some(advice) => write!(f, "\n{advice}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// The causes are already part of the text, so `source` stays empty: printed
// chains would repeat them.
impl StdError for Error {}

/// Turns any error into ours, saying what was being done.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(what()).because(cause))
    }
}
