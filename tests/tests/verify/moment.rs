//! What is read as it was at one moment, whatever is written since.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio_util::sync::CancellationToken;
use zdm_core::Result;
use zdm_core::change::{Budget, Op};
use zdm_core::connect::Reader;
use zdm_core::schema::{Table, TableName};
use zdm_tests::engine::{Database, Engine};

use crate::fixture::{route, source};

const TABLES: &str =
    "CREATE TABLE a (id int PRIMARY KEY, v varchar(20)); CREATE TABLE b (id int PRIMARY KEY);
    INSERT INTO a VALUES (1, 'one'), (2, 'two'); INSERT INTO b VALUES (1), (2), (3)";

/// All rows of a table, as text.
async fn rows(reader: &Arc<dyn Reader>, table: &Arc<Table>) -> Result<Vec<String>> {
    let all = reader.between(table, None, None)?;
    let cancel = CancellationToken::new();
    let mut batches = reader.read(Arc::clone(table), all, Budget::new(1 << 20), cancel).await?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        for row in batch.rows().filter(|row| row.op() == Op::Insert) {
            let image = row.after().unwrap();
            let cells = image.cells().map(|cell| cell.value().map(|value| value.to_string()));
            found.push(cells.collect::<Result<Vec<_>>>()?.join(" "));
        }
    }
    found.sort();
    Ok(found)
}

async fn is_kept(database: &Database, schema: &str) {
    let source = source(&database.url());
    let verify = source.capabilities().verify.unwrap();
    let names = [TableName::new(schema, "a"), TableName::new(schema, "b")];
    let tables = verify.tables(&names).await.unwrap();
    let (a, b) = (&tables[0], &tables[1]);
    let was =
        (vec!["1 one".to_owned(), "2 two".to_owned()], vec!["1".to_owned(), "2".to_owned(), "3".to_owned()]);
    let moment = verify.moment().await.unwrap();
    for write in
        ["INSERT INTO a VALUES (3, 'three')", "UPDATE a SET v = 'later' WHERE id = 1", "DELETE FROM b"]
    {
        database.execute(write).await.unwrap();
        let found = (rows(&moment, a).await.unwrap(), rows(&moment, b).await.unwrap());
        assert_eq!(found, was, "{schema}: behind {write}");
    }
    let now = verify.reader().await.unwrap();
    assert_eq!(rows(&now, a).await.unwrap(), ["1 later", "2 two", "3 three"]);
    // No table is locked meanwhile.
    let ddl = tokio::time::timeout(Duration::from_secs(10), database.execute("ALTER TABLE a ADD c int"));
    ddl.await.unwrap_or_else(|_| panic!("{schema}: a moment keeps DDL waiting")).unwrap();
    assert!(rows(&moment, a).await.is_err(), "{schema}: another table was read");
    // Nor is a table taken for empty that was emptied since.
    database.execute("INSERT INTO b VALUES (7)").await.unwrap();
    let moment = verify.moment().await.unwrap();
    database.execute("TRUNCATE TABLE b").await.unwrap();
    assert!(rows(&moment, b).await.is_err(), "{schema}: an emptied table was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_is_read_as_it_was_and_locks_nothing() {
    let (one, other) = tokio::join!(
        route("moment_pm", Engine::Postgres, Engine::MySql, TABLES),
        route("moment_ap", Engine::MariaDb, Engine::Postgres, TABLES)
    );
    one.target.execute(TABLES).await.unwrap();
    tokio::join!(
        is_kept(&one.source, "public"),
        is_kept(&one.target, "moment_pm"),
        is_kept(&other.source, "moment_ap")
    );
}
