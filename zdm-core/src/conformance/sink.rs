//! The clauses of [`Sink`](crate::connect::Sink) and
//! [`Writer`](crate::connect::Writer).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::target::{Body, Edit, Rows, Target, at};
use super::world::{World, run_name};
use super::{Broken, Harness, ITEMS, PLAIN, Row, Statement, Verdict, clauses, ensure};
use crate::ErrorKind;
use crate::connect::{Bounds, ChunkDone, ChunkId, ChunkRecord, Epoch, Progress, Purpose, Step};

clauses!("sink":
    every_step_can_be_taken_again,
    a_target_with_rows_is_refused_and_left_alone,
    nobody_else_writes_to_a_target,
    nobody_else_empties_a_target,
    rows_and_progress_are_one_transaction,
    a_chunk_is_in_the_target_whole_or_not_at_all,
    an_old_epoch_is_fenced,
    a_wrong_position_is_refused,
    applying_again_ends_in_the_same_rows,
    later_images_win_within_a_group,
    a_moved_row_leaves_nothing_behind,
    unique_values_may_be_swapped,
    insert_and_delete_in_one_group_is_a_delete,
    a_truncate_is_a_barrier,
    cells_that_did_not_change_stay,
    a_missing_row_is_read_again,
    a_missing_row_is_an_error_where_it_cannot_be_read_again,
    rows_with_no_key_change_one_at_a_time,
    a_large_transaction_flows_through,
    a_refused_row_leaves_nothing,
    many_changes_end_as_one_by_one,
);

fn row(id: i64, body: &str) -> Row {
    Row::new(id, body)
}

fn edits(of: impl IntoIterator<Item = Edit>) -> Vec<Edit> {
    of.into_iter().collect()
}

async fn every_step_can_be_taken_again(harness: &dyn Harness) -> Verdict {
    let target = Target::new(harness, Step::Bare).await?;
    for step in [Step::Bare, Step::Keyed, Step::Finished, Step::Ready, Step::Validated] {
        target.sink.prepare(&target.run, &target.schema, step).await?;
        target.sink.prepare(&target.run, &target.schema, step).await?;
    }
    // Each step includes the ones before it.
    let other = harness.database().await?;
    other.sink().prepare(&run_name()?, &target.schema, Step::Finished).await?;
    ensure!(other.rows(ITEMS).await?.is_empty(), "a table that was just made has rows");
    Ok(())
}

async fn a_target_with_rows_is_refused_and_left_alone(harness: &dyn Harness) -> Verdict {
    let (db, schema) = World::tables(harness, 3).await?;
    match db.sink().prepare(&run_name()?, &schema, Step::Bare).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        Err(error) => return Err(Broken(format!("refused as {error:?}, not as a conflict"))),
        Ok(()) => return Err(Broken("a target with rows was accepted".to_owned())),
    }
    ensure!(db.rows(ITEMS).await?.len() == 3, "the refused target lost its rows");
    // It is not sealed either.
    db.run(&[Statement::Insert(ITEMS, row(9, "still ours"))]).await?;
    Ok(())
}

async fn nobody_else_writes_to_a_target(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Ready).await?;
    let sink = Arc::clone(&target.sink);
    let Some(fence) = sink.capabilities().fence else {
        return Err(Broken("the sink has no fence: list this clause as unsupported if it cannot".to_owned()));
    };
    fence.seal(&target.run, &target.schema, "this table is being filled").await?;
    fence.seal(&target.run, &target.schema, "this table is being filled").await?;
    let stray = target.db.run(&[Statement::Insert(ITEMS, row(1, "stray"))]).await;
    ensure!(stray.is_err(), "a stray writer wrote to the target of a run");
    // The run's own writers pass, truncates included.
    target.apply(ITEMS, &[edits([Edit::Truncate, Edit::Insert(row(2, "ours"))])]).await?;
    fence.unseal(&target.run, &target.schema, 1).await?;
    fence.unseal(&target.run, &target.schema, 1).await?;
    target.db.run(&[Statement::Insert(ITEMS, row(3, "the application"))]).await?;
    target.holds(vec![row(2, "ours"), row(3, "the application")]).await
}

