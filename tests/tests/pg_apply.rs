//! Rows and progress in a real target: what the writers leave there is
//! compared with plain SQL.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use zdm_core::change::{Batch, BatchBuilder, Field, Value};
use zdm_core::connect::{
    Bounds, Checkpoint, ChunkDone, ChunkId, ChunkRecord, Epoch, Phase, Progress, Purpose, Record, Reread,
    RunName, Sink, Writer, WriterOptions,
};
use zdm_core::schema::{Column, DataType, Generated, Key, Schema, Table, TableName};
use zdm_core::{Engine, ErrorKind, Identity, Position, Result};
use zdm_pg::PgSink;
use zdm_pg::config::PgConfig;
use zdm_servers::postgres::{Database, PgOptions, Postgres};

const ENGINE: Engine = Engine::new("postgresql");
const PATIENCE: Duration = Duration::from_secs(30);

/// One server and one runtime for the whole file; a database for each case.
fn test(case: impl Future<Output = ()>) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(case);
}

async fn server() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER.get_or_init(|| async { Postgres::start(PgOptions::new()).await.unwrap() }).await
}

struct Case {
    database: Database,
    sink: PgSink,
    checkpoint: Arc<dyn Checkpoint>,
    run: RunName,
    at: AtomicUsize,
    hold_back: Option<usize>,
    reread: Option<Arc<Source>>,
}

async fn case(ddl: &str) -> Case {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("case_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let database = server().await.create_database(&name).await.unwrap();
    database.execute(ddl).await.unwrap();
    let sink = PgSink::new(PgConfig::parse(&database.url()).unwrap());
    let checkpoint = sink.checkpoint().unwrap();
    let mut record = Record::new(RunName::default(), Identity::new(ENGINE).with("system", 7));
    record.position = Some(position(0));
    checkpoint.create(&record).await.unwrap();
    let (run, at) = (RunName::default(), AtomicUsize::new(0));
    Case { database, sink, checkpoint, run, at, hold_back: None, reread: None }
}

impl Case {
    async fn writer(&self, purpose: Purpose, epoch: u64) -> Result<Box<dyn Writer>> {
        let schema = Arc::new(Schema::default());
        let mut options = WriterOptions::new(self.run.clone(), Epoch(epoch), purpose, schema);
        options.hold_back = self.hold_back.unwrap_or(options.hold_back);
        if let Some(source) = &self.reread {
            options = options.reread(Arc::clone(source) as Arc<dyn Reread>);
        }
        self.sink.writer(options).await
    }

    fn next(&self) -> Progress {
        let at = self.at.fetch_add(1, Ordering::Relaxed);
        Progress::Stream { from: position(at), to: position(at + 1), changes: 1, goals: Vec::new() }
    }

    /// One group, in a writer of its own.
    async fn apply(&self, build: impl FnOnce(&mut BatchBuilder)) -> Result<()> {
        let mut writer = self.writer(Purpose::Apply, 1).await?;
        writer.write(batch(build)).await?;
        writer.commit(self.next()).await
    }

    async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.database.query(sql).await.unwrap();
        rows.into_iter()
            .map(|row| row.into_iter().map(|c| c.unwrap_or("-".into())).collect::<Vec<_>>().join("|"))
            .collect()
    }

    async fn expect(&self, sql: &str, rows: &[&str]) {
        assert_eq!(self.rows(sql).await, rows, "{sql}");
    }
}

fn position(at: usize) -> Position {
    Position::new(ENGINE, format!("0/{at:X}"))
}

fn batch(build: impl FnOnce(&mut BatchBuilder)) -> Batch {
    let mut log = BatchBuilder::new();
    build(&mut log);
    log.finish()
}

fn table(name: &str, columns: &[(&str, DataType)], key: Key) -> Arc<Table> {
    let columns = columns.iter().map(|(name, data_type)| Column::new(*name, data_type.clone())).collect();
    Arc::new(Table::new(ENGINE, TableName::new("public", name), columns, key))
}

const INT: DataType = DataType::integer(64);

/// `id, u, v`, with the key on `id`.
fn plain() -> Arc<Table> {
    table("t", &[("id", INT), ("u", INT), ("v", DataType::text())], Key::Columns(vec![0]))
}

const PLAIN: &str = "CREATE TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE, v text NOT NULL)";

fn n(number: i64) -> Field<'static> {
    Value::Int(number).into()
}

