//! Servers for all tests of the file, and a run of this very process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use zdm_core::connect::{ChunkSize, Sink, Source};
use zdm_core::migrate::{Migration, Options, Running};
use zdm_core::schema::Selection;
use zdm_core::verify::{Difference, Report, VerifyOptions};
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_pg::{PgConfig, PgSink, PgSource};
use zdm_tests::engine::{Database, Engine, Role, Server};
use zdm_tests::route::Route;

/// The server of an engine that this file's tests share. A source is a target
/// as well only where it is PostgreSQL's and of another engine's: a database is
/// a world of its own there, and has another name than the run's.
pub(crate) async fn shared(from: Engine, to: Engine) -> (&'static Server, &'static Server) {
    static SERVERS: [OnceCell<Server>; 6] = [const { OnceCell::const_new() }; 6];
    let source = match from {
        Engine::Postgres => 0,
        Engine::MySql => 1,
        Engine::MariaDb => 2,
    };
    let target = match to {
        Engine::Postgres if from == Engine::Postgres => 5,
        Engine::Postgres => 0,
        Engine::MySql => 3,
        Engine::MariaDb => 4,
    };
    tokio::join!(
        SERVERS[source].get_or_init(|| from.start(Role::Source)),
        SERVERS[target].get_or_init(|| to.start(Role::Target))
    )
}

/// A database on both sides, with tables at the source.
pub(crate) async fn route(name: &str, from: Engine, to: Engine, tables: &str) -> Route {
    let (source, target) = shared(from, to).await;
    let route = Route::new(name, source, target).await;
    route.source.execute(tables).await.unwrap();
    route
}

/// The run of a route, in this process.
pub(crate) fn migration(route: &Route) -> Migration {
    let mut options = Options::default();
    options.run = route.name.parse().unwrap();
    options.tables = Selection::new([route.source.tables()]).unwrap();
    let (source, sink) = (source(&route.source.url()), sink(&route.target.url()));
    Migration::between_shared(source, sink).options(options).build().unwrap()
}

pub(crate) fn source(url: &str) -> Arc<dyn Source> {
    match url.starts_with("postgres") {
        true => Arc::new(PgSource::new(PgConfig::parse(url).unwrap())),
        false => Arc::new(MySqlSource::new(MySqlConfig::parse(url).unwrap())),
    }
}

fn sink(url: &str) -> Arc<dyn Sink> {
    match url.starts_with("postgres") {
        true => Arc::new(PgSink::new(PgConfig::parse(url).unwrap())),
        false => Arc::new(MySqlSink::new(MySqlConfig::parse(url).unwrap())),
    }
}

/// Copies, and follows from then on.
pub(crate) async fn followed(migration: &Migration) -> Running {
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    running
}

/// Parts small enough that a table of some hundred rows has several.
pub(crate) fn options() -> VerifyOptions {
    VerifyOptions::default().part(ChunkSize { bytes: 16 << 10 }).patience(Duration::from_secs(20))
}

/// A verification, and what it has told, in order.
pub(crate) async fn verify(migration: &Migration, options: VerifyOptions) -> (Report, Vec<String>) {
    let began = std::time::Instant::now();
    let mut found = Vec::new();
    let mut tell = |difference: &Difference| found.push(told(difference));
    let report = migration.verify(options, CancellationToken::new(), &mut tell).await.unwrap();
    found.sort();
    eprintln!("verified in {:?}", began.elapsed());
    (report, found)
}

/// A difference without the schema of its table.
pub(crate) fn told(difference: &Difference) -> String {
    let text = difference.to_string();
    text.strip_prefix(&format!("{}.", difference.table.schema)).unwrap().to_owned()
}

/// Runs SQL at the target behind the run's back, in its name: others may not
/// write there.
pub(crate) async fn plant(route: &Route, sql: &str) {
    let name = match &route.target {
        Database::Postgres(_) => format!("SET zdm.run = '{}'; ", route.name),
        Database::MySql(_) => {
            format!("SET @zdm_run = '{}', time_zone = '+00:00', foreign_key_checks = 0; ", route.name)
        }
    };
    route.target.execute(&(name + sql)).await.unwrap();
}
