//! Databases of either engine, and runs between them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zdm_core::connect::{Sink, Source};
use zdm_core::gate::NoGate;
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Migration, Until};
use zdm_core::schema::Selection;
use zdm_core::schema::conversion::{Mapping, Report};
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_pg::config::PgConfig;
use zdm_pg::{PgSink, PgSource};
use zdm_servers::compare::Side;
use zdm_servers::{mysql, postgres};

/// A database that rows come from or go to.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    MySql(mysql::Database),
    Postgres(postgres::Database),
}

impl Place {
    fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::MySql(database) => Arc::new(MySqlSource::new(MySqlConfig::parse(&database.url()).unwrap())),
            Self::Postgres(database) => Arc::new(PgSource::new(PgConfig::parse(&database.url()).unwrap())),
        }
    }

    fn sink(&self) -> Arc<dyn Sink> {
        match self {
            Self::MySql(database) => Arc::new(MySqlSink::new(MySqlConfig::parse(&database.url()).unwrap())),
            Self::Postgres(database) => Arc::new(PgSink::new(PgConfig::parse(&database.url()).unwrap())),
        }
    }

    fn tables(&self) -> Selection {
        match self {
            Self::MySql(database) => Selection::new([format!("{}.*", database.name())]).unwrap(),
            Self::Postgres(_) => Selection::new(["public.*"]).unwrap(),
        }
    }

    pub(crate) async fn sql(&self, sql: &str) {
        let done = match self {
            Self::MySql(database) => database.execute(sql).await,
            Self::Postgres(database) => database.execute(sql).await,
        };
        done.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    pub(crate) fn side(&self) -> Side {
        match self {
            Self::MySql(database) => database.into(),
            Self::Postgres(database) => database.into(),
        }
    }
}

/// A run between two databases.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    from: Place,
    to: Place,
    name: String,
    tables: Selection,
    mapping: Mapping,
}

impl Move {
    pub(crate) fn between(from: &Place, to: &Place, name: &str) -> Self {
        Self {
            from: from.clone(),
            to: to.clone(),
            name: name.to_owned(),
            tables: from.tables(),
            mapping: Mapping::new(),
        }
    }

    pub(crate) fn mapping(mut self, mapping: Mapping) -> Self {
        self.mapping = mapping;
        self
    }

    /// Other tables than those of the database or of `public`.
    pub(crate) fn tables(mut self, pattern: &str) -> Self {
        self.tables = Selection::new([pattern]).unwrap();
        self
    }

    fn migration(&self) -> Migration {
        Migration::between_shared(self.from.source(), self.to.sink())
            .named(self.name.parse().unwrap())
            .tables(self.tables.clone())
            .mapping(self.mapping.clone())
            .build()
            .unwrap()
    }

    /// What the conversion says of it.
    pub(crate) async fn report(&self) -> Report {
        self.migration().conversion().await.unwrap().expect("the engines differ")
    }

    /// Copies, or goes on from where it was, until the target has everything.
    pub(crate) async fn caught_up(&self) -> zdm_core::Result<()> {
        self.migration().run_until(Until::CaughtUp, CancellationToken::new()).await.map(drop)
    }

    /// Copies, follows and cuts over.
    pub(crate) async fn switched(&self) -> zdm_core::Result<()> {
        let migration = self.migration();
        let mut running = migration.start(CancellationToken::new());
        running.followed().await?;
        running.cutover(Arc::new(NoGate), CutoverOptions::default()).await?;
        migration.complete().await
    }
}
