//! PostgreSQL as a target: tables made in steps, rows loaded by COPY, changes
//! applied in sets.
//!
//! ```text
//! prepare     tables, keys, indexes and constraints, in steps
//! session     what every writer's session is set to
//! shape       a table as the target's catalog has it
//! copy        rows on their way in by COPY
//! load        the writer of chunks
//! apply       the writer of changes: grouping, transactions
//! commit      the end of both writers' transactions
//! direct      one table's changes in one message, its rows as arrays
//! arrays      cells as array literals
//! given       the SQL between arrays and table
//! stage       one table's temporary staging table, and what it holds
//! statements  the SQL between staging table and table
//! full_row    changes of tables without a key
//! ```

mod apply;
mod arrays;
mod commit;
mod copy;
mod direct;
mod full_row;
mod given;
mod load;
pub mod prepare;
mod session;
mod shape;
mod stage;
mod statements;

use std::sync::Arc;

use async_trait::async_trait;
use zdm_core::connect::{Checkpoint, Purpose, RunName, Sink, SinkCapabilities, Step, Writer, WriterOptions};
use zdm_core::schema::Schema;
use zdm_core::{Identity, Result};

use crate::checkpoint::check_epoch;
use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;
use crate::position::ENGINE;
use crate::schema::dialect::PgConvert;
use crate::{PgAssess, PgCheckpoint, PgFence, PgSequences, PgVerify};

/// A PostgreSQL database that rows are written to.
#[derive(Debug)]
pub struct PgSink {
    config: Arc<PgConfig>,
    checkpoint: Arc<PgCheckpoint>,
    fence: PgFence,
    assess: PgAssess,
    sequences: PgSequences,
    convert: PgConvert,
    verify: PgVerify,
}

impl PgSink {
    /// A sink into that database. Nothing is opened yet.
    pub fn new(config: PgConfig) -> Self {
        let config = Arc::new(config);
        Self {
            checkpoint: Arc::new(PgCheckpoint::new(Arc::clone(&config))),
            fence: PgFence::new(Arc::clone(&config)),
            assess: PgAssess::new(Arc::clone(&config)),
            sequences: PgSequences::new(Arc::clone(&config)),
            convert: PgConvert::new(Arc::clone(&config)),
            verify: PgVerify::new(Arc::clone(&config)),
            config,
        }
    }
}

#[async_trait]
impl Sink for PgSink {
    async fn identity(&self) -> Result<Identity> {
        let during = "sink.identity";
        let session = Control::connect(&self.config, "identity").await?;
        let row = session
            .query_one(
                "SELECT (SELECT system_identifier FROM pg_control_system())::text, oid::text, datname::text
                 FROM pg_database WHERE datname = current_database()",
                &[],
            )
            .await
            .during(during)?;
        let text = |at: usize| row.try_get::<_, String>(at).during(during);
        Ok(Identity::new(ENGINE)
            .with("system", text(0)?)
            .with("database", text(2)?)
            .with("database oid", text(1)?))
    }

    async fn prepare(&self, run: &RunName, schema: &Schema, step: Step) -> Result<()> {
        prepare::prepare(&self.config, run, schema, step).await
    }

    async fn adopt(&self, run: &RunName, schema: &Schema) -> Result<()> {
        prepare::adopt(&self.config, run, schema).await
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn Writer>> {
        let session = session::open(&self.config, &options.run, purpose(options.purpose)).await?;
        // A writer of an old epoch is told now rather than at its commit.
        check_epoch(&*session, self.config.schema(), &options.run, options.epoch).await?;
        let schema = self.config.schema().to_owned();
        Ok(match options.purpose {
            Purpose::Load => Box::new(load::Load::new(session, schema, options)),
            Purpose::Apply => Box::new(apply::Apply::new(session, schema, options)),
        })
    }

    fn checkpoint(&self) -> Option<Arc<dyn Checkpoint>> {
        Some(Arc::clone(&self.checkpoint) as Arc<dyn Checkpoint>)
    }

    fn capabilities(&self) -> SinkCapabilities<'_> {
        let mut capabilities = SinkCapabilities::default();
        capabilities.fence = Some(&self.fence);
        capabilities.assess = Some(&self.assess);
        capabilities.sequences = Some(&self.sequences);
        capabilities.convert = Some(&self.convert);
        capabilities.verify = Some(&self.verify);
        capabilities
    }
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Load => "load",
        Purpose::Apply => "apply",
    }
}
