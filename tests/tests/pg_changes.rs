//! The stream of changes against a real server, compared with what SQL shows.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::OnceCell;
use zdm_core::change::{Batch, Budget, Image, Item, Op};
use zdm_core::connect::{Changes, RunName, StreamOptions};
use zdm_core::schema::{Column, DataType, Generated, Key, Schema, Table, TableName};
use zdm_core::{Engine, Error, ErrorKind, Position, Result};
use zdm_pg::changes_probe as probe;
use zdm_pg::config::PgConfig;
use zdm_servers::postgres::{Database, PgOptions, Postgres};
use zdm_servers::proxy::{Cut, Proxy};

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server for all tests that need nothing special of it.
async fn server() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER
        .get_or_init(async || {
            Postgres::start(
                PgOptions::new()
                    .setting("max_replication_slots", 60)
                    .setting("max_wal_senders", 60)
                    .setting("max_connections", 300),
            )
            .await
            .unwrap()
        })
        .await
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// A database with a run's tables, and the run.
struct Source {
    db: Database,
    config: Arc<PgConfig>,
    run: RunName,
    schema: Arc<Schema>,
}

impl Source {
    /// Makes the tables and describes those of `tables`.
    async fn new(server: &Postgres, name: &str, ddl: &str, tables: &[&str]) -> Self {
        Self::with(server, name, "", ddl, tables).await
    }

    async fn with(server: &Postgres, name: &str, options: &str, ddl: &str, tables: &[&str]) -> Self {
        let db = server.create_database(name).await.unwrap();
        db.execute(ddl).await.unwrap();
        let builder =
            PgConfig::builder().host(server.host()).port(server.port()).user(server.user()).dbname(db.name());
        let builder = if options.is_empty() { builder } else { builder.options(options) };
        let builder = match server.password() {
            Some(password) => builder.password(password),
            None => builder,
        };
        let config = Arc::new(builder.build().unwrap());
        let schema = Arc::new(describe(&db, tables).await);
        Self { db, config, run: name.parse().unwrap(), schema }
    }

    async fn begin(&self) -> Position {
        within("begin", probe::begin(&self.config, &self.run, &self.schema)).await.unwrap()
    }

    fn options(&self, from: &Position) -> StreamOptions {
        StreamOptions::new(self.run.clone(), from.clone(), Arc::clone(&self.schema))
    }

    async fn open(&self, from: &Position) -> Result<Changes> {
        within("open", probe::open(&self.config, self.options(from))).await
    }

    /// The end of the log.
    async fn head(&self) -> u64 {
        lsn(&self.db.value("SELECT pg_current_wal_insert_lsn()").await.unwrap())
    }

    /// All transactions from a position to the log's present end, as lines.
    async fn lines(&self, from: &Position) -> Vec<String> {
        let goal = self.head().await;
        let mut changes = self.open(from).await.unwrap();
        let mut lines = Vec::new();
        read_to(&mut changes, goal, |batch| lines.extend(show(batch))).await;
        lines
    }

    async fn confirmed(&self) -> u64 {
        let sql = format!(
            "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'zdm_{}'",
            self.run
        );
        lsn(&self.db.value(&sql).await.unwrap())
    }

    async fn walsender(&self) -> String {
        let sql = format!(
            "SELECT coalesce(active_pid, 0) FROM pg_replication_slots WHERE slot_name = 'zdm_{}'",
            self.run
        );
        self.db.value(&sql).await.unwrap()
    }
}

fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

fn at(position: &Position) -> u64 {
    lsn(position.as_str())
}

/// The tables as a connector describes them; a key is the replica identity.
async fn describe(db: &Database, tables: &[&str]) -> Schema {
    let mut schema = Schema::default();
    for table in tables {
        let rows = db
            .query(&format!(
                "SELECT c.oid, n.nspname, c.relname, c.relreplident, a.attname, a.atttypid, a.attgenerated,
                        coalesce(a.attnum = ANY (i.indkey), false)
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 LEFT JOIN pg_index i ON i.indrelid = c.oid
                     AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END
                 WHERE c.oid = '{table}'::regclass ORDER BY a.attnum"
            ))
            .await
            .unwrap();
        let cell = |row: usize, column: usize| rows[row][column].clone().unwrap();
        let mut columns = Vec::new();
        let mut key = Vec::new();
        for row in 0..rows.len() {
            let mut column =
                Column::new(cell(row, 4), DataType::Native).native("?", cell(row, 5).parse().unwrap());
            if !cell(row, 6).is_empty() {
                column.generated = Some(Generated { expression: String::new(), stored: true });
            }
            if cell(row, 7) == "t" {
                key.push(row);
            }
            columns.push(column);
        }
        let key = match (cell(0, 3).as_str(), key.is_empty()) {
            ("f", _) => Key::FullRow,
            (_, false) => Key::Columns(key),
            _ => Key::Nothing,
        };
        let name = TableName::new(cell(0, 1), cell(0, 2));
        let mut table = Table::new(Engine::new("postgresql"), name, columns, key);
        table.origin.id = cell(0, 0).parse().unwrap();
        schema.tables.push(Arc::new(table));
    }
    schema
}

