//! From URLs to connectors.

use zdm_core::migrate::{Migration, Options};
use zdm_core::{Error, ErrorKind, Result};
use zdm_pg::{PgConfig, PgSink, PgSource};

use crate::args::Common;

/// Both sides of a run.
#[derive(Debug, Clone)]
pub(crate) struct Databases {
    pub(crate) from: PgConfig,
    pub(crate) to: PgConfig,
}

impl Databases {
    pub(crate) fn parse(common: &Common) -> Result<Self> {
        let (from, to) = (side("--from", &common.from)?, side("--to", &common.to)?);
        let place = |c: &PgConfig| (c.host().to_owned(), c.port(), c.dbname().to_owned());
        if place(&from) == place(&to) {
            let message = "--from and --to are the same database: give two";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self { from, to })
    }

    pub(crate) fn migration(&self, mut options: Options) -> Result<Migration> {
        options.target_name = format!("{}:{}/{}", self.to.host(), self.to.port(), self.to.dbname());
        Migration::between(self.source(), self.sink()).options(options).build()
    }

    pub(crate) fn source(&self) -> PgSource {
        PgSource::new(self.from.clone())
    }

    pub(crate) fn sink(&self) -> PgSink {
        PgSink::new(self.to.clone())
    }
}

fn side(flag: &'static str, url: &str) -> Result<PgConfig> {
    if let Some((scheme, _)) = url.split_once("://")
        && !matches!(scheme, "postgres" | "postgresql")
    {
        return Err(Error::new(
            ErrorKind::Config,
            "this release moves PostgreSQL: write postgres://user@host/database",
        )
        .with("flag", flag)
        .with("scheme", scheme));
    }
    PgConfig::parse(url).map_err(|error| error.with("flag", flag))
}
