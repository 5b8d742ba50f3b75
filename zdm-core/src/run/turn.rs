//! Whose turn it is at the target: changes are applied, or a cutover makes it
//! ready for the application. Never both.
//!
//! At [`Ready`](crate::connect::Step::Ready) triggers and foreign keys are on,
//! and a target may have no right to switch them off for changes: a change
//! that met them would be altered, doubled or refused. Behind the drain none
//! is expected; but a fence can fall, and a cutover that was given up may fail
//! to take the target back.

use tokio::sync::watch;

use crate::{Error, ErrorKind, Result};

/// The turn at one target. A handle: clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Turn(watch::Sender<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody's.
    Free,
    /// A group of changes is open in the target.
    Applying,
    /// A cutover has asked for `Ready`.
    Ready,
    /// It did, and has ended without taking that back.
    Left,
}

/// A group of changes is open in the target, until this is dropped.
#[derive(Debug)]
pub(crate) struct Applying(watch::Sender<State>);

impl Turn {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State::Free))
    }

    /// Waits until changes may be applied. Cancel-safe.
    ///
    /// # Errors
    /// When the target was left ready: the attempt must end, and the next one
    /// steps back first.
    pub(crate) async fn apply(&self) -> Result<Applying> {
        self.take(State::Applying).await?;
        Ok(Applying(self.0.clone()))
    }

    /// Waits until no group is open; none is opened from then on. Cancel-safe.
    ///
    /// # Errors
    /// When an earlier cutover has left the target ready.
    pub(crate) async fn make_ready(&self) -> Result<()> {
        self.take(State::Ready).await
    }

    /// The target has stepped back from `Ready`, if it was there.
    pub(crate) fn stepped_back(&self) {
        self.change(&[State::Ready, State::Left], State::Free);
    }

    /// The cutover has ended. What it has made ready stays so until somebody
    /// steps back.
    pub(crate) fn leave(&self) {
        self.change(&[State::Ready], State::Left);
    }

    /// Whether a cutover that has ended left the target ready.
    pub(crate) fn is_left(&self) -> bool {
        *self.0.borrow() == State::Left
    }

    async fn take(&self, as_this: State) -> Result<()> {
        let mut seen = self.0.subscribe();
        loop {
            // OK because the sender is in `self`.
            let _ = seen.wait_for(|state| matches!(state, State::Free | State::Left)).await;
            if self.change(&[State::Free], as_this) {
                return Ok(());
            }
            if self.is_left() {
                return Err(Error::new(
                    ErrorKind::Other,
                    "a cutover was given up and could not take triggers and foreign keys of the target back: \
                     nothing is applied before that is done",
                )
                .retryable(true)
                .during("migrate.follow"));
            }
        }
    }

    fn change(&self, from: &[State], to: State) -> bool {
        self.0.send_if_modified(|state| {
            let changes = from.contains(state);
            if changes {
                *state = to;
            }
            changes
        })
    }
}

impl Drop for Applying {
    fn drop(&mut self) {
        self.0.send_replace(State::Free);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn changes_and_a_cutover_take_turns_and_a_target_left_ready_takes_no_changes() {
        let turn = Turn::new();
        let group = turn.apply().now_or_never().unwrap().unwrap();
        assert!(turn.make_ready().now_or_never().is_none(), "a group is open");
        drop(group);
        turn.make_ready().now_or_never().unwrap().unwrap();
        assert!(turn.apply().now_or_never().is_none(), "the target is ready");
        turn.stepped_back();
        drop(turn.apply().now_or_never().unwrap().unwrap());
        turn.make_ready().now_or_never().unwrap().unwrap();
        turn.leave();
        assert!(turn.apply().now_or_never().unwrap().unwrap_err().is_retryable());
        turn.stepped_back();
        assert!(!turn.is_left());
        drop(turn.apply().now_or_never().unwrap().unwrap());
    }
}
