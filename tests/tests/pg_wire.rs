//! Logins, TLS, settings and the replication stream, against a real server.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::time::Duration;

use zdm_core::ErrorKind;
use zdm_pg::config::{ChannelBinding, PgConfig, PgConfigBuilder, RootCert, SslMode};
use zdm_pg::probe::{Log, Read, Replication, Sql};
use zdm_servers::postgres::{Auth, PgOptions, Postgres, StopMode, TlsMode};

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(server: &Postgres) -> PgConfigBuilder {
    let builder =
        PgConfig::builder().host(server.host()).port(server.port()).user(server.user()).dbname("postgres");
    match server.password() {
        Some(password) => builder.password(password),
        None => builder,
    }
}

fn options(name: &str) -> [(&'static str, String); 2] {
    [("proto_version", "1".to_owned()), ("publication_names", format!("\"{name}\""))]
}

async fn stream(server: &Postgres, slot: &str) -> (Log, i32) {
    let replication = Replication::connect(&config(server).build().unwrap()).await.unwrap();
    let process = replication.process_id();
    let options = options("p");
    let options: Vec<(&str, &str)> = options.iter().map(|(k, v)| (*k, v.as_str())).collect();
    (replication.start(slot, 0, &options).await.unwrap(), process)
}

/// A server with a table, a publication and a slot made over the wire.
async fn source() -> Postgres {
    let server = Postgres::start(PgOptions::new().setting("wal_sender_timeout", "2s")).await.unwrap();
    server
        .execute("CREATE TABLE t (id bigint PRIMARY KEY, v text); CREATE PUBLICATION p FOR TABLE t")
        .await
        .unwrap();
    let mut replication = Replication::connect(&config(&server).build().unwrap()).await.unwrap();
    let made =
        replication.query("CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput NOEXPORT_SNAPSHOT").await.unwrap();
    assert_eq!(made[0][0].as_deref(), Some("s"));
    server
}

/// Reads until something has been seen, and fails when it never comes.
async fn until(log: &mut Log, mut seen: impl FnMut(&Read) -> bool) {
    let wait = async { while !seen(&log.read().await.unwrap()) {} };
    tokio::time::timeout(PATIENCE, wait).await.expect("the stream brings what was awaited");
}

#[tokio::test]
async fn every_way_to_log_in() {
    for auth in [Auth::Trust, Auth::Password, Auth::Md5, Auth::Scram] {
        let server = Postgres::start(PgOptions::new().auth(auth)).await.unwrap();
        let right = config(&server).build().unwrap();
        let mut replication = Replication::connect(&right).await.unwrap();
        let (system, timeline, _, dbname) = replication.identify().await.unwrap();
        assert_eq!((timeline, dbname.as_str()), (1, "postgres"), "{auth:?}");
        let control = Sql::connect(&right).await.unwrap();
        let known = control.value("SELECT system_identifier FROM pg_control_system()").await.unwrap();
        assert_eq!(known, Some(system));
        assert_eq!(replication.version(), control.version());
        if auth == Auth::Trust {
            continue;
        }
        let wrong = config(&server).password("wr0ng").build().unwrap();
        let none = PgConfig::builder().host(server.host()).port(server.port()).user(server.user());
        let none = none.passfile("/nonexistent").build().unwrap();
        for config in [wrong, none] {
            for error in
                [Replication::connect(&config).await.unwrap_err(), Sql::connect(&config).await.unwrap_err()]
            {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("wr0ng"), "{shown}");
                let refused = matches!(error.kind(), ErrorKind::Authentication | ErrorKind::Config);
                assert!(refused && !error.is_retryable(), "{auth:?}: {shown}");
            }
        }
    }
}