/// Reads until the stream has reached `goal`.
async fn read_to(changes: &mut Changes, goal: u64, mut take: impl FnMut(&Batch)) {
    let read = async {
        loop {
            let batch = changes.batches.next().await.expect("the stream goes on").unwrap();
            take(&batch);
            if batch.items().iter().filter_map(Item::position).any(|position| at(position) >= goal) {
                return;
            }
        }
    };
    within("the stream", read).await;
}

async fn error(changes: &mut Changes) -> Error {
    let read = async {
        loop {
            if let Err(error) = changes.batches.next().await.expect("an error comes before the end") {
                return error;
            }
        }
    };
    let error = within("the error", read).await;
    assert!(changes.batches.next().await.is_none(), "after an error nothing follows");
    error
}

fn image(image: Image<'_>) -> String {
    let cells = image.cells().map(|cell| match cell.raw() {
        Some((_, bytes)) if bytes.len() > 100 => format!("[{}]", bytes.len()),
        Some((_, bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        None if cell.is_null() => "-".to_owned(),
        None => "~".to_owned(),
    });
    cells.collect::<Vec<_>>().join("|")
}

/// Each item as a line; idle points and positions left out.
fn show(batch: &Batch) -> Vec<String> {
    let mut lines = Vec::new();
    for item in batch.items() {
        match item {
            Item::Begin(_) => lines.push("begin".to_owned()),
            Item::Commit(commit) => {
                assert!(commit.time.is_some());
                lines.push("commit".to_owned());
            }
            Item::Truncate { tables } => {
                let names: Vec<_> = tables.iter().map(|table| table.name.to_string()).collect();
                lines.push(format!("truncate {}", names.join(" ")));
            }
            Item::Rows(run) => {
                for row in batch.rows_of(run) {
                    let op = match row.op() {
                        Op::Insert => "+",
                        Op::Update => "=",
                        Op::Delete => "-",
                    };
                    let old = row.before().map(|i| format!(" ({})", image(i))).unwrap_or_default();
                    let new = row.after().map(|i| format!(" {}", image(i))).unwrap_or_default();
                    lines.push(format!("{op} {}{old}{new}", row.table().name));
                }
            }
            Item::Idle { .. } => {}
            item => panic!("{item:?}"),
        }
    }
    lines
}

/// What a list of lines makes of keyed rows of one table, whose first column
/// is the key.
#[derive(Default)]
struct Replica(BTreeMap<String, Vec<String>>);

impl Replica {
    fn take(&mut self, batch: &Batch) {
        for item in batch.items() {
            let run = match item {
                Item::Rows(run) => run,
                Item::Truncate { .. } => {
                    self.0.clear();
                    continue;
                }
                _ => continue,
            };
            for row in batch.rows_of(run) {
                let text = |image: Image<'_>| -> Vec<Option<String>> {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    image
                        .cells()
                        .map(|c| {
                            if c.is_unchanged() {
                                None
                            } else {
                                Some(c.raw().map_or("NULL".into(), |(_, b)| text(b)))
                            }
                        })
                        .collect()
                };
                let key = text(row.key_image())[0].clone().unwrap();
                let old = if row.op() == Op::Insert { None } else { self.0.remove(&key) };
                if let Some(new) = row.after() {
                    let cells = text(new).into_iter().enumerate();
                    let cells: Vec<_> = cells
                        .map(|(i, cell)| cell.unwrap_or_else(|| old.as_ref().unwrap()[i].clone()))
                        .collect();
                    self.0.insert(cells[0].clone(), cells);
                }
            }
        }
    }

    async fn expect(&self, db: &Database, columns: &str, table: &str) {
        let rows = db.query(&format!("SELECT {columns} FROM {table}")).await.unwrap();
        let rows: BTreeMap<_, Vec<_>> = rows
            .into_iter()
            .map(|row| row.into_iter().map(|c| c.unwrap_or("NULL".into())).collect::<Vec<_>>())
            .map(|row| (row[0].clone(), row))
            .collect();
        assert_eq!(self.0, rows);
    }
}

const LARGE: &str = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) i)";

