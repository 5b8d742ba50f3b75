//! Trying again after errors that say that it can help.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde::{Deserialize, Serialize};

use crate::Result;

/// How often and how soon an attempt is made again after an error that
/// [is retryable](crate::Error::is_retryable).
///
/// Delays grow by two from `first` to `longest`, each with jitter, and begin
/// anew once an attempt has made durable progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The delay before the second attempt.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
    /// Attempts without durable progress in between before the error is given
    /// to the caller; 0 for none but the first.
    pub attempts: usize,
}

impl Default for Retry {
    /// From 100 ms to 15 s, twenty times: about four minutes of outage.
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(15), attempts: 20 }
    }
}

impl Retry {
    /// No retry: every error goes to the caller.
    pub fn never() -> Self {
        Self { attempts: 0, ..Self::default() }
    }

    /// The delays, one for each further attempt.
    pub(crate) fn delays(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_max_times(self.attempts)
            .with_jitter()
            .build()
    }

    /// Does something, and again after each error that says that it can help.
    ///
    /// # Errors
    /// The last one.
    pub(crate) async fn run<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut delays = self.delays();
        loop {
            let error = match attempt().await {
                Err(error) if error.is_retryable() => error,
                done => return done,
            };
            let Some(delay) = delays.next() else { return Err(error) };
            tracing::warn!(%error, ?delay, "trying again");
            tokio::time::sleep(delay).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_end() {
        let retry =
            Retry { first: Duration::from_millis(10), longest: Duration::from_millis(40), attempts: 5 };
        let delays: Vec<_> = retry.delays().collect();
        assert_eq!(delays.len(), 5);
        assert!(delays[4] >= Duration::from_millis(40));
        assert_eq!(Retry::never().delays().count(), 0);
    }
}
