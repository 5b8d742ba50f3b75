//! Every rule of the assessment is tripped by what it is about.

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use zdm_core::connect::{Finding, Role, Severity, Source as _};
use zdm_mysql::MySqlSource;
use zdm_servers::mysql::{MySql, MySqlOptions, User};
use zdm_tests::within;

use super::fixture::{config, each, shop};

async fn findings(source: &MySqlSource) -> Vec<Finding> {
    let schema = source.describe(&shop()).await.unwrap();
    let assess = source.capabilities().assess.unwrap();
    assess.assess(Role::Source, &"run".parse().unwrap(), &schema).await.unwrap()
}

async fn server(options: MySqlOptions, sql: &str) -> (MySql, MySqlSource) {
    let server = MySql::start(options.database("shop")).await.unwrap();
    server.database("shop").execute(sql).await.unwrap();
    let source = MySqlSource::new(config(&server).build().unwrap());
    (server, source)
}

fn codes(findings: &[Finding]) -> BTreeSet<(Severity, &str)> {
    findings.iter().map(|finding| (finding.severity, finding.code.as_str())).collect()
}

#[tokio::test]
async fn a_sound_server_has_nothing_in_the_way() {
    for options in each() {
        let (server, source) = server(options, "CREATE TABLE t (id INT PRIMARY KEY)").await;
        let found = findings(&source).await;
        assert!(found.iter().all(|finding| finding.severity == Severity::Note), "{found:?}");
        server.close().await.unwrap();
    }
}