async fn nobody_else_empties_a_target(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Ready).await?;
    let sink = Arc::clone(&target.sink);
    let Some(fence) = sink.capabilities().fence else {
        return Err(Broken("the sink has no fence: list this clause as unsupported if it cannot".to_owned()));
    };
    target.apply(ITEMS, &[edits([Edit::Insert(row(1, "ours"))])]).await?;
    fence.seal(&target.run, &target.schema, "this table is being filled").await?;
    let stray = target.db.run(&[Statement::Truncate(ITEMS)]).await;
    ensure!(stray.is_err(), "a stray writer emptied the target of a run");
    target.holds(vec![row(1, "ours")]).await
}

async fn rows_and_progress_are_one_transaction(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    let batch = target.batch(ITEMS, &[edits([Edit::Insert(row(1, "a")), Edit::Insert(row(2, "b"))])])?;
    let mut writer = target.writer(1, Purpose::Apply).await?;
    writer.write(batch.clone()).await?;
    drop(writer);
    target.holds(Vec::new()).await?;
    ensure!(target.state().await?.record.position == Some(at(0)), "progress without its rows");

    let mut writer = target.writer(1, Purpose::Apply).await?;
    writer.write(batch).await?;
    let step = target.step();
    writer.commit(step).await?;
    drop(writer);
    let record = target.state().await?.record;
    ensure!(
        record.position == Some(at(1)) && record.changes_applied == 1,
        "rows without progress: {record:?}"
    );
    target.holds(vec![row(1, "a"), row(2, "b")]).await
}

async fn a_chunk_is_in_the_target_whole_or_not_at_all(harness: &dyn Harness) -> Verdict {
    let target = Target::new(harness, Step::Bare).await?;
    let name = target.table(ITEMS)?.name.clone();
    let chunk = |number| ChunkRecord {
        id: ChunkId { table: name.clone(), number },
        bounds: Bounds(format!("chunk {number}")),
        done: None,
    };
    target.checkpoint.plan(&target.run, Epoch(1), &[chunk(0), chunk(1)]).await?;
    let done = |rows| ChunkDone { rows, after: at(7), visibility: None };
    let mut dropped = target.writer(1, Purpose::Load).await?;
    dropped.write(target.rows(ITEMS, (0..50).map(|id| row(id, "x")))?).await?;
    drop(dropped);
    target.holds(Vec::new()).await?;
    ensure!(target.state().await?.chunks.iter().all(|chunk| chunk.done.is_none()), "a dropped chunk is done");

    // Two chunks at once, by two writers.
    let (mut one, mut two) = (target.writer(1, Purpose::Load).await?, target.writer(1, Purpose::Load).await?);
    one.write(target.rows(ITEMS, (0..50).map(|id| row(id, "x")))?).await?;
    two.write(target.rows(ITEMS, (50..80).map(|id| row(id, "x")))?).await?;
    one.write(target.rows(ITEMS, (80..100).map(|id| row(id, "x")))?).await?;
    two.commit(Progress::Chunk { id: chunk(1).id, done: done(30) }).await?;
    one.commit(Progress::Chunk { id: chunk(0).id, done: done(70) }).await?;
    let state = target.state().await?;
    let rows: Vec<_> = state.chunks.iter().map(|chunk| chunk.done.as_ref().map(|done| done.rows)).collect();
    ensure!(rows == [Some(70), Some(30)] && state.record.rows_copied == 100, "the chunks are {state:?}");

    // Who reads it once more does not get it in.
    one.write(target.rows(ITEMS, (0..50).map(|id| row(id, "x")))?).await?;
    let again = one.commit(Progress::Chunk { id: chunk(0).id, done: done(50) }).await;
    ensure!(again.is_err(), "a chunk that is done was written again");
    drop(one);
    target.holds((0..100).map(|id| row(id, "x")).collect()).await?;
    target.sink.prepare(&target.run, &target.schema, Step::Ready).await?;
    target.holds((0..100).map(|id| row(id, "x")).collect()).await
}

