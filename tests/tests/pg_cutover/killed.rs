//! Killed at each of its steps, under load: exactly one side is open, and
//! has every write that was acknowledged.

use futures::StreamExt;
use zdm_tests::migrator::End;
use zdm_tests::pair::Pair;

use super::application::Application;
use super::{TABLES, sides};

/// Each point of a cutover, and whether it lies behind the commit point.
pub(super) const POINTS: &[(&str, bool)] = &[
    ("cutover::prepared", false),
    ("cutover::held", false),
    ("cutover::fenced", false),
    ("cutover::drained", false),
    ("cutover::verified", false),
    ("cutover::finished", false),
    ("cutover::before_switch", false),
    ("fence::sealing", false),
    ("cutover::after_switch", true),
    ("cutover::opened", true),
];

/// A name for its database.
pub(super) fn name_of(point: &str) -> String {
    point.replace("::", "_")
}

async fn killed_at(pair: &Pair, point: &str, behind: bool) {
    let case = pair.case(&name_of(point), TABLES).await;
    let application = Application::start(&case);
    application.more(20).await;
    let switched = End::Done("switched".to_owned());
    // Where rows are compared and counted too, it takes longer.
    let plan = || match point {
        "cutover::verified" => case.plan().with("evidence", "yes"),
        _ => case.plan(),
    };
    let kill = plan().with("cutover", "following").with("kill-at", format!("{point}:1"));
    assert_eq!(kill.run().await, End::Killed, "{point}");
    let (source, target) = sides(&case).await;
    assert!(!(source && target), "{point}: both sides are open behind the kill");
    assert_eq!(source, !behind, "{point}: the source behind the kill");
    if behind {
        assert_eq!(case.plan().run().await, switched, "{point}");
    } else {
        application.more(20).await;
        let mut migrator = plan().start();
        migrator.following().await;
        assert_eq!(sides(&case).await, (true, false), "{point}: behind the next start");
        application.more(20).await;
        migrator.order("cutover").await;
        assert!(migrator.event("switched").await.is_some(), "{point}: the second cutover");
        assert_eq!(migrator.end().await, switched, "{point}");
    }
    assert_eq!(sides(&case).await, (false, true), "{point}: in the end");
    application.more(20).await;
    application.stop(&case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_of_a_cutover_exactly_one_side_is_open_and_no_write_is_lost() {
    let pair = Pair::start().await;
    // A few at a time: most of it is waiting for leases to run out.
    let cases = futures::stream::iter(POINTS);
    cases.for_each_concurrent(3, |(point, behind)| killed_at(&pair, point, *behind)).await;
}

/// One before the commit point and one behind it, for both ends of what is
/// supported.
#[tokio::test(flavor = "multi_thread")]
async fn killed_from_the_oldest_to_the_newest_version_exactly_one_side_is_open() {
    let pair = Pair::oldest_to_newest().await;
    futures::join!(
        killed_at(&pair, "cutover::finished", false),
        killed_at(&pair, "cutover::after_switch", true)
    );
}
