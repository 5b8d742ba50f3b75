//! What every session of ours must agree on with every other.
//!
//! A value that a `SELECT` shows and the same value in the log must be the
//! same text; and nothing that an administrator set for the user, the
//! database or the server may end a session of ours or change what a name
//! means. The settings travel in the start-up packet's `options`, so that
//! they hold from the first statement on, on both kinds of connection.

use crate::config::PgConfig;

/// Name and value, neither of which needs quoting.
const SETTINGS: [(&str, &str); 22] = [
    // How values look.
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO,MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("lc_monetary", "C"),
    // How statements are read.
    ("search_path", ""),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("quote_all_identifiers", "off"),
    ("default_transaction_isolation", "read\\ committed"),
    // Rows that a policy hides would be lost in silence: fail instead.
    ("row_security", "off"),
    // What could end us.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_deferrable", "off"),
    // When our host vanishes, the server ends what we had open within a
    // minute, not within the hours that its system waits by default.
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "4"),
];

/// For sessions that hold what others wait for: an answer that was sent to a
/// host that vanished keeps the keepalives from asking, so it is given up too.
/// Not for sessions that send rows: a reader that is slow on purpose would be
/// taken for one that is gone.
pub(crate) const GIVE_UP: &str = "SET tcp_user_timeout = 30000";

/// The value of the start-up parameter `options`: the user's, then ours,
/// which win.
pub(crate) fn options(config: &PgConfig) -> String {
    let mut options = config.options().unwrap_or_default().to_owned();
    for (name, value) in SETTINGS {
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str("-c ");
        options.push_str(name);
        options.push('=');
        options.push_str(value);
    }
    options
}

/// The same for settings that only newer servers know, as a statement to run
/// first; empty for those that lack them.
pub(crate) fn late_settings(server_version_num: u32) -> &'static str {
    match server_version_num {
        170_000.. => "SET idle_session_timeout = 0; SET transaction_timeout = 0",
        140_000.. => "SET idle_session_timeout = 0",
        _ => "",
    }
}

/// What a session calls itself in `pg_stat_activity`; the server cuts it at 63
/// bytes.
pub(crate) fn application_name(config: &PgConfig, purpose: &str) -> String {
    format!("{} {purpose}", config.application_name())
}

/// `server_version_num` from the text of `server_version`, such as `15.18
/// (Debian 15.18-0+deb12u1)`, `17beta1` or `9.6.24`.
pub(crate) fn version_num(text: &str) -> Option<u32> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (major, rest) = text.split_at(digits(text));
    let major: u32 = major.parse().ok()?;
    let minor = rest.strip_prefix('.').map(|rest| &rest[..digits(rest)]);
    let minor: u32 = minor.map_or(Some(0), |minor| minor.parse().ok())?;
    // Before 10 there were three numbers; the last does not matter to us.
    let scale = if major < 10 { 100 } else { 1 };
    major.checked_mul(10_000)?.checked_add(minor.checked_mul(scale)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_settings_come_after_the_users() {
        let config = PgConfig::builder().user("u").options("-c work_mem=4MB").build().unwrap();
        let options = options(&config);
        assert!(options.starts_with("-c work_mem=4MB -c client_encoding=UTF8 "));
        assert!(options.contains(" -c search_path= -c "));
        assert!(options.contains(" -c tcp_keepalives_idle=15 -c "), "a host that vanished is noticed");
    }

    #[test]
    fn versions_are_read_from_their_text() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", Some(150_018)),
            ("17beta1", Some(170_000)),
            ("18devel", Some(180_000)),
            ("9.6.24", Some(90_600)),
            ("", None),
            ("x", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(version_num(text), number, "{text}");
        }
    }
}
