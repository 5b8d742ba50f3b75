//! Tables of engines without transactions are none of a run's, but their rows
//! are in the log: in groups of their own that end in a statement, in the
//! midst of transactions of the run's tables, and behind what was rolled back
//! there.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use mysql_async::prelude::Queryable;
use zdm_core::Position;
use zdm_core::change::{Item, Op};
use zdm_core::connect::{Source as _, StreamOptions};
use zdm_mysql::{MySqlSource, changes_probe as probe};
use zdm_servers::mysql::{Database, Flavor, MySql, MySqlOptions};
use zdm_tests::within;

use crate::fixture::{config, each as each_item, here};

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

const FUNCTION: &str = "CREATE FUNCTION f(n INT) RETURNS INT MODIFIES SQL DATA BEGIN SAVEPOINT s; \
    INSERT INTO t VALUES (n, 1); ROLLBACK TO s; INSERT INTO t VALUES (n + 1, 1); RETURN 1; END";

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
/// MySQL logs what is left; MariaDB may log all of it, with the statement that
/// takes it back.
const TAKEN_BACK: [&str; 15] = [
    "BEGIN; INSERT INTO t VALUES (40, 1); SAVEPOINT s; INSERT INTO t VALUES (41, 1); INSERT INTO m VALUES (41, 1); \
     ROLLBACK TO s; INSERT INTO t VALUES (42, 1); COMMIT",
    "BEGIN; INSERT INTO e VALUES (43, 1); SAVEPOINT s; INSERT INTO a VALUES (44, 1); UPDATE t SET v = 8; \
     ROLLBACK TO s; INSERT INTO u VALUES (44, 1); RELEASE SAVEPOINT s; COMMIT",
    "BEGIN; SAVEPOINT s; INSERT INTO into_t VALUES (45, 1); INSERT INTO t VALUES (46, 1); ROLLBACK TO s; \
     INSERT INTO m VALUES (46, 1); COMMIT",
    "BEGIN; INSERT INTO t VALUES (60, 1); CREATE TEMPORARY TABLE n (id INT) ENGINE=MyISAM; INSERT INTO n VALUES (1); \
     INSERT INTO m SELECT id + 60, 1 FROM n; DROP TEMPORARY TABLE n; ROLLBACK",
    // The same, and kept.
    "BEGIN; INSERT INTO t VALUES (61, 1); CREATE TEMPORARY TABLE n (id INT); DELETE FROM t WHERE id = 42; COMMIT",
    "CREATE TEMPORARY TABLE n (id INT); BEGIN; UPDATE t SET v = 17; INSERT INTO u VALUES (63, 1); \
     DROP TEMPORARY TABLE n; ROLLBACK",
    // A savepoint is where its name was given last, in any case.
    "BEGIN; INSERT INTO t VALUES (400, 1); SAVEPOINT s; INSERT INTO t VALUES (401, 1); INSERT INTO m VALUES (401, 1); \
     SAVEPOINT S; DELETE FROM t WHERE id = 400; SAVEPOINT `it``s`; UPDATE t SET v = 3; ROLLBACK TO `IT``S`; \
     INSERT INTO t VALUES (402, 1); ROLLBACK TO s; INSERT INTO t VALUES (403, 1); COMMIT",
    // Released, with those behind it; gone back to twice; within and around.
    "BEGIN; INSERT INTO a VALUES (410, 1); INSERT INTO t VALUES (410, 1); SAVEPOINT a; INSERT INTO t VALUES (411, 1); \
     SAVEPOINT b; INSERT INTO t VALUES (412, 1); RELEASE SAVEPOINT a; SAVEPOINT b; INSERT INTO t VALUES (413, 1); \
     ROLLBACK TO b; INSERT INTO t VALUES (414, 1); ROLLBACK TO b; INSERT INTO t VALUES (415, 1); COMMIT",
    "BEGIN; INSERT INTO e VALUES (420, 1); SAVEPOINT a; INSERT INTO t VALUES (420, 1); SAVEPOINT b; \
     INSERT INTO t VALUES (421, 1); ROLLBACK TO b; UPDATE t SET v = 11 WHERE id = 420; ROLLBACK TO a; COMMIT",
    "SET sql_mode = 'ANSI_QUOTES'; SET sql_quote_show_create = 0; BEGIN; INSERT INTO m VALUES (430, 1); \
     INSERT INTO t VALUES (430, 1); SAVEPOINT \"a b\"; INSERT INTO t VALUES (431, 1); SAVEPOINT savepoint; \
     INSERT INTO t VALUES (432, 1); ROLLBACK TO savepoint; INSERT INTO t VALUES (433, 1); ROLLBACK TO \"A B\"; COMMIT",
    // Of letters that are not ASCII.
    "BEGIN; INSERT INTO m VALUES (435, 1); INSERT INTO t VALUES (435, 1); SAVEPOINT `größe`; \
     INSERT INTO t VALUES (436, 1); SAVEPOINT `größer`; UPDATE t SET v = 12; ROLLBACK TO `GRößE`; \
     INSERT INTO t VALUES (437, 1); COMMIT",
    // A function has savepoints of its own.
    "BEGIN; INSERT INTO t VALUES (440, 1); SAVEPOINT s; INSERT INTO t VALUES (441, 1); INSERT INTO m VALUES (441, 1); \
     SELECT f(442); INSERT INTO t VALUES (444, 1); ROLLBACK TO s; SELECT f(446); COMMIT",
    // Prepared ones.
    "XA START 'a'; INSERT INTO m VALUES (450, 1); INSERT INTO t VALUES (450, 1); SAVEPOINT s; \
     INSERT INTO t VALUES (451, 1); ROLLBACK TO s; INSERT INTO t VALUES (452, 1); XA END 'a'; XA PREPARE 'a'; XA COMMIT 'a'",
    "XA START 'a'; INSERT INTO t VALUES (453, 1); CREATE TEMPORARY TABLE n (id INT); XA END 'a'; XA ROLLBACK 'a'",
    "XA START 'a'; INSERT INTO t VALUES (454, 1); CREATE TEMPORARY TABLE n (id INT); XA END 'a'; XA PREPARE 'a'; \
     XA ROLLBACK 'a'",
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

/// All of it comes through.
async fn come_through(options: MySqlOptions) {
    let maria = options.flavor() == Flavor::MariaDb;
    let server = MySql::start(options.database("shop")).await.unwrap();
    let shop = server.database("shop");
    shop.execute(&TABLES.replace("{aria}", if maria { "Aria" } else { "MyISAM" })).await.unwrap();
    // Its body has semicolons of its own.
    let mut conn = shop.connect().await.unwrap();
    conn.query_drop("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
    conn.query_drop(FUNCTION).await.unwrap();
    conn.disconnect().await.unwrap();
    let (mut from, mut rows) = (here(&server).await, Rows::new());
    for sql in SESSIONS.iter().chain(&TAKEN_BACK) {
        session(&shop, sql).await;
        from = follow(&server, &from, &mut rows).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows, stored(&shop).await, "{sql}");
    }
    // So MariaDB has logged what it took back.
    let events = server.query("SHOW BINLOG EVENTS IN 'binlog.000001'").await.unwrap();
    for (statement, count) in [("ROLLBACK", 4), ("ROLLBACK TO ", 11)] {
        let logged = events.iter().filter(|event| {
            let text = event[5].as_deref().unwrap_or_default();
            // Not that of the function.
            text == statement
                || statement.ends_with(' ') && text.contains(statement) && !text.contains("FUNCTION")
        });
        assert_eq!(logged.count(), if maria { count } else { 0 }, "{statement}");
    }
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

/// What does not fit into a batch has been handed over in part when the log
/// takes it back: the stream fails, and another one of the same source leaves
/// it out.
#[tokio::test]
async fn a_large_transaction_that_is_taken_back_is_read_again_without_it() {
    /// Some 3 MB.
    const MANY: &str = "INSERT INTO t SELECT seq + {0}, 1 FROM seq_1_to_200000";
    let many = |from: u32| MANY.replace("{0}", &from.to_string());
    for version in ["10.11", "11.8"] {
        let server = MySql::start(MySqlOptions::mariadb().version(version).database("shop")).await.unwrap();
        let shop = server.database("shop");
        shop.execute(&TABLES.replace("{aria}", "Aria")).await.unwrap();
        let (start, source) = (here(&server).await, MySqlSource::new(config(&server)));
        for sql in [
            format!(
                "BEGIN; INSERT INTO t VALUES (1, 1); CREATE TEMPORARY TABLE n (id INT); {}; ROLLBACK",
                many(10)
            ),
            "INSERT INTO t VALUES (2, 1)".to_owned(),
            // Of this one some of each half counts.
            format!(
                "BEGIN; INSERT INTO m VALUES (1, 1); INSERT INTO t VALUES (3, 1); SAVEPOINT s; {}; ROLLBACK TO s; \
                 {}; SAVEPOINT s; {}; ROLLBACK TO s; INSERT INTO t VALUES (4, 1); COMMIT",
                many(10),
                many(1_000_000),
                many(2_000_000)
            ),
            "UPDATE t SET v = 7 WHERE id < 5".to_owned(),
        ] {
            session(&shop, &sql).await;
        }
        let goal = here(&server).await;
        let (mut at, mut rows, mut again) = (start, Rows::new(), 0);
        let schema = Arc::new(probe::describe(&config(&server), "shop", &OURS).await.unwrap());
        while !source.reached(&at, &goal).unwrap() {
            let options = StreamOptions::new("run".parse().unwrap(), at.clone(), Arc::clone(&schema));
            let mut changes = source.changes(options).await.unwrap();
            let mut open = Vec::new();
            while !source.reached(&at, &goal).unwrap() {
                let batch = match within("changes", changes.batches.next()).await.unwrap() {
                    Ok(batch) => batch,
                    Err(error) => {
                        assert!(error.is_retryable() && error.to_string().contains("rolled back"), "{error}");
                        assert!(!open.is_empty(), "nothing was handed over before it was taken back");
                        again += 1;
                        break;
                    }
                };
                for item in batch.items() {
                    if let Item::Rows(run) = item {
                        let ids = batch.rows_of(run).map(|row| {
                            let image = row.after().unwrap();
                            [0, 1].map(|at| image.cell(at).value().unwrap().to_string())
                        });
                        open.extend(ids);
                    }
                    if let Some(position) = item.position() {
                        at = position.clone();
                        rows.extend(open.drain(..).map(|[id, v]| (("t".to_owned(), id), v)));
                    }
                }
            }
        }
        assert_eq!(again, 2, "one for each that does not fit");
        assert!(rows.len() == 200_003 && rows == stored(&shop).await, "{version}: {} rows", rows.len());
    }
}

/// Since 11.7 MariaDB makes a transaction that is large enough a file of its
/// log, as it lay on disk before its commit.
#[tokio::test]
async fn a_transaction_that_becomes_a_file_of_the_log_comes_through() {
    let options = MySqlOptions::mariadb().version("11.8").setting("binlog_large_commit_threshold", "10M");
    let server = MySql::start(options.database("shop")).await.unwrap();
    let shop = server.database("shop");
    shop.execute("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB").await.unwrap();
    let start = here(&server).await;
    let many = "INSERT INTO t SELECT seq, REPEAT('x', 1000000) FROM seq_1_to_6";
    let more = "INSERT INTO t SELECT seq, REPEAT('y', 1000000) FROM seq_7_to_12";
    let files = async || server.query("SHOW BINARY LOGS").await.unwrap().len();
    let before = files().await;
    session(&shop, &format!("INSERT INTO t VALUES (0, 'a'); BEGIN; {many}; SAVEPOINT s; {more}; COMMIT"))
        .await;
    assert_eq!(files().await, before + 1, "it is a file of its own");
    session(&shop, "DELETE FROM t WHERE id = 3").await;
    let (ids, _) = crate::fixture::read(&server, &["t"], &start).await.unwrap();
    let all: Vec<String> = (0..=12).chain([3]).map(|id| id.to_string()).collect();
    assert_eq!(ids, all);
}