async fn an_old_epoch_is_fenced(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    let batch = target.batch(ITEMS, &[edits([Edit::Insert(row(1, "old"))])])?;
    let mut writer = target.writer(1, Purpose::Apply).await?;
    let (checkpoint, run) = (Arc::clone(&target.checkpoint), target.run.clone());
    // The raise may wait for the old writer's transaction, or end it.
    let raise = tokio::spawn(async move { checkpoint.raise(&run).await });
    let step = target.step();
    let written = async {
        let raised = raise.await.map_err(|lost| Broken(lost.to_string()))??;
        ensure!(raised.record.epoch == Epoch(2), "raised to {}", raised.record.epoch);
        Ok(())
    };
    written.await?;
    let outcome = match writer.write(batch.clone()).await {
        Ok(()) => writer.commit(step.clone()).await,
        refused => refused,
    };
    match outcome {
        Err(error) if error.kind() == ErrorKind::Fenced => {}
        Err(error) => return Err(Broken(format!("the old epoch was refused as {error:?}, not as fenced"))),
        Ok(()) => return Err(Broken("a writer of an old epoch committed".to_owned())),
    }
    drop(writer);
    target.holds(Vec::new()).await?;
    match target.sink.writer(target.options(1, Purpose::Apply)).await {
        Err(error) if error.kind() == ErrorKind::Fenced => {}
        Err(error) => return Err(Broken(format!("the old epoch was refused as {error:?}, not as fenced"))),
        Ok(_) => return Err(Broken("a writer of an old epoch was opened".to_owned())),
    }
    let mut writer = target.writer(2, Purpose::Apply).await?;
    writer.write(batch).await?;
    writer.commit(step).await?;
    target.holds(vec![row(1, "old")]).await
}

async fn a_wrong_position_is_refused(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    target.apply(ITEMS, &[edits([Edit::Insert(row(1, "a"))])]).await?;
    let batch = target.batch(ITEMS, &[edits([Edit::Insert(row(2, "b"))])])?;
    for from in [at(0), at(5)] {
        let mut writer = target.writer(1, Purpose::Apply).await?;
        writer.write(batch.clone()).await?;
        let progress = Progress::Stream { from: from.clone(), to: at(9), changes: 1, goals: Vec::new() };
        match writer.commit(progress).await {
            Err(error) if error.kind() == ErrorKind::Fenced => {}
            Err(error) => {
                return Err(Broken(format!("a wrong position was refused as {error:?}, not as fenced")));
            }
            Ok(()) => return Err(Broken(format!("a commit from {from} passed, but the run stands at 1"))),
        }
    }
    ensure!(target.state().await?.record.position == Some(at(1)), "a refused commit moved the run");
    target.holds(vec![row(1, "a")]).await
}

async fn applying_again_ends_in_the_same_rows(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Keyed).await?;
    let log = [
        edits([Edit::Insert(row(1, "a")), Edit::Insert(row(2, "b")), Edit::Insert(row(3, "c"))]),
        edits([Edit::Update(1, 1, "a2".into()), Edit::Delete(2)]),
        edits([Edit::Move(3, 4, 4, "moved".into())]),
        edits([Edit::Insert(row(2, "again")), Edit::Delete(1)]),
    ];
    let wanted = vec![row(2, "again"), row(4, "moved")];
    // One by one, all at once, and all again from each point on.
    for transaction in &log {
        target.apply(ITEMS, std::slice::from_ref(transaction)).await?;
    }
    target.holds(wanted.clone()).await?;
    for from in 0..log.len() {
        target.apply(ITEMS, &log[from..]).await?;
        target.holds(wanted.clone()).await?;
    }
    Ok(())
}

async fn later_images_win_within_a_group(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    let first = edits([Edit::Insert(row(1, "a")), Edit::Update(1, 1, "b".into())]);
    let second = edits([Edit::Update(1, 10, "c".into()), Edit::Update(1, 11, Body::Same)]);
    target.apply(ITEMS, &[first, second]).await?;
    target.holds(vec![Row { id: 1, code: 11, body: "c".to_owned() }]).await
}

async fn a_moved_row_leaves_nothing_behind(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    target.apply(ITEMS, &[edits([Edit::Insert(row(1, "a")), Edit::Insert(row(2, "b"))])]).await?;
    // A chain within a group, over a key that another row has just left.
    let chain = edits([
        Edit::Move(2, 3, 2, Body::Same),
        Edit::Move(1, 2, 1, Body::Same),
        Edit::Move(2, 5, 1, "five".into()),
    ]);
    target.apply(ITEMS, &[chain]).await?;
    let five = Row { id: 5, code: 1, body: "five".to_owned() };
    target.holds(vec![Row { id: 3, code: 2, body: "b".to_owned() }, five]).await
}

