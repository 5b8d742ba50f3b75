//! The bound on what is under way between a source and a sink, in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A shared bound on the bytes of all batches that are alive.
///
/// A source takes a [`Permit`] for a batch before it hands it over; the permit
/// travels inside the batch, through every stage, and is given back when the
/// last part of the batch is dropped. So memory is bounded however large the
/// table, and a slow sink slows the source and nothing else.
#[derive(Debug, Clone)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    bytes: u32,
}

impl Budget {
    /// A budget of that many bytes.
    pub fn new(bytes: u32) -> Self {
        // OK because u32 fits usize on every platform that tokio supports.
        Self { semaphore: Arc::new(Semaphore::new(bytes as usize)), bytes }
    }

    /// Waits until `bytes` are free and takes them. More than three quarters
    /// of the budget takes three quarters: such a batch is let through alone,
    /// but for the quarter that a writer may
    /// [hold back](crate::connect::WriterOptions::hold_back). In the middle of
    /// a transaction that comes free only with the batch that waits here.
    ///
    /// Cancel-safe: a dropped future has taken nothing.
    pub async fn acquire(&self, bytes: usize) -> Permit {
        let most = (self.bytes - self.bytes / 4).max(1);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, most);
        let permit = Arc::clone(&self.semaphore).acquire_many_owned(bytes).await;
        Permit { _held: permit.ok() } // the semaphore is never closed
    }

    /// Bytes that are free now.
    pub fn available(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// The whole, in bytes.
    pub fn total(&self) -> u32 {
        self.bytes
    }
}

/// A share of a [`Budget`], given back on drop.
#[derive(Debug)]
pub struct Permit {
    _held: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn larger_than_the_whole_goes_beside_what_a_writer_holds_back() {
        let budget = Budget::new(100);
        let held_back = budget.acquire(25).await;
        let under_way = budget.acquire(1).await;
        let mut all = tokio_test_poll(budget.acquire(1_000));
        assert!(all.try_now().is_none());
        drop(under_way);
        let permit = all.try_now().unwrap();
        assert_eq!(budget.available(), 0);
        drop((permit, held_back));
        assert_eq!(budget.available(), 100);
    }

    /// Polls a future by hand.
    struct Poll<F>(std::pin::Pin<Box<F>>);

    fn tokio_test_poll<F: Future>(future: F) -> Poll<F> {
        Poll(Box::pin(future))
    }

    impl<F: Future> Poll<F> {
        fn try_now(&mut self) -> Option<F::Output> {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match self.0.as_mut().poll(&mut context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            }
        }
    }
}
