//! Copies and follows through stages: one tenant's rows, with a column
//! computed, a column dropped and the table renamed.
//!
//! Needs nothing: both databases are in memory.
//!
//!     cargo run -p zdm-examples --example 02_stages

use tokio_util::sync::CancellationToken;
use zdm_core::change::Value;
use zdm_core::memory::{ENGINE, MemoryDatabase};
use zdm_core::migrate::{Migration, Until};
use zdm_core::pipeline::Stages;
use zdm_core::schema::{Column, DataType, Key, Table, TableName};

#[tokio::main]
async fn main() -> zdm_core::Result<()> {
    let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
    let users = TableName::new("public", "users");
    let columns = vec![
        Column::new("tenant", DataType::integer(64)).not_null(),
        Column::new("id", DataType::integer(64)).not_null(),
        Column::new("email", DataType::text()),
        Column::new("password", DataType::text()),
    ];
    // The key holds the tenant, so a filter may judge old rows by it. By
    // another column it may where the log carries whole old rows
    // (`full_old_image`; in PostgreSQL, REPLICA IDENTITY FULL).
    old.create_table(Table::new(ENGINE, users.clone(), columns, Key::Columns(vec![0, 1])))?;
    let mut transaction = old.begin();
    for (tenant, id, email) in [(7, 1, "Ada@Example.org"), (8, 2, "eve@example.org"), (7, 3, "GRACE@x.org")] {
        let row = vec![Value::Int(tenant), Value::Int(id), Value::from(email), Value::from("secret")];
        transaction.insert(&users, row).await?;
    }
    transaction.commit().await?;

    let stages = Stages::new()
        .on("public.users", |users| {
            users
                // A closure names what it reads, and finds it at that place.
                .filter(["tenant"], |row| Ok(row.integer(0)? == Some(7)))
                .map("email", |email| Ok(email.as_str().map(str::to_lowercase).into()))
                .compute(Column::new("label", DataType::text()), ["tenant", "id"], |row| {
                    Ok(Value::from(format!("{}/{}", row.value(0)?, row.value(1)?)))
                })
                .drop_columns(["password"])
        })
        .rename_table("public.users", "app.people")
        .build()?;

    let migration = Migration::between(old.source(), new.sink()).through(stages).build()?;
    // What cannot work with these stages and tables is said before the start.
    for finding in migration.assess().await? {
        println!("{finding}");
    }
    println!("{:?}", migration.run_until(Until::CaughtUp, CancellationToken::new()).await?);

    let people = TableName::new("app", "people");
    let names: Vec<String> = new.table(&people)?.columns.iter().map(|c| c.name.to_string()).collect();
    println!("{}", names.join(" | "));
    for row in new.rows(&people)? {
        println!("{}", row.iter().map(Value::to_string).collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}