async fn unique_values_may_be_swapped(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    let all = edits([Edit::Insert(row(1, "a")), Edit::Insert(row(2, "b")), Edit::Insert(row(3, "c"))]);
    target.apply(ITEMS, &[all]).await?;
    let swap = edits([Edit::Update(1, 2, "a".into()), Edit::Update(2, 1, "b".into())]);
    let keys = edits([
        Edit::Move(2, -2, 1, Body::Same),
        Edit::Move(3, 2, 3, Body::Same),
        Edit::Move(-2, 3, 1, Body::Same),
    ]);
    target.apply(ITEMS, &[swap, keys]).await?;
    let with = |id, code, body: &str| Row { id, code, body: body.to_owned() };
    target.holds(vec![with(1, 2, "a"), with(2, 3, "c"), with(3, 1, "b")]).await
}

async fn insert_and_delete_in_one_group_is_a_delete(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Keyed).await?;
    // A chunk has read the row; then comes the transaction that made it, and
    // the one that deleted it.
    target.apply(ITEMS, &[edits([Edit::Insert(row(1, "from a chunk"))])]).await?;
    target.apply(ITEMS, &[edits([Edit::Insert(row(1, "a"))]), edits([Edit::Delete(1)])]).await?;
    target.holds(Vec::new()).await
}

async fn a_truncate_is_a_barrier(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    target.apply(ITEMS, &[edits([Edit::Insert(row(1, "a"))])]).await?;
    let group = edits([
        Edit::Insert(row(2, "before")),
        Edit::Update(1, 1, "before".into()),
        Edit::Truncate,
        Edit::Insert(row(3, "after")),
    ]);
    target.apply(ITEMS, &[group, edits([Edit::Insert(row(2, "anew"))])]).await?;
    target.holds(vec![row(2, "anew"), row(3, "after")]).await
}

async fn cells_that_did_not_change_stay(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    target.apply(ITEMS, &[edits([Edit::Insert(row(1, "a")), Edit::Insert(row(2, "b"))])]).await?;
    let group = edits([
        Edit::Update(1, 10, Body::Same),
        Edit::Move(2, 3, 20, Body::Same),
        Edit::Insert(row(4, "d")),
        Edit::Update(4, 40, Body::Same),
        Edit::Move(4, 5, 50, Body::Same),
    ]);
    target.apply(ITEMS, &[group]).await?;
    let with = |id, code, body: &str| Row { id, code, body: body.to_owned() };
    target.holds(vec![with(1, 10, "a"), with(3, 20, "b"), with(5, 50, "d")]).await
}

async fn a_missing_row_is_read_again(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Keyed).await?;
    let there = vec![row(2, "now"), row(7, "not asked for")];
    let options = target.options(1, Purpose::Apply).reread(Arc::new(Rows(there)));
    let mut writer = target.sink.writer(options).await?;
    // 1 moved to 2 and is there; 3 moved to 4 and is gone by now.
    let group = edits([Edit::Move(1, 2, 2, Body::Same), Edit::Move(3, 4, 4, Body::Same)]);
    writer.write(target.batch(ITEMS, &[group])?).await?;
    let step = target.step();
    writer.commit(step).await?;
    target.holds(vec![row(2, "now")]).await
}

async fn a_missing_row_is_an_error_where_it_cannot_be_read_again(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Keyed).await?;
    let lost = target.apply(ITEMS, &[edits([Edit::Update(1, 1, Body::Same)])]).await;
    ensure!(lost.is_err(), "a row that is missing was passed over");
    target.holds(Vec::new()).await
}

async fn rows_with_no_key_change_one_at_a_time(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    let three = (0..3).map(|_| Edit::Insert(row(1, "equal")));
    let rest = [Edit::Insert(row(2, "equal")), Edit::Delete(1), Edit::Update(1, 1, "other".into())];
    target.apply(PLAIN, &[three.chain(rest).collect()]).await?;
    target.holds_plain(vec![row(1, "equal"), row(1, "other"), row(2, "equal")]).await?;
    target
        .apply(PLAIN, &[edits([Edit::Delete(1)]), edits([Edit::Truncate, Edit::Insert(row(3, "equal"))])])
        .await?;
    target.holds_plain(vec![row(3, "equal")]).await
}

