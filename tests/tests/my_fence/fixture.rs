//! A database whose fence belongs to a user without SUPER.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::OnceCell;
use zdm_core::connect::{Epoch, Fence as _, Hold, HoldOptions, RunName, SwitchRecord, SwitchState};
use zdm_core::schema::{Key, Schema, Table, TableName};
use zdm_core::{Engine, Position};
use zdm_mysql::{MySqlConfig, MySqlFence};
use zdm_servers::mysql::{Database, MySql, MySqlOptions, User};

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static SERVERS: [OnceCell<MySql>; 2] = [const { OnceCell::const_new() }; 2];

pub(crate) fn each() -> [MySqlOptions; 2] {
    // Another version of MariaDB, as `e2e` takes it.
    let mariadb = std::env::var("ZDM_TEST_MARIADB").unwrap_or_else(|_| "10.11".to_owned());
    [MySqlOptions::mariadb().version(mariadb), MySqlOptions::mysql().version("9")]
}

pub(crate) struct Home {
    pub(crate) server: MySql,
    pub(crate) database: Database,
    pub(crate) config: MySqlConfig,
    pub(crate) fence: MySqlFence,
    pub(crate) run: RunName,
    pub(crate) schema: Schema,
}

/// A database of that name on one server of each kind.
pub(crate) async fn homes(name: &str) -> [Home; 2] {
    let [mariadb, mysql] = each();
    [home(&SERVERS[0], mariadb, name).await, home(&SERVERS[1], mysql, name).await]
}

async fn home(shared: &OnceCell<MySql>, options: MySqlOptions, name: &str) -> Home {
    let server = shared.get_or_init(|| start(options)).await.clone();
    Home::on(server, name).await
}

/// A server of which a plain user may make triggers.
pub(crate) async fn start(options: MySqlOptions) -> MySql {
    let server = MySql::start(options.setting("log_bin_trust_function_creators", 1)).await.unwrap();
    server.create_user(&User::new("mover", "").without_rights()).await.unwrap();
    server.execute("GRANT PROCESS, REPLICATION CLIENT ON *.* TO mover").await.unwrap();
    server
}

impl Home {
    pub(crate) async fn on(server: MySql, name: &str) -> Self {
        let database = server.create_database(name).await.unwrap();
        // A place of its own for what the fence keeps: tests run side by side.
        let ours = format!("zdm_{name}");
        server
            .execute(&format!("GRANT SELECT, TRIGGER ON {name}.* TO mover; GRANT ALL ON {ours}.* TO mover"))
            .await
            .unwrap();
        database
            .execute(
                "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)); \
                 CREATE TABLE `u 2` (id INT PRIMARY KEY, v VARCHAR(100)); \
                 INSERT INTO t VALUES (1, 'a'); INSERT INTO `u 2` VALUES (1, 'a')",
            )
            .await
            .unwrap();
        let config = Self::config(&server, &ours, server.port());
        let mut schema = Schema::default();
        for table in ["t", "u 2"] {
            let table =
                Table::new(Engine::new("mysql"), TableName::new(name, table), Vec::new(), Key::FullRow);
            schema.tables.push(Arc::new(table));
        }
        let fence = MySqlFence::new(config.clone());
        Self { server, database, config, fence, run: RunName::default(), schema }
    }

    pub(crate) fn config(server: &MySql, ours: &str, port: u16) -> MySqlConfig {
        let builder = MySqlConfig::builder().host(server.host()).port(port).user("mover").password("");
        builder.schema(ours).build().unwrap()
    }

    pub(crate) async fn hold(&self) -> Box<dyn Hold> {
        self.fence.hold(&self.run, &self.schema, HoldOptions::default()).await.unwrap()
    }

    pub(crate) async fn quick(&self, deadline: u64) -> zdm_core::Result<Box<dyn Hold>> {
        let patience = Duration::from_millis(100);
        let options = HoldOptions { deadline: Duration::from_millis(deadline), patience };
        self.fence.hold(&self.run, &self.schema, options).await
    }

    pub(crate) fn preparing(&self) -> SwitchRecord {
        SwitchRecord {
            run: self.run.clone(),
            state: SwitchState::Preparing,
            epoch: Epoch(7),
            target: "db2/shop".to_owned(),
            position: None,
            leg: 1,
            back: None,
            lease_until: 1,
            note: None,
        }
    }

    pub(crate) fn switched(&self) -> SwitchRecord {
        let position = Some(Position::new(Engine::new("mysql"), "@1/binlog.000001:4"));
        SwitchRecord { state: SwitchState::Switched, position, ..self.preparing() }
    }

    /// A writer who does not wait for long.
    pub(crate) async fn hasty(&self) -> Conn {
        let mut writer = self.writer().await;
        let hasty = "SET SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 1";
        writer.query_drop(hasty).await.unwrap();
        writer
    }

    pub(crate) async fn writer(&self) -> Conn {
        self.database.connect().await.unwrap()
    }

    /// Waits until somebody waits for a lock: of a row, or of a table.
    pub(crate) async fn somebody_waits(&self) {
        let sql = format!(
            "SELECT (SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT') + \
                    (SELECT COUNT(*) FROM information_schema.processlist \
                      WHERE state LIKE 'Waiting for table%' AND db = '{}')",
            self.database.name()
        );
        let began = Instant::now();
        while self.database.value(&sql).await.unwrap() == "0" {
            assert!(began.elapsed() < PATIENCE, "nobody waits");
            // The server lists transactions anew only for who asks 100 ms
            // after the last one.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(110..400))).await;
        }
    }

    /// Whether the application's writes are taken; a refusal must be the
    /// seal's own.
    pub(crate) async fn is_open(&self) -> bool {
        match self.database.execute("UPDATE t SET v = CONCAT(v, '') WHERE id = 1").await {
            Ok(()) => true,
            Err(error) => {
                assert!(error.to_string().contains("is sealed"), "{error}");
                false
            }
        }
    }
}

/// The number of a server's error.
pub(crate) fn number<T>(outcome: mysql_async::Result<T>) -> u16 {
    match outcome {
        Err(mysql_async::Error::Server(error)) => error.code,
        Err(other) => panic!("{other}"),
        Ok(_) => 0,
    }
}
