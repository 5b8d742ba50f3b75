//! A server that says nothing any more, though its connection stands.
//!
//! An idle walsender may rightly be silent for as long as it hears from us,
//! so it is asked, and has the same time again to answer. The system notices a
//! host that is gone by itself; this is for one that hangs, and for somebody
//! in between who swallows what is said.

use std::time::Duration;

use tokio::time::Instant;
use zdm_core::{Error, ErrorKind, Result};

/// How often the server's own patience it may be silent: it may be busy with
/// a transaction that is not ours.
const TIMES: u32 = 5;
/// The server's patience where it has no end: its default.
const DEFAULT: Duration = Duration::from_secs(60);

/// Watches how long nothing was heard.
#[derive(Debug)]
pub(super) struct Silence {
    patience: Duration,
    heard: Instant,
    asked: bool,
}

impl Silence {
    /// `patience` is how long the server waits to hear from us
    /// (`wal_sender_timeout`); zero is for ever.
    pub(super) fn new(patience: Duration, now: Instant) -> Self {
        let patience = if patience.is_zero() { DEFAULT } else { patience };
        Self { patience: patience * TIMES, heard: now, asked: false }
    }

    /// Something came, or nobody listened.
    pub(super) fn heard(&mut self, now: Instant) {
        (self.heard, self.asked) = (now, false);
    }

    /// When to call [`passed`](Self::passed) next.
    pub(super) fn due(&self) -> Instant {
        self.heard + if self.asked { self.patience } else { self.patience / 2 }
    }

    /// [`due`](Self::due) has passed: the server is to be asked for a word.
    ///
    /// # Errors
    /// `Connection` when it was asked and has not answered.
    pub(super) fn passed(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.asked, true) {
            return Err(Error::new(
                ErrorKind::Connection,
                "the server has said nothing for too long, and did not answer: does it hang?",
            )
            .with("seconds", self.patience.as_secs_f64()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_is_asked_and_then_given_up() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut silence = Silence::new(second * 2, start);
        assert_eq!(silence.due(), start + second * 5);
        silence.passed().unwrap();
        assert_eq!(silence.due(), start + second * 10);
        let error = silence.passed().unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }

    #[test]
    fn an_answer_starts_the_clock_anew() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut silence = Silence::new(Duration::ZERO, start);
        silence.passed().unwrap();
        silence.heard(start + second);
        assert_eq!(silence.due(), start + second * 151);
        silence.passed().unwrap();
    }
}
