//! From one version to another, and on to the first one again.

use zdm_servers::mysql::MySqlOptions;
use zdm_tests::engine::Server;
use zdm_tests::load::{Application, Load, LoadOptions};
use zdm_tests::migrator::End;
use zdm_tests::route::Route;
use zdm_tests::seeded::variable;

use crate::cutover::switched;
use crate::fixture::{application_with, done};

/// The kills of a move: in the copy, in catching up, and on either side of the
/// point at which it is decided.
const KILLS: [&str; 5] = [
    "copy::before_commit:3",
    "sink::advanced:5",
    "follow::before_commit:2",
    "cutover::before_switch:1",
    "cutover::after_switch:1",
];

/// Moves it while its application writes, and kills it again and again.
async fn moved(route: &Route, load: Load) {
    for point in KILLS {
        load.more(10).await;
        let plan = route.plan().with("cutover", "following").with("kill-at", point);
        assert_eq!(plan.run().await, End::Killed, "{}: {point}", route.name);
    }
    assert_eq!(route.plan().run().await, done("switched"), "{}", route.name);
    switched(route, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_moves_to_a_newer_version_and_from_there_to_the_old_one() {
    let mariadb = |version| Server::start(MySqlOptions::mariadb().version(version));
    let (old, new, old_again) = tokio::join!(mariadb("10.11"), mariadb("11.8"), mariadb("10.11"));
    let light = |options: &mut LoadOptions| options.application = Application::Light;
    let (route, load) = application_with("versions", &old, &new, 2, light).await;
    moved(&route, load).await;
    // The application goes on there, and its database moves on.
    let back = route.on("versions_on", &old_again).await;
    let checked = "DELETE FROM ledger; DELETE FROM account WHERE slot = -7777777";
    back.source.execute(checked).await.unwrap();
    let seed = variable("ZDM_TEST_SEED", 1) + 1;
    let load = Load::start(
        &back.source,
        LoadOptions { seed, application: Application::Light, ..LoadOptions::default() },
    );
    load.more(20).await;
    moved(&back, load).await;
}
