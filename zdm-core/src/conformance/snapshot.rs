//! The clauses of [`Snapshot`](crate::connect::Snapshot), and of its start.

use std::sync::Arc;
use std::time::Duration;

use super::events::{self, Change, Model};
use super::world::{World, run_name};
use super::{Broken, Harness, ITEMS, PLAIN, Row, Statement, Verdict, clauses, ensure};
use crate::ErrorKind;
use crate::change::{BatchBuilder, Field, Value};

clauses!("snapshot":
    identity_stays_and_tells_databases_apart,
    what_was_in_progress_at_the_start_is_waited_for,
    a_start_that_is_resumed_stays,
    chunks_cover_every_possible_key_once,
    chunks_and_stream_meet,
    a_table_with_no_key_is_one_chunk_that_knows_what_it_saw,
    rows_are_read_again_by_key,
    what_a_read_saw_is_flushed_in_the_end,
    a_chunk_of_a_changed_table_is_refused,
    a_cancelled_read_ends,
);

async fn identity_stays_and_tells_databases_apart(harness: &dyn Harness) -> Verdict {
    let (one, _) = World::tables(harness, 0).await?;
    let (other, _) = World::tables(harness, 0).await?;
    let identity = one.source().identity().await?;
    identity.expect(&one.source().identity().await?)?;
    let found = other.source().identity().await?;
    ensure!(identity.expect(&found).is_err(), "two databases have one identity: {identity}");
    Ok(())
}

async fn what_was_in_progress_at_the_start_is_waited_for(harness: &dyn Harness) -> Verdict {
    let (db, schema) = World::tables(harness, 0).await?;
    let (source, run) = (db.source(), run_name()?);
    let open = db.begin(&[Statement::Insert(ITEMS, Row::new(1, "early"))]).await?;
    let begin = {
        let (source, run, schema) = (Arc::clone(&source), run.clone(), Arc::clone(&schema));
        tokio::spawn(async move { source.snapshot(&run, &schema, None).await.map(|s| s.start().clone()) })
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    ensure!(!begin.is_finished(), "the snapshot began beside a transaction that was in progress");
    open.commit().await?;
    let start = begin.await.map_err(|lost| Broken(lost.to_string()))??;
    let snapshot = source.snapshot(&run, &schema, Some(&start)).await?;
    ensure!(*snapshot.start() == start, "the start that was resumed is another");
    source.release(&run).await?;
    Ok(())
}

async fn a_start_that_is_resumed_stays(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 3).await?;
    let start = world.start().clone();
    world.db.run(&[Statement::Insert(ITEMS, Row::new(10, "x"))]).await?;
    let again = world.source.snapshot(&world.run, &world.schema, Some(&start)).await?;
    ensure!(*again.start() == start, "resumed at {}, not {start}", again.start());
    let read = world.read_from(&start).await?;
    let first = read.iter().flat_map(|t| &t.changes).next();
    ensure!(matches!(first, Some(Change::Insert(_, row)) if row.id == 10), "the first change is {first:?}");
    world.close().await
}

async fn chunks_cover_every_possible_key_once(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let rows: Vec<_> =
        (-500..500).map(|id| Statement::Insert(ITEMS, Row::new(id * 7, "x".repeat(200)))).collect();
    world.db.run(&rows).await?;
    let chunks = world.chunks(ITEMS, 20_000).await?;
    ensure!(chunks.len() > 1, "200 KB were planned as one chunk of 20 KB");
    // Keys that nobody had when the plan was made.
    let late = [i64::MIN, i64::MIN + 1, -1, 1, i64::MAX - 1, i64::MAX];
    world.db.run(&late.map(|id| Statement::Insert(ITEMS, Row::new(id, "late")))).await?;
    let mut read = Vec::new();
    for chunk in chunks {
        read.extend(world.chunk(chunk).await?.0);
    }
    let mut found = world.db.rows(ITEMS).await?;
    found.sort();
    read.sort();
    ensure!(read == found, "the chunks gave {} rows, the table has {}", read.len(), found.len());
    world.close().await
}

async fn chunks_and_stream_meet(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let body = |id: i64, what: &str| format!("{what} {id} {}", "x".repeat(200));
    let rows: Vec<_> = (0..600).map(|id| Statement::Insert(ITEMS, Row::new(id, body(id, "first")))).collect();
    world.db.run(&rows).await?;
    let chunks = world.chunks(ITEMS, 20_000).await?;
    let (mut model, count) = (Model::default(), chunks.len());
    for (index, chunk) in (0_i64..).zip(chunks) {
        model.load(ITEMS, world.chunk(chunk).await?.0);
        // Rows that move between what was read and what is to be read, both
        // ways; that go and come again; that go for good.
        let (low, high) = (index * 3, 599 - index * 3);
        let statements = [
            Statement::Move(ITEMS, low, 10_000 + index),
            Statement::Move(ITEMS, high, -1 - index),
            Statement::Delete(ITEMS, low + 1),
            Statement::Insert(ITEMS, Row::new(low + 1, body(index, "again"))),
            Statement::Delete(ITEMS, high - 1),
            Statement::Body(ITEMS, low + 2, body(index, "changed")),
        ];
        world.db.run(&statements).await?;
        if index == 4 {
            let first = Statement::Insert(ITEMS, Row::new(50_000, "after"));
            world.db.run(&[Statement::Truncate(ITEMS), first]).await?;
        }
    }
    ensure!(count > 6, "120 KB were planned as {count} chunks of 20 KB");
    for transaction in world.read_from(world.start()).await? {
        transaction.changes.iter().try_for_each(|change| model.apply(change))?;
    }
    world.same(&model).await?;
    world.close().await
}

