//! What a SELECT decodes and what the log decodes is the same value: for
//! inserts, updates and deletes, and however the log is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::TryStreamExt as _;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Batch, Budget, Image, Item, Op};
use zdm_core::connect::{
    After, Bounds, Chunk, ChunkId, ChunkPart, RunName, Snapshot, Source as _, StreamOptions,
};
use zdm_core::schema::{self, Schema, Selection};
use zdm_mysql::{MySqlConfig, MySqlSource};
use zdm_servers::mysql::{Database, Flavor, MySql, MySqlOptions};

use super::columns::{Kinds, Taste};
use super::tables::{Table, chosen, deal};

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: u32 = 14;

/// How a log is written: for the server, and for the session.
struct Form {
    image: &'static str,
    global: &'static str,
    session: &'static str,
}

const MYSQL: [Form; 3] = [
    Form {
        image: "FULL",
        global: "binlog_row_metadata = MINIMAL",
        session: "SET binlog_transaction_compression = ON",
    },
    Form {
        image: "FULL",
        global: "binlog_row_metadata = FULL",
        session: "SET binlog_row_value_options = PARTIAL_JSON",
    },
    Form {
        image: "NOBLOB",
        global: "binlog_row_metadata = MINIMAL",
        session: "SET binlog_row_value_options = PARTIAL_JSON",
    },
];
const MARIADB: [Form; 3] = [
    Form { image: "FULL", global: "binlog_row_metadata = NO_LOG", session: "DO 0" },
    Form {
        image: "FULL",
        global: "binlog_row_metadata = MINIMAL, GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10",
        session: "DO 0",
    },
    Form {
        image: "NOBLOB",
        global: "binlog_row_metadata = FULL, GLOBAL log_bin_compress = OFF",
        session: "DO 0",
    },
];

#[tokio::test]
async fn a_select_and_the_log_of_mysql_decode_one_value() {
    every_form(MySqlOptions::mysql().version("9"), true, &MYSQL).await;
}

#[tokio::test]
async fn a_select_and_the_log_of_mariadb_decode_one_value() {
    every_form(MySqlOptions::mariadb().version("10.11"), false, &MARIADB).await;
}

#[tokio::test]
async fn a_select_and_the_log_of_mariadb_11_decode_one_value() {
    every_form(MySqlOptions::mariadb().version("11.8"), true, &MARIADB[1..2]).await;
}

async fn every_form(options: MySqlOptions, vectors: bool, forms: &[Form]) {
    let kinds = Kinds { flavor: options.flavor(), vectors, taste: Taste::All };
    let server = MySql::start(options).await.unwrap();
    let seed = chosen("ZDM_TEST_TYPES_SEED", 20_241_124);
    let count = usize::try_from(chosen("ZDM_TEST_TYPES_TABLES", 3)).unwrap();
    for (number, form) in forms.iter().enumerate() {
        let mut rng = Rng::with_seed(seed + number as u64);
        let sql = format!("SET GLOBAL binlog_row_image = '{}', GLOBAL {}", form.image, form.global);
        server.execute(&sql).await.unwrap();
        let name = format!("form_{number}");
        server.execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let tables = deal(&mut rng, kinds, count);
        World::new(&server, &name, &tables).await.check(&mut rng, form, &tables, kinds.flavor).await;
    }
    server.close().await.unwrap();
}

/// The values of a row, as they are shown in every detail; `None` where the
/// log does not carry one.
type Row = Vec<Option<String>>;
/// By table and key.
type Rows = BTreeMap<(String, i64), Row>;

struct World {
    database: Database,
    source: MySqlSource,
    schema: Arc<Schema>,
    snapshot: Arc<dyn Snapshot>,
}

impl World {
    async fn new(server: &MySql, name: &str, tables: &[Table]) -> Self {
        let database = server.database(name);
        for table in tables {
            database.execute(&table.ddl).await.unwrap_or_else(|error| panic!("{}: {error}", table.ddl));
        }
        let source = MySqlSource::new(MySqlConfig::parse(&database.url()).unwrap());
        let only = Selection::new([format!("{name}.*")]).unwrap();
        let schema = Arc::new(source.describe(&only).await.unwrap());
        assert_eq!(schema.tables.len(), tables.len());
        let run: RunName = "run".parse().unwrap();
        let snapshot = source.snapshot(&run, &schema, None).await.unwrap();
        Self { database, source, schema, snapshot }
    }

