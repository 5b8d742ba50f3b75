//! The memory engine moves a table while it is written to: the shortest whole
//! path through the traits.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use futures::StreamExt as _;
use zdm_core::change::{Budget, Item, Value};
use zdm_core::connect::{
    Chunk, ChunkDone, ChunkId, ChunkPart, ChunkRecord, ChunkSize, Epoch, Fence as _, Progress, Purpose,
    Record, RunName, Sink as _, Source as _, Step, StreamOptions, WriterOptions,
};
use zdm_core::memory::{ENGINE, MemoryDatabase};
use zdm_core::schema::{Column, DataType, Key, Selection, Table, TableName};
use zdm_core::{ErrorKind, Result};

fn users() -> TableName {
    TableName::new("public", "users")
}

fn database() -> MemoryDatabase {
    let db = MemoryDatabase::new();
    let columns =
        vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("name", DataType::text())];
    db.create_table(Table::new(ENGINE, users(), columns, Key::Columns(vec![0]))).unwrap();
    db
}

async fn insert(db: &MemoryDatabase, id: i64, name: &'static str) -> Result<()> {
    let mut transaction = db.begin();
    transaction.insert(&users(), vec![Value::Int(id), Value::from(name)]).await?;
    transaction.commit().await
}

#[tokio::test]
async fn a_table_moves_while_it_is_written_to() {
    let (old, new) = (database(), MemoryDatabase::new());
    for id in 0..100 {
        insert(&old, id, "before").await.unwrap();
    }
    let (source, sink, run) = (old.source(), new.sink(), RunName::default());
    let schema = Arc::new(source.describe(&Selection::all()).await.unwrap());
    let snapshot = source.snapshot(&run, &schema, None).await.unwrap();
    let start = snapshot.start().clone();
    insert(&old, 1_000, "between").await.unwrap();

    sink.prepare(&run, &schema, Step::Bare).await.unwrap();
    new.seal(&run, &schema, "moving").await.unwrap();
    let checkpoint = sink.checkpoint().unwrap();
    let mut record = Record::new(run.clone(), source.identity().await.unwrap());
    record.position = Some(start.clone());
    checkpoint.create(&record).await.unwrap();
    let table = &schema.tables[0];
    let plan = snapshot.plan(table, ChunkSize { bytes: 1_000 }).await.unwrap();
    assert!(plan.bounds.len() > 3);
    let chunks: Vec<_> = (0_u32..)
        .zip(plan.bounds)
        .map(|(number, bounds)| {
            let id = ChunkId { table: users(), number };
            ChunkRecord { id, bounds, done: None }
        })
        .collect();
    checkpoint.plan(&run, Epoch(1), &chunks).await.unwrap();
    for ChunkRecord { id, bounds, .. } in chunks {
        let options = WriterOptions::new(run.clone(), Epoch(1), Purpose::Load, Arc::clone(&schema));
        let mut writer = sink.writer(options).await.unwrap();
        let chunk = Chunk { id: id.clone(), table: Arc::clone(table), bounds };
        let mut parts = snapshot.read(chunk, Budget::new(4_096), Default::default()).await.unwrap();
        let mut rows = 0;
        while let Some(part) = parts.next().await {
            match part.unwrap() {
                ChunkPart::Rows(batch) => {
                    rows += batch.row_count() as u64;
                    writer.write(batch).await.unwrap();
                }
                ChunkPart::End(after) => {
                    let done = ChunkDone { rows, after: after.position, visibility: None };
                    writer.commit(Progress::Chunk { id: id.clone(), done }).await.unwrap();
                }
            }
        }
    }
    sink.prepare(&run, &schema, Step::Keyed).await.unwrap();

    let mut change = old.begin();
    change.update(&users(), &[Value::Int(7)], |row| row[0] = Value::Int(-7)).await.unwrap();
    change.delete(&users(), &[Value::Int(8)]).await.unwrap();
    change.commit().await.unwrap();

    let options = WriterOptions::new(run.clone(), Epoch(1), Purpose::Apply, Arc::clone(&schema));
    let mut writer = sink.writer(options).await.unwrap();
    let options = StreamOptions::new(run.clone(), start.clone(), Arc::clone(&schema));
    let mut changes = source.changes(options).await.unwrap();
    let mut from = start;
    while !source.reached(&from, &old.head()).unwrap() {
        let batch = changes.batches.next().await.unwrap().unwrap();
        let to = batch.items().iter().rev().find_map(Item::position).cloned();
        writer.write(batch).await.unwrap();
        if let Some(to) = to {
            let goals = Vec::new();
            let progress = Progress::Stream { from: from.clone(), to: to.clone(), changes: 1, goals };
            writer.commit(progress).await.unwrap();
            changes.ack.durable(to.clone());
            from = to;
        }
    }
    assert_eq!(new.rows(&users()).unwrap(), old.rows(&users()).unwrap());
    let error = insert(&new, 5_000, "stray").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
}
