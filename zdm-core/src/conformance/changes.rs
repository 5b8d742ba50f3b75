//! The clauses of [`Source::changes`](crate::connect::Source::changes).

use std::time::Duration;

use futures::StreamExt as _;

use super::events::{Change, Model, Part, Reader};
use super::world::{World, read_until, run_name};
use super::{Broken, Harness, ITEMS, OTHERS, PLAIN, Row, Statement, Verdict, clauses, ensure};
use crate::change::Budget;
use crate::connect::StreamOptions;
use crate::{Engine, ErrorKind, Position};

clauses!("changes":
    transactions_come_whole_and_in_commit_order,
    what_was_rolled_back_never_comes,
    changes_say_which_row_they_mean,
    a_large_cell_that_did_not_change_is_the_same_or_unchanged,
    a_stream_from_each_position_gives_the_rest,
    released_changes_are_refused,
    a_run_that_keeps_nothing_on_the_source_is_refused,
    changes_of_other_tables_move_the_position_on,
    positions_grow,
    a_position_of_another_engine_is_refused,
    cancel_ends_a_stream_cleanly,
    the_budget_bounds_what_is_handed_over,
    a_large_transaction_flows_within_the_budget,
    releasing_twice_is_nothing,
);

fn insert(id: i64) -> Statement {
    Statement::Insert(ITEMS, Row::new(id, format!("row {id}")))
}

async fn transactions_come_whole_and_in_commit_order(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let mut early = world.db.begin(&[insert(1), insert(2)]).await?;
    world.db.run(&[insert(3), Statement::Insert(PLAIN, Row::new(4, "x"))]).await?;
    early.run(&[insert(5)]).await?;
    early.commit().await?;
    let read = world.read_from(world.start()).await?;
    let ids = |changes: &[Change]| -> Vec<i64> {
        changes.iter().map(|change| if let Change::Insert(_, row) = change { row.id } else { -1 }).collect()
    };
    let got: Vec<_> =
        read.iter().map(|transaction| ids(&transaction.changes)).filter(|ids| !ids.is_empty()).collect();
    ensure!(got.len() == 3 && got[..2] == [vec![3, 4], vec![1, 2, 5]], "the transactions came as {got:?}");
    world.close().await
}

async fn what_was_rolled_back_never_comes(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    world.db.begin(&[insert(1)]).await?.rollback().await?;
    world.db.run(&[insert(2)]).await?;
    let read = world.read_from(world.start()).await?;
    let first = read.iter().flat_map(|transaction| &transaction.changes).next();
    ensure!(
        matches!(first, Some(Change::Insert(_, row)) if row.id == 2),
        "the first change is {first:?}, not the insert of 2"
    );
    world.close().await
}

async fn changes_say_which_row_they_mean(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 5).await?;
    let moved = Statement::Move(ITEMS, 1, 101);
    let statements = [
        Statement::Body(ITEMS, 0, "new".to_owned()),
        moved,
        Statement::Delete(ITEMS, 2),
        Statement::Body(PLAIN, 0, "new".to_owned()),
        Statement::Delete(PLAIN, 1),
    ];
    world.db.run(&statements).await?;
    world.db.run(&[Statement::Truncate(PLAIN)]).await?;
    let mut model = Model::default();
    let before: Vec<_> = (0..5).map(|id| Row::new(id, format!("row {id}"))).collect();
    model.load(ITEMS, before.clone());
    model.load(PLAIN, before);
    for transaction in world.read_from(world.start()).await? {
        for change in &transaction.changes {
            if let Change::Update(table, Some(Part { id: Some(1), .. }), new) = change {
                ensure!(table != ITEMS || new.id == Some(101), "the moved row came as {change:?}");
            }
            model.apply(change)?;
        }
    }
    world.same(&model).await?;
    world.close().await
}

async fn a_large_cell_that_did_not_change_is_the_same_or_unchanged(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    // Incompressible, so that PostgreSQL keeps it out of line.
    let mut state = 7_u64;
    let large: String = (0..20_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + (state >> 33).to_le_bytes()[0] % 26)
        })
        .collect();
    world.db.run(&[Statement::Insert(ITEMS, Row::new(1, large.clone()))]).await?;
    world.db.run(&[Statement::Move(ITEMS, 1, 2)]).await?;
    let mut seen = false;
    for transaction in world.read_from(world.start()).await? {
        for change in transaction.changes {
            if let Change::Update(_, old, new) = change {
                seen = true;
                ensure!(old.and_then(|old| old.id) == Some(1), "the old key is missing");
                ensure!(new.id == Some(2), "the new key is {:?}", new.id);
                ensure!(new.body.is_none_or(|body| body == large), "the large cell came as another");
            }
        }
    }
    ensure!(seen, "the update never came");
    world.close().await
}

