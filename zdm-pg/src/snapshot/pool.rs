//! Idle connections, so that a chunk of milliseconds does not pay for a login.

use std::sync::{Arc, Mutex, PoisonError};

use zdm_core::Result;

use crate::config::PgConfig;
use crate::connect::Control;

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
}

impl Pool {
    pub(crate) fn new(config: &Arc<PgConfig>) -> Self {
        Self { config: Arc::clone(config), idle: Mutex::default() }
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