async fn a_large_transaction_flows_through(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    let mut writer = target.writer(1, Purpose::Apply).await?;
    let body = "x".repeat(500);
    let all: Vec<_> = (0..4_000).map(|id| Edit::Insert(row(id, &body))).collect();
    for part in all.chunks(100) {
        writer.write(target.batch(ITEMS, &[part.to_vec()])?).await?;
    }
    ensure!(target.db.rows(ITEMS).await?.is_empty(), "rows are visible before their commit");
    let step = target.step();
    writer.commit(step).await?;
    target.holds((0..4_000).map(|id| row(id, &body)).collect()).await
}

async fn a_refused_row_leaves_nothing(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    target.apply(ITEMS, &[edits([Edit::Insert(row(1, "a"))])]).await?;
    // Another row with its unique code.
    let clash = Edit::Insert(Row { id: 2, code: 1, body: "b".to_owned() });
    let batch = target.batch(ITEMS, &[edits([Edit::Insert(row(3, "c")), clash])])?;
    let mut writer = target.writer(1, Purpose::Apply).await?;
    let outcome = match writer.write(batch).await {
        Ok(()) => {
            let step = target.step();
            writer.commit(step).await
        }
        refused => refused,
    };
    match outcome {
        Err(error) if error.kind() == ErrorKind::Rejected => {}
        Err(error) => return Err(Broken(format!("the row was refused as {error:?}, not as rejected"))),
        Ok(()) => return Err(Broken("two rows with one unique value were accepted".to_owned())),
    }
    drop(writer);
    ensure!(target.state().await?.record.position == Some(at(1)), "progress without its rows");
    target.holds(vec![row(1, "a")]).await
}

/// Random histories over few keys, cut into groups of any size.
async fn many_changes_end_as_one_by_one(harness: &dyn Harness) -> Verdict {
    let mut target = Target::new(harness, Step::Finished).await?;
    let mut random = fastrand::Rng::with_seed(20_260_101);
    let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
    for round in 0..30 {
        let mut group = Vec::new();
        for _ in 0..random.usize(1..6) {
            let edits = (0..random.usize(1..8)).map(|n| edit(&mut random, &mut rows, round * 100 + n));
            group.push(edits.collect::<Vec<_>>());
        }
        target.apply(ITEMS, &group).await?;
        let now: Vec<Row> = rows.values().cloned().collect();
        target.holds(now).await.map_err(|Broken(why)| Broken(format!("{why}, after {group:?}")))?;
    }
    Ok(())
}

/// A change that a source could make to these rows, and makes.
fn edit(random: &mut fastrand::Rng, rows: &mut BTreeMap<i64, Row>, number: usize) -> Edit {
    let (id, other) = (random.i64(0..12), random.i64(0..12));
    let text = format!("body {number}");
    let code = |rows: &BTreeMap<i64, Row>| {
        (0..).find(|code| rows.values().all(|row| row.code != *code)).unwrap_or(0)
    };
    let known = rows.get(&id).cloned();
    match (known, random.u8(0..20)) {
        (_, 0) => {
            rows.clear();
            Edit::Truncate
        }
        (None, _) => {
            let row = Row { id, code: code(rows), body: text };
            rows.insert(id, row.clone());
            Edit::Insert(row)
        }
        (Some(_), 1..6) => {
            rows.remove(&id);
            Edit::Delete(id)
        }
        (Some(known), 6..12) if !rows.contains_key(&other) => {
            let same = random.bool();
            let body = if same { known.body } else { text.clone() };
            rows.remove(&id);
            rows.insert(other, Row { id: other, code: known.code, body });
            Edit::Move(id, other, known.code, if same { Body::Same } else { Body::Text(text) })
        }
        (Some(known), _) => {
            let (same, code) = (random.bool(), if random.bool() { code(rows) } else { known.code });
            let body = if same { known.body } else { text.clone() };
            rows.insert(id, Row { id, code, body });
            Edit::Update(id, code, if same { Body::Same } else { Body::Text(text) })
        }
    }
}
