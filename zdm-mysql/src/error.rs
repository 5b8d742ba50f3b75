//! What the server says went wrong, turned into the one error of zdm.
//!
//! Both of our connections come here: the replication connection with an
//! `ERR` packet, the sessions for SQL with a `mysql_async::Error`. The same
//! code gives the same kind, whichever way it came.

use std::io;

use mysql_async::{DriverError, IoError, TlsError};
use zdm_core::net::TlsWords;
use zdm_core::{Error, ErrorKind, Result};

/// The context key under which an error bears the server's own code.
const CODE: &str = "code";

/// The code that the server gave, if the server gave this error.
pub(crate) fn code(error: &Error) -> Option<u16> {
    error.context().find(|(key, _)| *key == CODE).and_then(|(_, value)| value.parse().ok())
}

/// Bytes that are not what the protocol promises.
pub(crate) fn protocol(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

/// The server ended the connection.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Connection, "the server closed the connection")
}

/// A socket that failed.
pub(crate) fn io(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ErrorKind::Protocol,
        _ => ErrorKind::Connection,
    };
    Error::new(kind, "the connection to the server failed").caused_by(error)
}

/// What MySQL's clients call the settings of TLS.
pub(crate) const TLS_WORDS: TlsWords = TlsWords {
    mode: "ssl-mode",
    named: "ssl-mode=verify_identity",
    root: "ssl-ca",
    cert: "ssl-cert",
    key: "ssl-key",
};

/// A name that the server's certificate bears, if it was refused for bearing
/// no other: who signed it was right.
pub(crate) fn name_of_certificate(error: &Error) -> Option<String> {
    use std::error::Error as _;
    let refused = error.source()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForNameContext {
        presented, ..
    }) = refused
    else {
        return None;
    };
    // As in `DnsName("db1")` and `IpAddress(10.0.0.1)`.
    let inside = |name: &String| {
        let (_, name) = name.split_once('(')?;
        Some(name.strip_suffix(')')?.trim_matches('"').to_owned())
    };
    presented.iter().find_map(inside)
}

/// The server has no TLS, and the configuration insists on it.
pub(crate) fn no_tls() -> Error {
    Error::new(
        ErrorKind::Config,
        "the server does not offer tls: set it up there, or allow ssl-mode=preferred",
    )
}

/// Lets `?` cross from `mysql_async` to zdm.
pub(crate) trait OrMy<T> {
    /// Converts the error and names the operation, as `room.verb`.
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T> OrMy<T> for Result<T, mysql_async::Error> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|error| from_client(error).during(operation))
    }
}

/// Converts an error of a session for SQL.
pub(crate) fn from_client(error: mysql_async::Error) -> Error {
    use mysql_async::Error as E;
    match error {
        E::Server(server) => from_server(server.code, &server.state, &server.message),
        E::Io(IoError::Tls(TlsError::Tls(error))) => TLS_WORDS.refused(error),
        E::Io(IoError::Tls(error)) => Error::new(
            ErrorKind::Config,
            "tls cannot be set up: check ssl-ca, ssl-cert, ssl-key and the host's name",
        )
        .caused_by(E::Io(IoError::Tls(error))),
        // A handshake's failure comes wrapped as often as not.
        E::Io(IoError::Io(error)) => match inner_tls(&error) {
            Some(refused) => TLS_WORDS.refused(refused),
            None => io(error),
        },
        E::Driver(DriverError::ConnectionClosed) => closed(),
        E::Driver(DriverError::NoClientSslFlagFromServer) => no_tls(),
        E::Driver(DriverError::UnknownAuthPlugin { name }) => unknown_plugin(&name),
        E::Driver(error @ (DriverError::MysqlOldPasswordDisabled | DriverError::CleartextPluginDisabled)) => {
            Error::new(
                ErrorKind::Unsupported,
                "the server asks for the password in a way that does not protect it: \
             give the user another authentication plugin",
            )
            .caused_by(error)
        }
        E::Driver(
            error @ (DriverError::PacketOutOfOrder
            | DriverError::PacketTooLarge
            | DriverError::BadCompressedPacketHeader
            | DriverError::CantParseServerVersion { .. }),
        ) => protocol("the server sent a packet that cannot be read").caused_by(error),
        // Its payload is not shown: it may be a row.
        E::Driver(DriverError::UnexpectedPacket { .. }) => {
            protocol("the server sent a packet that was not to be expected")
        }
        E::Driver(DriverError::FromRow { .. } | DriverError::FromValue { .. }) => {
            protocol("the server's answer has another shape than the statement asked for")
        }
        error => Error::new(ErrorKind::Other, "the statement could not be sent").caused_by(error),
    }
}

