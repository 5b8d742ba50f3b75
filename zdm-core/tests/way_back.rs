//! A run that is switched to and fro, between two databases in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zdm_core::change::Value;
use zdm_core::connect::{Epoch, Fence as _, Purpose, RunName, Sink as _, Source as _, WriterOptions};
use zdm_core::gate::NoGate;
use zdm_core::memory::{ENGINE, MemoryDatabase, Row};
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Migration, Outcome, Running, Side, Until};
use zdm_core::schema::{Column, DataType, Key, Selection, Table, TableName};
use zdm_core::{Error, ErrorKind};

/// Longer than anything takes that does not wait for something.
const LONG: Duration = Duration::from_secs(100);

fn name() -> TableName {
    TableName::new("public", "t")
}

fn count(rows: &[Row]) -> i64 {
    i64::try_from(rows.len()).unwrap()
}

struct World {
    old: MemoryDatabase,
    new: MemoryDatabase,
    /// The next key.
    next: i64,
}

impl World {
    /// Some rows at the old side.
    async fn new() -> Self {
        let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
        let columns = vec![
            Column::new("id", DataType::integer(64)).not_null(),
            Column::new("at", DataType::integer(64)),
        ];
        old.create_table(Table::new(ENGINE, name(), columns, Key::Columns(vec![0]))).unwrap();
        old.create_sequence(TableName::new("public", "s"), None, i64::MAX);
        let mut world = Self { old, new, next: 0 };
        for _ in 0..3 {
            world.write(Side::Source).await.unwrap();
        }
        world
    }

    fn migration(&self) -> Migration {
        let there = Migration::between(self.old.source(), self.new.sink());
        there.way_back(self.new.source(), self.old.sink()).build().unwrap()
    }

    fn at(&self, side: Side) -> &MemoryDatabase {
        match side {
            Side::Source => &self.old,
            Side::Target => &self.new,
        }
    }

    /// Three changes at a side, in two transactions: a row that stays, which
    /// counts how often it was written, and one that comes and goes.
    async fn write(&mut self, side: Side) -> Result<(), Error> {
        let (db, n) = (self.at(side).clone(), self.next);
        let mut transaction = db.begin();
        transaction.insert(&name(), vec![Value::Int(n), Value::Int(0)]).await?;
        transaction.commit().await?;
        let mut transaction = db.begin();
        let was = count(&db.rows(&name())?);
        transaction.update(&name(), &[Value::Int(n)], |row| row[1] = Value::Int(was)).await?;
        transaction.insert(&name(), vec![Value::Int(-1 - n), Value::Null]).await?;
        transaction.commit().await?;
        let mut transaction = db.begin();
        transaction.delete(&name(), &[Value::Int(-1 - n)]).await?;
        transaction.commit().await?;
        self.next += 1;
        Ok(())
    }

    /// Which side takes writes: one, and never both.
    async fn open(&self) -> Side {
        let mut open = Vec::new();
        for side in [Side::Source, Side::Target] {
            let mut transaction = self.at(side).begin();
            let name = name();
            let insert = transaction.insert(&name, vec![Value::Int(i64::MAX), Value::Null]);
            match tokio::time::timeout(LONG, insert).await.expect("nothing holds it") {
                Ok(()) => open.push(side),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Permission | ErrorKind::NotFound), "{error}")
                }
            }
            transaction.rollback();
        }
        assert_eq!(open.len(), 1, "open are {open:?}");
        open[0]
    }

    fn sorted(&self, side: Side) -> Vec<Row> {
        let mut rows = self.at(side).rows(&name()).unwrap();
        rows.sort_by_key(|row| format!("{row:?}"));
        rows
    }

    fn equal(&self) {
        assert_eq!(self.sorted(Side::Source), self.sorted(Side::Target));
        assert_eq!(count(&self.sorted(Side::Source)), self.next, "a row is lost or doubled");
    }
}

/// The direction that leads away from a side.
fn from(migration: &Migration, side: Side) -> Migration {
    match side {
        Side::Source => migration.clone(),
        Side::Target => migration.back().unwrap(),
    }
}

async fn following(direction: &Migration) -> Running {
    let mut running = direction.start(CancellationToken::new());
    tokio::time::timeout(LONG, running.followed()).await.expect("it follows").unwrap();
    running
}

fn over(side: Side) -> Side {
    match side {
        Side::Source => Side::Target,
        Side::Target => Side::Source,
    }
}

