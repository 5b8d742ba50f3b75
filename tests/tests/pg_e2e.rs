//! A live PostgreSQL database moves to another PostgreSQL, while an
//! application writes and things break.
//!
//! The default suite is one seed with some of the failpoints and a few kills.
//! With twenty kills it is every failpoint:
//!
//! ```text
//! ZDM_TEST_KILLS=60 ZDM_TEST_SEED=7 cargo test -p zdm-tests --test pg_e2e
//! ZDM_TEST_PG_SOURCE=13 ZDM_TEST_PG_TARGET=17 cargo test -p zdm-tests --test pg_e2e
//! ```

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zdm_servers::Proxy;
use zdm_servers::postgres::Database;
use zdm_servers::proxy::{Cut, Direction};
use zdm_tests::load::postgres::{BALANCE, SCHEMA, seed};
use zdm_tests::load::{Load, LoadOptions};
use zdm_tests::migrator::{End, Migrator, Plan};
use zdm_tests::pair::{Case, Pair};
use zdm_tests::seeded::{some_of, variable};
use zdm_tests::within;

/// A database of the application on both sides, and the application.
async fn application(pair: &Pair, name: &str, scale: u32) -> (Case, Load) {
    let case = pair.case(name, SCHEMA).await;
    case.sql(&seed(scale)).await;
    let options = LoadOptions { seed: variable("ZDM_TEST_SEED", 1), ..LoadOptions::default() };
    let load = Load::start(&case.source, options);
    load.more(20).await;
    (case, load)
}

fn done(state: &str) -> End {
    End::Done(state.to_owned())
}

/// Pauses the application, waits until all of it has arrived, and compares.
async fn arrived(case: &Case, load: &Load, migrator: &mut Migrator) {
    let paused = load.pause().await;
    migrator.applied(&case.head().await).await;
    case.equal().await;
    drop(paused);
}

