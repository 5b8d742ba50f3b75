//! A MySQL or MariaDB server as a target: what its assessment says, whether it
//! is the source's own server, and what is left when a run is dropped.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::sync::Arc;

use zdm_core::connect::{
    Assess as _, Fence as _, Finding, HoldOptions, Record, Role, RunName, Severity, Sink as _, Source as _,
    Step,
};
use zdm_core::schema::{Schema, Selection};
use zdm_mysql::{MySqlAssess, MySqlConfig, MySqlFence, MySqlSink, MySqlSource, drop_run, same_database};
use zdm_servers::mysql::{MySql, MySqlOptions, User};

const TABLES: &str = "
    CREATE TABLE keyed (id INT PRIMARY KEY, body LONGTEXT);
    CREATE TABLE bare (id INT);";

fn each() -> [MySqlOptions; 2] {
    [MySqlOptions::mariadb().version("10.11"), MySqlOptions::mysql().version("9")]
}

/// A server, and the tables of its database `shop` as a source describes
/// them. Gone again, they are what a run would make.
struct Home {
    server: MySql,
    config: MySqlConfig,
    schema: Schema,
    run: RunName,
}

impl Home {
    async fn start(options: MySqlOptions, tables: &str) -> Self {
        let server = MySql::start(options.database("shop").durable(true)).await.unwrap();
        server.database("shop").execute(tables).await.unwrap();
        let config = MySqlConfig::parse(&server.url("shop")).unwrap();
        let source = MySqlSource::new(config.clone());
        let schema = source.describe(&Selection::new(["shop.*"]).unwrap()).await.unwrap();
        server.execute("DROP DATABASE shop; CREATE DATABASE shop").await.unwrap();
        Self { server, config, schema, run: "main".parse().unwrap() }
    }

    async fn assess(&self) -> Vec<Finding> {
        self.assess_as(&self.config).await
    }

    async fn assess_as(&self, config: &MySqlConfig) -> Vec<Finding> {
        let assess = MySqlAssess::new(Arc::new(config.clone()));
        assess.assess(Role::Target, &self.run, &self.schema).await.unwrap()
    }

    async fn seen(&self, severity: Severity, code: &str) -> bool {
        has(&self.assess().await, severity, code)
    }

    async fn value(&self, sql: &str) -> String {
        self.server.value(sql).await.unwrap()
    }

    async fn execute(&self, sql: &str) {
        self.server.execute(sql).await.unwrap();
    }
}

fn has(findings: &[Finding], severity: Severity, code: &str) -> bool {
    findings.iter().any(|finding| finding.severity == severity && finding.code == code)
}

#[tokio::test]
async fn a_sound_target_has_nothing_in_the_way_and_says_what_mends_the_rest() {
    for options in each() {
        let home = Home::start(options, TABLES).await;
        let is_mariadb = home.value("SELECT VERSION()").await.contains("MariaDB");
        home.execute("SET GLOBAL max_allowed_packet = 1 << 30, GLOBAL event_scheduler = 0").await;
        let found = home.assess().await;
        assert!(found.iter().all(|finding| finding.severity == Severity::Note), "{found:?}");

        let mut rules = vec![
            ("innodb_flush_log_at_trx_commit", "2", Severity::Warning),
            ("sync_binlog", "0", Severity::Warning),
            ("max_allowed_packet", "1048576", Severity::Warning),
            ("local_infile", "0", Severity::Note),
            ("event_scheduler", "1", Severity::Note),
            // Whoever asks may write all the same; the application may not.
            ("read_only", "1", Severity::Warning),
        ];
        if is_mariadb {
            rules.push(("binlog_format", "'STATEMENT'", Severity::Blocker));
        } else {
            rules.push(("sql_require_primary_key", "1", Severity::Blocker));
            rules.push(("sql_generate_invisible_primary_key", "1", Severity::Warning));
        }
        for (name, value, severity) in rules {
            let before = home.value(&format!("SELECT @@global.{name}")).await;
            home.execute(&format!("SET GLOBAL {name} = {value}")).await;
            assert!(home.seen(severity, name).await, "{name}");
            let before = if before.parse::<i64>().is_ok() { before } else { format!("'{before}'") };
            home.execute(&format!("SET GLOBAL {name} = {before}")).await;
        }
        if !is_mariadb {
            home.execute("SET GLOBAL super_read_only = 1").await;
            assert!(home.seen(Severity::Blocker, "read_only").await);
            home.execute("SET GLOBAL super_read_only = 0, GLOBAL read_only = 0").await;
        }
        home.server.close().await.unwrap();
    }
}

