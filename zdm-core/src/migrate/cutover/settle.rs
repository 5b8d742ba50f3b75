//! What became of a commit point whose outcome is unknown.
//!
//! Reading the record is not enough: a COMMIT that is still under way would
//! make what was read untrue. So the PREPARING record is swapped for another
//! one first. If that succeeds, the seal, which expects the old one, can
//! never happen; if it is refused, the record says who was quicker.

use std::time::Duration;

use tokio::time::Instant;

use super::lease::taken_over;
use crate::connect::{Fence, SwitchRecord, SwitchState};
use crate::{Error, ErrorKind};

/// What became of it.
pub(super) enum Outcome {
    /// The source is sealed.
    Switched,
    /// It did not happen and never will; this is the record by now.
    Not(Box<SwitchRecord>),
    /// The record is not ours any more.
    Lost(Error),
    /// The source could not be asked. It decides all the same.
    Unknown(Error),
}

/// Asks until there is an answer, `limit` at the longest.
pub(super) async fn settle(fence: &dyn Fence, old: &SwitchRecord, limit: Duration) -> Outcome {
    let deadline = Instant::now() + limit;
    // The same one at each try, so that a try of unknown outcome is known
    // when it is seen.
    let mut fresh = old.clone();
    fresh.lease_until += 1;
    let mut pause = Duration::from_millis(20);
    let mut last = None;
    loop {
        match tokio::time::timeout_at(deadline, ask(fence, old, &fresh)).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(error)) => last = Some(error),
            Err(_) => return Outcome::Unknown(unknown(last)),
        }
        if Instant::now() + pause >= deadline {
            return Outcome::Unknown(unknown(last));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn ask(fence: &dyn Fence, old: &SwitchRecord, fresh: &SwitchRecord) -> crate::Result<Outcome> {
    match fence.swap(&old.run, Some(old), Some(fresh)).await {
        Ok(()) => return Ok(Outcome::Not(Box::new(fresh.clone()))),
        Err(error) if error.kind() == ErrorKind::Fenced => {}
        Err(error) => return Err(error),
    }
    Ok(match fence.record(&old.run).await? {
        Some(found) if found.state == SwitchState::Switched && found.epoch == old.epoch => Outcome::Switched,
        Some(found) if found == *fresh => Outcome::Not(Box::new(found)),
        _ => Outcome::Lost(taken_over()),
    })
}

fn unknown(last: Option<Error>) -> Error {
    let error = Error::new(
        ErrorKind::Connection,
        "whether the switch happened is not known, since the source does not answer: the target stays \
         sealed; start the run again when the source is back, it reads the record and goes on from there",
    )
    .during("cutover.switch");
    match last {
        Some(last) => error.caused_by(last),
        None => error,
    }
}
