//! What statements mean to a run, as real servers log them: what changes a
//! table's shape, or rows with no event for them, stops; what does not, does
//! not; and rows come through.

use zdm_core::{Error, ErrorKind, Position};
use zdm_servers::mysql::{Database, Flavor, MySql, MySqlOptions};

use crate::fixture::{here, read};

const TABLES: &str = "
    CREATE TABLE t (id INT PRIMARY KEY, v INT) ENGINE=InnoDB;
    CREATE TABLE `order` (id INT PRIMARY KEY, v INT) ENGINE=InnoDB;
    CREATE TABLE p (id INT PRIMARY KEY, v INT) ENGINE=InnoDB PARTITION BY RANGE (id) (
        PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN (30));
    INSERT INTO p VALUES (1, 1), (11, 1), (21, 1);
    CREATE TABLE x (id INT PRIMARY KEY, v INT) ENGINE=InnoDB;
    CREATE DATABASE other; CREATE TABLE other.t LIKE t; CREATE TABLE other.plain LIKE t";

/// Those of the run: `x` is none of them.
const OURS: [&str; 3] = ["t", "order", "p"];

struct World {
    server: MySql,
    shop: Database,
    other: Database,
}

impl World {
    async fn new(options: MySqlOptions) -> Self {
        let server = MySql::start(options.database("shop")).await.unwrap();
        let (shop, other) = (server.database("shop"), server.database("other"));
        shop.execute(TABLES).await.unwrap();
        Self { server, shop, other }
    }

    /// What the log tells of statements, and of a row behind them.
    async fn after(&self, from: &Position) -> Result<Vec<String>, Error> {
        self.shop.execute("INSERT INTO `order` VALUES (77, 1)").await.unwrap();
        let told = read(&self.server, &OURS, from).await.map(|(rows, _)| rows);
        self.shop.execute("DELETE FROM `order` WHERE id = 77").await.unwrap();
        told
    }

    async fn of(&self, database: &Database, sql: &str) -> Result<Vec<String>, Error> {
        let from = here(&self.server).await;
        database.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        self.after(&from).await
    }
}

fn each() -> [MySqlOptions; 3] {
    [
        MySqlOptions::mariadb().version("10.11"),
        MySqlOptions::mariadb().version("11.8"),
        MySqlOptions::mysql().version("9"),
    ]
}

#[tokio::test]
async fn what_changes_a_table_or_its_rows_unseen_stops() {
    for options in each() {
        let maria = options.flavor() == Flavor::MariaDb;
        let world = World::new(options).await;
        // Each, and what undoes it.
        let both = [
            ("DROP INDEX `PRIMARY` ON t", "ALTER TABLE t ADD PRIMARY KEY (id)"),
            ("ALTER TABLE t ADD c INT", "ALTER TABLE t DROP c"),
            ("RENAME TABLE t TO a, x TO t, a TO x", ""),
            ("RENAME TABLE shop.t TO other.a", "RENAME TABLE other.a TO shop.t"),
            ("DROP TABLE IF EXISTS nothing, t", "CREATE TABLE t LIKE x"),
            ("ALTER TABLE p TRUNCATE PARTITION p0", ""),
            ("ALTER TABLE p EXCHANGE PARTITION p1 WITH TABLE x", ""),
            ("ALTER TABLE p DROP PARTITION p2", ""),
            ("ALTER TABLE p REORGANIZE PARTITION p0, p1 INTO (PARTITION p1 VALUES LESS THAN (20))", ""),
            ("/* a */ alter /*!50001 table */ `Shop`.`t` comment 'x' -- t", ""),
            ("USE other; ALTER TABLE shop . `order` COMMENT \"it\\\"s\"", ""),
            ("USE other; SET sql_mode = 'ANSI_QUOTES'; ALTER TABLE \"shop\".\"t\" COMMENT 'y'", ""),
        ];
        let marias = [
            ("CREATE OR REPLACE TABLE t LIKE x", ""),
            ("CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, v INT) SELECT 1 AS id, 2 AS v", ""),
            ("SET STATEMENT lock_wait_timeout = 5 FOR ALTER TABLE t COMMENT 'z'", ""),
            ("/*M!100100 ALTER TABLE t COMMENT 'a' */", ""),
            ("EXECUTE IMMEDIATE 'ALTER TABLE t COMMENT \\'b\\''", ""),
        ];
        let marias = if maria { &marias[..] } else { &[] };
        for (sql, undo) in both.iter().chain(marias) {
            // The server keeps names of databases apart by case.
            let sql = &sql.replace("`Shop`", "`shop`");
            let error = world.of(&world.shop, sql).await.expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{sql}: {error}");
            if !undo.is_empty() {
                world.shop.execute(undo).await.unwrap();
            }
        }
        let error =
            world.of(&world.other, "SET FOREIGN_KEY_CHECKS = 0; DROP TABLE shop.t").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error}");
    }
}

