//! The pipeline: source, stages, sink.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Transform;
use crate::Result;
use crate::connect::{Checkpoint, RunName, Sink, Source};
use crate::migrate::{Builder, Options, Outcome, Running, Until};
use crate::schema::Selection;
use crate::schema::conversion::Mapping;

/// Follows the changes of a source into a sink, from the moment of its first
/// start and, after a stop or a kill, from its last durable progress.
///
/// With a sink that keeps progress together with its rows it is exactly once;
/// with any other, at least once.
#[derive(Debug)]
pub struct Pipeline {
    builder: Builder,
}

/// A source and stages that have no sink yet.
pub struct Upstream {
    source: Arc<dyn Source>,
    stages: Option<Arc<dyn Transform>>,
}

impl Pipeline {
    /// Begins with a source.
    pub fn from(source: impl Source + 'static) -> Upstream {
        Upstream { source: Arc::new(source), stages: None }
    }

    /// Names the run: a restart under the same name resumes.
    #[must_use]
    pub fn named(mut self, run: RunName) -> Self {
        self.builder = self.builder.named(run);
        self
    }

    /// Follows these tables.
    #[must_use]
    pub fn tables(mut self, tables: Selection) -> Self {
        self.builder = self.builder.tables(tables);
        self
    }

    /// Keeps progress there, for a sink that has no place of its own. Without
    /// one it is kept in memory, and each start begins at its own moment.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: Arc<dyn Checkpoint>) -> Self {
        self.builder = self.builder.checkpoint(checkpoint);
        self
    }

    /// Converts to a target of another engine by these wishes.
    #[must_use]
    pub fn mapping(mut self, mapping: Mapping) -> Self {
        self.builder = self.builder.mapping(mapping);
        self
    }

    /// Runs with these options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.builder = self.builder.options(options);
        self
    }

    /// Runs until the token is cancelled, and ends at a durable position.
    ///
    /// # Errors
    /// The first error that no retry could help.
    pub async fn run(self, cancel: CancellationToken) -> Result<Outcome> {
        self.builder.build()?.run_until(Until::Cancelled, cancel).await
    }

    /// The same in a task of its own.
    ///
    /// # Errors
    /// `Config` when an option cannot work.
    pub fn start(self, cancel: CancellationToken) -> Result<Running> {
        Ok(self.builder.build()?.start(cancel))
    }
}

impl Upstream {
    /// Sends every change through these stages.
    #[must_use]
    pub fn through(mut self, stages: Arc<dyn Transform>) -> Self {
        self.stages = Some(stages);
        self
    }

    /// Ends in a sink.
    pub fn to(self, sink: impl Sink + 'static) -> Pipeline {
        let builder = Builder::new(self.source, Arc::new(sink), false);
        Pipeline {
            builder: match self.stages {
                Some(stages) => builder.through(stages),
                None => builder,
            },
        }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("stages", &self.stages.is_some()).finish_non_exhaustive()
    }
}