#[tokio::test]
async fn tables_that_are_there_and_what_cannot_be_made_are_told() {
    let trigger =
        "CREATE DEFINER = 'nobody'@'%' TRIGGER fires BEFORE INSERT ON keyed FOR EACH ROW SET NEW.body = 'x'";
    for options in each() {
        let home = Home::start(options, &format!("{TABLES} {trigger};")).await;
        assert!(has(&home.assess().await, Severity::Warning, "definer"));
        home.execute("CREATE TABLE shop.keyed (id INT PRIMARY KEY, body LONGTEXT)").await;
        assert!(home.seen(Severity::Note, "exists").await);
        home.execute("ALTER TABLE shop.keyed ADD extra INT").await;
        assert!(home.seen(Severity::Blocker, "in_the_way").await);
        home.execute("ALTER TABLE shop.keyed DROP extra; INSERT INTO shop.keyed VALUES (1, 'a')").await;
        assert!(home.seen(Severity::Blocker, "not_empty").await);
        home.execute("DROP TABLE shop.keyed").await;

        // The run's own tables are no finding, whatever they hold.
        MySqlSink::new(home.config.clone()).prepare(&home.run, &home.schema, Step::Bare).await.unwrap();
        home.execute("INSERT INTO shop.keyed VALUES (1, 'a')").await;
        let found = home.assess().await;
        for code in ["exists", "not_empty", "in_the_way"] {
            assert!(found.iter().all(|finding| finding.code != code), "{found:?}");
        }

        // Somebody with no rights to speak of.
        let user = User::new("mover", "word").rights("SELECT ON shop.*");
        home.server.create_user(&user).await.unwrap();
        let config = MySqlConfig::parse(&home.server.database("shop").url_as("mover", "word")).unwrap();
        let found = home.assess_as(&config).await;
        for code in ["rights", "own_database", "log_bin_trust_function_creators", "definer"] {
            assert!(has(&found, Severity::Blocker, code), "{code}: {found:?}");
        }
        home.server.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_collation_that_the_server_does_not_know_is_in_the_way() {
    let [mariadb, mysql] = each();
    let source =
        Home::start(mysql, "CREATE TABLE t (id INT PRIMARY KEY, a TEXT COLLATE utf8mb4_ja_0900_as_cs)").await;
    let mut target = Home::start(mariadb, TABLES).await;
    assert!(!source.seen(Severity::Blocker, "collation").await);
    target.schema = source.schema.clone();
    assert!(target.seen(Severity::Blocker, "collation").await);
}

#[tokio::test]
async fn one_server_is_known_by_whatever_name() {
    let [mariadb, mysql] = each();
    let (one, other) = (MySql::start(mariadb).await.unwrap(), MySql::start(mysql).await.unwrap());
    for server in [&one, &other] {
        let tcp = MySqlConfig::parse(&server.url("mysql")).unwrap();
        let socket =
            MySqlConfig::builder().socket(server.socket().unwrap()).user(server.user()).build().unwrap();
        assert!(same_database(&tcp, &socket).await.unwrap());
    }
    let nobody = MySqlConfig::parse("mysql://root@127.0.0.1:1/mysql").unwrap();
    assert!(same_database(&nobody, &nobody).await.is_err(), "nobody is there");
}

#[tokio::test]
async fn a_dropped_run_leaves_its_tables_and_those_of_other_runs() {
    for options in each() {
        let home = Home::start(options, TABLES).await;
        let other: RunName = "other".parse().unwrap();
        home.execute("CREATE TABLE shop.more (id INT PRIMARY KEY)").await;
        let more = MySqlSource::new(home.config.clone())
            .describe(&Selection::new(["shop.more"]).unwrap())
            .await
            .unwrap();
        let sink = MySqlSink::new(home.config.clone());
        let fence = MySqlFence::new(home.config.clone());
        for (run, schema) in [(&home.run, &home.schema), (&other, &more)] {
            sink.prepare(run, schema, Step::Bare).await.unwrap();
            let record = Record::new(run.clone(), sink.identity().await.unwrap());
            sink.checkpoint().unwrap().create(&record).await.unwrap();
            fence.arm(run, schema, HoldOptions::default()).await.unwrap();
            fence.seal(run, schema, "it is being filled").await.unwrap();
        }
        let write = |table: &str| format!("INSERT INTO shop.{table} (id) VALUES (1)");
        assert!(home.server.execute(&write("keyed")).await.is_err());
        let triggers = "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = 'shop'";
        assert_eq!(home.value(triggers).await, "9");

        drop_run(&home.config, &home.run).await.unwrap();
        drop_run(&home.config, &home.run).await.unwrap();
        home.execute(&write("keyed")).await;
        assert!(home.server.execute(&write("more")).await.is_err(), "another run's seal was taken off");
        assert_eq!(home.value(triggers).await, "3");
        let checkpoint = sink.checkpoint().unwrap();
        assert!(checkpoint.load(&home.run).await.unwrap().is_none());
        assert!(checkpoint.load(&other).await.unwrap().is_some());

        // What is not ours stays, and the database with it.
        home.execute("CREATE TABLE zdm.notes (id INT PRIMARY KEY)").await;
        drop_run(&home.config, &other).await.unwrap();
        home.execute(&write("more")).await;
        let tables =
            "SELECT GROUP_CONCAT(table_name) FROM information_schema.tables WHERE table_schema = 'zdm'";
        assert_eq!(home.value(tables).await, "notes");
        home.execute("DROP TABLE zdm.notes").await;
        drop_run(&home.config, &other).await.unwrap();
        home.server.close().await.unwrap();
    }
}
