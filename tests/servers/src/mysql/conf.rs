//! The configuration file of a server.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::hash::BuildHasher;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::options::{Flavor, MySqlOptions, RowMetadata};
use super::programs::Programs;
use super::user::ED25519;
use crate::account::Account;
use crate::error::{Doing, Result};
use crate::tls::{TlsFiles, TlsMode};

/// Writes the file of a server in `dir`, and returns its path.
pub(crate) fn write(
    programs: &Programs,
    dir: &Path,
    tls: Option<&TlsFiles>,
    options: &MySqlOptions,
) -> Result<PathBuf> {
    let mut text = base(programs, dir);
    let mut set = |name: &str, value: &str| text.push_str(&line(name, value));
    set("bind_address", "127.0.0.1");
    // Two with one number would throw each other out of a source.
    set("server_id", &(1 + RandomState::new().hash_one(0) % 0x7fff_fffe).to_string());
    set("local_infile", on(options.local_infile));
    set("sync_binlog", if options.durable { "1" } else { "0" });
    set("innodb_flush_log_at_trx_commit", if options.durable { "1" } else { "2" });
    match (options.flavor, options.binlog) {
        (_, true) => {
            set("log_bin", "binlog");
            set("binlog_row_image", "FULL");
        }
        (Flavor::MySql, false) => set("skip_log_bin", ""),
        (Flavor::MariaDb, false) => {}
    }
    match options.row_metadata {
        RowMetadata::Default => {}
        RowMetadata::Minimal => set("binlog_row_metadata", "MINIMAL"),
        RowMetadata::Full => set("binlog_row_metadata", "FULL"),
    }
    match options.flavor {
        Flavor::MySql => {
            set("gtid_mode", on(options.gtids));
            set("enforce_gtid_consistency", on(options.gtids));
        }
        Flavor::MariaDb => {
            if options.needs_ed25519() {
                set("plugin_load_add", ED25519);
            }
            // MySQL has had the rest by itself for long.
            set("binlog_format", "ROW");
            if options.binlog {
                set("log_slave_updates", "ON");
            }
        }
    }
    match tls {
        Some(tls) => {
            set("ssl_ca", &tls.ca().to_string_lossy());
            set("ssl_cert", &tls.server_certificate().to_string_lossy());
            set("ssl_key", &tls.server_key().to_string_lossy());
        }
        // Newer ones would make a certificate of their own.
        None if options.flavor == Flavor::MariaDb => set("ssl", "0"),
        None => set("tls_version", "\"\""),
    }
    if options.tls == TlsMode::Required {
        set("require_secure_transport", "ON");
    }
    for (name, value) in &options.settings {
        set(name, value);
    }
    save(dir, &text)
}

/// Writes the file of the server that fills a data folder.
pub(crate) fn of_template(programs: &Programs, dir: &Path) -> Result<PathBuf> {
    let mut text = base(programs, dir);
    if programs.flavor == Flavor::MySql {
        text.push_str(&line("skip_log_bin", ""));
    }
    save(dir, &text)
}

/// Adds a setting, for the next start.
pub(crate) fn set(dir: &Path, name: &str, value: &str) -> Result<()> {
    let path = path(dir);
    let doing = || format!("writing {}", path.display());
    let mut file = OpenOptions::new().append(true).open(&path).doing(doing)?;
    file.write_all(line(name, value).as_bytes()).doing(doing)
}

/// Where the file of a server in `dir` is.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("my.cnf")
}

/// What a data folder is filled with and then run with.
fn base(programs: &Programs, dir: &Path) -> String {
    let mut text = String::from("[mysqld]\n");
    let mut set = |name: &str, value: &str| text.push_str(&line(name, value));
    for (name, path) in programs.places() {
        set(name, &path.to_string_lossy());
    }
    set("datadir", &dir.join("data").to_string_lossy());
    set("socket", &dir.join("socket").to_string_lossy());
    set("pid_file", &dir.join("data/server.pid").to_string_lossy());
    set("tmpdir", &dir.to_string_lossy());
    // Files may be loaded from anywhere that the account can read.
    set("secure_file_priv", "\"\"");
    set("default_time_zone", "+00:00");
    set("character_set_server", "utf8mb4");
    set("skip_name_resolve", "ON");
    set("performance_schema", "OFF");
    set("max_connections", "100");
    set("max_allowed_packet", "64M");
    set("table_open_cache", "400");
    set("table_definition_cache", "400");
    set("key_buffer_size", "1M");
    set("innodb_buffer_pool_size", "32M");
    // The kernel grants it to a few only.
    set("innodb_use_native_aio", "OFF");
    match programs.flavor {
        Flavor::MySql => {
            set("mysqlx", "OFF");
            // Older ones have files of a fixed size instead, and 8.0 both.
            if programs.at_least(8, 4) {
                set("innodb_redo_log_capacity", "32M");
            }
        }
        Flavor::MariaDb => {
            set("innodb_log_file_size", "32M");
            set("innodb_undo_tablespaces", "0");
        }
    }
    text
}

fn on(yes: bool) -> &'static str {
    if yes { "ON" } else { "OFF" }
}

fn line(name: &str, value: &str) -> String {
    match value {
        "" => format!("{name}\n"),
        value => format!("{name} = {value}\n"),
    }
}

fn save(dir: &Path, text: &str) -> Result<PathBuf> {
    let path = path(dir);
    let mut all = String::from("# Made for one server of a test.\n");
    let _ = write!(all, "{text}");
    fs::write(&path, all).doing(|| format!("writing {}", path.display()))?;
    Account::of_servers().give(&path)?;
    Ok(path)
}
