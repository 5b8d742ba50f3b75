//! Two processes and one run: who asks for a cutover, who has it, and whose
//! the run is. Between two databases in memory, by a clock that jumps.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zdm_core::change::Value;
use zdm_core::connect::{Fence as _, HoldOptions, RunName, SwitchState};
use zdm_core::gate::NoGate;
use zdm_core::memory::{ENGINE, Fault, MemoryDatabase, Point};
use zdm_core::migrate::cutover::{CutoverOptions, Verification};
use zdm_core::migrate::{Ask, Migration, Outcome, Requested, Until};
use zdm_core::schema::{Column, DataType, Key, Table, TableName};
use zdm_core::{Error, ErrorKind};

fn table() -> TableName {
    TableName::new("public", "t")
}

fn database() -> MemoryDatabase {
    let db = MemoryDatabase::new();
    let columns = vec![Column::new("id", DataType::integer(64)).not_null()];
    db.create_table(Table::new(ENGINE, table(), columns, Key::Columns(vec![0]))).unwrap();
    db
}

async fn insert(db: &MemoryDatabase, ids: std::ops::Range<i64>) {
    for id in ids {
        let mut transaction = db.begin();
        transaction.insert(&table(), vec![Value::Int(id)]).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

fn migration(old: &MemoryDatabase, new: &MemoryDatabase) -> Migration {
    Migration::between(old.source(), new.sink()).build().unwrap()
}

/// Follows, cuts over when it is asked, and gives its error if that fails.
fn follower(old: &MemoryDatabase, new: &MemoryDatabase) -> tokio::task::JoinHandle<Option<Error>> {
    let migration = migration(old, new);
    tokio::spawn(async move {
        let mut running = migration.start(CancellationToken::new());
        running.followed().await.unwrap();
        let hold = HoldOptions { deadline: Duration::from_secs(3), ..HoldOptions::default() };
        let own = CutoverOptions::default().hold(hold);
        let switch = loop {
            let ask = running.requests().next().await;
            if !ask.rehearse {
                break running.cutover(Arc::new(NoGate), ask.options(own)).await;
            }
            // Whoever asked hears how it went.
            let _ = running.rehearse(Arc::new(NoGate), ask.options(own)).await;
        };
        let error = switch.err();
        if error.is_some() {
            running.stop().await.unwrap();
        }
        error
    })
}

#[tokio::test(start_paused = true)]
async fn the_process_that_follows_cuts_over_for_the_one_that_asks() {
    let (old, new) = (database(), MemoryDatabase::new());
    insert(&old, 0..20).await;
    migration(&old, &new).run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    let follower = follower(&old, &new);
    let Requested::Switched(record) = migration(&old, &new).request(Ask::cutover()).await.unwrap() else {
        panic!("nobody has heard it");
    };
    assert_eq!(follower.await.unwrap().map(|error| error.to_string()), None);
    assert_eq!(record.state, SwitchState::Switched);
    assert_eq!(new.rows(&table()).unwrap(), old.rows(&table()).unwrap());
    // What has happened is not asked for again.
    assert_eq!(migration(&old, &new).request(Ask::cutover()).await.unwrap(), Requested::Switched(record));
}

/// The run goes on behind a rehearsal, and the source is written to; what is
/// asked for goes with the request, and the certificate comes with the switch.
#[tokio::test(start_paused = true)]
async fn the_process_that_follows_rehearses_for_the_one_that_asks() {
    let (old, new) = (database(), MemoryDatabase::new());
    insert(&old, 0..20).await;
    let asking = migration(&old, &new);
    asking.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    assert_eq!(asking.request(Ask::rehearsal()).await.unwrap(), Requested::Nobody);
    let follower = follower(&old, &new);
    for verify in [false, true] {
        let ask = Ask::rehearsal().verify(verify);
        let Requested::Rehearsed(report) = asking.request(ask).await.unwrap() else {
            panic!("nobody has heard it");
        };
        assert_eq!(matches!(report.verification, Verification::Touched(_)), verify);
        assert_eq!(old.record(&RunName::default()).await.unwrap(), None);
        let rows = i64::try_from(old.rows(&table()).unwrap().len()).unwrap();
        insert(&old, rows..rows + 10).await;
    }
    // What is in the way of a rehearsal is told to whoever asked for it.
    let mut in_the_way = old.begin();
    in_the_way.insert(&table(), vec![Value::Int(1_000)]).await.unwrap();
    let refused = asking.request(Ask::rehearsal()).await.unwrap_err();
    assert!(refused.message().contains("has given it up"), "{refused}");
    in_the_way.rollback();
    assert_eq!(asking.certificate().await.unwrap(), None);
    let ask = Ask::cutover().certificate(true).deadline(Some(Duration::from_secs(5)));
    assert!(matches!(asking.request(ask).await.unwrap(), Requested::Switched(_)));
    assert_eq!(follower.await.unwrap().map(|error| error.to_string()), None);
    let certificate = asking.certificate().await.unwrap().unwrap();
    assert!(certificate.is_equal(), "{certificate}");
    assert_eq!(certificate.tables["public.t"].target.rows, 40);
}

/// To compare all rows may take longer than whoever asked would wait for a
/// process that says nothing.
#[tokio::test(start_paused = true)]
async fn a_request_is_waited_for_while_all_rows_are_compared() {
    let (old, new) = (database(), MemoryDatabase::new());
    insert(&old, 0..20).await;
    let asking = migration(&old, &new);
    asking.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    let follower = follower(&old, &new);
    old.faults().plan(Point::Read, 1, Fault::Delay(Duration::from_secs(400)));
    let began = Instant::now();
    assert!(matches!(asking.request(Ask::cutover().verify(true)).await.unwrap(), Requested::Switched(_)));
    assert!(began.elapsed() > Duration::from_secs(300), "{:?}", began.elapsed());
    assert_eq!(follower.await.unwrap().map(|error| error.to_string()), None);
}

#[tokio::test(start_paused = true)]
async fn a_cutover_that_is_given_up_is_known_at_once() {
    let (old, new) = (database(), MemoryDatabase::new());
    migration(&old, &new).run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    // In the checks, where the hold is tried.
    let mut in_the_way = old.begin();
    in_the_way.insert(&table(), vec![Value::Int(1)]).await.unwrap();
    let began = Instant::now();
    let follower = tokio::spawn({
        let follower = follower(&old, &new);
        async move { (follower.await.unwrap().unwrap(), Instant::now()) }
    });
    let refused = migration(&old, &new).request(Ask::cutover()).await.unwrap_err();
    let heard = Instant::now();
    let (error, given_up) = follower.await.unwrap();
    assert_eq!((refused.kind(), error.kind()), (ErrorKind::Conflict, ErrorKind::Timeout), "{refused}");
    assert!(refused.message().contains("has given it up"), "{refused}");
    // The clock jumps: what is counted here are waits, and not the machine.
    assert!(given_up - began >= Duration::from_secs(3), "{:?}", given_up - began);
    assert!(heard - given_up < Duration::from_secs(1), "heard {:?} later", heard - given_up);
    assert_eq!(old.record(&RunName::default()).await.unwrap(), None);
    in_the_way.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_hears_leaves_nothing() {
    let (old, new) = (database(), MemoryDatabase::new());
    let asking = migration(&old, &new);
    asking.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    assert_eq!(asking.request(Ask::cutover()).await.unwrap(), Requested::Nobody);
    assert_eq!(old.record(&RunName::default()).await.unwrap(), None);
}

/// A lag is told by the source's log, whatever the target does: one that has
/// stopped applying is not taken for one that has nothing to apply.
#[tokio::test(start_paused = true)]
async fn a_target_that_stands_still_is_behind() {
    let (old, new) = (database(), MemoryDatabase::new());
    let migration = migration(&old, &new);
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    insert(&old, 0..1).await;
    let head = old.head();
    migration.status().wait_for(|status| status.position.as_ref() == Some(&head)).await.unwrap();
    new.faults().plan(Point::Write, 1, Fault::Delay(Duration::from_secs(3600)));
    insert(&old, 1..2_000).await;
    // The clock jumps: by then the source has handed over what it may.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let options = CutoverOptions::default().lag(50);
    let error = running.cutover(Arc::new(NoGate), options).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.message().contains("too far behind"), "{error}");
    assert_eq!(
        old.record(&RunName::default()).await.unwrap(),
        None,
        "it was known before anybody had to wait"
    );
    insert(&old, 2_000..2_001).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_belongs_to_one_target() {
    let (old, new, other) = (database(), MemoryDatabase::new(), MemoryDatabase::new());
    insert(&old, 0..10).await;
    let first = migration(&old, &new);
    first.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    insert(&old, 10..20).await;
    for _ in 0..2 {
        let error =
            migration(&old, &other).run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Conflict && error.message().contains("another target"), "{error}");
        assert!(migration(&old, &other).state().await.unwrap().is_none());
    }
    // What the first run keeps at the source is where it was.
    let caught_up = first.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    assert!(matches!(caught_up, Outcome::CaughtUp { .. }));
    assert_eq!(new.rows(&table()).unwrap(), old.rows(&table()).unwrap());
    // Released, the name is free.
    zdm_core::connect::Source::release(&old.source(), &RunName::default()).await.unwrap();
    migration(&old, &other).run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    assert_eq!(other.rows(&table()).unwrap(), old.rows(&table()).unwrap());
}

/// A target that applies slowly was seen to do so: how long the drain would
/// take is known before anybody has to wait, though the lag is small enough
/// for a target of which nothing is known.
#[tokio::test(start_paused = true)]
async fn a_drain_that_would_overrun_its_budget_is_predicted() {
    let (old, new) = (database(), MemoryDatabase::new());
    let mut options = zdm_core::migrate::Options::default();
    options.group = 1_000;
    let migration = Migration::between(old.source(), new.sink()).options(options).build().unwrap();
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    for commit in 1..400 {
        new.faults().plan(Point::Commit, commit, Fault::Delay(Duration::from_secs(1)));
    }
    insert(&old, 0..20_000).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    let tight = CutoverOptions::default().drain(Duration::from_secs(3)).lag(u64::MAX);
    let error = running.cutover(Arc::new(NoGate), tight).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    for words in ["too far behind", "the budget of 3s", "bytes a second", "allow a longer drain"] {
        assert!(error.message().contains(words), "{words}: {error}");
    }
    assert_eq!(old.record(&RunName::default()).await.unwrap(), None);
    // It would have overrun it.
    let (began, head) = (Instant::now(), old.head());
    migration.status().wait_for(|status| status.position.as_ref() == Some(&head)).await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    // Caught up, there is nothing to predict.
    new.faults().clear();
    running.cutover(Arc::new(NoGate), tight).await.unwrap();
    assert_eq!(new.rows(&table()).unwrap(), old.rows(&table()).unwrap());
}