#[tokio::test(start_paused = true)]
async fn to_and_fro_ten_times_nothing_is_lost_and_nothing_travels_in_circles() {
    let mut world = World::new().await;
    let (mut side, mut written) = (Side::Source, [0, 0]);
    for leg in 1..=20 {
        // Each time another process.
        let migration = world.migration();
        assert_eq!(migration.side().await.unwrap(), side);
        let direction = from(&migration, side);
        world.write(side).await.unwrap();
        let mut running = following(&direction).await;
        world.write(side).await.unwrap();
        // The first row written was copied on the first leg, and not applied.
        written[side as usize] += if leg == 1 { 4 } else { 8 };
        let switch = running.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
        assert_eq!(switch.leg, leg);
        world.equal();
        let applied = direction.state().await.unwrap().unwrap().record.changes_applied;
        assert_eq!(applied, written[side as usize], "leg {leg}");
        direction.complete().await.unwrap();
        side = over(side);
        assert_eq!(world.open().await, side);
        assert_eq!(migration.side().await.unwrap(), side);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_before_the_way_back_is_started_arrives_too() {
    let mut world = World::new().await;
    let migration = world.migration();
    following(&migration).await.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
    for _ in 0..5 {
        world.write(Side::Target).await.unwrap();
    }
    let back = migration.back().unwrap();
    back.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    world.equal();
    // Stopped and started again it goes on where it was.
    world.write(Side::Target).await.unwrap();
    back.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    world.equal();
    let forth = migration.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    assert!(matches!(forth, Outcome::Switched { .. }), "{forth:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_leads_back_before_a_switch_and_behind_one_without_a_way_back() {
    let world = World::new().await;
    let migration = world.migration();
    let back = migration.back().unwrap();
    let early = back.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Conflict, "{early}");
    let one_way = Migration::between(world.old.source(), world.new.sink()).build().unwrap();
    assert!(one_way.back().is_none());
    following(&one_way).await.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
    let late = back.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unsupported, "{late}");
    assert_eq!(world.open().await, Side::Target);
}

/// What a cutover has made for its way back is given back when it is given up.
#[tokio::test(start_paused = true)]
async fn a_cutover_that_is_given_up_leaves_no_way_back() {
    let world = World::new().await;
    let migration = world.migration();
    let mut running = following(&migration).await;
    let mut in_the_way = world.old.begin();
    in_the_way.insert(&name(), vec![Value::Int(100), Value::Null]).await.unwrap();
    let given_up = running.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap_err();
    assert_eq!(given_up.kind(), ErrorKind::Timeout, "{given_up}");
    in_the_way.rollback();
    let schema = world.new.source().describe(&Selection::default()).await.unwrap();
    let back = RunName::default().other();
    let there = world.new.source().snapshot(&back, &schema, Some(&world.new.head())).await.map(drop);
    assert_eq!(there.unwrap_err().kind(), ErrorKind::Gap, "the target still keeps its log");
    running.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
}

/// A process of an earlier leg that wakes up late.
#[tokio::test(start_paused = true)]
async fn a_process_of_an_earlier_leg_neither_opens_nor_writes() {
    let mut world = World::new().await;
    let migration = world.migration();
    let run = RunName::default();
    following(&migration).await.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
    let epoch = migration.state().await.unwrap().unwrap().record.epoch;
    let schema = Arc::new(world.new.source().describe(&Selection::default()).await.unwrap());
    let mut options = WriterOptions::new(run.clone(), epoch, Purpose::Apply, Arc::clone(&schema));
    options.hold_back = 1 << 20;
    world.write(Side::Target).await.unwrap();
    let mut running = following(&migration.back().unwrap()).await;
    assert!(world.new.sink().writer(options).await.is_err(), "its epoch is no longer the run's");
    assert_ne!(epoch, Epoch(0));
    running.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
    // It saw that the first leg had switched, and opens the target now.
    let late = world.new.unseal(&run, &schema, 1).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late}");
    assert_eq!(world.open().await, Side::Source);
    world.equal();
}