async fn a_table_with_no_key_is_one_chunk_that_knows_what_it_saw(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 2).await?;
    let row = |id| Statement::Insert(PLAIN, Row::new(id, "equal"));
    let late = world.db.begin(&[row(100)]).await?;
    world.db.run(&[row(101), row(101)]).await?;
    let mut chunks = world.chunks(PLAIN, 1).await?;
    ensure!(chunks.len() == 1, "a table with no key was planned as {} chunks", chunks.len());
    let chunk = chunks.remove(0);
    let (rows, after) = world.chunk(chunk).await?;
    late.commit().await?;
    world.db.run(&[row(102), Statement::Delete(PLAIN, 0)]).await?;
    let Some(visibility) = after.visibility else {
        return Err(Broken("the chunk does not say what it saw".to_owned()));
    };
    let mut model = Model::default();
    model.load(ITEMS, (0..2).map(|id| Row::new(id, format!("row {id}"))).collect());
    model.load(PLAIN, rows);
    for transaction in world.read_from(world.start()).await? {
        for change in &transaction.changes {
            let seen = transaction.xid.map(|xid| world.snapshot.saw(&visibility, xid)).transpose()?;
            let plain = matches!(change, Change::Insert(t, _) | Change::Update(t, ..) | Change::Delete(t, _) if t == PLAIN);
            if !(plain && seen == Some(true)) {
                model.apply(change)?;
            }
        }
    }
    world.same(&model).await?;
    world.close().await
}

async fn rows_are_read_again_by_key(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 5).await?;
    let table = world.table(ITEMS)?;
    let mut keys = BatchBuilder::new();
    for id in [1, 3, 77] {
        let fields = table.columns.iter().map(|column| match column.name.as_str() {
            "id" => Field::Value(Value::Int(id)),
            _ => Field::Unchanged,
        });
        keys.delete(table, fields)?;
    }
    let (batch, after) = world.snapshot.reread(table, &keys.finish(), &[]).await?;
    let mut rows = events::rows(&batch)?;
    rows.sort();
    ensure!(rows == [Row::new(1, "row 1"), Row::new(3, "row 3")], "read again: {rows:?}");
    ensure!(world.source.reached(&after.position, world.start())?, "its after point is before the start");
    world.snapshot.flushed(&after.position).await?;
    world.close().await
}

async fn what_a_read_saw_is_flushed_in_the_end(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 5).await?;
    for chunk in world.chunks(ITEMS, 1 << 20).await? {
        let (_, after) = world.chunk(chunk).await?;
        world.snapshot.flushed(&after.position).await?;
        // What was there before the read is in the log by its after point: a
        // stream from there does not give it again.
        let read = world.read_from(&after.position).await?;
        let old =
            read.iter().flat_map(|t| &t.changes).find(|c| matches!(c, Change::Insert(_, row) if row.id < 5));
        ensure!(old.is_none(), "behind the after point comes {old:?}");
    }
    world.close().await
}

async fn a_chunk_of_a_changed_table_is_refused(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 5).await?;
    let mut chunks = world.chunks(ITEMS, 1 << 20).await?;
    world.db.run(&[Statement::AddColumn(ITEMS)]).await?;
    match world.chunk(chunks.remove(0)).await {
        Ok(_) => return Err(Broken("a chunk was read in another shape than was described".to_owned())),
        Err(why) => {
            let kind = format!("{:?}", ErrorKind::SchemaChanged);
            ensure!(why.0.contains(&kind), "refused, but not as {kind}: {why}");
        }
    }
    world.close().await
}

async fn a_cancelled_read_ends(harness: &dyn Harness) -> Verdict {
    use futures::StreamExt as _;
    let world = World::new(harness, 50).await?;
    let cancel = tokio_util::sync::CancellationToken::new();
    let budget = crate::change::Budget::new(1_000);
    let chunk = world.chunks(ITEMS, 1 << 20).await?.remove(0);
    let mut parts = world.snapshot.read(chunk, budget, cancel.clone()).await?;
    let first = parts.next().await;
    cancel.cancel();
    let rest = async {
        while let Some(part) = parts.next().await {
            if part.is_err() {
                break;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), rest).await;
    ensure!(ended.is_ok(), "a cancelled read waits for its budget for ever");
    drop((first, parts));
    world.close().await
}