#[tokio::test]
async fn tls_is_as_strict_as_its_mode() {
    let server = Postgres::start(PgOptions::new().auth(Auth::Scram).tls(TlsMode::Required)).await.unwrap();
    let other = Postgres::start(PgOptions::new().tls(TlsMode::Offered)).await.unwrap();
    let (ours, theirs) = (server.tls().unwrap().ca(), other.tls().unwrap().ca());
    let root = |path: &std::path::Path| RootCert::from(path.to_path_buf());
    let name = |host: &str| config(&server).host(host).hostaddr(std::net::Ipv4Addr::LOCALHOST);
    for (what, config, works) in [
        ("prefer", config(&server), true),
        ("require", config(&server).sslmode(SslMode::Require), true),
        ("disable", config(&server).sslmode(SslMode::Disable), false),
        (
            "require, other authority",
            config(&server).sslmode(SslMode::Require).sslrootcert(root(&theirs)),
            false,
        ),
        ("verify-ca", name("elsewhere").sslmode(SslMode::VerifyCa).sslrootcert(root(&ours)), true),
        ("verify-ca, other", config(&server).sslmode(SslMode::VerifyCa).sslrootcert(root(&theirs)), false),
        ("verify-full", name("localhost").sslmode(SslMode::VerifyFull).sslrootcert(root(&ours)), true),
        ("verify-full, address", config(&server).sslmode(SslMode::VerifyFull).sslrootcert(root(&ours)), true),
        ("verify-full, name", name("elsewhere").sslmode(SslMode::VerifyFull).sslrootcert(root(&ours)), false),
        ("system", config(&server).sslrootcert(RootCert::System), false),
        (
            "pinned",
            config(&server)
                .sslmode(SslMode::VerifyCa)
                .sslrootcert(root(&server.tls().unwrap().server_certificate())),
            true,
        ),
        ("bound", config(&server).sslmode(SslMode::Require).channel_binding(ChannelBinding::Require), true),
    ] {
        let config = config.build().unwrap();
        let (wire, control) = (Replication::connect(&config).await, Sql::connect(&config).await);
        assert_eq!((wire.is_ok(), control.is_ok()), (works, works), "{what}: {wire:?} {control:?}");
        if let (Ok(control), Ok(wire)) = (control, wire) {
            let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            assert_eq!(control.value(ssl).await.unwrap().as_deref(), Some("t"), "{what}");
            let theirs = format!("SELECT ssl FROM pg_stat_ssl WHERE pid = {}", wire.process_id());
            assert_eq!(control.value(&theirs).await.unwrap().as_deref(), Some("t"), "{what}");
            control.cancel().await.unwrap();
        }
    }
    // A server without TLS.
    let plain = Postgres::start(PgOptions::new().auth(Auth::Scram)).await.unwrap();
    Replication::connect(&config(&plain).build().unwrap()).await.unwrap();
    for builder in
        [config(&plain).sslmode(SslMode::Require), config(&plain).channel_binding(ChannelBinding::Require)]
    {
        let config = builder.build().unwrap();
        assert!(!Replication::connect(&config).await.unwrap_err().is_retryable());
        Sql::connect(&config).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let server = Postgres::start(PgOptions::new().auth(Auth::Cert).tls(TlsMode::Required)).await.unwrap();
    let identity = server.tls().unwrap().client("postgres").unwrap();
    let with = config(&server).sslmode(SslMode::Require).sslcert(identity.certificate).sslkey(identity.key);
    Replication::connect(&with.clone().build().unwrap()).await.unwrap();
    Sql::connect(&with.build().unwrap()).await.unwrap();
    let without = config(&server).sslmode(SslMode::Require).build().unwrap();
    assert_eq!(Replication::connect(&without).await.unwrap_err().kind(), ErrorKind::Authentication);
}

#[tokio::test]
async fn prefer_falls_back_where_the_rules_refuse_tls() {
    let rules = PgOptions::new().tls(TlsMode::Offered).hba("hostssl all all 127.0.0.1/32 reject");
    let server = Postgres::start(rules).await.unwrap();
    Replication::connect(&config(&server).build().unwrap()).await.unwrap();
    Sql::connect(&config(&server).build().unwrap()).await.unwrap();
}

#[tokio::test]
async fn unix_sockets_lead_in_too() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let Ok(folder) = server.socket_dir() else { return };
    let config = PgConfig::builder().host(folder.to_string_lossy()).port(server.port()).user(server.user());
    let config = config.sslmode(SslMode::Require).dbname("postgres").build().unwrap();
    Replication::connect(&config).await.unwrap().identify().await.unwrap();
    Sql::connect(&config).await.unwrap();
}

#[tokio::test]
async fn both_kinds_of_session_show_values_alike() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let database = server.create_database("odd").await.unwrap();
    for setting in [
        "datestyle = 'SQL, DMY'",
        "timezone = 'Asia/Kolkata'",
        "intervalstyle = 'sql_standard'",
        "extra_float_digits = -3",
        "bytea_output = 'escape'",
        "search_path = 'evil'",
        "statement_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "row_security = on",
        "default_transaction_isolation = 'serializable'",
    ] {
        server.execute(&format!("ALTER DATABASE \"{}\" SET {setting}", database.name())).await.unwrap();
    }
    let config = config(&server).dbname(database.name()).options("-c datestyle=German").build().unwrap();
    let mut replication = Replication::connect(&config).await.unwrap();
    let control = Sql::connect(&config).await.unwrap();
    for (sql, shown) in [
        ("SELECT '2024-02-01 10:00+02'::timestamptz", "2024-02-01 08:00:00+00"),
        ("SELECT '1 year -2 days'::interval", "1 year -2 days"),
        ("SELECT 0.1::float4::float8", "0.10000000149011612"),
        ("SELECT '\\x00ff'::bytea", "\\x00ff"),
        ("SELECT current_setting('search_path')", ""),
        ("SELECT current_setting('application_name')", "zdm probe"),
        ("SELECT current_setting('row_security')", "off"),
        ("SELECT current_setting('transaction_isolation')", "read committed"),
        ("SELECT current_setting('client_encoding')", "UTF8"),
        ("SELECT 'done' FROM pg_sleep(0.01)", "done"),
    ] {
        assert_eq!(control.value(sql).await.unwrap().as_deref(), Some(shown), "{sql}");
        assert_eq!(replication.query(sql).await.unwrap()[0][0].as_deref(), Some(shown), "{sql}");
    }
}

