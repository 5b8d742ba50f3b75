//! The two configuration files of a server.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::options::{Auth, PgOptions};
use crate::error::{Doing, Result};
use crate::tls::{TlsFiles, TlsMode};

/// Appends our settings to `postgresql.conf`, where the last line of a name wins.
pub(crate) fn append(data: &Path, sockets: &Path, tls: Option<&TlsFiles>, options: &PgOptions) -> Result<()> {
    let mut text = String::from("\n");
    let mut set = |name: &str, value: &str| text.push_str(&line(name, value));
    set("listen_addresses", "127.0.0.1");
    set("unix_socket_directories", &sockets.to_string_lossy());
    set("wal_level", "logical");
    set("max_wal_senders", "20");
    set("max_replication_slots", "20");
    set("max_prepared_transactions", "20");
    set("timezone", "UTC");
    set("log_timezone", "UTC");
    set("log_line_prefix", "%m [%p] %q%u@%d %a ");
    // In the data folder, so that a killed server leaves nothing in /dev/shm.
    set("dynamic_shared_memory_type", "mmap");
    set("password_encryption", options.auth.encryption());
    if !options.durable {
        // synchronous_commit stays on: without it the log is written late, and
        // logical decoding would see commits later than a real server's clients.
        set("fsync", "off");
        set("full_page_writes", "off");
    }
    if let Some(tls) = tls {
        set("ssl", "on");
        set("ssl_cert_file", &tls.server_certificate().to_string_lossy());
        set("ssl_key_file", &tls.server_key().to_string_lossy());
        set("ssl_ca_file", &tls.ca().to_string_lossy());
    }
    for (name, value) in &options.settings {
        set(name, value);
    }
    write(data, &text)?;
    let hba = data.join("pg_hba.conf");
    fs::write(&hba, self::hba(options)).doing(|| format!("writing {}", hba.display()))
}

/// Appends one setting.
pub(crate) fn set(data: &Path, name: &str, value: &str) -> Result<()> {
    write(data, &line(name, value))
}

fn line(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\\', r"\\").replace('\'', "''"))
}

fn write(data: &Path, text: &str) -> Result<()> {
    let path = data.join("postgresql.conf");
    let doing = || format!("writing {}", path.display());
    let mut file = OpenOptions::new().append(true).open(&path).doing(doing)?;
    file.write_all(text.as_bytes()).doing(doing)
}

fn hba(options: &PgOptions) -> String {
    let mut text = String::from("local all all trust\nlocal replication all trust\n");
    for line in &options.hba {
        text.push_str(line);
        text.push('\n');
    }
    let kind = match (options.auth, options.tls) {
        (Auth::Cert, _) | (_, TlsMode::Required) => "hostssl",
        _ => "host",
    };
    for database in ["all", "replication"] {
        let _ = writeln!(text, "{kind} {database} all 127.0.0.1/32 {}", options.auth.method());
    }
    text
}