#[tokio::test]
async fn every_kind_of_change_in_order() {
    let source = Source::new(
        server().await,
        "kinds",
        "CREATE SCHEMA \"Other\";
         CREATE TABLE t (id int PRIMARY KEY, v text, big text);
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
         CREATE TABLE \"Other\".\"Mixed \"\"Case\" (\"Id\" int PRIMARY KEY, \"select\" text, twice int GENERATED ALWAYS AS (\"Id\" * 2) STORED);
         CREATE TABLE f (a int, b text, big text);
         ALTER TABLE f ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE f REPLICA IDENTITY FULL;
         CREATE TABLE i (id int PRIMARY KEY, code text NOT NULL, v text);
         CREATE UNIQUE INDEX i_code ON i (code);
         ALTER TABLE i REPLICA IDENTITY USING INDEX i_code;
         CREATE TABLE outside (id int PRIMARY KEY)",
        &["t", "\"Other\".\"Mixed \"\"Case\"", "f", "i"],
    )
    .await;
    let start = source.begin().await;
    for statement in [
        &format!("INSERT INTO t VALUES (1, 'a', {LARGE}), (2, NULL, '')"),
        "UPDATE t SET v = 'b' WHERE id = 1",
        "UPDATE t SET id = 3 WHERE id = 1",
        "INSERT INTO outside VALUES (1)",
        "DELETE FROM t WHERE id = 3",
        "INSERT INTO \"Other\".\"Mixed \"\"Case\" VALUES (1, 'x')",
        "UPDATE \"Other\".\"Mixed \"\"Case\" SET \"Id\" = 2",
        &format!("INSERT INTO f VALUES (1, 'x', {LARGE})"),
        "UPDATE f SET b = 'y'",
        "DELETE FROM f",
        "INSERT INTO i VALUES (1, 'one', 'v')",
        "UPDATE i SET v = 'w'",
        "UPDATE i SET code = 'two'",
        "DELETE FROM i",
        "TRUNCATE t, i RESTART IDENTITY CASCADE",
        "DO $$ BEGIN INSERT INTO t VALUES (7, 'kept', ''); BEGIN INSERT INTO t VALUES (8, 'lost', ''); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$",
    ] {
        source.db.execute(statement).await.unwrap();
    }
    source.db.execute("BEGIN; INSERT INTO t VALUES (9, 'rolled back', ''); ROLLBACK").await.unwrap();
    let lines: Vec<_> =
        source.lines(&start).await.into_iter().filter(|l| l != "begin" && l != "commit").collect();
    assert_eq!(
        lines,
        [
            "+ public.t 1|a|[6400]",
            "+ public.t 2|-|",
            "= public.t 1|b|~",
            "= public.t (1|~|~) 3|b|~",
            "- public.t (3|~|~)",
            "+ Other.Mixed \"Case 1|x|~",
            "= Other.Mixed \"Case (1|~|~) 2|x|~",
            "+ public.f 1|x|[6400]",
            "= public.f (1|x|[6400]) 1|y|[6400]",
            "- public.f (1|y|[6400])",
            "+ public.i 1|one|v",
            "= public.i 1|one|w",
            "= public.i (~|one|~) 1|two|w",
            "- public.i (~|two|~)",
            "truncate public.i public.t",
            "+ public.t 7|kept|",
        ]
    );
    probe::release(&source.config, &source.run).await.unwrap();
    probe::release(&source.config, &source.run).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_kinds')";
    assert_eq!(source.db.value(left).await.unwrap(), "0");
}

#[tokio::test]
async fn rows_that_nothing_tells_apart_are_refused_before_an_update_can_fail() {
    let source = Source::new(
        server().await,
        "keyless",
        "CREATE TABLE n (a int); ALTER TABLE n REPLICA IDENTITY NOTHING; INSERT INTO n VALUES (1)",
        &["n"],
    )
    .await;
    let error = probe::begin(&source.config, &source.run, &source.schema).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("ALTER TABLE \"public\".\"n\" REPLICA IDENTITY FULL"), "{error}");
    source.db.execute("UPDATE n SET a = 2").await.unwrap();
    let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_keyless'";
    assert_eq!(source.db.value(left).await.unwrap(), "0");
}