#[tokio::test]
async fn settings_are_told() {
    for options in each() {
        let (server, source) = server(options, "CREATE TABLE t (id INT PRIMARY KEY)").await;
        let is_mariadb = server.version().await.unwrap().contains("MariaDB");
        let mut rules = vec![
            ("sync_binlog", "0", Severity::Warning, "sync_binlog"),
            ("innodb_flush_log_at_trx_commit", "2", Severity::Warning, "innodb_flush_log_at_trx_commit"),
            ("binlog_row_image", "'MINIMAL'", Severity::Blocker, "binlog_row_image"),
            ("binlog_row_image", "'NOBLOB'", Severity::Warning, "binlog_row_image"),
            ("binlog_expire_logs_seconds", "600", Severity::Warning, "binlog_retention"),
        ];
        if is_mariadb {
            rules.push(("binlog_format", "'STATEMENT'", Severity::Blocker, "binlog_format"));
        } else {
            rules.push((
                "binlog_row_value_options",
                "'PARTIAL_JSON'",
                Severity::Warning,
                "binlog_row_value_options",
            ));
        }
        for (name, value, severity, code) in rules {
            let before = server.value(&format!("SELECT @@global.{name}")).await.unwrap();
            server.execute(&format!("SET GLOBAL {name} = {value}")).await.unwrap();
            let found = findings(&source).await;
            assert!(codes(&found).contains(&(severity, code)), "{name} {found:?}");
            let before = if before.parse::<i64>().is_ok() { before } else { format!("'{before}'") };
            server.execute(&format!("SET GLOBAL {name} = {before}")).await.unwrap();
        }
        server.close().await.unwrap();
    }
    let (server, source) =
        self::server(each()[0].clone().binlog(false), "CREATE TABLE t (id INT PRIMARY KEY)").await;
    assert!(codes(&findings(&source).await).contains(&(Severity::Blocker, "log_bin")));
    server.close().await.unwrap();
    let options = each()[1].clone().gtids(false).setting("binlog_ignore_db", "shop");
    let (server, source) = self::server(options, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    let found = findings(&source).await;
    assert!(
        codes(&found)
            .is_superset(&[(Severity::Note, "gtid_mode"), (Severity::Blocker, "binlog_filter")].into())
    );
    server.close().await.unwrap();
    // Of another database: what a session there does to ours is not logged.
    let options = each()[0].clone().setting("binlog_ignore_db", "other");
    let (server, source) = self::server(options, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    let found = findings(&source).await;
    let found = codes(&found);
    assert!(found.contains(&(Severity::Warning, "binlog_filter")), "{found:?}");
    assert!(!found.contains(&(Severity::Blocker, "binlog_filter")), "{found:?}");
    server.close().await.unwrap();
}

#[tokio::test]
async fn tables_and_transactions_are_told() {
    let sql = "
        CREATE TABLE t (id INT PRIMARY KEY);
        CREATE TABLE child (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE);
        CREATE TABLE old (id INT PRIMARY KEY) ENGINE=MyISAM;
        CREATE TABLE bare (id INT);
        CREATE VIEW v AS SELECT 1";
    for options in each() {
        let (server, source) = server(options, sql).await;
        let is_mariadb = server.version().await.unwrap().contains("MariaDB");
        let mut conn = server.database("shop").connect().await.unwrap();
        conn.query_drop("XA START 'x'; INSERT INTO t VALUES (1); XA END 'x'; XA PREPARE 'x'").await.unwrap();
        let found = findings(&source).await;
        let wanted = [
            (Severity::Blocker, "engine"),
            (Severity::Warning, "full_row"),
            (Severity::Note, "not_moved"),
            (Severity::Warning, "prepared_transaction"),
        ];
        assert!(codes(&found).is_superset(&wanted.into()), "{found:?}");
        // MySQL 9.7 logs what a cascade does.
        assert_eq!(codes(&found).contains(&(Severity::Blocker, "cascade")), is_mariadb, "{found:?}");
        assert!(found.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
        conn.query_drop("XA ROLLBACK 'x'").await.unwrap();
        server.close().await.unwrap();
    }
}

#[tokio::test]
async fn each_missing_right_is_told_with_its_grant() {
    for options in each() {
        let user = User::new("mover", "secret").rights("SELECT ON shop.*");
        let sql = "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE bare (id INT)";
        let (server, root) = server(options.user(user), sql).await;
        let schema = root.describe(&shop()).await.unwrap();
        let mover = config(&server).user("mover").password("secret").build().unwrap();
        let source = MySqlSource::new(mover);
        let run = "run".parse().unwrap();
        let found = source.capabilities().assess.unwrap().assess(Role::Source, &run, &schema).await.unwrap();
        let is_mariadb = server.version().await.unwrap().contains("MariaDB");
        let monitor = if is_mariadb { "binlog_monitor" } else { "replication_client" };
        let blockers = [
            (Severity::Blocker, "replication_slave"),
            (Severity::Blocker, monitor),
            (Severity::Blocker, "process"),
        ];
        assert!(codes(&found).is_superset(&blockers.into()), "{found:?}");
        let warnings = [
            (Severity::Warning, "trigger"),
            (Severity::Warning, "own_database"),
            (Severity::Warning, "log_bin_trust_function_creators"),
        ];
        assert!(codes(&found).is_superset(&warnings.into()), "{found:?}");
        assert_eq!(codes(&found).contains(&(Severity::Blocker, "lock_tables")), !is_mariadb);
        // The remedies are what mends it.
        server.execute("CREATE DATABASE IF NOT EXISTS zdm").await.unwrap();
        for finding in &found {
            let remedy = finding.remedy.as_deref().unwrap_or_default();
            if remedy.starts_with("GRANT") || remedy.starts_with("SET GLOBAL log_bin_trust") {
                server.execute(remedy).await.unwrap_or_else(|error| panic!("{remedy}: {error}"));
            }
        }
        let found = source.capabilities().assess.unwrap().assess(Role::Source, &run, &schema).await.unwrap();
        let left: Vec<_> = codes(&found)
            .into_iter()
            .filter(|(severity, code)| *severity > Severity::Note && *code != "full_row")
            .collect();
        assert!(left.is_empty(), "{found:?}");
        // And with them the run begins and reads.
        let schema = source.describe(&shop()).await.unwrap();
        source.snapshot(&run, &schema, None).await.unwrap();
        server.close().await.unwrap();
    }
}

/// What would keep a cutover's hold waiting is told at its step 0, with the
/// statement that ends it; what is in nobody's way is not.
#[tokio::test]
async fn who_is_in_the_way_of_a_hold_is_told_before_it() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE aside (id INT PRIMARY KEY); \
               CREATE DATABASE other; CREATE TABLE other.x (id INT PRIMARY KEY)";
    let mut all = each().to_vec();
    // One that keeps an account of who has a table open.
    all.push(each()[1].clone().setting("performance_schema", "ON"));
    for (nth, options) in all.into_iter().enumerate() {
        let (server, _) = server(options, sql).await;
        let short = config(&server).begin_timeout(std::time::Duration::from_secs(1)).build().unwrap();
        let source = MySqlSource::new(short);
        let t = zdm_core::schema::Selection::new(["shop.t"]).unwrap();
        let schema = source.describe(&t).await.unwrap();
        let left = async || {
            let assess = source.capabilities().assess.unwrap();
            assess.assess(Role::Left, &"run".parse().unwrap(), &schema).await.unwrap()
        };
        let old = async |count: &str| {
            let sql = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_started < NOW() - INTERVAL 1 SECOND";
            // It counts anew only when nobody has asked for a while.
            let pause = std::time::Duration::from_millis(150);
            let wait = async {
                while server.value(sql).await.unwrap() != count {
                    tokio::time::sleep(pause).await;
                }
                tokio::time::sleep(pause).await;
            };
            within("old transactions", wait).await;
        };
        let known = nth == 2;
        let cases = [
            ("shop", "SELECT * FROM t", None),
            ("shop", "INSERT INTO t VALUES (1)", Some(Severity::Blocker)),
            ("shop", "INSERT INTO aside VALUES (1)", (!known).then_some(Severity::Blocker)),
            ("other", "INSERT INTO x VALUES (1)", (!known).then_some(Severity::Warning)),
            (
                "other",
                "INSERT INTO shop.t VALUES (2)",
                Some(if known { Severity::Blocker } else { Severity::Warning }),
            ),
        ];
        let mut open = Vec::new();
        for (database, statement, told) in cases {
            let mut conn = server.database(database).connect().await.unwrap();
            conn.query_drop("BEGIN").await.unwrap();
            conn.query_drop(statement).await.unwrap();
            open.push((conn, statement, told));
        }
        old("5").await;
        let found = left().await;
        assert_eq!(found.len(), open.iter().filter(|(.., told)| told.is_some()).count(), "{nth} {found:?}");
        for (mut conn, statement, told) in open {
            let thread = format!("thread {}", conn.id());
            let finding = found.iter().find(|finding| finding.subject == thread);
            assert_eq!(finding.map(|finding| finding.severity), told, "{nth} {statement} {found:?}");
            let remedy = finding.and_then(|finding| finding.remedy.clone());
            assert!(finding.is_none() || remedy == Some(format!("KILL {}", conn.id())), "{found:?}");
            conn.query_drop("ROLLBACK").await.unwrap();
        }
        old("0").await;
        let mut conn = server.database("shop").connect().await.unwrap();
        conn.query_drop("XA START 'x'; INSERT INTO t VALUES (1); XA END 'x'; XA PREPARE 'x'").await.unwrap();
        let found = left().await;
        assert!(codes(&found).contains(&(Severity::Blocker, "prepared_transaction")), "{found:?}");
        conn.query_drop("XA ROLLBACK 'x'").await.unwrap();
        assert!(codes(&left().await).is_empty());
        server.close().await.unwrap();
    }
}
