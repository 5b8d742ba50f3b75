//! Chunks cover each row once, whatever orders the key.

use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;
use zdm_core::ErrorKind;
use zdm_core::change::{BatchBuilder, Budget, Field, Value};
use zdm_core::connect::ChunkPart;

use super::fixture::Fixture;

const ROWS: u32 = 3_000;

/// Tables of many kinds of key, each with the expression that makes one of
/// `i` for its key's columns.
const KEYS: [(&str, &str, &str, &[&str]); 17] = [
    ("integers", "a int PRIMARY KEY", "i * 7 - 9999", &["a"]),
    ("c_text", "a text COLLATE \"C\" PRIMARY KEY", "chr(33 + i % 90) || i || 'Z'", &["a"]),
    ("icu_text", "a text COLLATE \"de-x-icu\" PRIMARY KEY", "chr(33 + i % 300) || i", &["a"]),
    ("folded", "a text COLLATE folded PRIMARY KEY", "chr(65 + i % 58) || i", &["a"]),
    ("quoted", "a text PRIMARY KEY", "i || E'''\\\\\\t\\n\"' || i", &["a"]),
    ("padded", "a char(12) PRIMARY KEY", "i || 'x'", &["a"]),
    ("composite", "a text, b int, PRIMARY KEY (b, a)", "i::text, i % 50", &["b", "a"]),
    (
        "three",
        "a int, b numeric, c date, PRIMARY KEY (a, b, c)",
        "i % 3, i % 5, '2000-01-01'::date + i",
        &["a", "b", "c"],
    ),
    ("uuids", "a uuid PRIMARY KEY", "md5(i::text)::uuid", &["a"]),
    ("numbers", "a numeric PRIMARY KEY", "CASE i WHEN 1 THEN 'NaN' ELSE (i - 1500) / 7.0 END", &["a"]),
    (
        "floats",
        "a float8 PRIMARY KEY",
        "CASE i WHEN 1 THEN 'NaN' WHEN 2 THEN '-Infinity' ELSE i / 3.0 END",
        &["a"],
    ),
    (
        "moments",
        "a timestamptz PRIMARY KEY",
        "CASE i WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' WHEN 3 THEN '0044-03-15 BC' \
         ELSE '1999-12-31 23:59:59.999999+05'::timestamptz + i * '1 day'::interval END",
        &["a"],
    ),
    ("octets", "a bytea PRIMARY KEY", "decode(md5(i::text), 'hex')", &["a"]),
    ("moods", "a mood, b int, PRIMARY KEY (a, b)", "(enum_range(NULL::mood))[1 + i % 3], i", &["a", "b"]),
    ("domains", "a posint PRIMARY KEY", "i", &["a"]),
    ("identity", "a int, b text NOT NULL, UNIQUE (b)", "i, 'k' || i", &["b"]),
    ("parts", "a int, b text, PRIMARY KEY (a)", "i, 'x'", &["a"]),
];

#[tokio::test]
async fn ranges_cover_every_row_once() {
    let mut sql = String::from(
        "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TYPE mood AS ENUM ('sad', 'Glad', 'angry');
         CREATE DOMAIN posint AS int CHECK (VALUE >= 0);",
    );
    for (name, columns, make, _) in KEYS {
        let parted = if name == "parts" { "PARTITION BY RANGE (a)" } else { "" };
        // With a column of no binary form that passes: keys are compared as text.
        sql += &format!("CREATE TABLE {name} ({columns}, other inet) {parted};");
        if name == "parts" {
            sql += "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (MINVALUE) TO (700);
                    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (700) TO (MAXVALUE);";
        }
        if name == "identity" {
            sql += "ALTER TABLE identity REPLICA IDENTITY USING INDEX identity_b_key;";
        }
        sql += &format!("INSERT INTO {name} SELECT {make} FROM generate_series(1, {ROWS}) i;");
    }
    let fixture = Fixture::new("cover", &sql).await;
    for (name, _, _, key) in KEYS {
        let table = fixture.table(name);
        let named: Vec<_> = table.key_columns().iter().map(|at| table.columns[*at].name.as_str()).collect();
        assert_eq!(named, key, "{name}");
        let bounds = fixture.plan(name, 16 << 10).await;
        assert!(bounds.len() > 5, "{name}: {} chunks", bounds.len());
        let mut found = Vec::new();
        for bounds in bounds {
            let (batches, _) = fixture.read(fixture.chunk(name, bounds)).await.unwrap();
            let before = found.len();
            for row in batches.iter().flat_map(|batch| batch.rows()) {
                let image = row.after().unwrap();
                let key = table.key_columns().iter().map(|at| image.cell(*at).raw().unwrap().1.to_vec());
                found.push(key.map(|text| String::from_utf8(text).unwrap()).collect::<Vec<_>>());
            }
            let rows = found.len() - before;
            assert!(rows < ROWS as usize / 2, "{name}: a chunk of {rows} rows is no even part");
        }
        let shown: Vec<_> = key.iter().map(|column| format!("format('%s', {column})")).collect();
        let rows = fixture.db.query(&format!("SELECT {} FROM {name}", shown.join(", "))).await.unwrap();
        let mut there: Vec<Vec<_>> =
            rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
        found.sort();
        there.sort();
        assert!(found == there, "{name}: {} rows read, {} there", found.len(), there.len());
    }
}

