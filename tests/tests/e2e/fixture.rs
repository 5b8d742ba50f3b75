//! Servers for all tests of the file, and an application on a database of them.

use tokio::sync::OnceCell;
use zdm_tests::engine::{Engine, Role, Server};
use zdm_tests::load::{Application, Load, LoadOptions, portable};
use zdm_tests::migrator::{End, Migrator};
use zdm_tests::route::Route;
use zdm_tests::seeded::variable;

/// The server of an engine that this file's tests share, as a source and as a
/// target: a database of PostgreSQL's is a world of its own, so one server is
/// both.
pub(crate) async fn shared(from: Engine, to: Engine) -> (&'static Server, &'static Server) {
    static SERVERS: [OnceCell<Server>; 5] = [const { OnceCell::const_new() }; 5];
    let source = match from {
        Engine::Postgres => 0,
        Engine::MySql => 1,
        Engine::MariaDb => 2,
    };
    let target = match to {
        Engine::Postgres => 0,
        Engine::MySql => 3,
        Engine::MariaDb => 4,
    };
    tokio::join!(
        SERVERS[source].get_or_init(|| from.start(Role::Source)),
        SERVERS[target].get_or_init(|| to.start(Role::Target))
    )
}

/// A database of the application on both sides, and the application.
pub(crate) async fn application(name: &str, from: &Server, to: &Server, scale: u32) -> (Route, Load) {
    application_with(name, from, to, scale, |_| {}).await
}

/// The same, with options changed.
pub(crate) async fn application_with(
    name: &str,
    from: &Server,
    to: &Server,
    scale: u32,
    change: impl FnOnce(&mut LoadOptions),
) -> (Route, Load) {
    let route = Route::new(name, from, to).await;
    route.source.execute(portable::tables(&route.source)).await.unwrap();
    route.source.execute(&portable::rows(&route.source, scale)).await.unwrap();
    let mut options = LoadOptions {
        seed: variable("ZDM_TEST_SEED", 1),
        application: Application::Portable,
        ..LoadOptions::default()
    };
    change(&mut options);
    let load = Load::start(&route.source, options);
    load.more(20).await;
    (route, load)
}

pub(crate) fn done(state: &str) -> End {
    End::Done(state.to_owned())
}

/// Pauses the application, waits until all of it has arrived, and compares.
pub(crate) async fn arrived(route: &Route, load: &Load, migrator: &mut Migrator) {
    let paused = load.pause().await;
    route.arrived(migrator).await;
    route.equal().await;
    drop(paused);
}

/// Ends the application, lets the migration catch up, compares, and looks for
/// each acknowledged transaction.
pub(crate) async fn finish(route: &Route, load: Load) {
    let ledger = load.stop().await;
    assert_eq!(route.plan().until_caught_up().run().await, done("caught_up"), "{}", route.name);
    route.equal().await;
    assert!(!ledger.is_empty());
    ledger.is_in(&route.target).await;
}

/// One test for each pair of engines.
macro_rules! each_pair {
    ($run:path $(, #[$attribute:meta])?) => {
        $crate::fixture::each_pair! { @ $run; ($(#[$attribute])?)
            mysql_to_postgres: MySql Postgres, mariadb_to_postgres: MariaDb Postgres,
            postgres_to_mysql: Postgres MySql, postgres_to_mariadb: Postgres MariaDb,
            mysql_to_mysql: MySql MySql, mariadb_to_mariadb: MariaDb MariaDb,
            mysql_to_mariadb: MySql MariaDb, mariadb_to_mysql: MariaDb MySql,
        }
    };
    (@ $run:path; $attributes:tt $($name:ident: $from:ident $to:ident,)*) => {
        $($crate::fixture::each_pair! { @@ $run; $attributes $name $from $to })*
    };
    (@@ $run:path; ($(#[$attribute:meta])?) $name:ident $from:ident $to:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        $(#[$attribute])?
        async fn $name() {
            $run(zdm_tests::engine::Engine::$from, zdm_tests::engine::Engine::$to).await;
        }
    };
}
pub(crate) use each_pair;
