//! How fast the source's log is applied while there is work to do, which is
//! what a drain's length is told from.
//!
//! Counted are stretches of work: from rows that come while nothing is behind
//! to the commit that leaves nothing behind again. A stretch tells a rate once
//! it has lasted: one that is over at once says how small the groups were, and
//! not how fast a backlog goes. One that goes on and on tells of its last part
//! only, and one that no commit ends tells of the standstill.

use std::time::Duration;

use tokio::time::Instant;

/// A shorter stretch tells nothing; sources may count once a second.
const SHORTEST: Duration = Duration::from_secs(2);
/// A stretch is told by its last one or two of these.
const WINDOW: Duration = Duration::from_secs(10);

/// How many bytes were applied by when.
#[derive(Debug, Clone, Copy)]
struct Mark {
    time: Instant,
    bytes: u64,
}

impl Mark {
    /// Bytes in a second since `earlier`, if that is long enough ago.
    fn rate_since(self, earlier: Self) -> Option<u64> {
        let took = self.time.duration_since(earlier.time);
        if took < SHORTEST {
            return None;
        }
        let bytes = u128::from(self.bytes.saturating_sub(earlier.bytes));
        u64::try_from(bytes * 1000 / took.as_millis()).ok()
    }
}

#[derive(Debug)]
struct Stretch {
    from: Mark,
    /// Where the next window begins.
    middle: Mark,
    /// The last commit.
    to: Mark,
}

/// The rate, from the stretches of work that were seen.
#[derive(Debug, Default)]
pub(super) struct Rate {
    stretch: Option<Stretch>,
    /// What the last stretch that told something has told.
    last: Option<u64>,
}

impl Rate {
    /// Rows have come, with `bytes` applied before them.
    pub(super) fn begins(&mut self, bytes: u64) {
        let mark = Mark { time: Instant::now(), bytes };
        self.stretch.get_or_insert(Stretch { from: mark, middle: mark, to: mark });
    }

    /// Rows are durable, `bytes` with them.
    pub(super) fn committed(&mut self, bytes: u64) {
        let Some(stretch) = &mut self.stretch else { return };
        stretch.to = Mark { time: Instant::now(), bytes };
        if stretch.to.time.duration_since(stretch.middle.time) >= WINDOW {
            stretch.from = std::mem::replace(&mut stretch.middle, stretch.to);
        }
    }

    /// Nothing is behind, or nothing that bears rows.
    pub(super) fn ends(&mut self) {
        if let Some(Stretch { from, to, .. }) = self.stretch.take() {
            self.last = to.rate_since(from).or(self.last);
        }
    }

    /// The stream has ended, and its count.
    pub(super) fn breaks(&mut self) {
        self.stretch = None;
    }

    /// Bytes in a second, with `bytes` applied by now.
    pub(super) fn bytes_per_second(&self, bytes: u64) -> Option<u64> {
        let now = Mark { time: Instant::now(), bytes };
        let going_on = self.stretch.as_ref().and_then(|stretch| now.rate_since(stretch.from));
        going_on.or(self.last)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_that_of_work_and_not_of_idle_time() {
        let mut rate = Rate::default();
        rate.begins(0);
        advance(Duration::from_secs(1)).await;
        rate.committed(50);
        rate.ends();
        assert_eq!(rate.bytes_per_second(50), None, "too short to tell");
        rate.begins(100);
        advance(Duration::from_secs(4)).await;
        rate.committed(500);
        assert_eq!(rate.bytes_per_second(500), Some(100));
        // The commit was the end of it, however late that is noticed.
        advance(Duration::from_secs(3600)).await;
        rate.ends();
        assert_eq!(rate.bytes_per_second(500), Some(100));
        rate.begins(500);
        advance(Duration::from_secs(1)).await;
        assert_eq!(rate.bytes_per_second(500), Some(100), "the last that told something");
        advance(Duration::from_secs(9)).await;
        assert_eq!(rate.bytes_per_second(500), Some(0), "it stands still with work to do");
        rate.breaks();
        assert_eq!(rate.bytes_per_second(0), Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_stretch_tells_of_its_last_part() {
        let mut rate = Rate::default();
        rate.begins(0);
        let mut bytes = 0;
        for (seconds, each) in [(100, 1_000), (20, 10)] {
            for _ in 0..seconds {
                advance(Duration::from_secs(1)).await;
                bytes += each;
                rate.committed(bytes);
            }
        }
        assert_eq!(rate.bytes_per_second(bytes), Some(10));
    }
}
