//! Killed on its way, a run goes on where it was, and nothing is lost,
//! doubled or altered.

use std::time::Duration;

use zdm_tests::engine::Engine;
use zdm_tests::load::Load;
use zdm_tests::migrator::End;
use zdm_tests::route::Route;
use zdm_tests::seeded::{some_of, variable};

use crate::fixture::{application, arrived, done, each_pair, finish, shared};

/// One failpoint of each phase, in the order in which a run passes them.
const FEW: &[&str] = &[
    "start::prepared:1",
    "copy::before_commit:3",
    "sink::advanced:5",
    "attempt::keyed:1",
    "follow::before_commit:2",
    "sink::advanced:2",
    "follow::after_commit:2",
];

/// Every failpoint that every engine passes.
const ALL: &[&str] = &[
    "start::snapshot:1",
    "start::prepared:1",
    "start::entered:1",
    "copy::planned:3",
    "copy::batch:2",
    "load::copied:2",
    "sink::advanced:2",
    "copy::before_commit:2",
    "copy::after_commit:2",
    "copy::before_commit:9",
    "attempt::copied:1",
    "attempt::keyed:1",
    "follow::written:2",
    "follow::before_commit:1",
    "follow::after_commit:1",
    "follow::after_ack:1",
    "follow::before_commit:4",
    "attempt::consistent:1",
    "attempt::finished:1",
    "follow::written:5",
    "apply::truncated:1",
    "sink::advanced:3",
    "follow::before_commit:3",
    "follow::after_commit:2",
    "follow::after_ack:3",
];

async fn at_points(route: &Route, points: &[&str]) {
    for point in points {
        let end = route.plan().with("kill-at", point).run().await;
        assert_eq!(end, End::Killed, "{}: {point}", route.name);
    }
}

async fn at_random(route: &Route, times: u64) {
    let mut random = fastrand::Rng::with_seed(variable("ZDM_TEST_SEED", 1));
    for _ in 0..times {
        let mut migrator = route.plan().start();
        assert!(migrator.status(|status| !status["phase"].is_null()).await);
        tokio::time::sleep(Duration::from_millis(random.u64(0..900))).await;
        migrator.kill().await;
    }
}

/// Follows for a while, and ends.
async fn followed(route: &Route, load: Load) {
    let mut migrator = route.plan().start();
    migrator.following().await;
    load.more(100).await;
    arrived(route, &load, &mut migrator).await;
    assert_eq!(migrator.stop().await, done("stopped"), "{}", route.name);
    load.more(20).await;
    finish(route, load).await;
}

/// A few kills, and whether everything has arrived.
async fn now_and_then(from: Engine, to: Engine) {
    let (source, target) = shared(from, to).await;
    let (route, load) = application(&format!("{from}_{to}"), source, target, 4).await;
    // The pairs take turns, so that together they pass each point.
    at_points(&route, &some_of(FEW, 3, from as usize + to as usize)).await;
    at_random(&route, variable("ZDM_TEST_KILLS", 1)).await;
    followed(&route, load).await;
}

mod now_and_then {
    super::each_pair!(super::now_and_then);
}

/// All failpoints, and many kills at random moments, on more rows.
async fn everywhere(from: Engine, to: Engine) {
    let (source, target) = shared(from, to).await;
    let (route, load) = application(&format!("{from}_{to}_all"), source, target, 12).await;
    at_points(&route, ALL).await;
    at_random(&route, variable("ZDM_TEST_KILLS", 10)).await;
    followed(&route, load).await;
}

mod everywhere {
    super::each_pair!(super::everywhere, #[ignore = "minutes: see the head of main.rs"]);
}
