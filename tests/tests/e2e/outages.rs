//! Servers are killed and the network breaks, and the run goes on.

use std::time::Duration;

use zdm_servers::proxy::{Cut, Direction};
use zdm_tests::engine::{Engine, Role};

use crate::fixture::{application_with, arrived, done, each_pair, finish};

/// With so many of the application's rows, of its connections, and of its
/// transactions between two outages.
async fn everything_fails(from: Engine, to: Engine, scale: u32, workers: u64, between: u64) {
    let (source_server, target_server) = tokio::join!(from.start(Role::Source), to.start(Role::Target));
    let name = format!("{from}_{to}_outages");
    let (route, load) =
        application_with(&name, &source_server, &target_server, scale, |load| load.workers = workers).await;
    let (source, target) = (source_server.proxy().await, target_server.proxy().await);
    // In the middle of the copy, and again in the middle of the changes.
    source.cut_after(Direction::FromServer, 700_000);
    target.cut_after(Direction::ToServer, 900_000);
    let mut migrator = route.plan_through(&source, &target).start();
    migrator.following().await;
    arrived(&route, &load, &mut migrator).await;
    for proxy in [&source, &target] {
        for direction in [Direction::FromServer, Direction::ToServer] {
            proxy.cut_after(direction, 3_000);
            load.more(between).await;
        }
        proxy.refuse().await;
        proxy.cut(Cut::Reset).await;
        load.more(between).await;
        proxy.heal().await.unwrap();
        proxy.delay(Direction::FromServer, Duration::from_millis(20));
        load.more(between).await;
        proxy.heal().await.unwrap();
        arrived(&route, &load, &mut migrator).await;
    }
    target_server.kill().await;
    load.more(between / 2).await;
    target_server.start_again().await;
    arrived(&route, &load, &mut migrator).await;
    source_server.kill().await;
    source_server.start_again().await;
    load.more(between).await;
    arrived(&route, &load, &mut migrator).await;
    assert!(load.lost() > 0);
    assert_eq!(migrator.stop().await, done("stopped"), "{name}");
    finish(&route, load).await;
}

/// A pair of each side's connectors, on few rows: one after the other, with one
/// connection of the application, so that a debug build which starts again and
/// again comes to its end on a small machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlasts_cuts_and_crashes_of_either_side() {
    for (from, to) in [(Engine::MySql, Engine::Postgres), (Engine::Postgres, Engine::MariaDb)] {
        everything_fails(from, to, 2, 1, 6).await;
    }
}

async fn at_length(from: Engine, to: Engine) {
    everything_fails(from, to, 12, 3, 60).await;
}

each_pair!(at_length, #[ignore = "minutes: see the head of main.rs"]);
