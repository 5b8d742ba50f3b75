//! Idle connections, so that a chunk of milliseconds does not pay for a login.

use std::sync::{Arc, Mutex, PoisonError};

use zdm_core::Result;

use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;

/// As many as a run has readers, at most.
const IDLE: usize = 8;

/// Connections that no transaction is open on.
///
/// Whoever fails, or is dropped, keeps what was taken, and it ends with them:
/// only a clean session comes back.
#[derive(Debug)]
pub(crate) struct Pool {
    config: Arc<PgConfig>,
    idle: Mutex<Vec<Control>>,
    /// The snapshot that all of them read by, if it is one.
    exported: Option<Exported>,
}

/// A snapshot that others can take, while its own transaction is open. That
/// reads nothing, so it locks no table.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) name: String,
    _open: Control,
}

impl Pool {
    pub(crate) fn new(config: &Arc<PgConfig>) -> Self {
        Self { config: Arc::clone(config), idle: Mutex::default(), exported: None }
    }

    /// The same, for connections that all read by the snapshot of this moment.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(crate) async fn of_one_moment(config: &Arc<PgConfig>) -> Result<Self> {
        let open = Control::connect(config, "snapshot").await?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        open.batch_execute(begin).await.during("snapshot.begin")?;
        let export = "SELECT pg_catalog.pg_export_snapshot()";
        let row = open.query_one(export, &[]).await.during("snapshot.begin")?;
        let name = row.try_get(0).during("snapshot.begin")?;
        Ok(Self { exported: Some(Exported { name, _open: open }), ..Self::new(config) })
    }

    /// The snapshot that all read by, if it is one.
    pub(crate) fn exported(&self) -> Option<&Exported> {
        self.exported.as_ref()
    }

    /// An idle connection that is still there, or a new one.
    pub(crate) async fn take(&self) -> Result<Control> {
        while let Some(control) = self.pop() {
            if !control.is_closed() {
                return Ok(control);
            }
        }
        Control::connect(&self.config, "snapshot").await
    }

    /// Gives back a connection on which no transaction is open.
    pub(crate) fn give(&self, control: Control) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && !control.is_closed() {
            idle.push(control);
        }
    }

    fn pop(&self) -> Option<Control> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
