//! A hold falls with its session, however that ends.

use std::time::Instant;

use mysql_async::prelude::Queryable;
use zdm_core::ErrorKind;
use zdm_core::connect::{Fence as _, HoldOptions};
use zdm_mysql::MySqlFence;
use zdm_servers::Proxy;

use super::fixture::{Home, PATIENCE, homes};

/// Ends every session of the fence's user.
async fn kill_all(home: &Home) {
    let sql = "SELECT id FROM information_schema.processlist WHERE user = 'mover'";
    for row in home.server.query(sql).await.unwrap() {
        // One of another test, or gone by now.
        let id = row[0].clone().unwrap();
        let ours = format!(
            "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = {id} AND trx_state = 'RUNNING'"
        );
        if home.server.value(&ours).await.unwrap() == "1" {
            let _ = home.server.execute(&format!("KILL {id}")).await;
        }
    }
}

#[tokio::test]
async fn a_hold_whose_session_is_killed_lets_writers_in_and_seals_nothing() {
    for options in super::fixture::each() {
        let home = Home::on(super::fixture::start(options).await, "killed").await;
        home.fence.swap(&home.run, None, Some(&home.preparing())).await.unwrap();
        let mut hold = home.hold().await;
        hold.check().await.unwrap();
        kill_all(&home).await;
        home.database.execute("UPDATE t SET v = 'let in'").await.unwrap();
        assert_eq!(hold.check().await.unwrap_err().kind(), ErrorKind::Fenced);
        let sealed = hold.seal(&home.preparing(), &home.switched()).await;
        assert_eq!(sealed.unwrap_err().kind(), ErrorKind::Fenced);
        assert!(home.is_open().await);
        assert_eq!(home.fence.record(&home.run).await.unwrap(), Some(home.preparing()));
    }
}

#[tokio::test]
async fn a_hold_that_is_dropped_lets_writers_in() {
    for home in homes("dropped").await {
        let hold = home.hold().await;
        let mut writer = home.writer().await;
        let waiting = tokio::spawn(async move { writer.query_drop("UPDATE t SET v = 'in'").await });
        home.somebody_waits().await;
        drop(hold);
        waiting.await.unwrap().unwrap();
    }
}

/// A call that was dropped half-way leaves an answer behind: the next one must
/// not take it for its own.
#[tokio::test]
async fn a_hold_whose_call_was_dropped_is_of_no_more_use() {
    for home in homes("half_way").await {
        home.fence.swap(&home.run, None, Some(&home.preparing())).await.unwrap();
        let mut hold = home.hold().await;
        futures::future::FutureExt::now_or_never(hold.check());
        assert_eq!(hold.check().await.unwrap_err().kind(), ErrorKind::Fenced);
        let sealed = hold.seal(&home.preparing(), &home.switched()).await;
        assert_eq!(sealed.unwrap_err().kind(), ErrorKind::Fenced);
        assert!(home.is_open().await);
    }
}

/// The network swallows everything from here on, also the news of our end.
#[tokio::test]
async fn a_hold_whose_network_is_cut_falls_before_a_writer_loses_patience() {
    let cut = homes("cut").await.map(async |home| {
        let proxy = Proxy::start(home.server.host(), home.server.port()).await.unwrap();
        let config = Home::config(&home.server, home.config.schema(), proxy.port());
        let fence = MySqlFence::new(config);
        fence.swap(&home.run, None, Some(&home.preparing())).await.unwrap();
        let hold = fence.hold(&home.run, &home.schema, HoldOptions::default()).await.unwrap();
        proxy.black_hole();
        let began = Instant::now();
        // As patient as servers make it.
        home.database.execute("UPDATE t SET v = 'let in'").await.unwrap();
        assert!(began.elapsed() < PATIENCE / 2, "it took {:?}", began.elapsed());
        drop(hold);
        assert!(home.is_open().await);
    });
    futures::future::join_all(cut).await;
}

/// Longer than the server would wait for a session that says nothing.
#[tokio::test]
async fn a_hold_that_nobody_asks_stays_up() {
    let held = homes("stays").await.map(async |home| {
        let mut hold = home.hold().await;
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        hold.check().await.unwrap();
    });
    futures::future::join_all(held).await;
}
