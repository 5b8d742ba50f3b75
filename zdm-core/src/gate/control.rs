//! How a cutover moves a gate without knowing what is behind it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Gate, HeldGate};
use crate::Result;

/// A gate, or many in many processes, as a cutover sees it.
///
/// [`Gate::toward`] makes one of a gate in this process; [`NoGate`] is for
/// an application that goes its own way and meets the fence itself.
#[async_trait]
pub trait GateControl: Send + Sync {
    /// Makes requests wait, each in every process, until the hold is
    /// [flipped](GateHold::flip) or dropped, and `deadline` at the longest.
    ///
    /// # Errors
    /// `Conflict` when it is held already. Nothing is held then.
    async fn hold(&self, deadline: Duration) -> Result<Box<dyn GateHold>>;

    /// Opens the gate to the target, whether it is held or not: the switch
    /// has happened, and somebody died before he could say so. Idempotent.
    ///
    /// # Errors
    /// When a process cannot be reached; it is called again.
    async fn open_target(&self) -> Result<()>;
}

/// A gate that is held. Dropped, it opens to the source, or to the target if
/// it was flipped.
#[async_trait]
pub trait GateHold: Send {
    /// Waits until the requests that were inside have ended, at most that
    /// long.
    ///
    /// # Errors
    /// `Timeout` when some are still inside, or the hold ended at its deadline.
    async fn drained(&mut self, within: Duration) -> Result<()>;

    /// Takes the deadline away: the commit point is next.
    ///
    /// # Errors
    /// `Timeout` when it has passed; nothing was held any more.
    async fn pin(&mut self) -> Result<()>;

    /// Opens to the target. Idempotent.
    ///
    /// # Errors
    /// When a process cannot be reached; it is called again.
    async fn flip(&mut self) -> Result<()>;
}

impl<T: Send + Sync> Gate<T> {
    /// This gate, for a cutover that leads to `target`.
    pub fn toward(&self, target: T) -> Toward<T> {
        Toward { gate: self.clone(), target: Arc::new(target) }
    }
}

/// A gate of this process together with the side that a cutover leads to.
pub struct Toward<T> {
    gate: Gate<T>,
    target: Arc<T>,
}

impl<T: Send + Sync> fmt::Debug for Toward<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toward").field("gate", &self.gate).finish_non_exhaustive()
    }
}

#[async_trait]
impl<T: Send + Sync + 'static> GateControl for Toward<T> {
    async fn hold(&self, deadline: Duration) -> Result<Box<dyn GateHold>> {
        let held = self.gate.hold(deadline)?;
        let gate = self.gate.clone();
        Ok(Box::new(TowardHold { held: Some(held), gate, target: Arc::clone(&self.target) }))
    }

    async fn open_target(&self) -> Result<()> {
        self.gate.line.open_now(Arc::clone(&self.target));
        Ok(())
    }
}

struct TowardHold<T> {
    /// `None` once it was flipped.
    held: Option<HeldGate<T>>,
    gate: Gate<T>,
    target: Arc<T>,
}

#[async_trait]
impl<T: Send + Sync + 'static> GateHold for TowardHold<T> {
    async fn drained(&mut self, within: Duration) -> Result<()> {
        match &mut self.held {
            Some(held) => held.drained(within).await,
            None => Ok(()),
        }
    }

    async fn pin(&mut self) -> Result<()> {
        self.held.as_mut().map_or(Ok(()), HeldGate::pin)
    }

    async fn flip(&mut self) -> Result<()> {
        match self.held.take() {
            Some(held) => held.open_to(Arc::clone(&self.target)),
            None => self.gate.line.set(Arc::clone(&self.target)),
        }
        Ok(())
    }
}

/// No gate: the application's writers meet the fence, wait for it, and find
/// the source sealed behind it. They must reconnect to the target themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGate;

#[async_trait]
impl GateControl for NoGate {
    async fn hold(&self, _deadline: Duration) -> Result<Box<dyn GateHold>> {
        Ok(Box::new(Self))
    }

    async fn open_target(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl GateHold for NoGate {
    async fn drained(&mut self, _within: Duration) -> Result<()> {
        Ok(())
    }

    async fn pin(&mut self) -> Result<()> {
        Ok(())
    }

    async fn flip(&mut self) -> Result<()> {
        Ok(())
    }
}
