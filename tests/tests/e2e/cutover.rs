//! A cutover from engine to engine, while an application writes that knows of
//! no gate: what the source has acknowledged is at the target, what comes
//! later is refused with words, and never are both sides open.

use zdm_tests::engine::{Database, Engine};
use zdm_tests::load::{Application, Load};
use zdm_tests::migrator::End;
use zdm_tests::route::Route;
use zdm_tests::within;

use crate::fixture::{application_with, done, each_pair, shared};

async fn begun(from: Engine, to: Engine, what: &str) -> (Route, Load) {
    let (source, target) = shared(from, to).await;
    let name = format!("{from}_{to}_{what}");
    application_with(&name, source, target, 2, |options| options.application = Application::Light).await
}

/// Whether a database takes a write, which is not left there. It waits while
/// writers are held.
async fn takes_writes(database: &Database) -> bool {
    let attempt = database.execute("BEGIN; INSERT INTO mark VALUES (-1); ROLLBACK");
    match within("an answer to a write", attempt).await {
        Ok(()) => true,
        Err(error) => {
            let error = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(error.contains("sealed") || error.contains("moved to"), "{error}");
            false
        }
    }
}

/// Behind the switch: nothing that was acknowledged is missing, the source is
/// closed, and the target goes on from where the source was.
pub(crate) async fn switched(route: &Route, load: Load) {
    let name = &route.name;
    assert!(!takes_writes(&route.source).await, "{name}: the source is open");
    assert!(takes_writes(&route.target).await, "{name}: the target is closed");
    let ledger = load.stop().await;
    route.equal().await;
    assert!(!ledger.is_empty());
    ledger.is_in(&route.target).await;
    let stray = route.source.execute("INSERT INTO mark VALUES (-2)").await.unwrap_err();
    let words = format!("{stray} {:?}", std::error::Error::source(&stray).map(ToString::to_string));
    assert!(words.contains("its data moved to"), "{name}: {words}");
    // A number that the source gave to a row that it rolled back may be given
    // again; one that a row has may not.
    let number = async |sql: &str| route.target.value(sql).await.unwrap().parse::<i64>().unwrap();
    let last = number("SELECT max(id) FROM account WHERE id < 1000000").await;
    route.target.execute("INSERT INTO account (slot, code) VALUES (-7777777, 'behind')").await.unwrap();
    let next = number("SELECT id FROM account WHERE slot = -7777777").await;
    assert!(next > last, "{name}: {next} behind {last}");
}

async fn under_load(from: Engine, to: Engine) {
    let (route, load) = begun(from, to, "cutover").await;
    let migrator = route.plan().with("cutover", "following").start();
    assert_eq!(migrator.end().await, done("switched"), "{}", route.name);
    switched(&route, load).await;
    // What has happened is not an error, and opens nothing.
    assert_eq!(route.plan().run().await, done("switched"), "{}", route.name);
    assert!(!takes_writes(&route.source).await);
}

mod under_load {
    super::each_pair!(super::under_load);
}

/// Each point of a cutover, and whether it lies behind the commit point.
const POINTS: &[(&str, bool)] = &[
    ("prepared", false),
    ("held", false),
    ("fenced", false),
    ("drained", false),
    ("finished", false),
    ("before_switch", false),
    ("after_switch", true),
    ("opened", true),
];

async fn killed_at(from: Engine, to: Engine, point: &str, behind: bool) {
    let (route, load) = begun(from, to, point).await;
    let name = &route.name;
    let kill = route.plan().with("cutover", "following").with("kill-at", format!("cutover::{point}:1"));
    assert_eq!(kill.run().await, End::Killed, "{name}");
    let sides = (takes_writes(&route.source).await, takes_writes(&route.target).await);
    assert!(sides != (true, true), "{name}: both sides are open behind the kill");
    assert_eq!(sides.0, !behind, "{name}: the source behind the kill");
    if behind {
        assert_eq!(route.plan().run().await, done("switched"), "{name}");
    } else {
        load.more(20).await;
        let mut migrator = route.plan().start();
        migrator.following().await;
        let sides = (takes_writes(&route.source).await, takes_writes(&route.target).await);
        assert_eq!(sides, (true, false), "{name}: behind the next start");
        migrator.order("cutover").await;
        assert_eq!(migrator.end().await, done("switched"), "{name}");
    }
    switched(&route, load).await;
}

/// On both sides of the commit point.
#[tokio::test(flavor = "multi_thread")]
async fn killed_beside_the_commit_point_exactly_one_side_is_open() {
    let (mysql, mariadb, postgres) = (Engine::MySql, Engine::MariaDb, Engine::Postgres);
    tokio::join!(
        killed_at(mysql, postgres, "before_switch", false),
        killed_at(mysql, postgres, "after_switch", true),
        killed_at(postgres, mariadb, "before_switch", false),
        killed_at(mariadb, mysql, "after_switch", true),
    );
}

async fn at_every_step(from: Engine, to: Engine) {
    for (point, behind) in POINTS {
        killed_at(from, to, point, *behind).await;
    }
}

mod at_every_step {
    super::each_pair!(super::at_every_step, #[ignore = "minutes: see the head of main.rs"]);
}