#[tokio::test]
async fn what_is_nothing_to_a_run_lets_it_go_on() {
    for options in each() {
        let maria = options.flavor() == Flavor::MariaDb;
        let world = World::new(options).await;
        let both = [
            "CREATE TABLE c1 (id INT PRIMARY KEY, v INT) SELECT * FROM p",
            "CREATE TABLE c2 LIKE t; CREATE TABLE IF NOT EXISTS t (a INT); DROP TABLE c1, c2",
            "CREATE INDEX i ON t (v); DROP INDEX i ON t",
            "ANALYZE TABLE t, p; OPTIMIZE TABLE t; CHECK TABLE t",
            "CREATE OR REPLACE VIEW v AS SELECT * FROM t; DROP VIEW v",
            "CREATE DEFINER = CURRENT_USER PROCEDURE r() CREATE TABLE t (a INT)",
            "CREATE TRIGGER g BEFORE INSERT ON x FOR EACH ROW SET @a = 'ALTER TABLE t'; DROP TRIGGER g",
            "ALTER TABLE other.t ADD c INT; TRUNCATE TABLE other.t; RENAME TABLE other.t TO other.u, other.u TO other.t",
            "CREATE TEMPORARY TABLE t (a INT); DROP TEMPORARY TABLE t",
            "CREATE USER u@localhost; GRANT SELECT ON shop.t TO u@localhost; DROP USER u@localhost",
            "CREATE DATABASE more; DROP DATABASE more",
            "INSERT INTO x VALUES (1, 1); ALTER TABLE x ADD COLUMN c INT COMMENT 't'; ALTER TABLE x DROP c",
        ];
        let marias = [
            "SET STATEMENT lock_wait_timeout = 5 FOR ANALYZE TABLE t",
            "CREATE SEQUENCE s; DROP SEQUENCE s",
            "ANALYZE FORMAT=JSON DELETE FROM x",
        ];
        let marias = if maria { &marias[..] } else { &[] };
        for sql in both.iter().chain(marias) {
            assert_eq!(world.of(&world.shop, sql).await.expect(sql), ["77"], "{sql}");
        }
        for sql in ["TRUNCATE p", "USE other; truncate table `shop` . p", "TRUNCATE /*!50001 TABLE */ p"] {
            assert_eq!(world.of(&world.shop, sql).await.expect(sql), ["truncate", "77"], "{sql}");
        }
    }
}

/// A change that a session logs as a statement, in a database of which nothing
/// is moved: MySQL tells which databases it has used, and MariaDB does not.
#[tokio::test]
async fn a_statement_elsewhere_stops_only_where_it_may_touch_a_table_of_ours() {
    for options in each() {
        let maria = options.flavor() == Flavor::MariaDb;
        let world = World::new(options).await;
        let setup = "CREATE TABLE other.fires LIKE t; CREATE TABLE other.asks LIKE t; \
             CREATE TABLE other.parent LIKE t; INSERT INTO other.parent VALUES (1, 1); \
             CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES other.parent (id) ON DELETE CASCADE); \
             INSERT INTO child VALUES (1, 1); CREATE VIEW other.v AS SELECT * FROM t; \
             CREATE TRIGGER other.g AFTER INSERT ON other.fires FOR EACH ROW INSERT INTO shop.t VALUES (NEW.id, 1); \
             CREATE FUNCTION other.f(n INT) RETURNS INT MODIFIES SQL DATA \
             BEGIN INSERT INTO shop.t VALUES (n, 1); RETURN n; END";
        // The body of the function has semicolons of its own.
        let (setup, function) = setup.split_at(setup.find("CREATE FUNCTION").unwrap());
        world.shop.execute("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
        world.shop.execute(setup).await.unwrap();
        let mut conn = world.shop.connect().await.unwrap();
        mysql_async::prelude::Queryable::query_drop(&mut conn, function).await.unwrap();
        for (sql, touches) in [
            ("INSERT INTO plain VALUES (1, 1)", false),
            ("UPDATE plain SET v = 5; DELETE FROM plain WHERE v = 5", false),
            ("INSERT INTO fires VALUES (100, 1)", true),
            ("INSERT INTO v VALUES (101, 1)", true),
            ("INSERT INTO plain VALUES (f(102), 1)", true),
            ("DELETE FROM parent", true),
            ("INSERT INTO shop.t VALUES (103, 1)", true),
        ] {
            let told =
                world.of(&world.other, &format!("SET SESSION binlog_format = 'STATEMENT'; {sql}")).await;
            if touches || maria {
                let error = told.expect_err(sql);
                assert!(error.to_string().contains("binlog_format=ROW"), "{sql}: {error}");
            } else {
                assert_eq!(told.expect(sql), ["77"], "{sql}");
            }
        }
    }
}
