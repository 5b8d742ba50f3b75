//! A cutover whose hold falls, and one that another process takes over: what
//! was let in meanwhile must not be behind a seal.

use zdm_tests::migrator::End;
use zdm_tests::pair::Pair;
use zdm_tests::within;

use super::{TABLES, sides, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_fell_makes_the_commit_point_fail() {
    let pair = Pair::start().await;
    let case = pair.case("fallen", TABLES).await;
    let plan = case.plan().with("cutover", "following");
    let mut migrator = plan.clone().with("hold-at", "cutover::before_switch:1").start();
    migrator.held().await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name LIKE '%hold'";
    assert_eq!(case.source.value(end).await.unwrap(), "1");
    // Nobody keeps it out any more, and the drain knows nothing of it.
    within("a write", case.source.execute(&write("let in"))).await.unwrap();
    migrator.go().await;
    let end = migrator.end().await;
    assert_eq!(end.error().0, "Fenced", "{end:?}");
    assert_eq!(sides(&case).await, (true, false));
    assert_eq!(plan.run().await, End::Done("switched".to_owned()));
    assert_eq!(sides(&case).await, (false, true));
    case.equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_that_was_taken_over_never_switches() {
    let pair = Pair::start().await;
    let case = pair.case("taken_over", TABLES).await;
    let mut first = case.plan().with("cutover", "following").with("hold-at", "cutover::drained:1").start();
    first.held().await;
    // The next start waits for the lease of the first one, which renews none
    // while it is held, and undoes its cutover. The first one's stream goes
    // when it meets the new epoch, with its next position.
    let mut second = case.plan().start();
    let nudge = async {
        loop {
            case.sql("SELECT pg_logical_emit_message(true, 'test', 'on')").await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = second.following() => {}
        () = nudge => {}
    }
    first.go().await;
    let end = first.end().await;
    assert_eq!(end.error().0, "Fenced", "{end:?}");
    assert_eq!(sides(&case).await, (true, false));
    case.sql(&write("between")).await;
    second.order("cutover").await;
    assert_eq!(second.end().await, End::Done("switched".to_owned()));
    assert_eq!(sides(&case).await, (false, true));
    case.equal().await;
}
