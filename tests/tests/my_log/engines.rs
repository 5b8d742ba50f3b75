//! Tables of engines without transactions are none of a run's, but their rows
//! are in the log: in groups of their own that end in a statement, in the
//! midst of transactions of the run's tables, and behind what was rolled back
//! there.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;

use zdm_core::change::{Item, Op};
use zdm_core::{ErrorKind, Position};
use zdm_servers::mysql::{Database, Flavor, MySql, MySqlOptions};

use crate::fixture::{each as each_item, here};

/// The run's: `u` writes to a table that is not when it is written to.
const OURS: [&str; 2] = ["t", "u"];

const TABLES: &str = "
    CREATE TABLE t (id INT PRIMARY KEY, v INT) ENGINE=InnoDB;
    CREATE TABLE u (id INT PRIMARY KEY, v INT) ENGINE=InnoDB;
    CREATE TABLE m (id INT PRIMARY KEY, v INT) ENGINE=MyISAM;
    CREATE TABLE a (id INT PRIMARY KEY, v INT) ENGINE={aria};
    CREATE TABLE e (id INT PRIMARY KEY, v INT) ENGINE=MEMORY;
    CREATE TABLE into_t (id INT PRIMARY KEY, v INT) ENGINE=MyISAM;
    CREATE TRIGGER u_to_m AFTER INSERT ON u FOR EACH ROW INSERT INTO m VALUES (NEW.id, NEW.v);
    CREATE TRIGGER m_to_t AFTER INSERT ON into_t FOR EACH ROW INSERT INTO t VALUES (NEW.id, NEW.v)";

/// Each is one session; a statement may fail.
const SESSIONS: [&str; 18] = [
    // Alone.
    "INSERT INTO m VALUES (1, 1), (2, 2); UPDATE m SET v = 7; DELETE FROM m WHERE id = 1",
    "INSERT INTO e VALUES (1, 1), (2, 2); UPDATE e SET v = 7; DELETE FROM e WHERE id = 1",
    "INSERT INTO a VALUES (1, 1), (2, 2); UPDATE a SET v = 7; DELETE FROM a WHERE id = 1",
    "BEGIN; INSERT INTO m VALUES (3, 1); INSERT INTO e VALUES (3, 1); INSERT INTO a VALUES (3, 1); COMMIT",
    "BEGIN; INSERT INTO m VALUES (4, 1); SAVEPOINT s; INSERT INTO a VALUES (4, 1); ROLLBACK TO s; ROLLBACK",
    // With ours in one transaction.
    "BEGIN; INSERT INTO t VALUES (10, 1); INSERT INTO m VALUES (10, 1); UPDATE t SET v = 2 WHERE id = 10; COMMIT",
    "BEGIN; INSERT INTO a VALUES (11, 1); INSERT INTO t VALUES (11, 1); INSERT INTO e VALUES (11, 1); COMMIT",
    "BEGIN; INSERT INTO t VALUES (12, 1), (13, 1); DELETE FROM m; DELETE FROM t WHERE id = 12; COMMIT",
    // In one statement.
    "INSERT INTO u VALUES (20, 1), (21, 2)",
    "INSERT INTO into_t VALUES (22, 1), (23, 2)",
    "UPDATE t JOIN into_t ON into_t.id = t.id SET t.v = 5, into_t.v = 6",
    "DELETE t, into_t FROM t JOIN into_t ON into_t.id = t.id WHERE t.id = 22",
    // Rolled back.
    "BEGIN; INSERT INTO t VALUES (30, 1); INSERT INTO m VALUES (30, 1); ROLLBACK",
    "BEGIN; INSERT INTO a VALUES (31, 1); INSERT INTO t VALUES (31, 1); UPDATE t SET v = 9; ROLLBACK",
    "BEGIN; INSERT INTO u VALUES (32, 1); INSERT INTO into_t VALUES (33, 1); ROLLBACK",
    // By a statement that fails in its midst.
    "INSERT INTO m VALUES (50, 1), (51, 1), (50, 2)",
    "BEGIN; INSERT INTO t VALUES (52, 1); INSERT INTO into_t VALUES (53, 1), (52, 1); INSERT INTO t VALUES (54, 1); COMMIT",
    "BEGIN; INSERT INTO u VALUES (55, 1), (56, 1), (55, 1); INSERT INTO t VALUES (57, 1); COMMIT",
];

/// Where something was done that no engine takes back, and then rolled back.
/// MySQL logs what is left. MariaDB may log all of it, with the statement that
/// takes it back: the run stops, since it has handed over what came before.
const TAKEN_BACK: [&str; 4] = [
    "BEGIN; INSERT INTO t VALUES (40, 1); SAVEPOINT s; INSERT INTO t VALUES (41, 1); INSERT INTO m VALUES (41, 1); \
     ROLLBACK TO s; INSERT INTO t VALUES (42, 1); COMMIT",
    "BEGIN; INSERT INTO e VALUES (43, 1); SAVEPOINT s; INSERT INTO a VALUES (44, 1); UPDATE t SET v = 8; \
     ROLLBACK TO s; INSERT INTO u VALUES (44, 1); RELEASE SAVEPOINT s; COMMIT",
    "BEGIN; SAVEPOINT s; INSERT INTO into_t VALUES (45, 1); INSERT INTO t VALUES (46, 1); ROLLBACK TO s; \
     INSERT INTO m VALUES (46, 1); COMMIT",
    "BEGIN; INSERT INTO t VALUES (60, 1); CREATE TEMPORARY TABLE n (id INT) ENGINE=MyISAM; INSERT INTO n VALUES (1); \
     INSERT INTO m SELECT id + 60, 1 FROM n; DROP TEMPORARY TABLE n; ROLLBACK",
];

