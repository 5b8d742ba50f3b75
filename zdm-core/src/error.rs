//! The one error of every zdm crate: what kind, can a retry help, what was
//! being done, and what to do about it.
//!
//! A connector keeps its own error enums private and converts them here, at
//! its edge, so that a user matches on one [`ErrorKind`] for every engine.
//!
//! ```
//! use zdm_core::{Error, ErrorKind};
//!
//! let error = Error::new(ErrorKind::Permission, "cannot create the publication: grant CREATE on the database")
//!     .during("source.snapshot")
//!     .with("database", "shop");
//! assert_eq!(error.kind(), ErrorKind::Permission);
//! assert!(!error.is_retryable());
//! ```
//!
//! Messages are lower case, have no full stop, and say what to do. Secrets
//! never belong in a message or in a context pair.

use std::error::Error as StdError;
use std::fmt;

/// The result of every fallible call in zdm.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in words that no engine owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration, a URL or the plan cannot work as written.
    Config,
    /// The server could not be reached, or the connection was lost.
    Connection,
    /// The server refused the user or the password.
    Authentication,
    /// The user lacks a right; the message names the statement that grants it.
    Permission,
    /// This engine, version or object cannot do what was asked.
    Unsupported,
    /// A table, slot, run or other thing that must be there is not.
    NotFound,
    /// Something is there that must not be: a target that is not empty, a
    /// name that is taken.
    Conflict,
    /// The log no longer holds what comes next, or belongs to another server.
    /// Going on would lose changes.
    Gap,
    /// Another process has taken over this run: its epoch is higher than ours.
    Fenced,
    /// Bytes that are not what the protocol or the type promises.
    Protocol,
    /// The shape of a migrated table changed in a way that cannot be followed.
    SchemaChanged,
    /// The target refused a row (a constraint, a type out of range).
    Rejected,
    /// A deadline passed.
    Timeout,
    /// The caller's token was cancelled.
    Cancelled,
    /// Anything else; the source error tells.
    Other,
}

impl ErrorKind {
    /// Whether trying again can help when nothing else is known.
    const fn is_retryable(self) -> bool {
        matches!(self, Self::Connection | Self::Timeout)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Config => "configuration",
            Self::Connection => "connection",
            Self::Authentication => "authentication",
            Self::Permission => "permission",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Gap => "gap in the log",
            Self::Fenced => "fenced",
            Self::Protocol => "protocol",
            Self::SchemaChanged => "schema changed",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Other => "error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error of zdm. One pointer wide.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retryable: bool,
    message: String,
    operation: Option<&'static str>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of a kind, with a message that says what to do about it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            retryable: kind.is_retryable(),
            message: message.into(),
            operation: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// The caller's token was cancelled.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "stopped on request")
    }

    /// Names the operation, as `room.verb`. The innermost name stays.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Adds one context pair, shown behind the message.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Overrides whether a retry can help.
    #[must_use]
    pub fn retryable(mut self, yes: bool) -> Self {
        self.0.retryable = yes;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed when it is made again, on a new
    /// connection and from the last durable progress.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// What was being done, if it was named.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The message alone, without context and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The context pairs, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(k, v)| (*k, v.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (key, value)) in self.0.context.iter().enumerate() {
            f.write_str(if i == 0 { " (" } else { ", " })?;
            write!(f, "{key}: {value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retryable", &self.0.retryable)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_message_context_and_cause_in_one_line() {
        let error = Error::new(ErrorKind::Connection, "cannot reach the server")
            .with("host", "db1")
            .with("port", 5432)
            .caused_by(std::io::Error::other("refused"));
        assert_eq!(error.to_string(), "cannot reach the server (host: db1, port: 5432): refused");
        assert!(error.is_retryable());
    }

    #[test]
    fn innermost_operation_stays() {
        let error = Error::new(ErrorKind::Other, "x").during("inner").during("outer");
        assert_eq!(error.operation(), Some("inner"));
    }
}