fn s(text: &str) -> Field<'_> {
    Value::from(text).into()
}

fn d(text: &str) -> Field<'_> {
    Value::Decimal(text.into()).into()
}

const SAME: Field<'static> = Field::Unchanged;

type Old = Option<[Field<'static>; 3]>;

fn key(id: i64) -> Old {
    Some([n(id), SAME, SAME])
}

/// A source that rows are read from again.
struct Source {
    rows: Vec<(i64, i64, &'static str)>,
    asked: Mutex<Vec<i64>>,
}

#[async_trait::async_trait]
impl Reread for Source {
    async fn reread(&self, table: &Arc<Table>, keys: Batch) -> Result<Batch> {
        let asked: Vec<i64> =
            keys.rows().map(|row| row.key_image().cell(0).value().unwrap().as_i64().unwrap()).collect();
        let found = batch(|log| {
            for (id, u, v) in self.rows.iter().filter(|row| asked.contains(&row.0)) {
                log.insert(table, [n(*id), n(*u), s(v)]).unwrap();
            }
        });
        self.asked.lock().unwrap().extend(asked);
        Ok(found)
    }
}

#[test]
fn inserts_updates_and_deletes_end_as_they_should_and_progress_moves_with_them() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        case.apply(|log| {
            for id in 0..5 {
                log.insert(&t, [n(id), n(id), s("tab\tnew\nback\\slash\\N")]).unwrap();
            }
        })
        .await
        .unwrap();
        case.apply(|log| {
            log.update(&t, None::<[Field<'_>; 3]>, [n(1), n(1), s("changed")]).unwrap();
            log.update(&t, None::<[Field<'_>; 3]>, [n(2), Value::Null.into(), SAME]).unwrap();
            log.delete(&t, [n(3), SAME, SAME]).unwrap();
            log.insert(&t, [n(9), n(9), s("")]).unwrap();
            log.delete(&t, [n(9), SAME, SAME]).unwrap();
            log.delete(&t, [n(4), SAME, SAME]).unwrap();
            log.insert(&t, [n(4), n(44), s("again")]).unwrap();
        })
        .await
        .unwrap();
        case.expect(
            "SELECT id, u, replace(replace(v, E'\\t', '<t>'), E'\\n', '<n>') FROM t ORDER BY id",
            &[
                "0|0|tab<t>new<n>back\\slash\\N",
                "1|1|changed",
                "2|-|tab<t>new<n>back\\slash\\N",
                "4|44|again",
            ],
        )
        .await;
        let state = case.checkpoint.load(&case.run).await.unwrap().unwrap();
        assert_eq!(state.record.position, Some(position(2)));
        assert_eq!(state.record.changes_applied, 2);
    });
}

#[test]
fn unique_values_swap_and_move_down_a_chain() {
    test(async {
        let case = case(PLAIN).await;
        let t = plain();
        case.database.execute("INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')").await.unwrap();
        case.apply(|log| {
            // Through a value that the group never shows; the text stays.
            log.update(&t, Old::None, [n(1), n(99), SAME]).unwrap();
            log.update(&t, Old::None, [n(2), n(10), SAME]).unwrap();
            log.update(&t, Old::None, [n(1), n(20), SAME]).unwrap();
            log.insert(&t, [n(4), n(30), s("d")]).unwrap();
            log.update(&t, Old::None, [n(3), n(40), s("cc")]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|20|a", "2|10|b", "3|40|cc", "4|30|d"]).await;
        // A unique index over an expression that comes while a writer is open.
        let mut writer = case.writer(Purpose::Apply, 1).await.unwrap();
        writer.write(batch(|log| log.update(&t, Old::None, [n(1), n(20), SAME]).unwrap())).await.unwrap();
        writer.commit(case.next()).await.unwrap();
        case.database.execute("CREATE UNIQUE INDEX ON t (upper(v)) WHERE id > 0").await.unwrap();
        let swap = batch(|log| {
            log.update(&t, Old::None, [n(1), n(20), s("x")]).unwrap();
            log.update(&t, Old::None, [n(2), n(10), s("a")]).unwrap();
            log.update(&t, Old::None, [n(1), n(20), s("b")]).unwrap();
        });
        writer.write(swap).await.unwrap();
        writer.commit(case.next()).await.unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|20|b", "2|10|a", "3|40|cc", "4|30|d"]).await;
    });
}

#[test]
fn keys_swap_and_move_with_the_cells_that_the_log_left_out() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        case.database.execute("INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (7, 70, 'g')").await.unwrap();
        case.apply(|log| {
            log.update(&t, key(1), [n(-1), n(10), SAME]).unwrap();
            log.update(&t, key(2), [n(1), n(20), SAME]).unwrap();
            log.update(&t, key(-1), [n(2), n(10), SAME]).unwrap();
            log.update(&t, key(7), [n(8), n(70), SAME]).unwrap();
            log.update(&t, Old::None, [n(8), n(71), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|20|b", "2|10|a", "8|71|g"]).await;
        // What is not there cannot be carried, and nothing is made up.
        let error = case.apply(|log| log.update(&t, key(5), [n(6), n(1), SAME]).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        case.expect("SELECT count(*) FROM t", &["3"]).await;
    });
}

#[test]
fn a_missing_row_is_read_again_only_while_catching_up() {
    test(async {
        let (mut case, t) = (case(PLAIN).await, plain());
        let change = |log: &mut BatchBuilder| {
            log.update(&t, Old::None, [n(1), n(1), SAME]).unwrap();
            log.update(&t, Old::None, [n(2), n(2), SAME]).unwrap();
            log.update(&t, Old::None, [n(3), n(3), s("whole")]).unwrap();
            log.update(&t, key(4), [n(5), n(5), SAME]).unwrap();
        };
        let error = case.apply(change).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        case.at.store(0, Ordering::Relaxed);
        // Row 4 of the target is another row than the one that moved to 5.
        case.database.execute("INSERT INTO t VALUES (4, 40, 'another')").await.unwrap();
        let rows = vec![(1, 11, "from the source"), (5, 55, "moved")];
        let source = Arc::new(Source { rows, asked: Mutex::default() });
        case.reread = Some(Arc::clone(&source));
        case.apply(change).await.unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|11|from the source", "3|3|whole", "5|55|moved"])
            .await;
        let mut asked = source.asked.lock().unwrap().clone();
        asked.sort_unstable();
        assert_eq!(asked, [1, 2, 5]);
    });
}

#[test]
fn applying_again_changes_nothing() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        for _ in 0..2 {
            case.apply(|log| {
                log.insert(&t, [n(1), n(1), s("a")]).unwrap();
                log.insert(&t, [n(2), n(2), s("b")]).unwrap();
                log.update(&t, key(1), [n(3), n(1), SAME]).unwrap();
                log.delete(&t, [n(2), SAME, SAME]).unwrap();
            })
            .await
            .unwrap();
            case.expect("SELECT * FROM t", &["3|1|a"]).await;
        }
    });
}

#[test]
fn foreign_key_actions_and_triggers_stay_off() {
    test(async {
        let case = case(
            "CREATE TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE, v text);
             CREATE TABLE child (id bigint PRIMARY KEY, t bigint REFERENCES t ON DELETE CASCADE);
             CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v = ''spoiled''; RETURN NEW; END';
             CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION spoil();
             SET session_replication_role = replica;
             INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'); INSERT INTO child VALUES (1, 1), (2, 2)",
        )
        .await;
        let t = plain();
        case.apply(|log| {
            log.delete(&t, [n(1), SAME, SAME]).unwrap();
            log.insert(&t, [n(1), n(1), s("aa")]).unwrap();
            log.update(&t, Old::None, [n(2), n(22), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|1|aa", "2|22|b"]).await;
        case.expect("SELECT count(*) FROM child", &["2"]).await;
    });
}

#[test]
fn generated_columns_are_left_out_and_identities_are_forced() {
    test(async {
        let case = case(
            "CREATE TABLE g (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v bigint,
                twice bigint GENERATED ALWAYS AS (v * 2) STORED);
             CREATE TABLE i (id bigint PRIMARY KEY, no bigint GENERATED ALWAYS AS IDENTITY, v text)",
        )
        .await;
        let mut twice = Column::new("twice", INT);
        twice.generated = Some(Generated { expression: "v * 2".into(), stored: true });
        let columns = vec![Column::new("id", INT), Column::new("v", INT), twice];
        let g = Arc::new(Table::new(ENGINE, TableName::new("public", "g"), columns, Key::Columns(vec![0])));
        let columns = [("id", INT), ("no", INT), ("v", DataType::text())];
        let i = table("i", &columns, Key::Columns(vec![0]));
        case.apply(|log| {
            log.insert(&g, [n(7), n(1), SAME]).unwrap();
            log.insert(&g, [n(8), n(2), SAME]).unwrap();
            log.insert(&i, [n(1), n(100), s("a")]).unwrap();
        })
        .await
        .unwrap();
        case.apply(|log| {
            log.update(&g, Old::None, [n(7), n(10), SAME]).unwrap();
            log.update(&g, key(8), [n(9), n(2), SAME]).unwrap();
            log.update(&i, Old::None, [n(1), n(101), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM g ORDER BY id", &["7|10|20", "9|2|4"]).await;
        case.expect("SELECT * FROM i", &["1|101|a"]).await;
    });
}

#[test]
fn respelled_keys_are_one_row_with_the_new_spelling() {
    test(async {
        let case = case(
            "CREATE TABLE m (k numeric PRIMARY KEY, v text);
             INSERT INTO m VALUES (1.0, 'a'), (2.0, 'b');
             CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE c (k text COLLATE blind PRIMARY KEY, v text);
             INSERT INTO c VALUES ('a', '1'), ('b', '2')",
        )
        .await;
        let m = table("m", &[("k", DataType::decimal()), ("v", DataType::text())], Key::Columns(vec![0]));
        let c = table("c", &[("k", DataType::text()), ("v", DataType::text())], Key::Columns(vec![0]));
        case.apply(|log| {
            log.update(&m, Some([d("1.0"), SAME]), [d("1.00"), SAME]).unwrap();
            log.update(&m, Some([d("2.0"), SAME]), [d("2.00"), s("x")]).unwrap();
            log.update(&m, Some([d("2.00"), SAME]), [d("2.0"), SAME]).unwrap();
            log.update(&c, Some([s("a"), SAME]), [s("A"), SAME]).unwrap();
            log.delete(&c, [s("b"), SAME]).unwrap();
            log.insert(&c, [s("B"), s("new")]).unwrap();
            log.delete(&c, [s("B"), SAME]).unwrap();
            log.insert(&c, [s("b"), s("newer")]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM m ORDER BY k", &["1.00|a", "2.0|x"]).await;
        case.expect("SELECT * FROM c ORDER BY k", &["A|1", "b|newer"]).await;
        // An update under the log's spelling finds the row and respells it.
        case.apply(|log| log.update(&c, None::<[Field<'_>; 2]>, [s("B"), SAME]).unwrap()).await.unwrap();
        case.expect("SELECT * FROM c ORDER BY k", &["A|1", "B|newer"]).await;
    });
}

#[test]
fn operators_of_extensions_are_found() {
    test(async {
        let case = case("CREATE EXTENSION citext; CREATE TABLE c (k citext PRIMARY KEY, v text)").await;
        case.database.execute("INSERT INTO c VALUES ('a', '1'), ('b', '2')").await.unwrap();
        let c = table("c", &[("k", DataType::text()), ("v", DataType::text())], Key::Columns(vec![0]));
        case.apply(|log| {
            log.update(&c, Some([s("a"), SAME]), [s("A"), SAME]).unwrap();
            log.update(&c, None::<[Field<'_>; 2]>, [s("B"), s("3")]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM c ORDER BY k", &["A|1", "B|3"]).await;
    });
}

#[test]
fn a_table_without_a_key_loses_one_row_at_a_time_and_the_right_one() {
    test(async {
        let case = case(
            "CREATE TABLE f (a numeric, b json, p point);
             INSERT INTO f VALUES (1.0, '{}', '(1,2)'), (1.00, '{}', '(1,2)'), (1.00, '{}', '(1,2)'), (NULL, NULL, NULL)",
        )
        .await;
        let columns = [("a", DataType::decimal()), ("b", DataType::Json), ("p", DataType::Native)];
        let f = table("f", &columns, Key::FullRow);
        let row =
            |a: &'static str| [d(a), Value::Json("{}".into()).into(), Value::Native("(1,2)".into()).into()];
        let null = || [Value::Null.into(), Value::Null.into(), Value::Null.into()];
        case.apply(|log| {
            log.delete(&f, row("1.00")).unwrap();
            log.insert(&f, row("5")).unwrap();
            log.update(&f, Some(null()), [d("2"), SAME, SAME]).unwrap();
            log.update(&f, Some(row("5")), [d("6"), SAME, SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect(
            "SELECT a, b, p FROM f ORDER BY a, a::text",
            &["1.0|{}|(1,2)", "1.00|{}|(1,2)", "2|-|-", "6|{}|(1,2)"],
        )
        .await;
        let error = case.apply(|log| log.delete(&f, row("9")).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    });
}

#[test]
fn a_table_without_a_key_loses_the_right_one_of_rows_that_its_collation_takes_for_one() {
    test(async {
        let case = case(
            "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE f (a text COLLATE blind, b text); INSERT INTO f VALUES ('A', 'x'), ('a', 'x')",
        )
        .await;
        let f = table("f", &[("a", DataType::text()), ("b", DataType::text())], Key::FullRow);
        case.apply(|log| log.delete(&f, [s("a"), s("x")]).unwrap()).await.unwrap();
        case.expect("SELECT a, b FROM f", &["A|x"]).await;
    });
}

#[test]
fn truncate_empties_what_came_before_and_nothing_behind() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        case.database.execute("INSERT INTO t VALUES (1, 1, 'old')").await.unwrap();
        case.apply(|log| {
            log.insert(&t, [n(2), n(2), s("gone")]).unwrap();
            log.truncate(vec![Arc::clone(&t)]);
            log.insert(&t, [n(3), n(3), s("stays")]).unwrap();
            log.update(&t, Old::None, [n(3), n(4), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t", &["3|4|stays"]).await;
    });
}

#[test]
fn a_huge_transaction_flows_through_an_open_one() {
    test(async {
        let (mut case, t) = (case(PLAIN).await, plain());
        case.hold_back = Some(64 << 10);
        let mut writer = case.writer(Purpose::Apply, 1).await.unwrap();
        for part in 0..50_i64 {
            let rows = batch(|log| {
                for id in part * 200..(part + 1) * 200 {
                    log.insert(&t, [n(id), n(-id), s("some text that takes room")]).unwrap();
                    // Rows of the parts before, too.
                    log.update(&t, Old::None, [n(id / 2), n(-(id / 2)), s("changed")]).unwrap();
                }
            });
            writer.write(rows).await.unwrap();
        }
        // Most of it is there, in a transaction that nobody sees yet.
        case.expect("SELECT count(*) FROM t", &["0"]).await;
        let size = case.rows("SELECT pg_relation_size('t') > 300000").await;
        assert_eq!(size, ["t"]);
        writer.commit(case.next()).await.unwrap();
        case.expect("SELECT count(*), count(*) FILTER (WHERE v = 'changed') FROM t", &["10000|5000"]).await;
    });
}

#[test]
fn a_row_that_the_target_refuses_is_named() {
    test(async {
        let (case, t) = (
            case("CREATE TABLE t (id bigint PRIMARY KEY, u bigint CONSTRAINT small CHECK (u < 9), v text)")
                .await,
            plain(),
        );
        let error = case.apply(|log| log.insert(&t, [n(1), n(10), s("")]).unwrap()).await.unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{shown}");
        assert!(
            shown.contains("public.t") && shown.contains("small") && shown.contains("(1, 10, )"),
            "{shown}"
        );
    });
}

fn chunk(number: u32) -> ChunkId {
    ChunkId { table: TableName::new("public", "t"), number }
}

fn done(number: u32) -> Progress {
    let done = ChunkDone { rows: 1, after: position(9), visibility: None };
    Progress::Chunk { id: chunk(number), done }
}

async fn planned(ddl: &str) -> Case {
    let case = case(ddl).await;
    let chunks: Vec<_> = (0..3)
        .map(|number| ChunkRecord { id: chunk(number), bounds: Bounds(number.to_string()), done: None })
        .collect();
    case.checkpoint.plan(&case.run, Epoch(1), &chunks).await.unwrap();
    // A second plan of the same table changes nothing.
    case.checkpoint.plan(&case.run, Epoch(1), &chunks[..1]).await.unwrap();
    case
}

#[test]
fn chunks_are_loaded_with_their_progress_and_an_old_epoch_commits_nothing() {
    test(async {
        let (case, t) = (planned(PLAIN).await, plain());
        let one = |id: i64| batch(|log| log.insert(&t, [n(id), n(id), s("\\.")]).unwrap());
        let mut writer = case.writer(Purpose::Load, 1).await.unwrap();
        for number in 0..2 {
            writer.write(one(i64::from(number))).await.unwrap();
            writer.commit(done(number)).await.unwrap();
        }
        // The same chunk again would double its rows.
        writer.write(one(100)).await.unwrap();
        assert_eq!(writer.commit(done(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        assert!(writer.commit(done(2)).await.is_err(), "a writer that has failed is spent");

        let mut old = case.writer(Purpose::Load, 1).await.unwrap();
        old.write(one(2)).await.unwrap();
        let state = case.checkpoint.raise(&case.run).await.unwrap();
        assert_eq!((state.record.epoch, state.record.rows_copied), (Epoch(2), 2));
        assert_eq!(state.chunks.iter().filter(|c| c.done.is_some()).count(), 2);
        assert_eq!(old.commit(done(2)).await.unwrap_err().kind(), ErrorKind::Fenced);
        let opened = case.writer(Purpose::Load, 1).await;
        assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Fenced));
        case.expect("SELECT * FROM t ORDER BY id", &["0|0|\\.", "1|1|\\."]).await;
        let mut new = case.writer(Purpose::Load, 2).await.unwrap();
        new.write(one(2)).await.unwrap();
        new.commit(done(2)).await.unwrap();
        case.expect("SELECT count(*) FROM t", &["3"]).await;
    });
}

#[test]
fn raising_waits_for_a_commit_under_way_and_chunk_writers_do_not_wait_for_each_other() {
    test(async {
        let (case, t) = (planned(PLAIN).await, plain());
        // As a chunk writer stands between its last statement and COMMIT.
        let other = case.database.connect().await.unwrap();
        other.batch_execute("BEGIN; SELECT 1 FROM zdm.run FOR KEY SHARE").await.unwrap();
        let mut writer = case.writer(Purpose::Load, 1).await.unwrap();
        writer.write(batch(|log| log.insert(&t, [n(1), n(1), s("")]).unwrap())).await.unwrap();
        tokio::time::timeout(PATIENCE, writer.commit(done(0))).await.expect("it does not wait").unwrap();

        let (checkpoint, run) = (Arc::clone(&case.checkpoint), case.run.clone());
        let raising = tokio::spawn(async move { checkpoint.raise(&run).await });
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while case.rows(waits).await != ["1"] {
            tokio::task::yield_now().await;
        }
        assert!(!raising.is_finished());
        other
            .batch_execute("UPDATE zdm.chunk SET done = true, after = '0/1' WHERE number = 2; COMMIT")
            .await
            .unwrap();
        let state = raising.await.unwrap().unwrap();
        assert!(state.chunks[2].done.is_some(), "what was under way is seen");
    });
}

#[test]
fn progress_from_another_position_or_epoch_commits_nothing() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        let write = |writer: Box<dyn Writer>, progress: Progress| {
            let rows = batch(|log| log.insert(&t, [n(1), n(1), s("")]).unwrap());
            async move {
                let mut writer = writer;
                writer.write(rows).await.unwrap();
                writer.commit(progress).await
            }
        };
        let progress =
            |from, to| Progress::Stream { from: position(from), to: position(to), changes: 1, goals: vec![] };
        let writer = case.writer(Purpose::Apply, 1).await.unwrap();
        assert_eq!(write(writer, progress(5, 6)).await.unwrap_err().kind(), ErrorKind::Fenced);
        let writer = case.writer(Purpose::Apply, 1).await.unwrap();
        case.checkpoint.raise(&case.run).await.unwrap();
        assert_eq!(write(writer, progress(0, 1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        case.expect("SELECT count(*) FROM t", &["0"]).await;
    });
}

#[test]
fn a_connection_that_breaks_at_commit_can_be_tried_again() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        let other = case.database.connect().await.unwrap();
        other.batch_execute("BEGIN; SELECT 1 FROM zdm.run FOR UPDATE").await.unwrap();
        let mut writer = case.writer_beside(&other).await;
        writer.write(batch(|log| log.insert(&t, [n(1), n(1), s("")]).unwrap())).await.unwrap();
        let progress = case.next();
        let committing = tokio::spawn(async move { writer.commit(progress).await });
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while case.rows(kill).await.is_empty() {
            tokio::task::yield_now().await;
        }
        let error = committing.await.unwrap().unwrap_err();
        assert!(error.kind() == ErrorKind::Connection && error.is_retryable(), "{error}");
        other.batch_execute("COMMIT").await.unwrap();
        let state = case.checkpoint.raise(&case.run).await.unwrap();
        assert_eq!(state.record.position, Some(position(0)));
        case.expect("SELECT count(*) FROM t", &["0"]).await;
    });
}

impl Case {
    /// A writer that was opened before `other` took the run's row.
    async fn writer_beside(&self, other: &tokio_postgres::Client) -> Box<dyn Writer> {
        other.batch_execute("ROLLBACK").await.unwrap();
        let writer = self.writer(Purpose::Apply, 1).await.unwrap();
        other.batch_execute("BEGIN; SELECT 1 FROM zdm.run FOR UPDATE").await.unwrap();
        writer
    }
}

#[test]
fn records_are_created_once_swapped_when_as_expected_and_removed() {
    test(async {
        let case = case("").await;
        let state = case.checkpoint.load(&case.run).await.unwrap().unwrap();
        let (old, mut new) = (state.record.clone(), state.record);
        assert_eq!(case.checkpoint.create(&old).await.unwrap_err().kind(), ErrorKind::Conflict);
        new.phase = Phase::Copying;
        new.start = Some(position(1));
        new.goals = vec![position(3)];
        new.tables.insert("public.t".into(), "shape".into());
        case.checkpoint.swap(&old, &new).await.unwrap();
        assert_eq!(case.checkpoint.load(&case.run).await.unwrap().unwrap().record, new);
        assert_eq!(case.checkpoint.swap(&old, &new).await.unwrap_err().kind(), ErrorKind::Fenced);
        case.database.execute("UPDATE zdm.run SET version = 99").await.unwrap();
        for outcome in [
            case.checkpoint.load(&case.run).await.map(drop),
            case.checkpoint.raise(&case.run).await.map(drop),
        ] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        case.checkpoint.remove(&case.run).await.unwrap();
        case.checkpoint.remove(&case.run).await.unwrap();
        assert_eq!(case.checkpoint.load(&case.run).await.unwrap(), None);
        assert_eq!(case.checkpoint.raise(&case.run).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn many_make_the_tables_at_once() {
    test(async {
        let name = "case_race";
        let database = server().await.create_database(name).await.unwrap();
        let config = PgConfig::parse(&database.url()).unwrap();
        let creations = (0..6).map(|number| {
            let checkpoint = zdm_pg::PgCheckpoint::new(config.clone());
            let run: RunName = format!("run_{number}").parse().unwrap();
            async move { checkpoint.create(&Record::new(run, Identity::new(ENGINE))).await }
        });
        for outcome in futures::future::join_all(creations).await {
            outcome.unwrap();
        }
        assert_eq!(database.value("SELECT count(*) FROM zdm.run").await.unwrap(), "6");
    });
}

#[test]
fn commits_are_durable_and_the_seal_is_passed() {
    test(async {
        let case = case(
            "CREATE TABLE t (id bigint PRIMARY KEY, u bigint, v text);
             CREATE FUNCTION sealed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF current_setting('zdm.run', true) IS DISTINCT FROM 'main' THEN RAISE 'sealed'; END IF;
                IF current_setting('synchronous_commit') <> 'on' THEN RAISE 'not durable'; END IF;
                RETURN NULL; END $$;
             CREATE TRIGGER zdm_seal BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON t EXECUTE FUNCTION sealed();
             ALTER TABLE t ENABLE ALWAYS TRIGGER zdm_seal",
        )
        .await;
        let off = format!("ALTER DATABASE {} SET synchronous_commit = off", case.database.name());
        case.database.execute(&off).await.unwrap();
        let t = plain();
        case.apply(|log| log.insert(&t, [n(1), n(1), s("")]).unwrap()).await.unwrap();
        case.apply(|log| log.truncate(vec![Arc::clone(&t)])).await.unwrap();
        assert!(case.database.execute("INSERT INTO t VALUES (2)").await.is_err());
    });
}

#[test]
fn native_cells_pass_through_and_large_ones_in_pieces() {
    test(async {
        let case = planned("CREATE TABLE t (id bigint PRIMARY KEY, u bigint, v text)").await;
        let t = plain();
        let native = |log: &mut zdm_core::change::Assembler, buffer: &mut Vec<u8>, text: &str| {
            let (offset, len) = (u32::try_from(buffer.len()).unwrap(), u32::try_from(text.len()).unwrap());
            buffer.extend_from_slice(text.as_bytes());
            log.cell(zdm_core::change::Cell::Value {
                offset,
                len,
                format: zdm_core::change::Format::Native(0),
            });
        };
        let large = "back\\slash\tand é\n".repeat(30_000);
        let rows = |id: &str, text: &str| {
            let (mut log, mut buffer) = (zdm_core::change::Assembler::new(), Vec::new());
            log.row(&t, zdm_core::change::Op::Insert, false);
            native(&mut log, &mut buffer, id);
            log.cell(zdm_core::change::Cell::Null);
            native(&mut log, &mut buffer, text);
            log.end_image().unwrap();
            log.finish(buffer.into(), Arc::new(zdm_pg::PgEncoding), None).unwrap()
        };
        let mut load = case.writer(Purpose::Load, 1).await.unwrap();
        load.write(rows("1", &large)).await.unwrap();
        load.commit(done(0)).await.unwrap();
        let mut apply = case.writer(Purpose::Apply, 1).await.unwrap();
        apply.write(rows("2", &large)).await.unwrap();
        apply.commit(case.next()).await.unwrap();
        let same = "SELECT id, u IS NULL, v = repeat(E'back\\\\slash\\tand é\\n', 30000) FROM t ORDER BY id";
        case.expect(same, &["1|t|t", "2|t|t"]).await;
    });
}

#[test]
fn a_user_without_rights_beyond_its_tables_can_do_it_all() {
    test(async {
        let server = server().await;
        let user = server.create_user("mover", "").await.unwrap();
        let database = server.create_database("case_rights").await.unwrap();
        server.execute("GRANT CREATE ON DATABASE case_rights TO mover").await.unwrap();
        database.execute("CREATE SCHEMA own AUTHORIZATION mover").await.unwrap();
        let url = database.url_as(&user.name, &user.password);
        let (own, driver) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(driver);
        own.batch_execute("CREATE TABLE own.t (id bigint PRIMARY KEY, u bigint UNIQUE, v text)")
            .await
            .unwrap();
        let sink = PgSink::new(PgConfig::parse(&url).unwrap());
        let checkpoint = sink.checkpoint().unwrap();
        let mut record = Record::new(RunName::default(), sink.identity().await.unwrap());
        record.position = Some(position(0));
        checkpoint.create(&record).await.unwrap();
        let columns = [("id", INT), ("u", INT), ("v", DataType::text())];
        let t = Table::clone(&table("t", &columns, Key::Columns(vec![0])));
        let t = Arc::new(Table::new(ENGINE, TableName::new("own", "t"), t.columns, t.key));
        let options =
            WriterOptions::new(RunName::default(), Epoch(1), Purpose::Apply, Arc::new(Schema::default()));
        let mut writer = sink.writer(options).await.unwrap();
        writer
            .write(batch(|log| {
                log.truncate(vec![Arc::clone(&t)]);
                log.insert(&t, [n(1), n(1), s("a")]).unwrap();
                log.update(&t, key(1), [n(2), n(1), SAME]).unwrap();
            }))
            .await
            .unwrap();
        let (from, to) = (position(0), position(1));
        writer.commit(Progress::Stream { from, to, changes: 2, goals: vec![position(9)] }).await.unwrap();
        assert_eq!(database.value("SELECT id FROM own.t").await.unwrap(), "2");
        let state = checkpoint.load(&RunName::default()).await.unwrap().unwrap();
        assert_eq!(state.record.goals, [position(9)]);
    });
}

#[test]
fn partitions_take_their_rows_and_their_own_unique_indexes_are_respected() {
    test(async {
        let case = case(
            "CREATE TABLE t (id bigint, u bigint, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
             CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
             CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);
             CREATE UNIQUE INDEX ON t1 (u);
             INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')",
        )
        .await;
        let t = plain();
        case.apply(|log| {
            log.update(&t, Old::None, [n(1), n(9), SAME]).unwrap();
            log.update(&t, Old::None, [n(2), n(1), SAME]).unwrap();
            log.update(&t, Old::None, [n(1), n(2), SAME]).unwrap();
            log.update(&t, key(3), [n(13), n(3), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect(
            "SELECT tableoid::regclass, * FROM t ORDER BY id",
            &["t1|1|2|a", "t1|2|1|b", "t2|13|3|c"],
        )
        .await;
    });
}
