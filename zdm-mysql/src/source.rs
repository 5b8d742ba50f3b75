//! A MySQL or MariaDB database as the source of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use zdm_core::connect::{
    Changes, LogEnd, RunName, Shapes, Snapshot, Source, SourceCapabilities, StreamOptions,
};
use zdm_core::schema::{Schema, Selection, Shape, TableName};
use zdm_core::{Identity, Position, Result};

use crate::changes::{self, Undone, start};
use crate::position::Point;
use crate::{MySqlAssess, MySqlConfig, MySqlFence, MySqlSequences, MySqlVerify, schema, snapshot};

/// A MySQL (5.7 to 9) or MariaDB (10.5 to 11) server that changes are captured
/// from, by its binary log.
///
/// It holds a configuration and no connection: each call opens what it needs.
/// Tables are named `database.table`, and a run may move several databases.
/// Nothing is kept on the server for a reader: how long a run may pause is
/// how long the server keeps its binary log.
#[derive(Debug, Clone)]
pub struct MySqlSource {
    config: Arc<MySqlConfig>,
    assess: MySqlAssess,
    fence: MySqlFence,
    sequences: MySqlSequences,
    /// What its streams have learned of rolled back transactions.
    undone: Undone,
    verify: MySqlVerify,
}

impl MySqlSource {
    /// The source of that configuration.
    pub fn new(config: MySqlConfig) -> Self {
        let config = Arc::new(config);
        Self {
            assess: MySqlAssess::new(Arc::clone(&config)),
            fence: MySqlFence::new(Arc::clone(&config)),
            sequences: MySqlSequences::new(Arc::clone(&config)),
            undone: Undone::default(),
            verify: MySqlVerify::new(Arc::clone(&config)),
            config,
        }
    }
}

#[async_trait]
impl Source for MySqlSource {
    async fn identity(&self) -> Result<Identity> {
        start::identity(&self.config).await
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
        changes::open(&self.config, &self.undone, options).await
    }

    fn reached(&self, at: &Position, goal: &Position) -> Result<bool> {
        Point::of(at)?.reached(&Point::of(goal)?)
    }

    /// The server keeps nothing for a reader: there is nothing to give back.
    async fn release(&self, _: &RunName) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> SourceCapabilities<'_> {
        let mut capabilities = SourceCapabilities::default();
        capabilities.assess = Some(&self.assess);
        capabilities.fence = Some(&self.fence);
        capabilities.sequences = Some(&self.sequences);
        capabilities.shapes = Some(self);
        capabilities.log_end = Some(self);
        capabilities.verify = Some(&self.verify);
        capabilities
    }
}

/// A commit is in the set of executed transactions when it is acknowledged.
#[async_trait]
impl LogEnd for MySqlSource {
    async fn log_end(&self) -> Result<Position> {
        start::log_end(&self.config).await
    }
}

#[async_trait]
impl Shapes for MySqlSource {
    async fn shapes(&self, selection: &Selection) -> Result<BTreeMap<TableName, Shape>> {
        schema::shapes(&self.config, selection).await
    }
}