/// Ends the application, lets the migration catch up, compares, and looks for
/// each acknowledged transaction.
async fn finish(case: &Case, load: Load) {
    let ledger = load.stop().await;
    assert_eq!(case.plan().until_caught_up().run().await, done("caught_up"));
    case.equal().await;
    assert!(!ledger.is_empty());
    ledger.is_in(&case.target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_writes_arrives_whole() {
    let pair = Pair::start().await;
    let (case, load) = application(&pair, "whole", 12).await;
    let mut migrator = case.plan().start();
    migrator.following().await;
    for _ in 0..3 {
        load.more(200).await;
        arrived(&case, &load, &mut migrator).await;
    }
    assert_eq!(migrator.stop().await, done("stopped"));
    load.more(50).await;
    finish(&case, load).await;
}

/// Every failpoint of a run, in the order in which a run passes them.
const FAILPOINTS: &[&str] = &[
    "begin::published:1",
    "begin::slot:1",
    "start::snapshot:1",
    "prepare::made:2",
    "start::prepared:1",
    "start::entered:1",
    "copy::planned:3",
    "copy::batch:2",
    "load::row:300",
    "load::copied:2",
    "sink::advanced:2",
    "sink::committing:2",
    "copy::before_commit:2",
    "copy::after_commit:2",
    "copy::before_commit:9",
    "attempt::copied:1",
    "prepare::made:2",
    "attempt::keyed:1",
    "follow::written:2",
    "apply::staged:1",
    "apply::deleted:1",
    "apply::updated:1",
    "apply::inserted:1",
    "apply::row_deleted:2",
    "follow::before_commit:1",
    "follow::after_commit:1",
    "follow::after_ack:1",
    "follow::before_commit:4",
    "attempt::consistent:1",
    "prepare::made:3",
    "attempt::finished:1",
    "follow::written:5",
    "apply::staged:4",
    "apply::deleted:3",
    "apply::updated:2",
    "apply::inserted:4",
    "apply::row_deleted:1",
    "apply::truncated:1",
    "sink::advanced:2",
    "sink::committing:2",
    "follow::before_commit:3",
    "follow::after_commit:2",
    "follow::after_ack:3",
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_failpoint_it_goes_on() {
    let pair = Pair::start().await;
    let (case, load) = application(&pair, "failpoints", 12).await;
    for point in some_of(FAILPOINTS, 3, 0) {
        assert_eq!(case.plan().with("kill-at", point).run().await, End::Killed, "{point}");
    }
    finish(&case, load).await;
}

/// Fewer of them, for both ends of what is supported.
#[tokio::test(flavor = "multi_thread")]
async fn killed_from_the_oldest_to_the_newest_version_it_goes_on() {
    let pair = Pair::oldest_to_newest().await;
    let (case, load) = application(&pair, "versions", 6).await;
    for point in some_of(FAILPOINTS, 7, 0) {
        assert_eq!(case.plan().with("kill-at", point).run().await, End::Killed, "{point}");
    }
    finish(&case, load).await;
}

/// Looks at a target until it is told to end, each time at one moment of it.
/// Gives the states that it has seen, or the first one that never was.
async fn watch(target: Database, end: CancellationToken) -> Result<BTreeSet<i64>, String> {
    let client = target.connect().await.unwrap();
    let look = format!("SELECT ({BALANCE})::bigint, (SELECT sum(cents) FROM till)::bigint");
    let mut seen = BTreeSet::new();
    while !end.is_cancelled() {
        let row = client.query_one(&look, &[]).await.unwrap();
        let (balance, state): (i64, i64) = (row.get(0), row.get(1));
        if balance != 0 {
            return Err(format!("a torn transaction behind {} states: {balance} too much", seen.len()));
        }
        seen.insert(state);
    }
    Ok(seen)
}

/// From the first moment at which it says so, also while the process is
/// killed and starts again.
#[tokio::test(flavor = "multi_thread")]
async fn the_target_always_shows_a_true_past_state() {
    let pair = Pair::start().await;
    let (case, load) = application(&pair, "states", 4).await;
    let mut migrator = case.plan().start();
    migrator.following().await;
    let end = CancellationToken::new();
    let watching = tokio::spawn(watch(case.target.clone(), end.clone()));
    load.more(300).await;
    if watching.is_finished() {
        panic!("{:?}", watching.await.unwrap());
    }
    migrator.kill().await;
    for point in [
        "follow::written:3",
        "apply::deleted:2",
        "sink::advanced:2",
        "sink::committing:2",
        "follow::after_commit:3",
    ] {
        assert_eq!(case.plan().with("kill-at", point).run().await, End::Killed, "{point}");
    }
    let mut migrator = case.plan().start();
    migrator.following().await;
    load.more(100).await;
    arrived(&case, &load, &mut migrator).await;
    end.cancel();
    let seen = within("the last look", watching).await.unwrap().unwrap_or_else(|torn| panic!("{torn}"));
    assert!(seen.len() > 5, "the target stood still: {seen:?}");
    assert_eq!(migrator.stop().await, done("stopped"));
    finish(&case, load).await;
}

/// The servers die while chunks are under way, each in its turn.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_die_in_the_copy_lose_no_row() {
    let pair = Pair::start().await;
    let (case, load) = application(&pair, "copying", 4).await;
    for (server, point) in [
        (&pair.source, "copy::batch:2"),
        (&pair.target, "load::copied:2"),
        (&pair.source, "copy::before_commit:3"),
        (&pair.target, "sink::advanced:3"),
    ] {
        let mut migrator = case.plan().with("jobs", 1).with("hold-at", point).start();
        migrator.held().await;
        server.kill().await.unwrap();
        migrator.go().await;
        server.start_again().await.unwrap();
        // It goes on by itself, in the copy still.
        let copies =
            |status: &serde_json::Value| status["retries"].as_u64() > Some(0) && status["phase"] == "copying";
        assert!(migrator.status(copies).await, "{point}");
        migrator.kill().await;
    }
    assert!(load.lost() > 0);
    finish(&case, load).await;
}

/// Answers that may still be under way when COMMIT is sent, and one byte of
/// its own: it has happened.
const INTO_THE_ANSWER: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_nobody_heard_of_are_neither_lost_nor_doubled() {
    let pair = Pair::start().await;
    let (case, load) = application(&pair, "unheard", 12).await;
    let source = Proxy::start(pair.source.host(), pair.source.port()).await.unwrap();
    let target = Proxy::start(pair.target.host(), pair.target.port()).await.unwrap();
    for (nth, direction, bytes, killed) in [
        // Chunks.
        (3, Direction::FromServer, INTO_THE_ANSWER, true),
        (2, Direction::ToServer, 0, true),
        (2, Direction::FromServer, INTO_THE_ANSWER, false),
        // Changes.
        (2, Direction::FromServer, INTO_THE_ANSWER, false),
        (2, Direction::ToServer, 0, false),
    ] {
        let plan = case.plan_through(&source, &target).with("jobs", 1);
        let mut migrator = plan.with("hold-at", format!("sink::advanced:{nth}")).start();
        migrator.held().await;
        target.cut_after(direction, bytes);
        migrator.go().await;
        within("the cut", target.spent(direction)).await;
        if killed {
            migrator.kill().await;
            continue;
        }
        migrator.following().await;
        arrived(&case, &load, &mut migrator).await;
        assert_eq!(migrator.stop().await, done("stopped"));
    }
    finish(&case, load).await;
}

/// The target hangs: connections stand, and nothing comes back. What it was
/// told before is done after others have taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_says_nothing_more_is_given_up() {
    let pair = Pair::start().await;
    let (case, load) = application(&pair, "silent", 12).await;
    let target = Proxy::start(pair.target.host(), pair.target.port()).await.unwrap();
    let (from, direct) = case.urls();
    let more = if direct.contains('?') { '&' } else { '?' };
    let url = format!("{}{more}answer_timeout=2&connect_timeout=2", target.url(&direct));
    let plan = Plan::new(&from, &url).with("run", &case.name).with("jobs", 1);
    for nth in [2, 3] {
        let mut migrator = plan.clone().with("hold-at", format!("sink::advanced:{nth}")).start();
        migrator.held().await;
        target.black_hole();
        migrator.go().await;
        assert!(migrator.status(|status| status["retries"].as_u64() > Some(0)).await);
        target.heal().await.unwrap();
        migrator.following().await;
        arrived(&case, &load, &mut migrator).await;
        assert_eq!(migrator.stop().await, done("stopped"));
    }
    finish(&case, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_it_goes_on() {
    let pair = Pair::start().await;
    let (case, load) = application(&pair, "moments", 12).await;
    // All others are moved by a role with the documented rights alone.
    let case = case.by_superusers();
    let mut random = fastrand::Rng::with_seed(variable("ZDM_TEST_SEED", 1));
    for _ in 0..variable("ZDM_TEST_KILLS", 5) {
        let mut migrator = case.plan().start();
        assert!(migrator.status(|status| !status["phase"].is_null()).await);
        tokio::time::sleep(Duration::from_millis(random.u64(0..900))).await;
        migrator.kill().await;
    }
    finish(&case, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_networks_fail_and_the_run_goes_on() {
    let pair = Pair::start().await;
    let (case, load) = application(&pair, "outages", 12).await;
    let source = Proxy::start(pair.source.host(), pair.source.port()).await.unwrap();
    let target = Proxy::start(pair.target.host(), pair.target.port()).await.unwrap();
    // In the middle of the copy, and again in the middle of the changes.
    source.cut_after(Direction::FromServer, 700_000);
    target.cut_after(Direction::ToServer, 900_000);
    let mut migrator = case.plan_through(&source, &target).start();
    migrator.following().await;
    arrived(&case, &load, &mut migrator).await;
    for proxy in [&source, &target] {
        for direction in [Direction::FromServer, Direction::ToServer] {
            proxy.cut_after(direction, 3_000);
            load.more(60).await;
        }
        proxy.refuse().await;
        proxy.cut(Cut::Reset).await;
        load.more(60).await;
        proxy.heal().await.unwrap();
        proxy.delay(Direction::FromServer, Duration::from_millis(20));
        load.more(60).await;
        proxy.heal().await.unwrap();
        arrived(&case, &load, &mut migrator).await;
    }
    pair.target.kill().await.unwrap();
    load.more(30).await;
    pair.target.start_again().await.unwrap();
    arrived(&case, &load, &mut migrator).await;
    pair.source.kill().await.unwrap();
    pair.source.start_again().await.unwrap();
    load.more(60).await;
    arrived(&case, &load, &mut migrator).await;
    assert!(load.lost() > 0);
    assert_eq!(migrator.stop().await, done("stopped"));
    finish(&case, load).await;
}
