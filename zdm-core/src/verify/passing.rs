//! How the stream is waited for: until the target has everything up to the
//! point at which a row of the source was read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::connect::{Checkpoint, RunName, Source};
use crate::migrate::cutover::Follower;
use crate::{Position, Result};

/// How often the record of a run that another process follows is read.
const LOOK: Duration = Duration::from_millis(200);

/// Who applies changes while rows are compared.
pub(super) enum Passing {
    /// Nobody, and none are to be applied: both sides rest, as far as the run
    /// is concerned.
    Rest,
    /// Whoever follows the run.
    Followed {
        source: Arc<dyn Source>,
        /// Where the run's own record is.
        checkpoint: Arc<dyn Checkpoint>,
        run: RunName,
        /// This process, if it is the one.
        follower: Option<Arc<dyn Follower>>,
        /// Where it was given up, so that it is not waited for there again.
        stuck: Mutex<Option<Position>>,
    },
}

impl Passing {
    /// Waits until the target has everything up to a point of the source's
    /// log, by what the target itself says; false if it makes no headway for
    /// `patience`.
    ///
    /// # Errors
    /// When the run has failed in this process, or its record cannot be read.
    pub(super) async fn wait(&self, goal: &Position, patience: Duration) -> Result<bool> {
        let Self::Followed { source, checkpoint, run, follower, stuck } = self else { return Ok(true) };
        let mut stood: Option<(Option<Position>, Instant)> = None;
        loop {
            let at = checkpoint.load(run).await?.and_then(|state| state.record.position);
            if let Some(at) = &at
                && source.reached(at, goal)?
            {
                return Ok(true);
            }
            if at.is_some() && *stuck.lock().unwrap_or_else(PoisonError::into_inner) == at {
                return Ok(false);
            }
            match &stood {
                Some((before, since)) if *before == at => {
                    if since.elapsed() >= patience {
                        *stuck.lock().unwrap_or_else(PoisonError::into_inner) = at;
                        return Ok(false);
                    }
                }
                _ => stood = Some((at, Instant::now())),
            }
            match follower {
                // It makes a position durable at once that is waited for.
                Some(follower) => {
                    if let Ok(passed) = timeout(patience, follower.applied_past(goal)).await {
                        return passed.map(|_| true);
                    }
                }
                None => sleep(LOOK).await,
            }
        }
    }

    /// How often a difference must be found: where nothing is applied, one
    /// look more is enough to see that nobody writes.
    pub(super) fn rounds(&self, asked: u32) -> u32 {
        match self {
            Self::Rest => asked.min(2),
            Self::Followed { .. } => asked,
        }
    }
}