#[tokio::test]
async fn partitions_come_as_their_root_and_are_truncated_together() {
    let source = Source::new(
        server().await,
        "parts",
        "CREATE TABLE p (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 (v text, gone int, id int NOT NULL) ; ALTER TABLE p2 DROP gone;
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)",
        &["p"],
    )
    .await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    for statement in [
        "INSERT INTO p VALUES (1, 'a'), (11, 'b')",
        "UPDATE p SET id = 12 WHERE id = 1",
        "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30)",
        "INSERT INTO p VALUES (21, 'new')",
        "TRUNCATE p",
        "INSERT INTO p VALUES (2, 'after')",
    ] {
        source.db.execute(statement).await.unwrap();
    }
    let mut lines = Vec::new();
    read_to(&mut changes, source.head().await, |batch| lines.extend(show(batch))).await;
    lines.retain(|l| l != "begin" && l != "commit");
    assert_eq!(
        lines,
        [
            "+ public.p 1|a",
            "+ public.p 11|b",
            "- public.p (1|~)",
            "+ public.p 12|a",
            "+ public.p 21|new",
            "truncate public.p",
            "+ public.p 2|after",
        ]
    );
    source.db.execute("TRUNCATE p2").await.unwrap();
    let error = error(&mut changes).await;
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    assert!(error.to_string().contains("some of its partitions were truncated"), "{error}");
}

