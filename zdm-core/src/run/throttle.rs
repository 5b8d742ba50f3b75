//! A bound on the speed of the copy, for the sake of the source.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// At most so many bytes a second through all who share it. Can be changed
/// while it is used.
#[derive(Debug, Clone)]
pub struct Throttle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Bytes a second; 0 is without bound.
    rate: AtomicU64,
    /// When all that was let through so far is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Throttle {
    /// Without bound.
    pub fn unlimited() -> Self {
        Self::new(0)
    }

    /// At most that many bytes a second; 0 is without bound.
    pub fn new(bytes_a_second: u64) -> Self {
        Self(Arc::new(Inner { rate: AtomicU64::new(bytes_a_second), paid: Mutex::new(None) }))
    }

    /// Changes the bound from the next batch on.
    pub fn set(&self, bytes_a_second: u64) {
        self.0.rate.store(bytes_a_second, Ordering::Relaxed);
    }

    /// Waits until `bytes` more may pass. Cancel-safe: a caller that gives up
    /// has been counted, which errs on the slow side.
    pub(crate) async fn pass(&self, bytes: usize) {
        let rate = self.0.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        // OK because a batch is far below 2^52 bytes, and a wrong last digit
        // of a delay harms nothing.
        #[expect(clippy::cast_precision_loss)]
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let until = {
            let mut paid = self.0.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let from = paid.filter(|paid| *paid > now).unwrap_or(now);
            *paid = Some(from + cost);
            from
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_and_no_bound_takes_none() {
        let (throttle, began) = (Throttle::new(1_000), Instant::now());
        for _ in 0..5 {
            throttle.pass(500).await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        throttle.set(0);
        throttle.pass(1 << 30).await;
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }
}