/// `citext` has its operators in a schema that our sessions do not see: were
/// they not named, bounds picked in one order would be compared in another.
#[tokio::test]
async fn an_extensions_key_is_compared_by_its_own_operators() {
    let sql = "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
        CREATE TABLE t (a ext.citext PRIMARY KEY);
        CREATE TABLE two (a ext.citext, b int, PRIMARY KEY (a, b));
        INSERT INTO t SELECT chr(CASE i % 2 WHEN 0 THEN 65 ELSE 97 END + i % 26) || i FROM generate_series(1, 3000) i;
        INSERT INTO two SELECT left(a, 2), row_number() OVER () FROM t";
    let fixture = Fixture::new("citext", sql).await;
    for name in ["t", "two"] {
        let bounds = fixture.plan(name, 16 << 10).await;
        assert!(bounds.len() > 3);
        let mut rows = 0;
        for bounds in bounds {
            let (batches, _) = fixture.read(fixture.chunk(name, bounds)).await.unwrap();
            rows += batches.iter().map(|batch| batch.row_count()).sum::<usize>();
        }
        assert_eq!(rows, 3_000, "{name}");
    }
}

#[tokio::test]
async fn an_inheritance_parent_is_read_without_its_children() {
    let sql = "CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (PRIMARY KEY (i)) INHERITS (a);
        INSERT INTO a VALUES (1); INSERT INTO b VALUES (2), (3)";
    let fixture = Fixture::new("inherit", sql).await;
    for (name, rows) in [("a", 1), ("b", 2)] {
        let (batches, _) = fixture.read(fixture.whole(name).await).await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.row_count()).sum::<usize>(), rows, "{name}");
    }
}

#[tokio::test]
async fn a_huge_row_is_alone_in_its_batch_and_takes_the_budget() {
    let sql = "CREATE TABLE t (i int PRIMARY KEY, v text);
        INSERT INTO t SELECT i, repeat('x', CASE i WHEN 2 THEN 64 << 20 ELSE 10 END) FROM generate_series(1, 3) i";
    let fixture = Fixture::new("huge", sql).await;
    let budget = Budget::new(8 << 20);
    let mut parts = fixture
        .snapshot
        .read(fixture.whole("t").await, budget.clone(), CancellationToken::new())
        .await
        .unwrap();
    for (rows, bytes) in [(1, 0), (1, 64 << 20), (1, 0)] {
        let Some(Ok(ChunkPart::Rows(batch))) = parts.next().await else { panic!("rows") };
        assert_eq!(batch.row_count(), rows);
        assert!(batch.bytes() >= bytes);
        // All but the quarter that a writer may hold back.
        assert_eq!(budget.available() == 2 << 20, bytes > 0);
    }
    assert!(matches!(parts.next().await, Some(Ok(ChunkPart::End(_)))));
    assert_eq!(budget.available(), 8 << 20);
}

#[tokio::test]
async fn rows_are_read_again_by_key() {
    let sql = "CREATE TABLE t (a text, b numeric, v text, g int GENERATED ALWAYS AS (1) STORED, PRIMARY KEY (b, a));
        INSERT INTO t SELECT 'it''s \\ ' || i, i, 'v' || i FROM generate_series(1, 20) i";
    let fixture = Fixture::new("reread", sql).await;
    let table = fixture.table("t");
    let mut keys = BatchBuilder::new();
    // One is named twice, in two spellings; one is gone.
    for (a, b) in [("it's \\ 3", "3"), ("it's \\ 7", "7.00"), ("it's \\ 7", "7"), ("no", "1")] {
        let key =
            [Value::from(a).into(), Value::Decimal(b.into()).into(), Field::Unchanged, Field::Unchanged];
        keys.delete(table, key).unwrap();
    }
    let (batch, after) = fixture.snapshot.reread(table, &keys.finish(), &[]).await.unwrap();
    fixture.snapshot.flushed(&after.position).await.unwrap();
    let mut found: Vec<_> =
        batch.rows().map(|row| row.after().unwrap().cell(2).value().unwrap().to_string()).collect();
    found.sort();
    assert_eq!(found, ["v3", "v7"]);
    assert!(batch.rows().all(|row| row.after().unwrap().cell(3).is_unchanged()));
    let (none, _) = fixture.snapshot.reread(table, &BatchBuilder::new().finish(), &[]).await.unwrap();
    assert_eq!(none.row_count(), 0);
}

#[tokio::test]
async fn a_cancelled_chunk_ends_and_leaves_no_session_at_work() {
    let sql = "CREATE TABLE t (i int PRIMARY KEY, v text);
        INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i";
    let fixture = Fixture::new("cancelled", sql).await;
    let cancel = CancellationToken::new();
    let chunk = fixture.whole("t").await;
    let mut parts = fixture.snapshot.read(chunk.clone(), Budget::new(2 << 20), cancel.clone()).await.unwrap();
    // Held, so that the budget is used up and the reader waits for it.
    let mut held = vec![parts.next().await.unwrap().unwrap()];
    cancel.cancel();
    let error = loop {
        match parts.next().await.unwrap() {
            Ok(part) => held.push(part),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(parts.next().await.is_none());
    drop(parts);
    fixture
        .until("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'cancelled' AND query LIKE 'COPY%' AND state = 'active'")
        .await;
    let error = fixture.read_until(chunk, cancel).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}
