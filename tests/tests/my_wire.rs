//! Logins, TLS, settings and the dump of the binary log, against real servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::time::Duration;

use zdm_core::ErrorKind;
use zdm_mysql::config::{Compression, MySqlConfig, MySqlConfigBuilder, SslMode};
use zdm_mysql::probe::{Log, Replication, Sql};
use zdm_servers::mysql::{AuthPlugin, Flavor, MySql, MySqlOptions, User};
use zdm_servers::{ClientIdentity, TlsMode};

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every kind of server that zdm is tested with.
fn each() -> [MySqlOptions; 3] {
    [
        MySqlOptions::mariadb().version("10.11"),
        MySqlOptions::mariadb().version("11.8"),
        MySqlOptions::mysql().version("9"),
    ]
}

fn config(server: &MySql) -> MySqlConfigBuilder {
    let builder = MySqlConfig::builder().host(server.host()).port(server.port()).user(server.user());
    match server.password() {
        Some(password) => builder.password(password),
        None => builder,
    }
}

/// Logs in over both of our connections: what each says of the user and of TLS.
async fn log_in(config: &MySqlConfig) -> zdm_core::Result<[(String, bool); 2]> {
    let mut replication = Replication::connect(config).await?;
    let mut sql = Sql::connect(config).await?;
    let who = "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)";
    let cipher =
        "SELECT VARIABLE_VALUE FROM information_schema.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'";
    let cipher = if sql.server().starts_with("MySQL") {
        cipher.replace("information_schema", "performance_schema")
    } else {
        cipher.to_owned()
    };
    let first = replication.query(who).await?.remove(0).unwrap();
    let first_tls = replication.query(&cipher).await?.remove(0).is_some_and(|cipher| !cipher.is_empty());
    let second = sql.value(who).await?.unwrap();
    let second_tls = sql.value(&cipher).await?.is_some_and(|cipher| !cipher.is_empty());
    Ok([(first, first_tls), (second, second_tls)])
}

fn users(flavor: Flavor) -> Vec<User> {
    let plugins: &[AuthPlugin] = match flavor {
        Flavor::MySql => &[AuthPlugin::Default, AuthPlugin::CachingSha2],
        Flavor::MariaDb => &[AuthPlugin::Default, AuthPlugin::Native, AuthPlugin::Ed25519],
    };
    plugins
        .iter()
        .enumerate()
        .map(|(n, plugin)| User::new(format!("user{n}"), "sécret p@ss").plugin(*plugin))
        .chain([User::new("empty", "")])
        .collect()
}