fn inner_tls(error: &io::Error) -> Option<rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned()
}

/// A way to prove who we are that we do not know.
pub(crate) fn unknown_plugin(name: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the server asks for an authentication plugin that we do not know: give the user \
         caching_sha2_password, mysql_native_password or, on MariaDB, ed25519",
    )
    .with("plugin", name.escape_default())
}

/// Converts what the server said. `state` may be empty.
pub(crate) fn from_server(code: u16, state: &str, message: &str) -> Error {
    let meaning = Meaning::of(code, state, message);
    let words = match meaning.advice {
        Some(advice) => format!("{message}: {advice}"),
        None => message.to_owned(),
    };
    let mut error = Error::new(meaning.kind, words).with(CODE, code);
    if let Some(retryable) = meaning.retryable {
        error = error.retryable(retryable);
    }
    if state.is_empty() { error } else { error.with("sqlstate", state) }
}

/// What a code means to us.
struct Meaning {
    kind: ErrorKind,
    retryable: Option<bool>,
    advice: Option<&'static str>,
}

impl Meaning {
    /// <https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html>,
    /// <https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference>
    fn of(code: u16, state: &str, message: &str) -> Self {
        use ErrorKind as K;
        let is = |kind| Self { kind, retryable: None, advice: None };
        let again = |kind| Self { kind, retryable: Some(true), advice: None };
        let advise = |kind, advice| Self { kind, retryable: None, advice: Some(advice) };
        match code {
            // The server goes down, or ended this session (4031: idle for too long).
            1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 | 3169 | 4031 => is(K::Connection),
            1040 => advise(K::Connection, "raise max_connections, or close connections"),
            1203 | 1226 => advise(K::Connection, "raise the user's limit, or close its connections"),
            1129 => advise(K::Connection, "run FLUSH HOSTS on the server"),
            1045 | 1698 | 1862 | 3118 | 4151 => advise(
                K::Authentication,
                "check user and password, and whether the server asks for tls (ssl-mode=required)",
            ),
            1130 => advise(K::Authentication, "the user may not log in from this host: make one that may"),
            1251 => advise(K::Authentication, "give the user another authentication plugin"),
            3159 => advise(K::Authentication, "the server insists on tls: set ssl-mode=required"),
            1044 | 1142 | 1143 | 1227 | 1370 | 1410 | 1419 | 3619 | 3892 => {
                advise(K::Permission, "grant the right, or use a user that has it")
            }
            1290 | 1836 => advise(K::Permission, "the server does not accept writes now"),
            1049 => advise(K::NotFound, "check the name of the database"),
            1051 | 1054 | 1091 | 1109 | 1146 | 1176 => is(K::NotFound),
            1007 | 1050 | 1060 | 1061 => is(K::Conflict),
            // A dump that cannot go on. One code, many reasons.
            1236 | 4052 => Self::of_dump(message),
            1789 | 1790 => advise(K::Gap, "the log that comes next is gone: start the run anew"),
            // A lock was not had in time; a statement ran too long.
            1205 | 1969 | 3024 => is(K::Timeout),
            3572 => again(K::Timeout),
            // Deadlock, serialisation, out of disk or memory, a crashed engine.
            1213 | 1020 | 1021 | 1037 | 1038 | 1041 | 1180 | 1614 | 3101 => again(K::Other),
            1317 => again(K::Connection),
            1064 | 1193 | 1235 | 1286 | 1289 | 1305 | 1478 | 3950 => is(K::Unsupported),
            1231 | 1232 | 1238 => is(K::Config),
            1118 | 1153 | 1162 | 1048 | 1062 | 1136 | 1169 | 1216 | 1217 | 1264 | 1265 | 1292 | 1364
            | 1366 | 1406 | 1451 | 1452 | 1557 | 1586 | 1690 | 3140 | 3819 | 4025 => is(K::Rejected),
            _ => match state.get(..2) {
                Some("08") => is(K::Connection),
                Some("0A") => is(K::Unsupported),
                Some("28") => is(K::Authentication),
                Some("22" | "23") => is(K::Rejected),
                Some("40") => again(K::Other),
                _ => is(K::Other),
            },
        }
    }

