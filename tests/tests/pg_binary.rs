//! Rows that are copied in COPY's binary format, and those that cannot be.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use tokio_util::sync::CancellationToken;
use zdm_core::change::Value;
use zdm_core::migrate::{Migration, Outcome, Until};
use zdm_core::pipeline::Stages;
use zdm_core::schema::{Column, DataType};
use zdm_pg::{PgConfig, PgSink, PgSource};
use zdm_tests::migrator::End;
use zdm_tests::pair::Pair;

/// Every type whose binary form passes, with its ends.
const TABLES: &str = "
    CREATE TYPE unlike AS ENUM ('only makes the next one''s number another');
    CREATE TYPE mood AS ENUM ('', 'sad', 'ünlike '' ');
    CREATE TABLE t (id int PRIMARY KEY, b bool, s smallint, l bigint, r real, d double precision, v text,
        vc varchar(20), c char(7), y bytea, j json, jb jsonb, day date, ts timestamp, tz timestamptz, u uuid,
        n numeric, n2 numeric(20, 4), h time, hz timetz, i interval, m mood,
        twice int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO t VALUES
        (1, true, -32768, -9223372036854775808, '-0', 'NaN', '', '', '', '', '{\"a\": 1.0,  \"a\":2}', '{\"a\": 1.00}',
            '-infinity', 'infinity', '-infinity', '00000000-0000-0000-0000-000000000000',
            'NaN', -0.0001, '00:00', '00:00:00+15:59', '-178000000 years', ''),
        (2, false, 32767, 9223372036854775807, '1e-45', 'Infinity', E'a\\tb\\n\\\\N', 'tail   ', 'ab', '\\x00ff5c4e',
            '[]', 'null', '4713-01-01 BC', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00',
            'ffffffff-ffff-ffff-ffff-ffffffffffff',
            '1e1000', 9999999999999999.9999, '24:00', '24:00:00-15:59', '1 mon -2 days 00:00:00.000001', 'sad'),
        (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL, NULL, NULL),
        (4, true, 1, 1, '3.4028235e38', '-1.7976931348623157e308', repeat('ü', 300000), 'é', 'é', '\\x', '1', '1',
            '5874897-12-31', '2000-01-01 00:00:00.000001', '1999-12-31 23:59:59.999999+00', '0123456789abcdef0123456789abcdef',
            '-0.00010', 12.5, '12:34:56.789', '12:34+01', '00:00', 'ünlike '' ');
    INSERT INTO t (id, v, tz) SELECT i, md5(i::text), timestamptz '2026-01-01' + i * interval '1s'
        FROM generate_series(10, 3000) i;
    CREATE TABLE none (id bigint PRIMARY KEY, v text);
    CREATE TABLE text (id bigint PRIMARY KEY, n inet, several int[]);
    INSERT INTO text VALUES (1, '::1', '{}'), (2, '10.0.0.0/8', '{1,NULL}')";

#[tokio::test(flavor = "multi_thread")]
async fn each_type_with_a_binary_form_that_passes_arrives_as_it_was() {
    for pair in [Pair::start().await, Pair::oldest_to_newest().await] {
        let case = pair.case("binary", TABLES).await;
        assert_eq!(case.plan().until_caught_up().run().await, End::Done("caught_up".to_owned()));
        case.equal().await;
    }
}

/// A computed cell has no form of the source's, so the rows that it stands in are
/// written as text, by their values.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_computed_column_binary_cells_are_written_as_text() {
    let pair = Pair::start().await;
    let case = pair.case("beside", TABLES).await.by_superusers();
    let (from, to) = case.urls();
    let source = PgSource::new(PgConfig::parse(&from).unwrap());
    let sink = PgSink::new(PgConfig::parse(&to).unwrap());
    let stages = Stages::new()
        .on("public.t", |t| {
            t.compute(Column::new("made", DataType::text()), ["id"], |_| Ok(Value::from("new")))
        })
        .build()
        .unwrap();
    let migration = Migration::between(source, sink).through(stages).build().unwrap();
    let outcome = migration.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    assert!(matches!(outcome, Outcome::CaughtUp { .. }), "{outcome:?}");
    let rows = "SELECT count(*), md5(string_agg(row(id, b, s, l, r, d, v, vc, c, y, j, jb, day, ts, tz, u, n, n2, h, hz, \
                i, m, twice)::text, ',' ORDER BY id)) FROM t";
    assert_eq!(case.target.query(rows).await.unwrap(), case.source.query(rows).await.unwrap());
    let made = case.target.value("SELECT count(*) FROM t WHERE made = 'new'").await.unwrap();
    assert_eq!(made, case.source.value("SELECT count(*) FROM t").await.unwrap());
}
