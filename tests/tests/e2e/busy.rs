//! What else happens on a server is in nobody's way.

use zdm_tests::engine::{Database, Engine};

use crate::fixture::{application, done, shared};

/// A session that runs a statement for two seconds.
fn statement(database: &Database, sql: &'static str) -> tokio::task::JoinHandle<()> {
    let database = database.clone();
    tokio::spawn(async move { database.execute(sql).await.unwrap() })
}

/// MySQL's views of what its sessions do fail for everybody while one of them
/// runs such a statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_with_an_emoji_is_in_nobodys_way() {
    let (source, target) = shared(Engine::MySql, Engine::Postgres).await;
    let (route, load) = application("emoji", source, target, 1).await;
    let ledger = load.stop().await;
    let odd = "SELECT sleep(2), '😀'";
    let running = statement(&route.source, odd);
    assert_eq!(route.plan().until_caught_up().run().await, done("caught_up"));
    running.await.unwrap();
    let running = statement(&route.source, odd);
    assert_eq!(route.plan().with("cutover", "following").run().await, done("switched"));
    running.await.unwrap();
    route.equal().await;
    ledger.is_in(&route.target).await;
}
