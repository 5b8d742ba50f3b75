//! MySQL and MariaDB start, answer, stop, crash and come back.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::io::Write as _;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use zdm_servers::TlsMode;
use zdm_servers::mysql::{AuthPlugin, Flavor, MySql, MySqlOptions, Origin, RowMetadata, User};

/// Every kind of server that zdm is tested with.
fn each() -> [MySqlOptions; 3] {
    [
        MySqlOptions::mariadb().version("10.11"),
        MySqlOptions::mariadb().version("11.8"),
        MySqlOptions::mysql().version("9"),
    ]
}

async fn a_default_server_answers(options: MySqlOptions) {
    let server = MySql::start(options.database("shop")).await.unwrap();
    let shop = server.database("shop");
    shop.execute("create table t (id int primary key, name text)").await.unwrap();
    let sql = "insert into t values (1, 'a'); insert into t values (2, null); select * from t order by id; \
               select 'é'";
    let rows = shop.query(sql).await.unwrap();
    assert_eq!(rows[..2], [[Some("1".to_owned()), Some("a".into())], [Some("2".into()), None]]);
    assert_eq!(rows[2], [Some("é".to_owned())]);
    let settings = [
        ("log_bin", "1"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("local_infile", "1"),
        ("time_zone", "+00:00"),
        ("performance_schema", "0"),
        ("character_set_server", "utf8mb4"),
    ];
    for (name, value) in settings {
        assert_eq!(server.value(&format!("select @@global.{name}")).await.unwrap(), value, "{name}");
    }
    let mut connection = Conn::from_url(shop.url()).await.unwrap();
    let count: Option<u64> = connection.query_first("select count(*) from t").await.unwrap();
    assert_eq!(count, Some(2));
    connection.disconnect().await.unwrap();
    server.close().await.unwrap();
}

#[tokio::test]
async fn every_default_server_answers() {
    for options in each() {
        a_default_server_answers(options).await;
    }
}

#[tokio::test]
async fn several_versions_run_side_by_side_with_numbers_of_their_own() {
    let [a, b, c] = each().map(MySql::start);
    let servers = tokio::try_join!(a, b, c).unwrap();
    let servers = [servers.0, servers.1, servers.2];
    let mut ids = Vec::new();
    for (server, version) in servers.iter().zip(["10.11.", "11.8.", "9."]) {
        let is = server.version().await.unwrap();
        assert!(is.starts_with(version), "{is}");
        assert_eq!(is.contains("MariaDB"), server.flavor() == Flavor::MariaDb);
        ids.push(server.value("select @@server_id").await.unwrap());
        // What prepared the server is not part of its history.
        let gtids = match server.flavor() {
            Flavor::MariaDb => "select @@gtid_binlog_pos",
            Flavor::MySql => "select @@gtid_executed",
        };
        assert_eq!(server.value(gtids).await.unwrap(), "");
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_committed() {
    for options in each() {
        let server = MySql::start(options).await.unwrap();
        server.execute("create database d; create table d.t (id int)").await.unwrap();
        for (id, port) in [(1, server.port()), (2, server.port())] {
            server.execute(&format!("insert into d.t values ({id})")).await.unwrap();
            server.kill().await.unwrap();
            assert_eq!(server.pid().unwrap(), None);
            server.query("select 1").await.unwrap_err();
            server.start_again().await.unwrap();
            assert_eq!(
                (server.value("select count(*) from d.t").await.unwrap(), server.port()),
                (id.to_string(), port)
            );
        }
        server.restart().await.unwrap();
        assert_eq!(server.value("select count(*) from d.t").await.unwrap(), "2");
    }
}

#[tokio::test]
async fn what_is_asked_for_is_set() {
    for (options, metadata) in each().into_iter().zip(["NO_LOG", "NO_LOG", "MINIMAL"]) {
        let flavor = options.flavor();
        let plain = MySql::start(options.clone()).await.unwrap();
        assert_eq!(plain.value("select @@binlog_row_metadata").await.unwrap(), metadata);
        let options = options
            .row_metadata(RowMetadata::Full)
            .durable(false)
            .local_infile(false)
            .setting("max_connections", 17)
            .setting("innodb_buffer_pool_size", "48M");
        let server = MySql::start(options.clone()).await.unwrap();
        let settings = "select @@binlog_row_metadata, @@sync_binlog, @@innodb_flush_log_at_trx_commit, \
                        @@local_infile, @@max_connections, @@innodb_buffer_pool_size";
        let is: Vec<String> = server.query(settings).await.unwrap().remove(0).into_iter().flatten().collect();
        assert_eq!(is, ["FULL", "0", "2", "0", "17", "50331648"]);
        server.set("max_connections", 19).unwrap();
        server.restart().await.unwrap();
        assert_eq!(server.value("select @@max_connections").await.unwrap(), "19");
        if flavor == Flavor::MySql {
            let server = MySql::start(options.clone().gtids(false)).await.unwrap();
            assert_eq!(server.value("select @@gtid_mode").await.unwrap(), "OFF");
        }
        let server = MySql::start(options.binlog(false)).await.unwrap();
        assert_eq!(server.value("select @@log_bin").await.unwrap(), "0");
    }
}

/// Connects over TCP, and says with which cipher, or with none.
async fn cipher(opts: impl Into<Opts>) -> Result<String, mysql_async::Error> {
    let mut connection = Conn::new(opts).await?;
    let row: Option<(String, String)> = connection.query_first("show status like 'Ssl_cipher'").await?;
    connection.disconnect().await?;
    Ok(row.unwrap().1)
}

#[tokio::test]
async fn tls_is_off_offered_or_required() {
    for options in each() {
        for mode in [TlsMode::Off, TlsMode::Offered, TlsMode::Required] {
            let server = MySql::start(options.clone().tls(mode)).await.unwrap();
            let plain = Opts::from_url(&server.url("")).unwrap();
            // A server that has sockets for friends is not asked over one.
            let plain = OptsBuilder::from_opts(plain).prefer_socket(false);
            let result = cipher(plain.clone()).await;
            assert_eq!(result.is_ok(), mode != TlsMode::Required, "{mode:?} {result:?}");
            let Some(tls) = server.tls() else {
                assert_eq!(mode, TlsMode::Off);
                cipher(plain.ssl_opts(SslOpts::default())).await.unwrap_err();
                continue;
            };
            let ours = SslOpts::default().with_root_certs(vec![tls.ca().into()]);
            assert_ne!(cipher(plain.clone().ssl_opts(ours)).await.unwrap(), "");
            // Whom nobody vouches for is refused.
            cipher(plain.ssl_opts(SslOpts::default())).await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn each_way_of_logging_in() {
    for options in each() {
        let plugins: &[AuthPlugin] = match options.flavor() {
            Flavor::MySql => &[AuthPlugin::Default, AuthPlugin::CachingSha2],
            Flavor::MariaDb => &[AuthPlugin::Default, AuthPlugin::Native, AuthPlugin::Ed25519],
        };
        let mut options = options.database("shop").tls(TlsMode::Offered);
        for (number, &plugin) in plugins.iter().enumerate() {
            let user = User::new(format!("me{number}"), "it's a \\ secret").plugin(plugin);
            options = options.user(user.rights("SELECT ON shop.*"));
        }
        let server = MySql::start(options).await.unwrap();
        let tls = SslOpts::default().with_root_certs(vec![server.tls().unwrap().ca().into()]);
        for (number, plugin) in plugins.iter().enumerate() {
            for (password, works) in [("it's a \\ secret", true), ("wrong", false)] {
                let url = server.database("shop").url_as(&format!("me{number}"), password);
                let opts = OptsBuilder::from_opts(Opts::from_url(&url).unwrap()).prefer_socket(false);
                let result = cipher(opts.ssl_opts(tls.clone())).await;
                assert_eq!(result.is_ok(), works, "{plugin:?} {result:?}");
            }
        }
        let stranger = User::new("stranger", "x").without_rights();
        server.create_user(&stranger).await.unwrap();
        let url = server.database("shop").url_as("stranger", "x");
        Conn::from_url(url).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_refused_setting_is_explained() {
    for options in each() {
        let error = MySql::start(options.setting("no_such_thing", "1")).await.unwrap_err().to_string();
        assert!(error.contains("no_such_thing"), "{error}");
    }
}

#[tokio::test]
async fn a_version_that_is_nowhere_is_a_failure_with_advice() {
    let options = MySqlOptions::mysql().version("4.1").origin(Origin::Installed);
    let error = MySql::start(options).await.unwrap_err().to_string();
    assert!(error.contains("MySQL 4.1") && error.contains("ZDM_TEST_MYSQL_URL"), "{error}");
}

#[tokio::test]
async fn programs_that_came_along_work() {
    for options in each() {
        let server = MySql::start(options.origin(Origin::Packages)).await.unwrap();
        let name = match server.flavor() {
            Flavor::MySql => "mysqlbinlog",
            Flavor::MariaDb => "mariadb-binlog",
        };
        server.execute("create database seen").await.unwrap();
        let log = server.data_dir().unwrap().join("binlog.000001");
        let output = server.program(name).unwrap().arg("--no-defaults").arg(log).output().unwrap();
        std::io::stderr().write_all(&output.stderr).unwrap();
        assert!(
            output.status.success()
                && String::from_utf8_lossy(&output.stdout).contains("create database seen")
        );
        assert!(server.program("no-such-program").unwrap_err().to_string().contains("no-such-program"));
    }
}

#[test]
fn a_server_outlives_the_runtime_that_started_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime().block_on(MySql::start(MySqlOptions::mariadb().durable(false))).unwrap();
    runtime().block_on(async {
        server.restart().await.unwrap();
        assert_eq!(server.value("select 1").await.unwrap(), "1");
        server.close().await.unwrap();
    });
}