#[tokio::test]
async fn the_log_streams_is_acknowledged_and_ends_in_order() {
    let server = source().await;
    let (mut log, process) = stream(&server, "s").await;
    server
        .execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i")
        .await
        .unwrap();
    let (mut inserts, mut end) = (0, 0);
    until(&mut log, |read| {
        inserts += read.payloads.iter().filter(|payload| payload[0] == b'I').count();
        end = end.max(read.end);
        read.payloads.iter().any(|payload| payload[0] == b'C')
    })
    .await;
    assert_eq!(inserts, 20000);
    log.status(end, true).await.unwrap();
    until(&mut log, |read| read.keepalives > 0).await;
    let flushed = server.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots").await.unwrap();
    assert_eq!(flushed, format!("{:X}/{:X}", end >> 32, end & 0xffff_ffff));
    // A slot serves one reader at a time.
    let second = Replication::connect(&config(&server).build().unwrap()).await.unwrap();
    let error =
        second.start("s", 0, &[("proto_version", "1"), ("publication_names", "p")]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error}");
    let missing = Replication::connect(&config(&server).build().unwrap()).await.unwrap();
    assert_eq!(missing.start("none", 0, &[]).await.unwrap_err().kind(), ErrorKind::NotFound);
    // The server asks before its patience ends; a late answer is still an answer.
    until(&mut log, |read| read.reply_wanted).await;
    log.status(end, false).await.unwrap();
    log.finish(PATIENCE).await.unwrap();
    let left = format!("SELECT count(*)::text FROM pg_stat_activity WHERE pid = {process}");
    let gone = async {
        while server.value(&left).await.unwrap() != "0" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn a_large_value_arrives_whole() {
    let server = source().await;
    let (mut log, _) = stream(&server, "s").await;
    server.execute("INSERT INTO t VALUES (1, repeat('large', 4000000))").await.unwrap();
    let mut largest = 0;
    until(&mut log, |read| {
        largest = read.payloads.iter().map(Vec::len).fold(largest, usize::max);
        read.payloads.iter().any(|payload| payload[0] == b'C')
    })
    .await;
    assert!(largest > 20_000_000);
}

#[tokio::test]
async fn a_killed_backend_and_a_stopped_server_are_lost_connections() {
    let server = source().await;
    let (mut log, process) = stream(&server, "s").await;
    server.execute(&format!("SELECT pg_terminate_backend({process})")).await.unwrap();
    let error = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(error) = log.read().await {
                return error;
            }
        }
    });
    let error = error.await.unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Connection, true), "{error}");
    assert!(error.to_string().contains("57P01"), "{error}");

    if server.is_external() {
        return;
    }
    let (mut log, _) = stream(&server, "s").await;
    let control = Sql::connect(&config(&server).build().unwrap()).await.unwrap();
    server.stop(StopMode::Immediate).await.unwrap();
    let ended = async {
        loop {
            match log.read().await {
                Ok(read) if read.ended => return ErrorKind::Connection,
                Ok(_) => {}
                Err(error) => return error.kind(),
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap(), ErrorKind::Connection);
    let error = control.value("SELECT 1").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Connection, true), "{error}");
    let error = Replication::connect(&config(&server).build().unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Connection, true), "{error}");
}

#[tokio::test]
async fn the_servers_refusals_become_kinds() {
    let server = Postgres::start(PgOptions::new().auth(Auth::Scram)).await.unwrap();
    let user = server.create_user("reader", "").await.unwrap();
    let reader = config(&server).user(user.name).password(user.password).build().unwrap();
    let error = Replication::connect(&reader).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    let control = Sql::connect(&reader).await.unwrap();
    for (sql, kind) in [
        ("CREATE ROLE x", ErrorKind::Permission),
        ("SELECT * FROM nowhere.t", ErrorKind::NotFound),
        ("SELECT 1/0", ErrorKind::Rejected),
    ] {
        assert_eq!(control.value(sql).await.unwrap_err().kind(), kind, "{sql}");
    }
    let nowhere = config(&server).dbname("nowhere").build().unwrap();
    assert_eq!(Sql::connect(&nowhere).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Replication::connect(&nowhere).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_silent_server_does_not_hold_us_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = PgConfig::builder().host("127.0.0.1").port(port).user("u");
    let config = config.connect_timeout(Duration::from_millis(50)).build().unwrap();
    assert_eq!(Replication::connect(&config).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(Sql::connect(&config).await.unwrap_err().kind(), ErrorKind::Timeout);
}