#[tokio::test]
async fn a_changed_table_stops_the_stream_after_what_came_before() {
    let source = Source::new(server().await, "ddl", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let start = source.begin().await;
    source.db.execute("INSERT INTO t VALUES (1)").await.unwrap();
    source.db.execute("ALTER TABLE t ADD v text").await.unwrap();
    source.db.execute("INSERT INTO t VALUES (2, 'x')").await.unwrap();
    let mut changes = source.open(&start).await.unwrap();
    let mut lines = Vec::new();
    let error = within("the error", async {
        loop {
            match changes.batches.next().await.unwrap() {
                Ok(batch) => lines.extend(show(&batch)),
                Err(error) => return error,
            }
        }
    })
    .await;
    assert_eq!(lines, ["begin", "+ public.t 1", "commit"]);
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    assert!(error.to_string().contains("column v was added"), "{error}");
}

#[tokio::test]
async fn a_stream_from_any_commit_gives_the_later_transactions() {
    let source =
        Source::new(server().await, "resume", "CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]).await;
    let start = source.begin().await;
    for id in 0..8 {
        let sql = format!("BEGIN; INSERT INTO t VALUES ({id}, 0); UPDATE t SET v = v + 1; COMMIT");
        source.db.execute(&sql).await.unwrap();
    }
    let (goal, mut all, mut commits) = (source.head().await, Vec::new(), vec![(start.clone(), 0)]);
    let mut changes = source.open(&start).await.unwrap();
    read_to(&mut changes, goal, |batch| {
        for (index, item) in batch.items().iter().enumerate() {
            all.extend(show(&batch.slice(index..index + 1)));
            if let Item::Commit(commit) = item {
                commits.push((commit.position.clone(), all.len()));
            }
        }
    })
    .await;
    drop(changes);
    assert_eq!(commits.len(), 9);
    for (position, from) in commits {
        assert_eq!(source.lines(&position).await, all[from..], "from {position}");
    }
    assert_eq!(source.confirmed().await, at(&start), "nothing was acknowledged");
}

#[tokio::test]
async fn an_idle_source_lets_its_log_go() {
    let source = Source::new(
        server().await,
        "idle",
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)",
        &["t"],
    )
    .await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    for _ in 0..3 {
        source.db.execute("INSERT INTO other SELECT generate_series(1, 1000)").await.unwrap();
        let goal = source.head().await;
        let mut last = None;
        read_to(&mut changes, goal, |batch| {
            assert_eq!(batch.row_count(), 0);
            last = batch.items().iter().rev().find_map(|item| item.position().cloned()).or(last.take());
        })
        .await;
        changes.ack.durable(last.unwrap());
        within("the slot", async {
            while source.confirmed().await < goal {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn the_last_acknowledgement_is_reported_when_the_stream_ends() {
    let source = Source::new(server().await, "lastack", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let start = source.begin().await;
    source.db.execute("INSERT INTO t VALUES (1)").await.unwrap();
    let goal = source.head().await;
    let options = source.options(&start);
    let cancel = options.cancel.clone();
    let mut changes = probe::open(&source.config, options).await.unwrap();
    let mut last = None;
    read_to(&mut changes, goal, |batch| {
        last = batch.items().iter().rev().find_map(|item| item.position().cloned()).or(last.take());
    })
    .await;
    cancel.cancel();
    while let Some(batch) = within("the end", changes.batches.next()).await {
        batch.unwrap();
    }
    // Cancelled, the consumer still commits what it has, and says so.
    let last = last.unwrap();
    changes.ack.durable(last.clone());
    drop(changes);
    within("the slot", async {
        while source.walsender().await != "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(source.confirmed().await, at(&last));
    // What was acknowledged is gone: a start from before it is refused.
    let error = source.open(&start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap);
    assert!(error.to_string().contains("ahead of the run's progress"), "{error}");
    assert!(source.open(&last).await.is_ok());
}

#[tokio::test]
async fn an_acknowledgement_of_what_was_not_handed_over_ends_the_stream() {
    let source = Source::new(server().await, "ackahead", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    changes.ack.durable(Position::new(Engine::new("postgresql"), "FFFF/0"));
    let error = error(&mut changes).await;
    assert!(error.to_string().contains("not handed over"), "{error}");
    assert_eq!(source.confirmed().await, at(&start));
}

#[tokio::test]
async fn a_slot_that_is_gone_or_made_anew_is_refused() {
    let source = Source::new(server().await, "anew", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let start = source.begin().await;
    source.db.execute("SELECT pg_drop_replication_slot('zdm_anew')").await.unwrap();
    for result in [
        probe::check(&source.config, &source.run, &source.schema, &start).await,
        source.open(&start).await.map(|_| ()),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gap);
        assert!(error.to_string().contains("is gone"), "{error}");
    }
    source.db.execute("INSERT INTO t VALUES (1)").await.unwrap();
    source.db.execute("SELECT pg_create_logical_replication_slot('zdm_anew', 'pgoutput')").await.unwrap();
    let error = probe::check(&source.config, &source.run, &source.schema, &start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap);
    // A beginning of the same run replaces it.
    let again = source.begin().await;
    assert!(at(&again) > at(&start));
    probe::check(&source.config, &source.run, &source.schema, &again).await.unwrap();
    // Somebody else's is left alone.
    source.db.execute("SELECT pg_drop_replication_slot('zdm_anew'), pg_create_logical_replication_slot('zdm_anew', 'test_decoding')").await.unwrap();
    let error = probe::begin(&source.config, &source.run, &source.schema).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    probe::release(&source.config, &source.run).await.unwrap();
    let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_anew'";
    assert_eq!(source.db.value(left).await.unwrap(), "1");
}

#[tokio::test]
async fn a_publication_that_gives_less_than_the_run_needs_is_refused() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)";
    let source = Source::new(server().await, "lesser", ddl, &["t", "u"]).await;
    let start = source.begin().await;
    for (alter, words) in [
        ("ALTER PUBLICATION zdm_lesser DROP TABLE u", "lacks the table public.u"),
        ("ALTER PUBLICATION zdm_lesser SET TABLE t, u WHERE (id > 1)", "only some rows or columns"),
        ("ALTER PUBLICATION zdm_lesser SET TABLE t (id), u", "only some rows or columns"),
        (
            "ALTER PUBLICATION zdm_lesser SET TABLE t, u; ALTER PUBLICATION zdm_lesser SET (publish = 'insert')",
            "does not publish insert, update, delete and truncate",
        ),
        ("DROP PUBLICATION zdm_lesser", "is gone"),
    ] {
        source.db.execute(alter).await.unwrap();
        for result in [
            probe::check(&source.config, &source.run, &source.schema, &start).await,
            source.open(&start).await.map(|_| ()),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Gap, "{alter}: {error}");
            assert!(error.to_string().contains(words), "{alter}: {error}");
        }
    }
}

#[tokio::test]
async fn a_second_reader_is_told_who_has_the_slot() {
    let source = Source::new(server().await, "second", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let start = source.begin().await;
    let first = source.open(&start).await.unwrap();
    let error = source.open(&start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("pid: {}", source.walsender().await)), "{error}");
    drop(first);
    assert!(source.open(&start).await.is_ok(), "a reader that has just gone is waited for");
}

#[tokio::test]
async fn somebody_elses_publication_is_used_if_it_gives_enough_and_never_dropped() {
    let source = Source::new(
        server().await,
        "theirs",
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION zdm_theirs FOR TABLE u",
        &["t"],
    )
    .await;
    let error = probe::begin(&source.config, &source.run, &source.schema).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("lacks the table public.t"), "{error}");
    source.db.execute("ALTER PUBLICATION zdm_theirs ADD TABLE t").await.unwrap();
    let start = source.begin().await;
    source
        .db
        .execute("INSERT INTO u VALUES (1); INSERT INTO t VALUES (1); TRUNCATE u; DELETE FROM t")
        .await
        .unwrap();
    assert_eq!(source.lines(&start).await, ["begin", "+ public.t 1", "- public.t (1)", "commit"]);
    probe::release(&source.config, &source.run).await.unwrap();
    assert_eq!(source.db.value("SELECT count(*) FROM pg_publication").await.unwrap(), "1");
}

#[tokio::test]
async fn a_huge_transaction_flows_in_many_batches_within_the_budget() {
    let source =
        Source::new(server().await, "huge", "CREATE TABLE t (id int PRIMARY KEY, v text)", &["t"]).await;
    let start = source.begin().await;
    source
        .db
        .execute("INSERT INTO t SELECT i, repeat('x', 90) FROM generate_series(1, 60000) i")
        .await
        .unwrap();
    source
        .db
        .execute("UPDATE t SET id = -id WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0")
        .await
        .unwrap();
    let goal = source.head().await;
    let budget = Budget::new(1 << 20);
    let mut changes =
        probe::open(&source.config, source.options(&start).budget(budget.clone())).await.unwrap();
    let (mut replica, mut batches, mut rows, mut largest) = (Replica::default(), 0, 0, 0);
    read_to(&mut changes, goal, |batch| {
        replica.take(batch);
        batches += 1;
        rows += batch.row_count();
        largest = largest.max(batch.bytes());
        assert!(budget.available() < 1 << 20, "a batch holds its share");
    })
    .await;
    replica.expect(&source.db, "id, v", "t").await;
    assert!(rows >= 80_000 && batches > 20, "{rows} rows in {batches} batches");
    assert!(largest < 600 << 10, "{largest} bytes in one batch");
}

#[tokio::test]
async fn a_slow_consumer_does_not_lose_its_server() {
    let source = Source::with(
        server().await,
        "slow",
        "-c wal_sender_timeout=1s",
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        &["t"],
    )
    .await;
    let start = source.begin().await;
    source
        .db
        .execute("INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 40000) i")
        .await
        .unwrap();
    let goal = source.head().await;
    let options = source.options(&start).budget(Budget::new(64 << 10));
    let mut changes = probe::open(&source.config, options).await.unwrap();
    let mut replica = Replica::default();
    let first = changes.batches.next().await.unwrap().unwrap();
    replica.take(&first);
    // The server hears from us for three times its patience, though nothing is read.
    let sql = format!(
        "SELECT reply_time > now() FROM pg_stat_replication WHERE pid = {}",
        source.walsender().await
    );
    let after = source.db.value("SELECT now() + '3s'").await.unwrap();
    let sql = sql.replace("now()", &format!("'{after}'::timestamptz"));
    within("the third report", async {
        while source.db.value(&sql).await.expect("the server keeps us") != "t" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    drop(first);
    read_to(&mut changes, goal, |batch| replica.take(batch)).await;
    replica.expect(&source.db, "id, v", "t").await;
}

#[tokio::test]
async fn a_cut_connection_is_an_error_that_a_retry_mends() {
    let source =
        Source::new(server().await, "cut", "CREATE TABLE t (id int PRIMARY KEY, v text)", &["t"]).await;
    let proxy = Proxy::start(source.config.host(), source.config.port()).await.unwrap();
    let direct = source.config.as_ref();
    let builder =
        PgConfig::builder().host("127.0.0.1").port(proxy.port()).user(direct.user()).dbname(direct.dbname());
    let builder = match direct.password() {
        Some(password) => builder.password(password.clone()),
        None => builder,
    };
    let config = Arc::new(builder.build().unwrap());
    let start = source.begin().await;
    source
        .db
        .execute("INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 40000) i")
        .await
        .unwrap();
    let goal = source.head().await;
    for cut in [Cut::Reset, Cut::Close] {
        let mut changes =
            probe::open(&config, source.options(&start).budget(Budget::new(64 << 10))).await.unwrap();
        changes.batches.next().await.unwrap().unwrap();
        proxy.cut(cut).await;
        let error = error(&mut changes).await;
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(error.is_retryable());
    }
    let mut changes = source.open(&start).await.unwrap();
    let mut replica = Replica::default();
    read_to(&mut changes, goal, |batch| replica.take(batch)).await;
    replica.expect(&source.db, "id, v", "t").await;
}

#[tokio::test]
async fn the_end_of_the_log_is_known_while_the_consumer_is_behind() {
    let source =
        Source::new(server().await, "gauge", "CREATE TABLE t (id int PRIMARY KEY, v text)", &["t"]).await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    source
        .db
        .execute("INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 40000) i")
        .await
        .unwrap();
    let goal = source.head().await;
    let known = changes.head.wait_for(|head| head.position.as_ref().is_some_and(|p| at(p) >= goal));
    let head = within("the head", known).await.unwrap().clone();
    assert!(head.bytes_behind > 1 << 20, "{head:?}");
    read_to(&mut changes, goal, |_| {}).await;
    within("the head", changes.head.wait_for(|head| head.bytes_behind < 1 << 20)).await.unwrap();
}

#[tokio::test]
async fn a_slot_whose_log_is_gone_is_refused() {
    let options = PgOptions::new().setting("max_slot_wal_keep_size", "1MB").setting("wal_level", "logical");
    let server = Postgres::start(options).await.unwrap();
    let source = Source::new(&server, "lost", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let start = source.begin().await;
    for id in 0..6 {
        source.db.execute(&format!("INSERT INTO t VALUES ({id})")).await.unwrap();
        source.db.execute("SELECT pg_switch_wal()").await.unwrap();
    }
    source.db.execute("CHECKPOINT").await.unwrap();
    let error = source.open(&start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    assert!(error.to_string().contains("max_slot_wal_keep_size"), "{error}");
}

#[tokio::test]
async fn a_beginning_waits_for_transactions_in_progress_and_names_them() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let source = Source::new(&server, "wait", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let open = source.db.connect().await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    {
        let begin = probe::begin(&source.config, &source.run, &source.schema);
        tokio::pin!(begin);
        let waiting = async {
            let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
            while source.db.value(sql).await.unwrap() == "0" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            begun = &mut begin => panic!("{begun:?} before the transaction ended"),
            () = within("the wait", waiting) => {}
        }
        open.batch_execute("COMMIT").await.unwrap();
        let start = within("begin", begin).await.unwrap();
        assert!(source.lines(&start).await.is_empty());
    }
    // Prepared ones as well; in the end the culprit is named, and nothing is left.
    source.db.execute("BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'culprit'").await.unwrap();
    let config = PgConfig::builder()
        .host(server.host())
        .port(server.port())
        .user(server.user())
        .dbname(source.db.name())
        .begin_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let run: RunName = "short".parse().unwrap();
    let error = within("begin", probe::begin(&config, &run, &source.schema)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("prepared transaction 'culprit'"), "{error}");
    let settled = probe::settle(&config, Duration::from_millis(300)).await.unwrap_err();
    assert!(settled.to_string().contains("prepared transaction 'culprit'"), "{settled}");
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_short')
                     + (SELECT count(*) FROM pg_publication WHERE pubname = 'zdm_short')";
    assert_eq!(source.db.value(left).await.unwrap(), "0");
    source.db.execute("COMMIT PREPARED 'culprit'").await.unwrap();
    probe::settle(&config, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn identity_is_of_the_system_its_timeline_and_the_database() {
    let source = Source::new(server().await, "who", "", &[]).await;
    let identity = probe::identity(&source.config).await.unwrap();
    let system = source.db.value("SELECT system_identifier FROM pg_control_system()").await.unwrap();
    assert_eq!(identity.facts["system"], system);
    assert_eq!(identity.facts["timeline"], "1");
    assert_eq!(identity.facts["database"], source.db.name());
}