    /// `ER_MASTER_FATAL_ERROR_READING_BINLOG`: the words tell the reason. They
    /// are in English whatever the server speaks (`sql/rpl_source.cc`,
    /// `sql/sql_repl.cc`).
    fn of_dump(message: &str) -> Self {
        use ErrorKind as K;
        let advise = |kind, advice| Self { kind, retryable: None, advice: Some(advice) };
        let says = |words: &str| message.contains(words);
        // MariaDB's words differ from version to version.
        if says("same server_uuid") || says("same server_id") {
            return Self {
                kind: K::Conflict,
                retryable: Some(false),
                advice: Some(
                    "another reader came under the same server id and the server ended this one: \
                     end the other, or give one of them an id of its own with server-id",
                ),
            };
        }
        if says("Binary log is not open") {
            return advise(K::Config, "turn the binary log on (log_bin) and restart the server");
        }
        if says("max_allowed_packet") {
            return advise(K::Config, "an event is larger than the server sends: raise max_allowed_packet");
        }
        if says("Misconfigured master") || says("Misconfigured source") {
            return advise(K::Config, "set server_id on the server");
        }
        if says("checksum") || says("corrupt") || says("bogus data") || says("binlog truncated") {
            return advise(K::Gap, "the server's binary log is damaged there: start the run anew");
        }
        // Purged, missing, another server's, or a place that is no event's.
        advise(
            K::Gap,
            "the log behind this point is gone or is not this server's: start the run anew, and let the \
             server keep its binary log for longer than a run may pause",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds() {
        for (code, state, kind, retryable) in [
            (1053, "08S01", ErrorKind::Connection, true),
            (1040, "08004", ErrorKind::Connection, true),
            (1045, "28000", ErrorKind::Authentication, false),
            (1227, "42000", ErrorKind::Permission, false),
            (1290, "HY000", ErrorKind::Permission, false),
            (1146, "42S02", ErrorKind::NotFound, false),
            (1062, "23000", ErrorKind::Rejected, false),
            (1213, "40001", ErrorKind::Other, true),
            (1205, "HY000", ErrorKind::Timeout, true),
            (9999, "22003", ErrorKind::Rejected, false),
            (9999, "é", ErrorKind::Other, false),
            (0, "", ErrorKind::Other, false),
        ] {
            let error = from_server(code, state, "m");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code}");
        }
    }

    #[test]
    fn a_dump_that_ends_says_why() {
        for (message, kind, says) in [
            (
                "A replica with the same server_uuid/server_id as this replica has connected to the source",
                ErrorKind::Conflict,
                "server-id",
            ),
            (
                "A slave with the same server_uuid/server_id as this slave has connected",
                ErrorKind::Conflict,
                "id",
            ),
            (
                "Cannot replicate because the source purged required binary logs",
                ErrorKind::Gap,
                "start the run anew",
            ),
            (
                "A slave with the same server_id is already connected; the first event",
                ErrorKind::Conflict,
                "server-id",
            ),
            ("Could not find first log file name in binary log index file", ErrorKind::Gap, "anew"),
            ("log event entry exceeded max_allowed_packet", ErrorKind::Config, "raise"),
            ("Binary log is not open", ErrorKind::Config, "log_bin"),
        ] {
            let error = from_server(1236, "HY000", message);
            assert_eq!(error.kind(), kind, "{message}");
            assert!(error.to_string().contains(says), "{error}");
            assert!(!error.is_retryable());
        }
    }

    #[test]
    fn shows_what_the_server_said_and_what_to_do() {
        let shown = from_server(1045, "28000", "Access denied for user 'u'@'h' (using password: YES)");
        assert_eq!(
            shown.to_string(),
            "Access denied for user 'u'@'h' (using password: YES): check user and password, \
             and whether the server asks for tls (ssl-mode=required) (code: 1045, sqlstate: 28000)"
        );
    }
}