async fn a_stream_from_each_position_gives_the_rest(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 3).await?;
    for id in 10..14 {
        world.db.run(&[insert(id), Statement::Body(ITEMS, 1, format!("{id}"))]).await?;
    }
    world.db.run(&[Statement::Delete(ITEMS, 11), Statement::Move(ITEMS, 12, 22)]).await?;
    let mark = world.mark().await?;
    let all = {
        let mut changes = world.open(world.start(), Budget::new(1 << 20)).await?;
        read_until(&mut changes, mark).await?
    };
    let content = |of: &[super::events::Transaction]| -> Vec<Vec<Change>> {
        of.iter().map(|t| t.changes.clone()).filter(|changes| !changes.is_empty()).collect()
    };
    for (index, transaction) in all.iter().enumerate() {
        if index + 1 == all.len() {
            break;
        }
        let mut changes = world.open(&transaction.end, Budget::new(1 << 20)).await?;
        let rest = read_until(&mut changes, mark).await?;
        let (rest, wanted) = (content(&rest), content(&all[index + 1..]));
        ensure!(rest == wanted, "from {} came {rest:?}, not {wanted:?}", transaction.end);
    }
    world.close().await
}

async fn released_changes_are_refused(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let start = world.start().clone();
    world.db.run(&[insert(1)]).await?;
    let mark = world.mark().await?;
    let mut changes = world.open(&start, Budget::new(1 << 20)).await?;
    let read = read_until(&mut changes, mark).await?;
    let end = read.last().map(|last| last.end.clone()).unwrap_or_else(|| start.clone());
    changes.ack.durable(end.clone());
    drop(changes);
    for _ in 0..100 {
        let options =
            StreamOptions::new(world.run.clone(), start.clone(), std::sync::Arc::clone(&world.schema));
        match world.open_with(options).await {
            // The source may still be on the way to its server.
            Ok(early) => {
                early.ack.durable(end.clone());
                drop(early);
            }
            Err(error) => {
                ensure!(error.kind() == ErrorKind::Gap, "refused as {error:?}, not as a gap");
                drop(world.open(&end, Budget::new(1 << 20)).await?);
                return world.close().await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Broken("changes that were released are promised again".to_owned()))
}

async fn a_run_that_keeps_nothing_on_the_source_is_refused(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let start = world.start().clone();
    world.source.release(&world.run).await?;
    let options = StreamOptions::new(world.run.clone(), start.clone(), std::sync::Arc::clone(&world.schema));
    match world.source.changes(options).await {
        Err(error) if error.kind() == ErrorKind::Gap => {}
        Err(error) => return Err(Broken(format!("the stream was refused as {error:?}, not as a gap"))),
        Ok(_) => return Err(Broken("a stream was opened over a gap".to_owned())),
    }
    match world.source.snapshot(&world.run, &world.schema, Some(&start)).await {
        Err(error) if error.kind() == ErrorKind::Gap => Ok(()),
        Err(error) => Err(Broken(format!("the resume was refused as {error:?}, not as a gap"))),
        Ok(_) => Err(Broken("a snapshot was resumed over a gap".to_owned())),
    }
}

async fn changes_of_other_tables_move_the_position_on(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let mut changes = world.open(world.start(), Budget::new(1 << 20)).await?;
    let mark = world.mark().await?;
    let read = read_until(&mut changes, mark).await?;
    let known = read.last().map(|last| last.end.clone()).unwrap_or_else(|| world.start().clone());
    world.db.run(&[Statement::Insert(OTHERS, Row::new(1, "x"))]).await?;
    // A second run's start is behind that commit: a goal that our stream can
    // reach only by idle points.
    let other = run_name()?;
    let goal = world.source.snapshot(&other, &world.schema, None).await?.start().clone();
    world.source.release(&other).await?;
    let moved = async {
        let mut reader = Reader::default();
        loop {
            let batch = changes.batches.next().await;
            reader.take(&batch.ok_or_else(|| Broken("the stream ended by itself".to_owned()))??)?;
            for transaction in reader.transactions.drain(..) {
                ensure!(transaction.changes.is_empty(), "changes of another table came: {transaction:?}");
                changes.ack.durable(transaction.end.clone());
                if world.source.reached(&transaction.end, &goal)? {
                    return Ok(());
                }
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(40), moved).await {
        Ok(verdict) => verdict?,
        Err(_) => return Err(Broken(format!("the position stays at {known}, and the log is held for ever"))),
    }
    drop(changes);
    world.close().await
}

async fn positions_grow(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    for id in 0..5 {
        world.db.run(&[insert(id)]).await?;
    }
    let mut last = world.start().clone();
    for transaction in world.read_from(&last.clone()).await? {
        let end = transaction.end;
        ensure!(world.source.reached(&end, &last)?, "{end} comes behind {last} and has not reached it");
        ensure!(world.source.reached(&end, &end)?, "{end} has not reached itself");
        if transaction.xid.is_some() {
            ensure!(!world.source.reached(&last, &end)?, "{last} is before {end} and has reached it");
        }
        last = end;
    }
    world.close().await
}

async fn a_position_of_another_engine_is_refused(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let foreign = Position::new(Engine::new("nowhere"), "1");
    let options =
        StreamOptions::new(world.run.clone(), foreign.clone(), std::sync::Arc::clone(&world.schema));
    ensure!(world.source.reached(world.start(), &foreign).is_err(), "a foreign position was compared");
    ensure!(world.source.changes(options).await.is_err(), "a stream was opened at a foreign position");
    world.close().await
}

async fn cancel_ends_a_stream_cleanly(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let cancel = tokio_util::sync::CancellationToken::new();
    let options =
        StreamOptions::new(world.run.clone(), world.start().clone(), std::sync::Arc::clone(&world.schema));
    let mut changes = world.open_with(options.budget(Budget::new(2_000)).cancel(cancel.clone())).await?;
    for id in 0..50 {
        world.db.run(&[insert(id)]).await?;
    }
    // The first batch is kept, so that the source waits for the budget.
    let first = changes.batches.next().await.transpose()?;
    ensure!(first.is_some(), "the stream ended by itself");
    cancel.cancel();
    let ended = async {
        while let Some(batch) = changes.batches.next().await {
            batch?;
        }
        Ok::<_, crate::Error>(())
    };
    match tokio::time::timeout(Duration::from_secs(20), ended).await {
        Ok(ended) => ended?,
        Err(_) => return Err(Broken("the stream does not end while its budget is used up".to_owned())),
    }
    ensure!(changes.batches.next().await.is_none(), "something came behind the end");
    drop((first, changes));
    world.close().await
}

async fn the_budget_bounds_what_is_handed_over(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let budget = Budget::new(64 << 10);
    let mut changes = world.open(world.start(), budget.clone()).await?;
    for id in 0..100 {
        world.db.run(&[Statement::Insert(ITEMS, Row::new(id, "x".repeat(5_000)))]).await?;
    }
    let mark = world.mark().await?;
    let mut kept = Vec::new();
    let mut reader = Reader::default();
    while let Ok(batch) = tokio::time::timeout(Duration::from_millis(500), changes.batches.next()).await {
        let batch = batch.ok_or_else(|| Broken("the stream ended by itself".to_owned()))??;
        reader.take(&batch)?;
        kept.push(batch);
    }
    ensure!(!reader.has(mark), "half a megabyte was handed over under a budget of 64 KiB");
    ensure!(!kept.is_empty(), "nothing was handed over");
    kept.clear();
    while !reader.has(mark) {
        let batch = changes.batches.next().await;
        reader.take(&batch.ok_or_else(|| Broken("the stream ended by itself".to_owned()))??)?;
    }
    drop(changes);
    ensure!(
        budget.available() == 64 << 10,
        "{} bytes of the budget never came back",
        (64 << 10) - budget.available()
    );
    world.close().await
}

async fn a_large_transaction_flows_within_the_budget(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    let mut changes = world.open(world.start(), Budget::new(64 << 10)).await?;
    let rows = 0..400;
    let large: Vec<_> = rows.map(|id| Statement::Insert(ITEMS, Row::new(id, "x".repeat(1_000)))).collect();
    world.db.run(&large).await?;
    let one = Statement::Insert(ITEMS, Row::new(500, "x".repeat(300_000)));
    world.db.run(&[one]).await?;
    let mark = world.mark().await?;
    let mut reader = Reader::default();
    let mut batches = 0;
    while !reader.has(mark) {
        let batch = changes.batches.next().await;
        reader.take(&batch.ok_or_else(|| Broken("the stream ended by itself".to_owned()))??)?;
        batches += 1;
    }
    let first = reader.transactions.iter().find(|transaction| !transaction.changes.is_empty());
    ensure!(first.is_some_and(|first| first.changes.len() == 400), "the large transaction lost rows");
    ensure!(batches > 3, "400 KB came in {batches} batches, under a budget of 64 KiB");
    drop(changes);
    world.close().await
}

async fn releasing_twice_is_nothing(harness: &dyn Harness) -> Verdict {
    let world = World::new(harness, 0).await?;
    world.source.release(&world.run).await?;
    world.source.release(&world.run).await?;
    Ok(())
}
