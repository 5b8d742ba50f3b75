//! What users write to name a server, for fuzzers.

use super::PgConfigBuilder;
use super::passfile::{Wanted, find};

/// A URL or a `key=value` string. Neither the environment nor a password file
/// is looked at.
pub fn connection_string(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(mut builder) = PgConfigBuilder::parse(text) else { return false };
    builder.passfile = None;
    let Ok(config) = builder.build_with(&|_| None) else { return false };
    assert!(!config.host().is_empty() && config.port() > 0 && !config.user().is_empty(), "{config:?}");
    true
}

/// A password file.
pub fn password_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let wanted = Wanted { host: "db1", port: 5432, dbname: "shop", user: "a:b" };
    let Some(password) = find(text, &wanted) else { return false };
    assert!(!password.expose().is_empty(), "an empty password is none");
    true
}
