//! Follows the changes of a database into a function.
//!
//! Needs nothing: the database is in memory. A real one is
//! `zdm_pg::PgSource` in its place.
//!
//!     cargo run -p zdm-examples --example 01_pipeline_to_callback

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Change, Value};
use zdm_core::memory::{ENGINE, MemoryDatabase};
use zdm_core::pipeline::{Callback, Pipeline};
use zdm_core::schema::{Column, DataType, Key, Table, TableName};

#[tokio::main]
async fn main() -> zdm_core::Result<()> {
    let db = MemoryDatabase::new();
    let users = TableName::new("public", "users");
    let columns =
        vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("name", DataType::text())];
    db.create_table(Table::new(ENGINE, users.clone(), columns, Key::Columns(vec![0])))?;

    // The function: it gets whole batches, and here turns rows into JSON.
    let (seen, mut lines) = mpsc::unbounded_channel();
    let callback = Callback::new(move |batch| {
        let seen = seen.clone();
        async move {
            for row in batch.rows() {
                let change = Change::from_row(row)?;
                // A send fails only when nobody listens any more.
                let _ = seen.send(serde_json::to_string(&change).unwrap_or_default());
            }
            Ok(())
        }
    });

    // A pipeline follows what happens from now on.
    let mut running = Pipeline::from(db.source()).to(callback).start(CancellationToken::new())?;
    running.followed().await?;

    let mut transaction = db.begin();
    transaction.insert(&users, vec![Value::Int(1), Value::from("ada")]).await?;
    transaction.insert(&users, vec![Value::Int(2), Value::from("grace")]).await?;
    transaction.delete(&users, &[Value::Int(1)]).await?;
    transaction.commit().await?;

    for _ in 0..3 {
        println!("{}", lines.recv().await.unwrap_or_default());
    }
    println!("{:?}", running.stop().await?);
    Ok(())
}
