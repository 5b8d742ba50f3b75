//! Where a group ends though more has arrived.

use async_trait::async_trait;

use super::*;
use crate::change::Value;
use crate::checkpoint::MemoryCheckpoint;
use crate::connect::{After, Bounds, Chunk, ChunkPart, ChunkPlan, ChunkSize, Reread as _};
use crate::memory::{ENGINE, MemoryDatabase};
use crate::pipeline::Identity;
use crate::schema::{Column, DataType, Key};

/// Reads rows again in one moment, which has seen the transactions up to 2.
struct Moment;

#[async_trait]
impl Snapshot for Moment {
    fn start(&self) -> &Position {
        unreachable!()
    }

    async fn plan(&self, _: &Arc<Table>, _: ChunkSize) -> Result<ChunkPlan> {
        Ok(ChunkPlan { bounds: vec![Bounds(String::new())], rows: 0, bytes: 0 })
    }

    async fn read(
        &self,
        _: Chunk,
        _: Budget,
        _: CancellationToken,
    ) -> Result<BoxStream<'static, Result<ChunkPart>>> {
        unreachable!()
    }

    async fn reread(&self, _: &Arc<Table>, _: &Batch, _: &[Xid]) -> Result<(Batch, After)> {
        let after = After { position: position(4), visibility: Some(Visibility("2".to_owned())) };
        Ok((BatchBuilder::new().finish(), after))
    }

    async fn flushed(&self, _: &Position) -> Result<()> {
        Ok(())
    }

    fn saw(&self, visibility: &Visibility, xid: Xid) -> Result<bool> {
        Ok(xid.0 <= visibility.0.parse().unwrap())
    }
}

/// Notes the rows that are written, and where each group ends.
#[derive(Default)]
struct Notes {
    rows: usize,
    groups: Vec<(usize, String)>,
}

#[async_trait]
impl Writer for Notes {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.rows += batch.row_count();
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn commit(&mut self, progress: Progress) -> Result<()> {
        let Progress::Stream { to, .. } = progress else { panic!("{progress:?}") };
        self.groups.push((std::mem::take(&mut self.rows), to.as_str().to_owned()));
        Ok(())
    }
}

fn position(n: u64) -> Position {
    Position::new(ENGINE, n.to_string())
}

fn table() -> Arc<Table> {
    let columns = vec![Column::new("id", DataType::integer(64)).not_null()];
    Arc::new(Table::new(ENGINE, TableName::new("public", "t"), columns, Key::Columns(vec![0])))
}

/// Transactions of one row each, whose numbers are their positions too, and
/// which have all arrived.
fn log(numbers: std::ops::RangeInclusive<u64>) -> Batch {
    let (mut log, table) = (BatchBuilder::new(), table());
    for number in numbers {
        log.begin(number.into());
        log.insert(&table, [Value::Int(1).into()]).unwrap();
        log.commit(position(number), None);
    }
    log.finish()
}

/// Follows a log of five transactions until the goal is reached; the groups.
async fn groups(goal: u64, rereads: Option<Arc<SourceReread>>) -> Vec<(usize, String)> {
    groups_of(vec![log(1..=5)], goal, rereads).await
}

/// The same of batches of which each comes when the one before it is written.
async fn groups_of(
    batches: Vec<Batch>,
    goal: u64,
    rereads: Option<Arc<SourceReread>>,
) -> Vec<(usize, String)> {
    let (run, cancel, stream_cancel) =
        (RunName::default(), CancellationToken::new(), CancellationToken::new());
    let (source, stages): (_, Arc<dyn Transform>) = (MemoryDatabase::new().source(), Arc::new(Identity));
    let arrived = futures::stream::iter(batches).then(|batch| async {
        tokio::task::yield_now().await;
        Ok(batch)
    });
    let arrived = arrived.chain(futures::stream::pending());
    let batches = arrived.take_until(stream_cancel.clone().cancelled_owned()).boxed();
    let (ack, _acked) = Ack::new();
    let (_head, head) = watch::channel(Head::default());
    let follow = Follow {
        run: &run,
        epoch: Epoch(1),
        source: &source,
        checkpoint: &MemoryCheckpoint::default(),
        own_checkpoint: true,
        stages: &stages,
        seen: HashMap::new(),
        snapshot: None,
        goals: Some(vec![position(goal)]),
        rereads,
        group_bytes: 1 << 20,
        linger: Duration::from_secs(3600),
        idle_interval: Duration::from_secs(3600),
        budget: Budget::new(1 << 20),
        durable: &Durable::new(),
        status: &StatusHandle::new(run.clone()),
        cancel: &cancel,
        stream_cancel,
    };
    let mut notes = Notes::default();
    let stop = follow.run(position(0), Changes { batches, ack, head }, &mut notes).await.unwrap();
    assert_eq!(stop, (Stop::Reached, position(goal)));
    notes.groups
}

fn group(rows: usize, to: u64) -> (usize, String) {
    (rows, to.to_string())
}

/// A target that showed some of a transaction would show what never was.
#[tokio::test(start_paused = true)]
async fn behind_a_whole_transaction_though_some_of_the_next_one_has_arrived() {
    let (mut some, mut rest, table) = (BatchBuilder::new(), BatchBuilder::new(), table());
    let insert = |log: &mut BatchBuilder, n| log.insert(&table, [Value::Int(n).into()]).unwrap();
    some.begin(1_u64.into());
    insert(&mut some, 1);
    some.commit(position(1), None);
    some.begin(2_u64.into());
    insert(&mut some, 2);
    insert(&mut rest, 3);
    rest.commit(position(2), None);
    assert_eq!(groups_of(vec![some.finish(), rest.finish()], 2, None).await, [group(3, 2)]);
}

/// Behind it nothing is applied: a row that were read again for it would move
/// the goal on, and a busy source would never be caught up with.
#[tokio::test(start_paused = true)]
async fn where_the_last_goal_is_reached() {
    assert_eq!(groups(3, None).await, [group(3, 3)]);
}

/// Together they would ask for a moment that has seen them all, and each new
/// one moves the goal on.
#[tokio::test(start_paused = true)]
async fn between_what_the_moment_of_rereads_has_seen_and_what_it_has_not() {
    let rereads = Arc::new(SourceReread::new(Arc::new(Moment), Arc::new(Identity)));
    assert_eq!(groups(4, Some(Arc::clone(&rereads))).await, [group(4, 4)]);
    let mut keys = BatchBuilder::new();
    keys.delete(&table(), [crate::change::Value::Int(1).into()]).unwrap();
    rereads.reread(&table(), keys.finish()).await.unwrap();
    assert_eq!(groups(4, Some(rereads)).await, [group(2, 2), group(2, 4)]);
}