/// What the log has made of the run's tables.
type Rows = BTreeMap<(String, String), String>;

async fn session(database: &Database, sql: &str) {
    let mut session = database.connect().await.unwrap();
    for statement in sql.split("; ") {
        // Whatever comes of it, the table tells.
        let _ = session.query_drop(statement).await;
    }
    session.disconnect().await.unwrap();
}

/// Reads on behind `from`, into `rows`.
async fn follow(server: &MySql, from: &Position, rows: &mut Rows) -> zdm_core::Result<Position> {
    each_item(server, &OURS, from, |batch, item| {
        let Item::Rows(run) = item else { return };
        for row in batch.rows_of(run) {
            let [old, new] = [row.before(), row.after()]
                .map(|image| image.map(|image| [0, 1].map(|at| image.cell(at).value().unwrap().to_string())));
            let key = |id: &str| (run.table.name.name.to_string(), id.to_owned());
            if let Some([id, v]) = old {
                assert_eq!(rows.remove(&key(&id)), Some(v), "the old row of {:?}", run.op);
            }
            if let Some([id, v]) = new {
                assert_eq!(rows.insert(key(&id), v), None, "{:?} of {id}, which is there", run.op);
            }
            assert!(matches!(run.op, Op::Insert | Op::Update | Op::Delete));
        }
    })
    .await
}

async fn stored(shop: &Database) -> Rows {
    let sql = "SELECT 't', id, v FROM t UNION ALL SELECT 'u', id, v FROM u";
    let rows = shop.query(sql).await.unwrap();
    let rows = rows.into_iter().map(|row| {
        let [table, id, v] = <[_; 3]>::try_from(row).unwrap().map(Option::unwrap);
        ((table, id), v)
    });
    rows.collect()
}

/// All of it comes through, or stops where MariaDB has logged what it took
/// back.
async fn come_through(options: MySqlOptions) {
    let maria = options.flavor() == Flavor::MariaDb;
    let server = MySql::start(options.database("shop")).await.unwrap();
    let shop = server.database("shop");
    shop.execute(&TABLES.replace("{aria}", if maria { "Aria" } else { "MyISAM" })).await.unwrap();
    let (mut from, mut rows, mut stopped) = (here(&server).await, Rows::new(), 0);
    for sql in SESSIONS {
        session(&shop, sql).await;
        from = follow(&server, &from, &mut rows).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows, stored(&shop).await, "{sql}");
    }
    for sql in TAKEN_BACK {
        session(&shop, sql).await;
        let mut read = rows.clone();
        match follow(&server, &from, &mut read).await {
            Ok(_) => assert_eq!(read, stored(&shop).await, "{sql}"),
            Err(error) => {
                assert!(maria, "{sql}: {error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}: {error}");
                assert!(
                    error.to_string().contains("rolled back after its rows were logged"),
                    "{sql}: {error}"
                );
                stopped += 1;
            }
        }
        (from, rows) = (here(&server).await, stored(&shop).await);
    }
    assert_eq!(stopped, if maria { TAKEN_BACK.len() } else { 0 });
    // What is in memory is gone, and the log says so by a statement.
    session(&shop, "INSERT INTO e VALUES (100, 1)").await;
    server.restart().await.unwrap();
    session(&shop, "SELECT COUNT(*) FROM e").await;
    session(&shop, "INSERT INTO t VALUES (70, 1); INSERT INTO e VALUES (70, 1)").await;
    assert_eq!(shop.value("SELECT COUNT(*) FROM e").await.unwrap(), "1");
    follow(&server, &from, &mut rows).await.unwrap();
    assert_eq!(rows, stored(&shop).await, "a table in memory");
    // So there were groups of both kinds.
    let ends = async |name: &str, kind: &str, info: &str| {
        let events = server.query(&format!("SHOW BINLOG EVENTS IN '{name}'")).await.unwrap();
        events.iter().any(|event| {
            event[2].as_deref() == Some(kind) && event[5].as_ref().is_some_and(|is| is.starts_with(info))
        })
    };
    assert!(ends("binlog.000001", "Query", "COMMIT").await && ends("binlog.000001", "Xid", "COMMIT").await);
}

/// With GTIDs it refuses to have both kinds of table in one transaction.
#[tokio::test]
async fn tables_without_transactions_are_passed_on_mysql() {
    come_through(MySqlOptions::mysql().version("9")).await;
}

#[tokio::test]
async fn tables_without_transactions_are_passed_on_mysql_without_gtids() {
    come_through(MySqlOptions::mysql().version("9").gtids(false)).await;
}

#[tokio::test]
async fn tables_without_transactions_are_passed_on_mariadb() {
    for version in ["10.11", "11.8"] {
        come_through(MySqlOptions::mariadb().version(version)).await;
    }
}