    async fn check(&self, rng: &mut Rng, form: &Form, tables: &[Table], flavor: Flavor) {
        // Another zone than that of whoever reads.
        let settle = format!(
            "SET NAMES utf8mb4, time_zone = '+05:45', sql_mode = 'ALLOW_INVALID_DATES'; {}",
            form.session
        );
        let run = async |statements: Vec<String>| {
            let sql = format!("{settle}; BEGIN; {}; COMMIT", statements.join("; "));
            self.database.execute(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        };
        let half = ROWS / 2;
        for table in tables {
            run(vec![table.insert(rng, 0..half), table.insert(rng, half..ROWS)]).await;
        }
        let (inserted, _) = self.select().await;
        for table in tables {
            run((0..ROWS).map(|id| table.update(rng, id)).collect()).await;
        }
        let (updated, _) = self.select().await;
        for table in tables {
            run(vec![format!("DELETE FROM {}", table.name)]).await;
        }
        let (left, after) = self.select().await;
        assert_eq!(
            (inserted.len(), updated.len(), left.len()),
            (tables.len() * ROWS as usize, inserted.len(), 0)
        );
        let changes = self.log(&after).await;
        let what = format!("{flavor} {} {} {}", form.image, form.global, form.session);
        let mut seen = BTreeMap::new();
        for (op, place, before, now) in &changes {
            *seen.entry(format!("{op:?}")).or_insert(0) += 1;
            let compare = |image: &Option<Row>, with: &Rows, which: &str| {
                if let Some(image) = image {
                    self.compare(
                        tables,
                        place,
                        image,
                        &with[place],
                        form.image == "NOBLOB",
                        &format!("{what}: {op:?}, {which}"),
                    );
                }
            };
            match op {
                Op::Insert => compare(now, &inserted, "new"),
                Op::Update => {
                    compare(before, &inserted, "old");
                    compare(now, &updated, "new");
                }
                Op::Delete => compare(before, &updated, "old"),
            }
        }
        let rows = tables.len() * ROWS as usize;
        assert_eq!((seen["Insert"], seen["Delete"]), (rows, rows), "{what}");
        assert!(seen["Update"] > rows * 3 / 4, "{what}: {seen:?}");
    }

    /// Every value that the image has is the one that was selected.
    fn compare(
        &self,
        tables: &[Table],
        place: &(String, i64),
        image: &Row,
        selected: &Row,
        sparse: bool,
        what: &str,
    ) {
        let described = self.schema.tables.iter().find(|table| table.name.name == place.0).unwrap();
        let made = tables.iter().find(|table| table.name == place.0).unwrap();
        for ((column, logged), selected) in described.columns.iter().zip(image).zip(selected) {
            let named = made.columns.iter().find(|named| named.name == column.name);
            let ddl = named.map_or("", |named| &named.column.ddl);
            let large = named.is_some_and(|named| named.column.large);
            match (logged, selected) {
                _ if !column.is_written() => {}
                (None, _) if sparse && large && !what.contains("Insert") => {}
                _ => assert_eq!(logged, selected, "{what}: {place:?} {} {ddl}", column.name),
            }
        }
    }

    /// All rows, and the point behind them.
    async fn select(&self) -> (Rows, After) {
        let (mut rows, mut last) = (Rows::new(), None);
        for table in &self.schema.tables {
            let chunk = Chunk {
                id: ChunkId { table: table.origin.name.clone(), number: 0 },
                table: Arc::clone(table),
                bounds: Bounds("{}".to_owned()),
            };
            let budget = Budget::new(u32::MAX >> 4);
            let mut parts = self.snapshot.read(chunk, budget, CancellationToken::new()).await.unwrap();
            while let Some(part) = parts.try_next().await.unwrap() {
                match part {
                    ChunkPart::Rows(batch) => {
                        for row in batch.rows() {
                            let (place, cells) = cells(table, &row.after().unwrap());
                            rows.insert(place, cells);
                        }
                    }
                    ChunkPart::End(after) => last = Some(after),
                }
            }
        }
        (rows, last.unwrap())
    }

    /// All changes up to that point.
    async fn log(&self, until: &After) -> Vec<(Op, (String, i64), Option<Row>, Option<Row>)> {
        let run: RunName = "run".parse().unwrap();
        let options = StreamOptions::new(run, self.snapshot.start().clone(), Arc::clone(&self.schema));
        let mut changes = self.source.changes(options).await.unwrap();
        let mut found = Vec::new();
        let reading = async {
            loop {
                let batch: Batch = changes.batches.try_next().await.unwrap().unwrap();
                for item in batch.items() {
                    if let Item::Rows(run) = item {
                        for row in batch.rows_of(run) {
                            let of = |image: Option<Image<'_>>| image.map(|image| cells(&run.table, &image));
                            let (before, after) = (of(row.before()), of(row.after()));
                            let place = before.as_ref().or(after.as_ref()).unwrap().0.clone();
                            found.push((
                                run.op,
                                place,
                                before.map(|(_, row)| row),
                                after.map(|(_, row)| row),
                            ));
                        }
                    }
                    let reached = |at| self.source.reached(at, &until.position).unwrap();
                    if item.position().is_some_and(reached) {
                        return;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the stream passes the goal");
        found
    }
}

fn cells(table: &schema::Table, image: &Image<'_>) -> ((String, i64), Row) {
    let mut id = 0;
    let row = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cell = image.cell(at);
            if cell.is_unchanged() {
                return None;
            }
            let value =
                cell.value().unwrap_or_else(|error| panic!("{} {}: {error}", table.name, column.name));
            if column.name == "id" {
                id = value.as_i64().unwrap();
            }
            Some(format!("{value:?}"))
        })
        .collect();
    ((table.name.name.to_string(), id), row)
}
