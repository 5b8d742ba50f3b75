//! What PostgreSQL says went wrong, turned into the one error of zdm.
//!
//! Both of our connections come here: the replication connection with an
//! `ErrorResponse`, the control connections with a `tokio_postgres::Error`.
//! The same SQLSTATE gives the same kind, whichever way it came.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;
use zdm_core::{Error, ErrorKind, Result};

/// The context key under which an error bears its SQLSTATE.
const SQLSTATE: &str = "sqlstate";

/// The SQLSTATE that the server gave, if the server gave this error.
pub(crate) fn sqlstate(error: &Error) -> Option<&str> {
    error.context().find(|(key, _)| *key == SQLSTATE).map(|(_, value)| value)
}

/// Bytes that are not what the protocol promises.
pub(crate) fn protocol(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

/// A socket that failed.
pub(crate) fn io(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ErrorKind::Protocol,
        _ => ErrorKind::Connection,
    };
    Error::new(kind, "the connection to the server failed").caused_by(error)
}

/// Lets `?` cross from `tokio_postgres` to zdm.
pub(crate) trait OrPg<T> {
    /// Converts the error and names the operation, as `room.verb`.
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T> OrPg<T> for Result<T, tokio_postgres::Error> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|error| from_client(error).during(operation))
    }
}

/// Converts an error of a control connection.
pub(crate) fn from_client(error: tokio_postgres::Error) -> Error {
    if let Some(db) = error.as_db_error() {
        let server = ServerError {
            severity: db.severity(),
            code: db.code().code(),
            message: db.message(),
            detail: db.detail(),
            hint: db.hint(),
            place: db.where_(),
        };
        return match db.constraint() {
            Some(constraint) => server.into_error().with("constraint", constraint),
            None => server.into_error(),
        };
    }
    let lost = error.is_closed() || error.source().is_some_and(|source| source.is::<io::Error>());
    let words = error.to_string();
    // `tokio_postgres` shows what it failed at only in these words.
    let kind = match words.as_str() {
        "authentication error" => ErrorKind::Authentication,
        "invalid configuration" => ErrorKind::Config,
        "unexpected message from server" | "error parsing response from server" => ErrorKind::Protocol,
        "timeout waiting for server" => ErrorKind::Timeout,
        _ if lost => ErrorKind::Connection,
        _ => ErrorKind::Other,
    };
    let message = if error.is_closed() { "the server closed the connection" } else { words.as_str() };
    match error.into_source() {
        Some(source) => Error::new(kind, message).caused_by(source),
        None => Error::new(kind, message),
    }
}

/// Converts the fields of an `ErrorResponse`.
pub(crate) fn from_fields(fields: ErrorFields<'_>) -> Error {
    match Fields::read(fields) {
        Ok(fields) => fields.view().into_error(),
        Err(_) => protocol("the server sent an error that cannot be read"),
    }
}

/// Shows a `NoticeResponse` to whoever listens.
pub(crate) fn log_notice(fields: ErrorFields<'_>) {
    if let Ok(fields) = Fields::read(fields) {
        notice(fields.view().severity, fields.view().code, fields.view().message);
    }
}

/// The same for a notice that `tokio_postgres` has read.
pub(crate) fn notice(severity: &str, code: &str, message: impl Display) {
    if severity.eq_ignore_ascii_case("WARNING") {
        tracing::warn!(severity, sqlstate = code, %message, "notice from the server");
    } else {
        tracing::debug!(severity, sqlstate = code, %message, "notice from the server");
    }
}

/// The fields of an `ErrorResponse` that we use, owned.
///
/// <https://www.postgresql.org/docs/current/protocol-error-fields.html>
#[derive(Default)]
struct Fields {
    severity: String,
    plain_severity: Option<String>,
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    place: Option<String>,
}

impl Fields {
    fn read(mut fields: ErrorFields<'_>) -> io::Result<Self> {
        let mut read = Self::default();
        while let Some(field) = fields.next()? {
            // Before authentication the server may write in any encoding.
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'S' => read.severity = value,
                // The same, never translated; since 9.6.
                b'V' => read.plain_severity = Some(value),
                b'C' => read.code = value,
                b'M' => read.message = value,
                b'D' => read.detail = Some(value),
                b'H' => read.hint = Some(value),
                b'W' => read.place = Some(value),
                _ => {}
            }
        }
        Ok(read)
    }

    fn view(&self) -> ServerError<'_> {
        ServerError {
            severity: self.plain_severity.as_deref().unwrap_or(&self.severity),
            code: &self.code,
            message: &self.message,
            detail: self.detail.as_deref(),
            hint: self.hint.as_deref(),
            place: self.place.as_deref(),
        }
    }
}

struct ServerError<'a> {
    severity: &'a str,
    code: &'a str,
    message: &'a str,
    detail: Option<&'a str>,
    hint: Option<&'a str>,
    place: Option<&'a str>,
}

