//! Target tables that were there before the run, with all that the source's
//! have, or more.

use zdm_core::ErrorKind;
use zdm_core::connect::{Sink as _, Step};

use super::fixture::{Case, described, servers};

const TABLES: &str = "
    CREATE TABLE parent (id BIGINT PRIMARY KEY);
    CREATE TABLE t (
      id BIGINT PRIMARY KEY, u BIGINT, v VARCHAR(40), p BIGINT, w DATETIME, g INT AS (u + 1) VIRTUAL,
      UNIQUE KEY once (u), UNIQUE KEY by_start (v(5), p), KEY plain (v), KEY parents (p),
      CONSTRAINT fk FOREIGN KEY (p) REFERENCES parent (id), CONSTRAINT above CHECK (u > -5));
    CREATE TRIGGER spoils BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'spoiled'";

const STANDING: &str = "
    SELECT index_name, non_unique, column_name, IFNULL(sub_part, 0) FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name = 't'
    UNION ALL SELECT constraint_name, constraint_type, '', 0 FROM information_schema.table_constraints
     WHERE table_schema = DATABASE() AND table_name = 't'
    UNION ALL SELECT trigger_name, action_statement, '', 0 FROM information_schema.triggers
     WHERE trigger_schema = DATABASE() ORDER BY 1, 2, 3";

#[tokio::test]
async fn what_the_source_has_too_steps_aside_and_comes_back() {
    for (at, server) in servers().await.into_iter().enumerate() {
        let name = format!("premade_{at}");
        let case = Case::new(&server, &name, described(&server, &format!("{name}_x"), TABLES).await).await;
        // The same tables, under the name that the source's database has.
        case.database.execute(&format!("CREATE DATABASE {name}_x; USE {name}_x; {TABLES}")).await.unwrap();
        let there = server.database(&format!("{name}_x"));
        let before = there.query(STANDING).await.unwrap();
        // Killed between the two, it is called again.
        case.prepare(Step::Bare).await.unwrap();
        case.prepare(Step::Bare).await.unwrap();
        // Rows of different moments: a value in two of them, a child before
        // its parent; and nothing alters them.
        let rows =
            "SET foreign_key_checks = 0; INSERT INTO t (id, u, v, p) VALUES (1, 7, 'a', 1), (2, 7, 'a', 1);
                    UPDATE t SET u = 8, v = 'b' WHERE id = 2; INSERT INTO parent VALUES (1)";
        there.execute(rows).await.unwrap();
        case.prepare(Step::Ready).await.unwrap();
        assert_eq!(there.query(STANDING).await.unwrap(), before, "{name}");
        assert_eq!(there.value("SELECT GROUP_CONCAT(v ORDER BY id) FROM t").await.unwrap(), "a,b");
    }
}

#[tokio::test]
async fn what_the_source_has_not_is_refused_by_its_name_and_left_alone() {
    const PLAIN: &str =
        "CREATE TABLE t (id BIGINT PRIMARY KEY, u BIGINT, v VARCHAR(40), w DATETIME, k INT NOT NULL)";
    for (at, server) in servers().await.into_iter().enumerate() {
        let name = format!("refused_{at}");
        let case = Case::new(&server, &format!("{name}_home"), described(&server, &name, PLAIN).await).await;
        server.execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let there = server.database(&name);
        for (change, named) in [
            ("ADD UNIQUE KEY alone (u)", "unique index alone"),
            ("ADD UNIQUE KEY part (v(3))", "unique index part"),
            ("DROP PRIMARY KEY, ADD PRIMARY KEY (k)", "primary key (k)"),
            ("ADD CONSTRAINT small CHECK (u < 5)", "check small"),
            ("MODIFY v VARCHAR(40) CHARACTER SET latin1", "column v has another character set"),
            ("MODIFY v VARCHAR(40) NOT NULL", "column v takes no null"),
            ("MODIFY v VARCHAR(39)", "column v is varchar(39)"),
            ("MODIFY w DATETIME ON UPDATE CURRENT_TIMESTAMP", "column w changes by itself"),
            ("MODIFY u BIGINT AS (id + 1) VIRTUAL", "column u is computed"),
            ("ADD more INT", "column more is not in the source"),
            ("DROP u", "no column u"),
            ("ENGINE = MyISAM", "no transactions"),
        ] {
            let made = match change {
                // ALTER does not make a column of another kind.
                "MODIFY u BIGINT AS (id + 1) VIRTUAL" => {
                    PLAIN.replace("u BIGINT", "u BIGINT AS (id + 1) VIRTUAL")
                }
                _ => format!("{PLAIN}; ALTER TABLE t {change}"),
            };
            let made = format!("DROP TABLE IF EXISTS t; {made}");
            there.execute(&made).await.unwrap();
            let shown = there.query("SHOW CREATE TABLE t").await.unwrap();
            let error = case.prepare(Step::Bare).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{change}");
            assert!(error.to_string().contains(named), "{change}: {error}");
            assert_eq!(there.query("SHOW CREATE TABLE t").await.unwrap(), shown, "{change}");
        }
        there.execute(&format!("DROP TABLE t; {PLAIN}")).await.unwrap();
        there.execute("CREATE TRIGGER other BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'x'").await.unwrap();
        let error = case.sink.prepare(&case.run, &case.schema, Step::Bare).await.unwrap_err();
        assert!(error.to_string().contains("trigger other"), "{error}");
        there.execute("DROP TRIGGER other").await.unwrap();
        case.prepare(Step::Finished).await.unwrap();
    }
}