#[tokio::test]
async fn every_plugin_logs_in_with_and_without_tls() {
    for options in each() {
        let users = users(options.flavor());
        let options = users.iter().fold(options, |options, user| options.user(user.clone()));
        let server = MySql::start(options.tls(TlsMode::Offered)).await.unwrap();
        let authority = server.tls().unwrap().ca();
        for user in &users {
            let with = |mode| {
                let config = config(&server).user(&user.name).password(user.password.as_str()).ssl_mode(mode);
                config.host("localhost").ssl_ca(authority.clone())
            };
            for mode in [
                SslMode::Disabled,
                SslMode::Preferred,
                SslMode::Required,
                SslMode::VerifyCa,
                SslMode::VerifyIdentity,
            ] {
                // Fast from the second time on: the server remembers.
                for time in 0..2 {
                    if server.flavor() == Flavor::MySql && time == 0 {
                        server.execute("FLUSH PRIVILEGES").await.unwrap();
                    }
                    for compression in compressions(&server) {
                        let config = match compression {
                            Some(compression) => with(mode).compression(compression),
                            None => with(mode),
                        };
                        let found = log_in(&config.build().unwrap()).await;
                        let found =
                            found.unwrap_or_else(|e| panic!("{user:?} {mode} {time} {compression:?}: {e}"));
                        let tls = mode != SslMode::Disabled;
                        assert_eq!(found, [(user.name.clone(), tls), (user.name.clone(), tls)], "{mode}");
                    }
                }
            }
            if user.password.is_empty() {
                continue;
            }
            let wrong = with(SslMode::Required).password("wr0ng").build().unwrap();
            for error in
                [Replication::connect(&wrong).await.unwrap_err(), Sql::connect(&wrong).await.unwrap_err()]
            {
                assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
                assert!(!format!("{error} {error:?}").contains("wr0ng"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused() {
    for options in each() {
        let server = MySql::start(options.clone().tls(TlsMode::Offered)).await.unwrap();
        let other = MySql::start(options.tls(TlsMode::Offered)).await.unwrap();
        let (right, wrong) = (server.tls().unwrap().ca(), other.tls().unwrap().ca());
        for (mode, host, authority, accepted) in [
            (SslMode::Required, "127.0.0.1", &wrong, true),
            (SslMode::VerifyCa, "127.0.0.1", &wrong, false),
            (SslMode::VerifyIdentity, "localhost", &wrong, false),
            (SslMode::VerifyIdentity, "localhost", &right, true),
            // Leads to the same server; no certificate has that name.
            (SslMode::VerifyIdentity, "0.0.0.0", &right, false),
            (SslMode::VerifyCa, "0.0.0.0", &right, true),
        ] {
            let config = config(&server).host(host).ssl_mode(mode).ssl_ca(authority.clone()).build().unwrap();
            let outcomes =
                [Replication::connect(&config).await.map(drop), Sql::connect(&config).await.map(drop)];
            for outcome in outcomes {
                match outcome {
                    Ok(()) => assert!(accepted, "{mode} {host}"),
                    Err(error) => {
                        assert!(!accepted, "{mode} {host}: {error}");
                        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn what_the_server_lacks_is_said() {
    for options in each() {
        // MySQL speaks TLS in any case.
        if options.flavor() == Flavor::MySql {
            continue;
        }
        let server = MySql::start(options).await.unwrap();
        let preferred = config(&server).ssl_mode(SslMode::Preferred).build().unwrap();
        assert_eq!(log_in(&preferred).await.unwrap().map(|(_, tls)| tls), [false, false]);
        let required = config(&server).ssl_mode(SslMode::Required).build().unwrap();
        for error in
            [Replication::connect(&required).await.unwrap_err(), Sql::connect(&required).await.unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains("does not offer tls"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_insists_on_tls_gets_it() {
    for options in each() {
        let user = User::new("me", "secret");
        let server = MySql::start(options.tls(TlsMode::Required).user(user)).await.unwrap();
        let with = |mode| config(&server).user("me").password("secret").ssl_mode(mode).build().unwrap();
        assert_eq!(log_in(&with(SslMode::Preferred)).await.unwrap().map(|(_, tls)| tls), [true, true]);
        let plain = with(SslMode::Disabled);
        for error in
            [Replication::connect(&plain).await.unwrap_err(), Sql::connect(&plain).await.unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
            assert!(error.to_string().contains("ssl-mode=required"), "{error}");
        }
    }
}

/// A user who has to bring a certificate, by a URL as people write it: both of
/// our connections bring it.
#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let stranger =
        MySql::start(MySqlOptions::mariadb().version("10.11").tls(TlsMode::Offered)).await.unwrap();
    for options in each() {
        let server =
            MySql::start(options.tls(TlsMode::Offered).user(User::new("me", "secret"))).await.unwrap();
        server.execute("ALTER USER me@'%' REQUIRE X509").await.unwrap();
        let tls = server.tls().unwrap();
        let ours = tls.client("me").unwrap();
        let of_nobody = stranger.tls().unwrap().client("me").unwrap();
        let url = |mode: &str, identity: Option<&ClientIdentity>| {
            let mut url = format!(
                "mysql://me:secret@localhost:{}/?ssl-mode={mode}&ssl-ca={}",
                server.port(),
                tls.ca().display()
            );
            if let Some(ClientIdentity { certificate, key }) = identity {
                url += &format!("&ssl-cert={}&ssl-key={}", certificate.display(), key.display());
            }
            MySqlConfig::parse(&url).unwrap()
        };
        for mode in ["preferred", "required", "verify_ca", "verify_identity"] {
            let found =
                log_in(&url(mode, Some(&ours))).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
            assert_eq!(found, [("me".to_owned(), true), ("me".to_owned(), true)], "{mode}");
        }
        // Without one, with one that the server does not know who has signed,
        // and where none is sent.
        for (config, kind) in [
            (url("verify_ca", None), ErrorKind::Authentication),
            (url("verify_ca", Some(&of_nobody)), ErrorKind::Protocol),
            (url("disabled", Some(&ours)), ErrorKind::Authentication),
        ] {
            for error in
                [Replication::connect(&config).await.unwrap_err(), Sql::connect(&config).await.unwrap_err()]
            {
                assert_eq!(error.kind(), kind, "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_socket_is_a_way_in() {
    for options in each() {
        let server = MySql::start(options).await.unwrap();
        let config = config(&server).socket(server.socket().unwrap()).ssl_mode(SslMode::Required);
        // Nobody is in between: TLS is neither possible nor missed.
        assert_eq!(log_in(&config.build().unwrap()).await.unwrap().map(|(_, tls)| tls), [false, false]);
        let nowhere = MySqlConfig::builder().socket("/nonexistent/my.sock").user("root").build().unwrap();
        for error in
            [Replication::connect(&nowhere).await.unwrap_err(), Sql::connect(&nowhere).await.unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        }
    }
}

#[tokio::test]
async fn sessions_are_settled_whatever_the_server_does_by_itself() {
    for options in each() {
        let odd = options
            .setting("default_time_zone", "+05:30")
            .setting("sql_mode", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH")
            .setting("autocommit", 0)
            .setting("character_set_server", "latin1")
            .setting("wait_timeout", 7);
        let server = MySql::start(odd).await.unwrap();
        let mut sql = Sql::connect(&config(&server).lock_timeout(Duration::from_secs(9)).build().unwrap())
            .await
            .unwrap();
        for (setting, value) in [
            ("time_zone", "+00:00"),
            ("autocommit", "1"),
            ("character_set_client", "utf8mb4"),
            ("character_set_results", "utf8mb4"),
            ("lock_wait_timeout", "9"),
            ("innodb_lock_wait_timeout", "9"),
            ("wait_timeout", "28800"),
        ] {
            let is = sql.value(&format!("SELECT @@session.{setting}")).await.unwrap();
            assert_eq!(is.as_deref(), Some(value), "{setting}");
        }
        assert_eq!(sql.value("SELECT 'a\\'b'").await.unwrap().as_deref(), Some("a'b"));
        let version = server.version().await.unwrap();
        assert!(version.starts_with(sql.server().split_once(' ').unwrap().1), "{version} {}", sql.server());
    }
}

/// Reads events until one of that kind has come, and fails when it never does.
async fn until(log: &mut Log, kind: u8) -> Vec<u8> {
    let wait = async {
        loop {
            let events = log.read().await.unwrap();
            if let Some(event) = events.into_iter().find(|event| event[4] == kind) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the log brings what was awaited")
}

const HEARTBEATS: [u8; 2] = [27, 41];
const TABLE_MAP: u8 = 19;

async fn position(server: &MySql) -> String {
    let statement = match server.flavor() {
        Flavor::MySql => "SELECT @@global.gtid_executed",
        Flavor::MariaDb => "SELECT IF(@@global.gtid_binlog_pos = '', '-', @@global.gtid_binlog_pos)",
    };
    server.value(statement).await.unwrap()
}

/// What that server has.
fn compressions(server: &MySql) -> Vec<Option<Compression>> {
    let mut all = vec![None, Some(Compression::Zlib)];
    all.extend((server.flavor() == Flavor::MySql).then_some(Some(Compression::Zstd)));
    all
}

#[tokio::test]
async fn a_dump_brings_what_comes_and_beats_while_nothing_does() {
    for options in each() {
        let server = MySql::start(options.database("d")).await.unwrap();
        server.execute("CREATE TABLE d.t (id INT PRIMARY KEY)").await.unwrap();
        for compression in compressions(&server) {
            let config = config(&server).heartbeat(Duration::from_millis(100));
            let config = match compression {
                Some(compression) => config.compression(compression),
                None => config,
            };
            let replication = Replication::connect(&config.build().unwrap()).await.unwrap();
            let mut log = replication.dump(77, &position(&server).await).await.unwrap();
            server.execute("DELETE FROM d.t; INSERT INTO d.t VALUES (1)").await.unwrap();
            let map = until(&mut log, TABLE_MAP).await;
            assert!(map.windows(4).any(|bytes| bytes == b"d\0\x01t"), "{map:?}");
            let beats = async {
                let mut beats = 0;
                while beats < 3 {
                    let events = log.read().await.unwrap();
                    beats += events.iter().filter(|event| HEARTBEATS.contains(&event[4])).count();
                }
            };
            tokio::time::timeout(PATIENCE, beats).await.expect("the server shows its life");
        }
    }
}

#[tokio::test]
async fn a_large_event_comes_compressed_in_each_way() {
    for options in each() {
        let server = MySql::start(options.database("d")).await.unwrap();
        server.execute("CREATE TABLE d.t (v LONGTEXT)").await.unwrap();
        for compression in compressions(&server) {
            let config = match compression {
                Some(compression) => config(&server).compression(compression),
                None => config(&server),
            };
            let replication = Replication::connect(&config.build().unwrap()).await.unwrap();
            let mut log = replication.dump(77, &position(&server).await).await.unwrap();
            // Larger than a packet can be, and with little in it.
            server.execute("INSERT INTO d.t VALUES (REPEAT('abcdefgh', 2500000))").await.unwrap();
            let large = async {
                loop {
                    let events = log.read().await.unwrap();
                    if let Some(event) = events.iter().find(|event| event.len() > 20_000_000) {
                        return event.windows(8).filter(|bytes| bytes == b"abcdefgh").count();
                    }
                }
            };
            let found = tokio::time::timeout(PATIENCE, large).await.expect("the event comes");
            assert_eq!(found, 2_500_000, "{compression:?}");
        }
        if server.flavor() == Flavor::MariaDb {
            let zstd = config(&server).compression(Compression::Zstd).build().unwrap();
            let error = Replication::connect(&zstd).await.unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains("zstd"), "{error}");
        }
    }
}

#[tokio::test]
async fn who_may_not_read_the_log_is_told() {
    for options in each() {
        let user = User::new("weak", "secret").without_rights();
        let server = MySql::start(options.user(user)).await.unwrap();
        let config = config(&server).user("weak").password("secret").build().unwrap();
        let replication = Replication::connect(&config).await.unwrap();
        let outcome = match replication.dump(77, &position(&server).await).await {
            Ok(mut log) => log.read().await.map(drop),
            Err(error) => Err(error),
        };
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
        assert!(error.to_string().to_lowercase().contains("grant"), "{error}");
    }
}

#[tokio::test]
async fn a_place_that_is_not_in_the_log_is_a_gap() {
    for options in each() {
        let server = MySql::start(options).await.unwrap();
        let config = config(&server).build().unwrap();
        for nowhere in ["1/nowhere.000001:4", "1/binlog.000001:100000000"] {
            let mut log = Replication::connect(&config).await.unwrap().dump(77, nowhere).await.unwrap();
            let error = loop {
                match log.read().await {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::Gap, "{nowhere}: {error}");
        }
    }
}