impl ServerError<'_> {
    fn into_error(self) -> Error {
        let meaning = Meaning::of(self.code, self.message);
        let message = match meaning.advice {
            Some(advice) => format!("{}: {advice}", self.message),
            None => self.message.to_owned(),
        };
        let mut error = Error::new(meaning.kind, message).with(SQLSTATE, self.code);
        if let Some(retryable) = meaning.retryable {
            error = error.retryable(retryable);
        }
        if matches!(self.severity, "FATAL" | "PANIC") {
            error = error.with("severity", self.severity);
        }
        for (key, value) in [("detail", self.detail), ("hint", self.hint), ("where", self.place)] {
            if let Some(value) = value {
                error = error.with(key, value);
            }
        }
        error
    }
}

/// What a SQLSTATE means to us.
struct Meaning {
    kind: ErrorKind,
    retryable: Option<bool>,
    advice: Option<&'static str>,
}

impl Meaning {
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn of(code: &str, message: &str) -> Self {
        use ErrorKind as K;
        let is = |kind| Self { kind, retryable: None, advice: None };
        let again = |kind| Self { kind, retryable: Some(true), advice: None };
        let advise = |kind, advice| Self { kind, retryable: None, advice: Some(advice) };
        match code {
            // The server goes down or comes up, or ended this session.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => is(K::Connection),
            "57P04" | "3D000" => advise(K::NotFound, "check the name of the database"),
            "53300" => {
                advise(K::Connection, "raise max_connections or max_wal_senders, or close connections")
            }
            "53400" => advise(K::Config, "raise the limit, or drop what is no longer used"),
            "28P01" => advise(K::Authentication, "check user and password"),
            "28000" => advise(K::Authentication, "check the user, and the rules in the server's pg_hba.conf"),
            "42501" => advise(K::Permission, "grant the right, or use a user that has it"),
            "25006" => advise(K::Permission, "connect to a server that accepts writes"),
            // The old walsender of a slot may need a moment to notice that we left.
            "55006" => Self {
                kind: K::Conflict,
                retryable: Some(true),
                advice: Some("end the other session or wait for it"),
            },
            // A slot that was invalidated has no code of its own; when the
            // server speaks another language it stays a plain 55000.
            "55000" if message.starts_with("can no longer ") || message.contains("invalidated") => {
                advise(K::Gap, "the log that this slot needs is gone, start the run anew")
            }
            "58P01" if message.contains("has already been removed") => {
                advise(K::Gap, "the log that comes next is gone, start the run anew")
            }
            "55000" => is(K::Config),
            "42704" | "42P01" | "3F000" | "42703" => is(K::NotFound),
            "42710" | "42P04" | "42P06" | "42P07" | "42723" => is(K::Conflict),
            "42883" => is(K::Unsupported),
            "55P03" | "57014" | "25P04" => is(K::Timeout),
            // Serialisation failure, deadlock, out of disk or memory.
            "40001" | "40P01" | "53100" | "53200" => again(K::Other),
            "22023" => is(K::Config),
            _ => match code.get(..2) {
                Some("08") => is(K::Connection),
                Some("0A") => is(K::Unsupported),
                Some("28") => is(K::Authentication),
                Some("22" | "23") => is(K::Rejected),
                _ => is(K::Other),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str) -> Error {
        ServerError { severity: "FATAL", code, message, detail: Some("d"), hint: None, place: None }
            .into_error()
    }

    #[test]
    fn codes_become_kinds() {
        for (code, kind, retryable) in [
            ("57P01", ErrorKind::Connection, true),
            ("53300", ErrorKind::Connection, true),
            ("08006", ErrorKind::Connection, true),
            ("28P01", ErrorKind::Authentication, false),
            ("42501", ErrorKind::Permission, false),
            ("55006", ErrorKind::Conflict, true),
            ("42704", ErrorKind::NotFound, false),
            ("53400", ErrorKind::Config, false),
            ("23505", ErrorKind::Rejected, false),
            ("40P01", ErrorKind::Other, true),
            ("0A000", ErrorKind::Unsupported, false),
            ("ZZ", ErrorKind::Other, false),
            ("é", ErrorKind::Other, false),
            ("", ErrorKind::Other, false),
        ] {
            let error = error(code, "m");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code}");
            assert_eq!(sqlstate(&error), Some(code));
        }
        let gone = error("55000", "can no longer get changes from replication slot \"s\"");
        assert_eq!(gone.kind(), ErrorKind::Gap);
    }

    #[test]
    fn shows_what_the_server_said_and_what_to_do() {
        let shown = error("28P01", "password authentication failed for user \"u\"").to_string();
        assert_eq!(
            shown,
            "password authentication failed for user \"u\": check user and password \
             (sqlstate: 28P01, severity: FATAL, detail: d)"
        );
    }
}
