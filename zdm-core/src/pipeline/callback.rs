//! A sink that is a function.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::change::Batch;
use crate::connect::{Checkpoint, Progress, RunName, Sink, SinkCapabilities, Step, Writer, WriterOptions};
use crate::schema::Schema;
use crate::{Engine, Error, ErrorKind, Identity, Result};

type Function = dyn Fn(Batch) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// A sink that gives each batch to a function.
///
/// The function sees batches as they come: rows, with the boundaries of
/// transactions between them. What it returned `Ok` for counts as durable
/// once the transaction is complete, so it must have finished with it by
/// then. After a restart some batches come again: at least once.
#[derive(Clone)]
pub struct Callback {
    function: Arc<Function>,
}

impl Callback {
    /// A sink of that function.
    pub fn new<F, R>(function: F) -> Self
    where
        F: Fn(Batch) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        Self { function: Arc::new(move |batch| Box::pin(function(batch))) }
    }
}

#[async_trait]
impl Sink for Callback {
    async fn identity(&self) -> Result<Identity> {
        Ok(Identity::new(Engine::new("callback")))
    }

    async fn prepare(&self, _: &RunName, _: &Schema, _: Step) -> Result<()> {
        Ok(())
    }

    async fn adopt(&self, _: &RunName, _: &Schema) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "a callback is not followed back into"))
    }

    async fn writer(&self, _: WriterOptions) -> Result<Box<dyn Writer>> {
        Ok(Box::new(self.clone()))
    }

    fn checkpoint(&self) -> Option<Arc<dyn Checkpoint>> {
        None
    }

    fn capabilities(&self) -> SinkCapabilities<'_> {
        SinkCapabilities::default()
    }
}

#[async_trait]
impl Writer for Callback {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        (self.function)(batch).await
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn commit(&mut self, _: Progress) -> Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callback")
    }
}
