//! Servers are killed and the network breaks, and the run goes on.

use std::time::Duration;

use zdm_servers::proxy::{Cut, Direction};
use zdm_tests::engine::Engine;

use crate::fixture::{application, arrived, done, each_pair, finish};

async fn everything_fails(from: Engine, to: Engine) {
    let (source_server, target_server) = tokio::join!(from.start(), to.start());
    let name = format!("{from}_{to}_outages");
    let (route, load) = application(&name, &source_server, &target_server, 12).await;
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
            load.more(60).await;
        }
        proxy.refuse().await;
        proxy.cut(Cut::Reset).await;
        load.more(60).await;
        proxy.heal().await.unwrap();
        proxy.delay(Direction::FromServer, Duration::from_millis(20));
        load.more(60).await;
        proxy.heal().await.unwrap();
        arrived(&route, &load, &mut migrator).await;
    }
    target_server.kill().await;
    load.more(30).await;
    target_server.start_again().await;
    arrived(&route, &load, &mut migrator).await;
    source_server.kill().await;
    source_server.start_again().await;
    load.more(60).await;
    arrived(&route, &load, &mut migrator).await;
    assert!(load.lost() > 0);
    assert_eq!(migrator.stop().await, done("stopped"), "{name}");
    finish(&route, load).await;
}

each_pair!(everything_fails, #[ignore = "minutes: see the head of main.rs"]);
