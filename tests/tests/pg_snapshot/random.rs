//! Random values of every type, and of its arrays: what a SELECT decodes is
//! what the log decodes, and both arrive at a target as they are.
//!
//! `ZDM_TEST_SEED` makes others, `ZDM_TEST_ROWS` more of them.

use fastrand::Rng;
use tokio_util::sync::CancellationToken;
use zdm_core::Position;
use zdm_core::migrate::{Migration, Outcome, Until};
use zdm_pg::config::PgConfig;
use zdm_pg::{PgSink, PgSource};
use zdm_servers::compare;
use zdm_servers::postgres::{Database, PgOptions, Postgres};
use zdm_tests::seeded::variable;

use self::columns::{KINDS, TYPES as MADE};
use super::fixture::Fixture;
use super::values::{LATER, TYPES, values_of};

/// The types that go to other engines too, with generators of their values.
#[path = "../my_types/postgres/columns.rs"]
#[allow(dead_code, reason = "what is to be said at other engines is not asked for here")]
mod columns;
#[path = "../my_types/postgres/values.rs"]
mod values;

/// How values of a type are made.
enum Values {
    Random(fn(&mut Rng) -> String),
    /// Those that only PostgreSQL holds.
    Listed(&'static [&'static str]),
}

struct Table {
    name: String,
    kind: &'static str,
    values: Values,
}

impl Table {
    fn ddl(&self) -> String {
        let Self { name, kind, .. } = self;
        let array = if kind.ends_with(']') { "" } else { "[]" };
        format!("CREATE TABLE {name} (i int PRIMARY KEY, v {kind}, a {kind}{array})")
    }

    /// A value, or NULL.
    fn value(&self, rng: &mut Rng) -> String {
        let value = match &self.values {
            _ if rng.u8(..8) == 0 => "NULL".to_owned(),
            Values::Random(make) => make(rng),
            Values::Listed(list) => list[rng.usize(..list.len())].to_owned(),
        };
        format!("({value})::{}", self.kind)
    }

    /// None, one, or two dimensions, at odd bounds.
    fn array(&self, rng: &mut Rng) -> String {
        if self.kind.ends_with(']') {
            return self.value(rng);
        }
        let kind = self.kind;
        let [one, two, three, four] = std::array::from_fn(|_| self.value(rng));
        match rng.u8(..6) {
            0 => "NULL".to_owned(),
            1 => format!("'{{}}'::{kind}[]"),
            2 => format!("ARRAY[ARRAY[{one}, {two}], ARRAY[{three}, {four}]]"),
            3 => format!("array_fill({one}, ARRAY[2, 1], ARRAY[-3, 7])"),
            _ => format!("ARRAY[{one}, {two}, {three}]"),
        }
    }

    fn insert(&self, rng: &mut Rng, rows: u32) -> String {
        let rows: Vec<_> =
            (0..rows).map(|i| format!("({i}, {}, {})", self.value(rng), self.array(rng))).collect();
        format!("INSERT INTO {} VALUES {}", self.name, rows.join(", "))
    }
}

/// One table for each type that a server of that version has.
fn tables(major: u16) -> Vec<Table> {
    let came = |ddl: &str| match ddl {
        "numeric(3,-2)" | "numeric(4,7)" => 15,
        "int4multirange" => 14,
        _ => 12,
    };
    let random = KINDS.iter().filter(|kind| came(kind.ddl) <= major);
    let random = random.map(|kind| (kind.ddl, Values::Random(kind.value)));
    // Of another enum of that name.
    let listed = TYPES.iter().filter(|(kind, _)| *kind != "mood");
    let listed = listed.map(|(kind, list)| (*kind, Values::Listed(list)));
    let later = LATER.iter().filter(|(from, ..)| *from <= major);
    let later = later.map(|(_, kind, list)| (*kind, Values::Listed(list)));
    let table = |(n, (kind, values))| Table { name: format!("r{n}"), kind, values };
    random.chain(listed).chain(later).enumerate().map(table).collect()
}

#[tokio::test]
async fn random_values_of_every_type_are_one_by_select_and_log_and_at_the_target() {
    let options = PgOptions::new().setting("autovacuum", "off");
    let server = Postgres::start(options).await.unwrap();
    let tables = tables(server.major().await.unwrap());
    let ddl: Vec<_> = tables.iter().map(Table::ddl).collect();
    let fixture = Fixture::on(
        &server,
        "random",
        &format!("{MADE}; CREATE DOMAIN moment AS timestamptz; {}", ddl.join("; ")),
    )
    .await;
    let mut rng = Rng::with_seed(variable("ZDM_TEST_SEED", 1));
    let rows = variable("ZDM_TEST_ROWS", 24);
    for table in &tables {
        let insert = table.insert(&mut rng, rows);
        fixture.db.execute(&insert).await.unwrap_or_else(|error| panic!("{error:?}: {insert}"));
    }
    decode_alike(&fixture, &tables, rows as usize).await;
    arrive(&server, &fixture.db, &tables).await;
}

async fn decode_alike(fixture: &Fixture, tables: &[Table], rows: usize) {
    let goal = fixture.db.value("SELECT pg_current_wal_flush_lsn()").await.unwrap();
    let goal = Position::new(fixture.snapshot.start().engine().clone(), goal);
    let log = fixture.log_until(&goal).await;
    for table in tables {
        let (batches, _) = fixture.read(fixture.whole(&table.name).await).await.unwrap();
        for (column, of) in [(1, table.kind), (2, "its array")] {
            let selected = values_of(&batches, &table.name, column);
            assert_eq!(selected.len(), rows, "{}", table.kind);
            assert_eq!(selected, values_of(&log, &table.name, column), "{of} of {}", table.kind);
        }
    }
}

/// All rows by the copy, and the same values again by the log.
async fn arrive(server: &Postgres, source: &Database, tables: &[Table]) {
    let target = server.create_database("random_target").await.unwrap();
    let config = |database: &Database| PgConfig::parse(&database.url()).unwrap();
    let migration =
        Migration::between(PgSource::new(config(source)), PgSink::new(config(&target))).build().unwrap();
    let caught_up = async || {
        let outcome = migration.run_until(Until::CaughtUp, CancellationToken::new()).await;
        assert!(matches!(outcome, Ok(Outcome::CaughtUp { .. })), "{outcome:?}");
        let (left, right) = (source.connect().await.unwrap(), target.connect().await.unwrap());
        let found = compare::compare(&left, &right).await.unwrap();
        assert_eq!(found.tables.len(), tables.len());
        assert_eq!(found.differences(), 0, "{found}");
    };
    caught_up().await;
    let mut again = String::from("BEGIN;");
    for table in tables {
        let name = &table.name;
        again +=
            &format!("INSERT INTO {name} SELECT i + 1000, v, a FROM {name}; UPDATE {name} SET (v, a) = ");
        again += &format!("(SELECT o.v, o.a FROM {name} o WHERE o.i = ({name}.i + 7) % 13) WHERE i < 13;");
    }
    source.execute(&format!("{again} COMMIT")).await.unwrap();
    caught_up().await;
}
