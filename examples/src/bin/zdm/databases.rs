//! From URLs to connectors.

use zdm_core::connect::{RunName, Sink, Source, State, SwitchRecord};
use zdm_core::migrate::{Migration, Options};
use zdm_core::schema::conversion::Mapping;
use zdm_core::{Error, ErrorKind, Result};
use zdm_pg::{PgConfig, PgSink, PgSource};

use crate::args::Common;
use crate::map::mapping;

/// Both sides of a run.
#[derive(Debug, Clone)]
pub(crate) struct Databases {
    pub(crate) from: PgConfig,
    pub(crate) to: PgConfig,
    map: Mapping,
}

impl Databases {
    pub(crate) fn parse(common: &Common) -> Result<Self> {
        let (from, to) = (side("--from", &common.from)?, side("--to", &common.to)?);
        Ok(Self { from, to, map: mapping(common)? })
    }

    /// The first contact: what both sides know of the run. One attempt each,
    /// so that a wrong URL is told at once and not after minutes of retries.
    pub(crate) async fn reach(&self, run: &RunName) -> Result<Reached> {
        let (source, sink) = (self.source(), self.sink());
        let switch = async {
            match source.capabilities().fence {
                Some(fence) => fence.record(run).await,
                None => Ok(None),
            }
        };
        let state = async {
            match sink.checkpoint() {
                Some(checkpoint) => checkpoint.load(run).await,
                None => Ok(None),
            }
        };
        let switch = switch.await.map_err(|error| error.with("flag", "--from"))?;
        let state = state.await.map_err(|error| error.with("flag", "--to"))?;
        if zdm_pg::same_database(&self.from, &self.to).await? {
            let message = "--from and --to are the same database: give two";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Reached { state, switch })
    }

    pub(crate) fn migration(&self, mut options: Options) -> Result<Migration> {
        options.target_name = format!("{}:{}/{}", self.to.host(), self.to.port(), self.to.dbname());
        Migration::between(self.source(), self.sink()).options(options).mapping(self.map.clone()).build()
    }

    pub(crate) fn source(&self) -> PgSource {
        PgSource::new(self.from.clone())
    }

    pub(crate) fn sink(&self) -> PgSink {
        PgSink::new(self.to.clone())
    }
}

/// What both sides know of a run.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Its progress, as the target keeps it.
    pub(crate) state: Option<State>,
    /// Its cutover, as the source keeps it.
    pub(crate) switch: Option<SwitchRecord>,
}

impl Reached {
    /// The progress of a run that must be there.
    pub(crate) fn known(&self, run: &RunName) -> Result<&State> {
        self.state.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "the target knows no run of that name: check --run and --to, or begin with `zdm migrate`",
            )
            .with("run", run)
        })
    }
}

impl Databases {
    /// Refuses to begin a run whose slot is there already: a mistaken `--to`
    /// would take it from the run that needs it.
    pub(crate) async fn refuse_taken(&self, run: &RunName, reached: &Reached) -> Result<()> {
        if reached.state.is_some() || !self.source().keeps_slot(run).await? {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "the source keeps a slot for a run of that name, and this target does not know it: check --to, choose \
             another --run, or remove the old one with `zdm drop`",
        )
        .with("run", run))
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
