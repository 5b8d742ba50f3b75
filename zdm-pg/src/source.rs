//! A PostgreSQL database as the source of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use zdm_core::connect::{
    Changes, Claim, LogEnd, RunName, Shapes, Snapshot, Source, SourceCapabilities, StreamOptions,
};
use zdm_core::schema::{Schema, Selection, Shape, TableName};
use zdm_core::{Identity, Position, Result};

use crate::changes::{self, slot};
use crate::position::Lsn;
use crate::{PgAssess, PgConfig, PgFence, PgSequences, PgVerify, schema, snapshot};

/// A PostgreSQL database (12 to 18) that changes are captured from, by
/// logical decoding.
///
/// It holds a configuration and no connection: each call opens what it needs.
#[derive(Debug, Clone)]
pub struct PgSource {
    config: Arc<PgConfig>,
    fence: PgFence,
    assess: PgAssess,
    sequences: PgSequences,
    verify: PgVerify,
}

impl PgSource {
    /// The source of that configuration.
    pub fn new(config: PgConfig) -> Self {
        let config = Arc::new(config);
        Self {
            fence: PgFence::new(Arc::clone(&config)),
            assess: PgAssess::new(Arc::clone(&config)),
            sequences: PgSequences::new(Arc::clone(&config)),
            verify: PgVerify::new(Arc::clone(&config)),
            config,
        }
    }
}

impl PgSource {
    /// Whether the server keeps a replication slot of the name that the run's
    /// slot has, whoever made it. One that a run's target does not know of
    /// belongs to another run, which must not lose it.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn keeps_slot(&self, run: &RunName) -> Result<bool> {
        slot::is_there(&self.config, run).await
    }
}

#[async_trait]
impl Source for PgSource {
    async fn identity(&self) -> Result<Identity> {
        slot::identity(&self.config).await
    }

    async fn describe(&self, selection: &Selection) -> Result<Schema> {
        schema::describe(&self.config, selection).await
    }

    async fn snapshot(
        &self,
        run: &RunName,
        schema: &Schema,
        resume: Option<&Position>,
    ) -> Result<Arc<dyn Snapshot>> {
        snapshot::open(&self.config, run, schema, resume).await
    }

    async fn changes(&self, options: StreamOptions) -> Result<Changes> {
        changes::open(&self.config, options).await
    }

    fn reached(&self, at: &Position, goal: &Position) -> Result<bool> {
        Ok(Lsn::of(at)? >= Lsn::of(goal)?)
    }

    async fn release(&self, run: &RunName) -> Result<()> {
        slot::drop(&self.config, run).await
    }

    fn capabilities(&self) -> SourceCapabilities<'_> {
        let mut capabilities = SourceCapabilities::default();
        capabilities.fence = Some(&self.fence);
        capabilities.assess = Some(&self.assess);
        capabilities.sequences = Some(&self.sequences);
        capabilities.shapes = Some(self);
        capabilities.claim = Some(self);
        capabilities.log_end = Some(self);
        capabilities.verify = Some(&self.verify);
        capabilities
    }
}

#[async_trait]
impl Shapes for PgSource {
    async fn shapes(&self, selection: &Selection) -> Result<BTreeMap<TableName, Shape>> {
        schema::shapes(&self.config, selection).await
    }
}

#[async_trait]
impl LogEnd for PgSource {
    async fn log_end(&self) -> Result<Position> {
        snapshot::point::log_end(&self.config).await.map(Position::from)
    }
}

/// Kept in the comment of the run's publication. One that somebody else made
/// keeps no claim.
#[async_trait]
impl Claim for PgSource {
    async fn claimed(&self, run: &RunName) -> Result<Option<String>> {
        changes::claim::read(&self.config, run).await
    }

    async fn claim(&self, run: &RunName, target: &str) -> Result<String> {
        changes::claim::make(&self.config, run, target).await
    }
}
