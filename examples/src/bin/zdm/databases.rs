//! From URLs to connectors: the one place that knows which engines there are.

use std::sync::Arc;

use zdm_core::connect::{RunName, Sink, Source};
use zdm_core::migrate::{Builder, Migration, Options};
use zdm_core::pipeline::Stages;
use zdm_core::schema::Selection;
use zdm_core::schema::conversion::Mapping;
use zdm_core::{Error, ErrorKind, Result};
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_pg::{PgConfig, PgSink, PgSource};

use crate::args::Common;
use crate::map::mapping;

/// Both sides of a run.
#[derive(Debug, Clone)]
pub(crate) struct Databases {
    pub(crate) from: Database,
    pub(crate) to: Database,
    map: Mapping,
}

/// One side of a run.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Postgres(PgConfig),
    /// MySQL or MariaDB: which of the two is found out when it answers.
    MySql(MySqlConfig),
}

impl Databases {
    pub(crate) fn parse(common: &Common) -> Result<Self> {
        let side =
            |flag: &'static str, url: &str| Database::parse(url).map_err(|error| error.with("flag", flag));
        Ok(Self { from: side("--from", &common.from)?, to: side("--to", &common.to)?, map: mapping(common)? })
    }

    /// The run as the command line describes it.
    pub(crate) fn migration(&self, common: &Common) -> Result<Migration> {
        self.migration_with(common, |_| {})
    }

    /// The same, with options changed.
    pub(crate) fn migration_with(
        &self,
        common: &Common,
        change: impl FnOnce(&mut Options),
    ) -> Result<Migration> {
        let mut options = Options::default();
        options.run = common.run()?;
        options.tables = self.selection(common)?;
        options.target_name = self.to.place();
        options.source_name = self.from.place();
        change(&mut options);
        let mut builder = Migration::between_shared(self.from.source(), self.to.sink());
        if common.way_back {
            builder = builder.way_back_shared(self.to.source(), self.from.sink());
        }
        self.routed(builder)?.options(options).build()
    }

    /// The tables that were asked for; else all of the database of `--from`.
    pub(crate) fn selection(&self, common: &Common) -> Result<Selection> {
        let tables = match common.tables.as_slice() {
            [] => vec![self.from.tables()],
            tables => tables.to_vec(),
        };
        Selection::new(tables)?.except(common.exclude.iter().cloned())
    }

    /// With the wishes of the file. Where a URL names a database of MySQL's, its
    /// tables go to the database that the other one names, unless the file says
    /// where. To PostgreSQL the conversion sees to that.
    fn routed(&self, builder: Builder) -> Result<Builder> {
        let map = self.map.clone();
        let (Database::MySql(from), Database::MySql(to)) = (&self.from, &self.to) else {
            return Ok(builder.mapping(map));
        };
        match (from.database(), to.database()) {
            (Some(from), Some(to)) if from != to && map.is_empty() => {
                Ok(builder.through(Stages::new().route(&format!("{from}.*"), &format!("{to}.*")).build()?))
            }
            // The file has the source's names, as it has to another engine.
            (Some(from), Some(to)) if from != to && !map.schemas.contains_key(from) => {
                Ok(builder.mapping(map.schema(from, to)))
            }
            _ => Ok(builder.mapping(map)),
        }
    }

    /// Whether both sides are one database, which a run would seal.
    pub(crate) async fn are_one(&self) -> Result<bool> {
        match (&self.from, &self.to) {
            (Database::Postgres(from), Database::Postgres(to)) => zdm_pg::same_database(from, to).await,
            (Database::MySql(from), Database::MySql(to)) => zdm_mysql::same_database(from, to).await,
            _ => Ok(false),
        }
    }
}

impl Database {
    /// Reads a URL, or the `key=value` pairs that PostgreSQL's clients take.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        match url.trim_start().split_once("://").map(|(scheme, _)| scheme) {
            None | Some("postgres" | "postgresql") => PgConfig::parse(url).map(Self::Postgres),
            Some("mysql" | "mariadb") => MySqlConfig::parse(url).map(Self::MySql),
            // A scheme is a word. What is none may be the rest of a password.
            Some(scheme)
                if scheme.len() < 20 && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') =>
            {
                Err(unknown().with("scheme", scheme))
            }
            Some(_) => Err(unknown()),
        }
    }

    pub(crate) fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::Postgres(config) => Arc::new(PgSource::new(config.clone())),
            Self::MySql(config) => Arc::new(MySqlSource::new(config.clone())),
        }
    }

    pub(crate) fn sink(&self) -> Arc<dyn Sink> {
        match self {
            Self::Postgres(config) => Arc::new(PgSink::new(config.clone())),
            Self::MySql(config) => Arc::new(MySqlSink::new(config.clone())),
        }
    }

    /// Where it is, for whoever still writes to the source.
    fn place(&self) -> String {
        match self {
            Self::Postgres(to) => format!("{}:{}/{}", to.host(), to.port(), to.dbname()),
            Self::MySql(to) => match to.database() {
                Some(database) => format!("{}:{}/{database}", to.host(), to.port()),
                None => format!("{}:{}", to.host(), to.port()),
            },
        }
    }

    /// All tables that its URL means. A MySQL server has many databases side
    /// by side, and a URL names one of them.
    fn tables(&self) -> String {
        match self {
            Self::Postgres(_) => "*.*".to_owned(),
            Self::MySql(config) => format!("{}.*", config.database().unwrap_or("*")),
        }
    }

    /// Whether it keeps something for a run of that name, as a source, that
    /// would be taken from that run by beginning another.
    pub(crate) async fn keeps(&self, run: &RunName) -> Result<bool> {
        match self {
            Self::Postgres(config) => PgSource::new(config.clone()).keeps_slot(run).await,
            // A binary log is nobody's.
            Self::MySql(_) => Ok(false),
        }
    }

    /// Removes what a run keeps beside the data.
    pub(crate) async fn drop_run(&self, run: &RunName) -> Result<()> {
        match self {
            Self::Postgres(config) => zdm_pg::drop_run(config, run).await,
            Self::MySql(config) => zdm_mysql::drop_run(config, run).await,
        }
    }
}

fn unknown() -> Error {
    Error::new(
        ErrorKind::Config,
        "this release moves PostgreSQL, MySQL and MariaDB: write postgres://user@host/database, \
         mysql://user@host/database or mariadb://user@host/database",
    )
}
