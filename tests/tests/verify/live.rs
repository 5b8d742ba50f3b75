//! While an application writes.

use zdm_tests::engine::Engine;
use zdm_tests::load::{Application, Load, LoadOptions, portable};
use zdm_tests::route::Route;

use zdm_core::connect::ChunkSize;
use zdm_core::verify::VerifyOptions;

use crate::fixture::{self, followed, migration, plant, shared, verify};

/// Tables of some megabytes have several parts.
fn options() -> VerifyOptions {
    fixture::options().part(ChunkSize { bytes: 1 << 20 })
}

async fn application(name: &str, from: Engine, to: Engine, application: Application) -> (Route, Load) {
    let (source, target) = shared(from, to).await;
    let route = Route::new(name, source, target).await;
    route.source.execute(portable::tables(&route.source)).await.unwrap();
    route.source.execute(&portable::rows(&route.source, 2)).await.unwrap();
    let seed = std::env::var("ZDM_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let options = LoadOptions { seed, application, ..LoadOptions::default() };
    let load = Load::start(&route.source, options);
    load.more(10).await;
    (route, load)
}

/// In the process that follows: no false alarm, and an alarm for what is wrong.
async fn in_the_process_that_follows(name: &str, from: Engine, to: Engine, writes: Application) {
    let (route, load) = application(name, from, to, writes).await;
    let migration = migration(&route);
    let running = followed(&migration).await;
    for _ in 0..2 {
        let (report, found) = verify(&migration, options()).await;
        assert_eq!(found, Vec::<String>::new(), "{name}: a false alarm");
        assert!(report.rows() > 100, "{report:?}");
        load.more(20).await;
    }
    plant(&route, "INSERT INTO scratch_log VALUES ('alien'); INSERT INTO mark VALUES (-77)").await;
    let (_, found) = verify(&migration, options()).await;
    assert!(found.iter().any(|told| told == "mark n=-77: extra"), "{found:?}");
    let (report, found) = verify(&migration, options().repair(true)).await;
    assert!(found.iter().any(|told| told == "mark n=-77: extra, repaired"), "{found:?}");
    assert!(report.repaired() >= 1);
    load.stop().await;
    let (report, found) = verify(&migration, options()).await;
    assert_eq!(report.unsettled(), 0, "nobody writes any more");
    assert!(found.iter().all(|told| told.starts_with("scratch_log v=\"alien\"")), "{found:?}");
    plant(&route, "DELETE FROM scratch_log WHERE v = 'alien'").await;
    let (report, found) = verify(&migration, options()).await;
    assert!(report.is_equal(), "{found:?}");
    running.stop().await.unwrap();
    route.equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres() {
    in_the_process_that_follows("live_pp", Engine::Postgres, Engine::Postgres, Application::Light).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_to_postgres() {
    in_the_process_that_follows("live_mp", Engine::MySql, Engine::Postgres, Application::Light).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_mariadb() {
    in_the_process_that_follows("live_pa", Engine::Postgres, Engine::MariaDb, Application::Light).await;
}

/// Beside it: what is durable is known by the run's record alone.
#[tokio::test(flavor = "multi_thread")]
async fn beside_the_process_that_follows() {
    let (route, load) = application("beside", Engine::Postgres, Engine::Postgres, Application::Light).await;
    let mut other = route.plan().start();
    other.following().await;
    let beside = migration(&route);
    let (report, found) = verify(&beside, options()).await;
    assert_eq!(found, Vec::<String>::new(), "a false alarm: {report:?}");
    plant(&route, "INSERT INTO mark VALUES (-77)").await;
    let (_, found) = verify(&beside, options()).await;
    assert_eq!(found, ["mark n=-77: extra"]);
    let error = beside.verify(options().repair(true), Default::default(), &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("only the process that follows a run"), "{error}");
    load.stop().await;
}

/// With nobody who applies them, changes of the source are no differences.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_applies_is_unsettled_and_not_different() {
    let (route, load) = application("nobody", Engine::Postgres, Engine::Postgres, Application::Light).await;
    load.stop().await;
    let migration = migration(&route);
    let quick = || options().patience(std::time::Duration::from_millis(300));
    migration.run_until(zdm_core::migrate::Until::CaughtUp, Default::default()).await.unwrap();
    let (report, _) = verify(&migration, quick()).await;
    assert!(report.is_equal(), "both sides rest");
    route.source.execute("INSERT INTO mark VALUES (1), (2)").await.unwrap();
    let (report, found) = verify(&migration, quick()).await;
    assert_eq!((found, report.unsettled(), report.is_equal()), (Vec::new(), 2, false));
}
