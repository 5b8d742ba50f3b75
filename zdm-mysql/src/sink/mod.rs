//! MySQL and MariaDB as a target: tables made in steps, rows loaded by LOAD
//! DATA, changes applied in sets.
//!
//! ```text
//! prepare     tables, keys, indexes and constraints, in steps
//! session     what every writer's session is set to; its transactions
//! shape       a table as statements name it
//! statements  the SQL that rows become
//! pack        statements of many rows, as long as the server takes them
//! load        the writer of chunks
//! apply       the writer of changes: grouping, transactions
//! keyed       one table's coalesced changes, in sets
//! upsert      whole rows put in their places by one statement
//! carried     cells that the log did not carry, read from the target
//! full_row    changes of tables without a key
//! ```

mod apply;
mod carried;
mod full_row;
mod keyed;
mod load;
mod pack;
pub(crate) mod prepare;
mod session;
mod shape;
mod statements;
mod upsert;

use std::sync::Arc;

use async_trait::async_trait;
use zdm_core::connect::{Checkpoint, Purpose, RunName, Sink, SinkCapabilities, Step, Writer, WriterOptions};
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Identity, Result};

use self::session::Session;
use crate::changes::start;
use crate::checkpoint::{MySqlCheckpoint, check_epoch};
use crate::config::MySqlConfig;
use crate::schema::dialect::MySqlConvert;
use crate::{MySqlAssess, MySqlFence, MySqlSequences, MySqlVerify};

/// A MySQL (5.7 to 9) or MariaDB (10.5 to 11) server that rows are written to.
///
/// Tables are named `database.table`; their databases are made where they are
/// missing. Every table is InnoDB's, whatever it was at its source: rows and
/// progress are one transaction.
#[derive(Debug)]
pub struct MySqlSink {
    config: Arc<MySqlConfig>,
    checkpoint: Arc<MySqlCheckpoint>,
    assess: MySqlAssess,
    fence: MySqlFence,
    sequences: MySqlSequences,
    convert: MySqlConvert,
    verify: MySqlVerify,
}

impl MySqlSink {
    /// A sink into that server. Nothing is opened yet.
    pub fn new(config: MySqlConfig) -> Self {
        let config = Arc::new(config);
        Self {
            checkpoint: Arc::new(MySqlCheckpoint::new(Arc::clone(&config))),
            assess: MySqlAssess::new(Arc::clone(&config)),
            fence: MySqlFence::new(Arc::clone(&config)),
            sequences: MySqlSequences::new(Arc::clone(&config)),
            convert: MySqlConvert::new(Arc::clone(&config)),
            verify: MySqlVerify::new(Arc::clone(&config)),
            config,
        }
    }
}

#[async_trait]
impl Sink for MySqlSink {
    async fn identity(&self) -> Result<Identity> {
        let identity = start::target_identity(&self.config).await?;
        Ok(match self.config.database() {
            Some(database) => identity.with("database", database),
            None => identity,
        })
    }

    async fn prepare(&self, run: &RunName, schema: &Schema, step: Step) -> Result<()> {
        prepare::prepare(&self.config, run, schema, step).await
    }

    /// Triggers cannot be disabled here, and what the source has beside what
    /// was moved would fire.
    async fn adopt(&self, _: &RunName, _: &Schema) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "a MySQL or MariaDB server cannot be followed back into yet: cut over without a way back",
        )
        .during("sink.adopt"))
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn Writer>> {
        let mut session = Session::open(&self.config, &options.run, purpose(options.purpose)).await?;
        // A writer of an old epoch is told now rather than at its commit.
        check_epoch(&mut session, self.config.schema(), &options.run, options.epoch).await?;
        let ours = self.config.schema().to_owned();
        Ok(match options.purpose {
            Purpose::Load => Box::new(load::Load::new(session, ours, options)),
            Purpose::Apply => Box::new(apply::Apply::new(session, ours, options)),
        })
    }

    fn checkpoint(&self) -> Option<Arc<dyn Checkpoint>> {
        Some(Arc::clone(&self.checkpoint) as Arc<dyn Checkpoint>)
    }

    fn capabilities(&self) -> SinkCapabilities<'_> {
        let mut capabilities = SinkCapabilities::default();
        capabilities.assess = Some(&self.assess);
        capabilities.fence = Some(&self.fence);
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

/// Refuses to go on after a failure, and marks the call as under way.
fn spent(mark: &mut bool) -> Result<()> {
    if std::mem::replace(mark, true) {
        return Err(Error::new(
            ErrorKind::Other,
            "this writer has failed before: open another and begin from the durable progress",
        ));
    }
    Ok(())
}
