//! A cutover's commit point outlasts a crash of its servers, or is refused in
//! words that say what to set: no session of MySQL's or MariaDB's can ask for a
//! commit that is on the disk.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::sync::Arc;

use zdm_core::ErrorKind;
use zdm_core::connect::{
    Assess as _, Epoch, Fence as _, HoldOptions, Role, RunName, Severity, Sink as _, Source as _, Step,
    SwitchRecord, SwitchState,
};
use zdm_core::schema::{Schema, Selection};
use zdm_core::{Engine, Position};
use zdm_mysql::{MySqlAssess, MySqlConfig, MySqlFence, MySqlSink, MySqlSource};
use zdm_servers::mysql::{Database, MySql, MySqlOptions};

const SETTING: &str = "innodb_flush_log_at_trx_commit";

fn each() -> [MySqlOptions; 2] {
    // Another version of MariaDB, as `e2e` takes it.
    let mariadb = std::env::var("ZDM_TEST_MARIADB").unwrap_or_else(|_| "10.11".to_owned());
    [MySqlOptions::mariadb().version(mariadb), MySqlOptions::mysql().version("9")]
}

/// A server that answers a commit, and flushes what it was at leisure.
struct Home {
    server: MySql,
    shop: Database,
    run: RunName,
    schema: Schema,
}

impl Home {
    async fn new(options: MySqlOptions) -> Self {
        // Without a log of its own: with one MySQL would find there what its
        // tables have lost.
        let options = options.setting(SETTING, 0).setting("innodb_flush_log_at_timeout", 60);
        let server = MySql::start(options.binlog(false).database("shop")).await.unwrap();
        let shop = server.database("shop");
        shop.execute(
            "CREATE TABLE t (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY);
             CREATE TABLE control (n INT PRIMARY KEY) ENGINE=InnoDB",
        )
        .await
        .unwrap();
        let source = MySqlSource::new(MySqlConfig::parse(&shop.url()).unwrap());
        let schema = source.describe(&Selection::new(["shop.t"]).unwrap()).await.unwrap();
        let home = Self { server, shop, run: RunName::default(), schema };
        home.forgets().await;
        home
    }

    fn config(&self) -> MySqlConfig {
        MySqlConfig::parse(&self.shop.url()).unwrap()
    }

    async fn crash(&self) {
        self.server.kill().await.unwrap();
        self.server.start_again().await.unwrap();
    }

    /// Else nothing here could fail.
    async fn forgets(&self) {
        for n in 0..10 {
            self.shop.execute(&format!("INSERT INTO control VALUES ({n})")).await.unwrap();
            self.crash().await;
            let kept = self.shop.value(&format!("SELECT COUNT(*) FROM control WHERE n = {n}")).await.unwrap();
            if kept == "0" {
                return;
            }
        }
        panic!("this server flushes what it was not asked to flush: nothing here can fail");
    }

    async fn flushes(&self, yes: bool) {
        self.server.execute(&format!("SET GLOBAL {SETTING} = {}", u8::from(yes))).await.unwrap();
    }

    async fn blocked(&self, role: Role) -> bool {
        let assess = MySqlAssess::new(Arc::new(self.config()));
        let found = assess.assess(role, &self.run, &self.schema).await.unwrap();
        found.iter().any(|finding| finding.severity == Severity::Blocker && finding.code == SETTING)
    }
}

#[tokio::test]
async fn a_switch_is_refused_that_a_crash_of_the_source_could_take_back() {
    for options in each() {
        let home = Home::new(options).await;
        let fence = MySqlFence::new(home.config());
        let record = SwitchRecord {
            run: home.run.clone(),
            state: SwitchState::Preparing,
            epoch: Epoch(7),
            target: "db2/shop".to_owned(),
            position: None,
            leg: 1,
            back: None,
            lease_until: 1,
            note: None,
        };
        let position = Some(Position::new(Engine::new("mysql"), "1-1-1"));
        let switched = SwitchRecord { state: SwitchState::Switched, position, ..record.clone() };
        assert!(home.blocked(Role::Left).await);
        fence.swap(&home.run, None, Some(&record)).await.unwrap();
        let hold = fence.hold(&home.run, &home.schema, HoldOptions::default()).await.unwrap();
        let error = hold.seal(&record, &switched).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(&format!("SET GLOBAL {SETTING} = 1")), "{error}");
        assert_eq!(fence.record(&home.run).await.unwrap(), Some(record.clone()), "nothing happened");
        home.shop.execute("INSERT INTO t VALUES (1)").await.unwrap();

        home.flushes(true).await;
        assert!(!home.blocked(Role::Left).await);
        let hold = fence.hold(&home.run, &home.schema, HoldOptions::default()).await.unwrap();
        hold.seal(&record, &switched).await.unwrap();
        home.crash().await;
        assert_eq!(fence.record(&home.run).await.unwrap(), Some(switched), "the record");
        assert!(home.shop.execute("INSERT INTO t VALUES (2)").await.is_err(), "the seal");
    }
}

#[tokio::test]
async fn a_target_is_not_made_ready_that_a_crash_could_take_back() {
    for options in each() {
        let home = Home::new(options).await;
        home.shop.execute("DROP TABLE t").await.unwrap();
        let (sink, set) = (MySqlSink::new(home.config()), home.schema.clone());
        let counters = sink.capabilities().sequences.unwrap();
        sink.prepare(&home.run, &home.schema, Step::Finished).await.unwrap();
        assert!(home.blocked(Role::Entered).await);
        let mut values = counters.read(&set).await.unwrap();
        values[0].last = 500;
        for error in [
            sink.prepare(&home.run, &home.schema, Step::Ready).await.unwrap_err(),
            counters.set(&set, &values, 1000).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("SET GLOBAL {SETTING} = 1")), "{error}");
        }

        // Committed before the server was set right.
        home.shop.execute("INSERT INTO t VALUES (7)").await.unwrap();
        home.flushes(true).await;
        assert!(!home.blocked(Role::Entered).await);
        counters.set(&set, &values, 1000).await.unwrap();
        sink.prepare(&home.run, &home.schema, Step::Ready).await.unwrap();
        home.crash().await;
        assert_eq!(home.shop.value("SELECT GROUP_CONCAT(id) FROM t").await.unwrap(), "7");
        home.shop.execute("INSERT INTO t VALUES ()").await.unwrap();
        assert_eq!(home.shop.value("SELECT MAX(id) FROM t").await.unwrap(), "1500");
    }
}
