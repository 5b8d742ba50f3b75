//! The way back of a switch: made before anybody waits, begun under the fence.

use std::sync::Arc;

use super::assess::refuse_blockers;
use super::lacks;
use crate::connect::{Role, RunName, Sink, Source};
use crate::schema::{Schema, Selection};
use crate::{Error, ErrorKind, Position, Result};

/// The run that will follow from the target to the source.
#[derive(Clone)]
pub(super) struct WayBack {
    pub(super) run: RunName,
    /// The target of the cutover, as a source.
    pub(super) target: Arc<dyn Source>,
    /// The source of the cutover, as a target.
    pub(super) source: Arc<dyn Sink>,
}

impl WayBack {
    /// Step 0: whether the target can be followed, and what its server must
    /// keep for that. From here on it keeps its log.
    pub(super) async fn make(&self, tables: &Schema) -> Result<()> {
        let about = |error: Error| error.with("way_back", &self.run).during("cutover.way_back");
        let capabilities = self.target.capabilities();
        if capabilities.log_end.is_none() {
            return Err(lacks("target", "say where its log ends, for the way back"));
        }
        let names = tables.tables.iter().map(|table| table.name.to_string());
        let found = self.target.describe(&Selection::new(names)?).await.map_err(about)?;
        self.same_engine(tables, &found)?;
        if let Some(assess) = capabilities.assess {
            refuse_blockers(&assess.assess(Role::Source, &self.run, &found).await.map_err(about)?)
                .map_err(about)?;
        }
        // Behind the switch it would be late to hear that they cannot be. By
        // what the target will have then: its keys and triggers are to come.
        self.source.adopt(&self.run, tables).await.map_err(about)?;
        self.target.snapshot(&self.run, &found, None).await.map(drop).map_err(about)
    }

    /// Rows go back as they came.
    fn same_engine(&self, tables: &Schema, found: &Schema) -> Result<()> {
        for table in &tables.tables {
            let same = found
                .tables
                .iter()
                .any(|there| there.name == table.name && there.origin.engine == table.origin.engine);
            if !same {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the way back leads to another engine, or the target's table is not there: cut over without a \
                     way back",
                )
                .with("table", &table.name)
                .during("cutover.way_back"));
            }
        }
        Ok(())
    }

    /// Step 7, under the fence.
    pub(super) async fn log_end(&self) -> Result<Position> {
        match self.target.capabilities().log_end {
            Some(log) => log.log_end().await,
            None => Err(lacks("target", "say where its log ends, for the way back")),
        }
    }

    /// Gives back what [`make`](Self::make) has made. What is left the next
    /// start of the run gives back.
    pub(super) async fn release(&self) {
        if let Err(error) = self.target.release(&self.run).await {
            tracing::warn!(run = %self.run, %error, "the way back's part at the target is not released yet");
        }
    }
}