/// What an application has been told is written. It goes to whichever side
/// lets it in.
async fn application(world: [MemoryDatabase; 2], end: CancellationToken) -> Vec<i64> {
    let (mut written, mut side, name) = (Vec::new(), 0, name());
    for n in 1_000_000.. {
        if end.is_cancelled() {
            break;
        }
        let mut transaction = world[side].begin();
        match transaction.insert(&name, vec![Value::Int(n), Value::Null]).await {
            Ok(()) => match transaction.commit().await {
                Ok(()) => written.push(n),
                // Whether it is there is not known.
                Err(error) => assert!(error.is_retryable(), "{error}"),
            },
            Err(_) => {
                transaction.rollback();
                side = 1 - side;
            }
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    written
}

/// Follows and cuts over, or dies at that moment, its connections with it.
async fn one_process(world: &World, options: CutoverOptions, rehearses: bool, dies: Duration) -> bool {
    let migration = world.migration();
    let work = async {
        let side = migration.side().await.ok()?;
        let mut running = from(&migration, side).start(CancellationToken::new());
        running.followed().await.ok()?;
        if rehearses {
            // Whatever becomes of it.
            let _ = running.rehearse(Arc::new(NoGate), options).await;
        }
        running.cutover(Arc::new(NoGate), options).await.ok()
    };
    let done = tokio::time::timeout(dies, work).await.is_ok_and(|done| done.is_some());
    world.old.drop_holds();
    world.new.drop_holds();
    done
}

/// Switched to and fro by processes that die, over connections that are lost
/// and slow: the schedule follows from the seed. Gives how often it switched.
async fn schedule(seed: u64) -> usize {
    let world = World::new().await;
    let mut random = fastrand::Rng::with_seed(seed);
    let end = CancellationToken::new();
    let application = tokio::spawn(application([world.old.clone(), world.new.clone()], end.clone()));
    let mut switched = 0;
    for _ in 0..6 {
        for db in [&world.old, &world.new] {
            db.faults().random(random.u64(..), 0.02, Duration::from_millis(3));
        }
        let options = CutoverOptions::default()
            .lease(Duration::from_secs(2))
            .settle(Duration::from_secs(1))
            .verify(random.bool())
            .certificate(random.bool());
        let rehearses = random.bool();
        let dies = Duration::from_millis(random.u64(1..1500));
        switched += usize::from(one_process(&world, options, rehearses, dies).await);
    }
    world.old.faults().clear();
    world.new.faults().clear();
    let migration = world.migration();
    end.cancel();
    let written = application.await.unwrap();
    // The first ones may still meet what the last one has left.
    let mut tries = 0;
    let side = loop {
        let side = migration.side().await.unwrap();
        let mut running = from(&migration, side).start(CancellationToken::new());
        let followed = tokio::time::timeout(LONG, running.followed()).await.expect("it follows");
        if followed.is_ok() {
            assert_eq!(world.open().await, side, "seed {seed}");
        }
        let done = match followed {
            Ok(()) => running.cutover(Arc::new(NoGate), CutoverOptions::default()).await.map(drop),
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => break side,
            Err(error) => assert_ne!(error.kind(), ErrorKind::Gap, "seed {seed}: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        tries += 1;
        assert!(tries < 100, "seed {seed}: {side:?} does not end");
    };
    assert_eq!(world.open().await, over(side), "seed {seed}");
    let rows = world.sorted(Side::Source);
    assert_eq!(rows, world.sorted(Side::Target), "seed {seed}");
    for n in written {
        let found = rows.iter().filter(|row| row[0] == Value::Int(n)).count();
        assert_eq!(found, 1, "seed {seed}: the row {n} was acknowledged");
    }
    switched
}

/// `ZDM_TEST_SCHEDULES=1000` for as many, `ZDM_TEST_SEED` for the first.
#[tokio::test(start_paused = true)]
async fn whatever_fails_on_the_way_nothing_is_lost_and_one_side_is_open() {
    let variable = |name, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (first, schedules) = (variable("ZDM_TEST_SEED", 1_u64), variable("ZDM_TEST_SCHEDULES", 40_u64));
    let mut switched = 0;
    for seed in first..first + schedules {
        switched += schedule(seed).await;
    }
    assert!(u64::try_from(switched).unwrap() > schedules, "switched {switched} times only");
}

#[test]
fn what_cannot_lead_back_is_refused_when_it_is_built() {
    let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
    let there = || Migration::between(old.source(), new.sink()).way_back(new.source(), old.sink());
    let named = Migration::between(old.source(), new.sink()).named("shop_back".parse().unwrap());
    assert_eq!(named.build().unwrap_err().kind(), ErrorKind::Config);
    let long = there().named("a".repeat(38).parse().unwrap());
    assert_eq!(long.build().unwrap_err().kind(), ErrorKind::Config);
    let staged = there().through(zdm_core::pipeline::Stages::new().drop_columns(["at"]).build().unwrap());
    assert_eq!(staged.build().unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(there().build().is_ok());
}
