//! What makes a memory database fail on purpose.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// Where a memory database can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Point {
    /// A call that begins or resumes a snapshot.
    Snapshot,
    /// A chunk begins to be read.
    Read,
    /// A part of a chunk is handed over.
    Part,
    /// Rows are read again by key.
    Reread,
    /// A stream of changes is opened.
    Open,
    /// A batch of changes is handed over.
    Stream,
    /// A table is brought to a step.
    Prepare,
    /// A writer is opened.
    Writer,
    /// A batch is written.
    Write,
    /// A writer commits.
    Commit,
    /// A call of the checkpoint.
    Checkpoint,
    /// A transaction is in the log and not visible yet.
    Show,
    /// A call of the fence.
    Fence,
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is lost before the call does anything.
    Fail,
    /// The call does its work, and the connection is lost before it answers:
    /// a commit whose outcome is unknown.
    Lose,
    /// The call takes that much longer.
    Delay(Duration),
}

/// A safeguard of the engine that can be taken out, to prove that a test
/// notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Safeguard {
    /// A snapshot waits for transactions that were in progress at its start.
    WaitForInProgress,
    /// A resume behind the end of the log that is kept is refused.
    Gap,
    /// Rows are durable only together with their progress.
    OneTransaction,
    /// A writer's commit compares the epoch.
    Epoch,
    /// A writer's commit compares the old position.
    From,
    /// The key under which a moved row was is deleted.
    KeyMoves,
    /// A transaction that the filter emptied still moves the position on.
    Idle,
    /// A chunk of a table with no key knows exactly what it saw.
    Visibility,
    /// Cells that the log did not carry keep what the target has.
    Unchanged,
}

/// Makes the calls of a [`MemoryDatabase`](super::MemoryDatabase) fail, be
/// lost or be slow. A handle: clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    /// How often each point was passed.
    passed: BTreeMap<Point, u64>,
    /// What happens at which pass.
    planned: BTreeMap<(Point, u64), Fault>,
    random: Option<Random>,
    taken_out: Vec<Safeguard>,
}

#[derive(Debug)]
struct Random {
    generator: fastrand::Rng,
    fail: f64,
    longest: Duration,
}

/// How a call that was let through must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    Lost,
}

impl Outcome {
    /// The answer, unless it is lost.
    pub(super) fn answer<T>(self, answer: T) -> Result<T> {
        match self {
            Self::Answered => Ok(answer),
            Self::Lost => Err(lost("the connection was lost before the answer came")),
        }
    }
}

impl Faults {
    /// The `nth` pass of that point from now on, counted from 1, has that
    /// fault.
    pub fn plan(&self, point: Point, nth: u64, fault: Fault) {
        let mut plan = self.lock();
        let at = plan.passed.get(&point).copied().unwrap_or(0) + nth;
        plan.planned.insert((point, at), fault);
    }

    /// From now on each pass of any point fails with that probability (half
    /// of the failures lose only the answer), and takes up to `longest`.
    /// The same seed gives the same faults for the same calls.
    pub fn random(&self, seed: u64, fail: f64, longest: Duration) {
        self.lock().random = Some(Random { generator: fastrand::Rng::with_seed(seed), fail, longest });
    }

    /// No more faults; safeguards are back.
    pub fn clear(&self) {
        let mut plan = self.lock();
        plan.planned.clear();
        plan.random = None;
        plan.taken_out.clear();
    }

    /// How often a point was passed.
    pub fn passed(&self, point: Point) -> u64 {
        self.lock().passed.get(&point).copied().unwrap_or(0)
    }

    /// Takes a safeguard out.
    pub fn take_out(&self, safeguard: Safeguard) {
        self.lock().taken_out.push(safeguard);
    }

    pub(super) fn guards(&self, safeguard: Safeguard) -> bool {
        !self.lock().taken_out.contains(&safeguard)
    }

    pub(super) async fn hit(&self, point: Point) -> Result<Outcome> {
        let fault = self.lock().pass(point);
        match fault {
            None => Ok(Outcome::Answered),
            Some(Fault::Fail) => Err(lost("the connection was lost").with("at", point)),
            Some(Fault::Lose) => Ok(Outcome::Lost),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(Outcome::Answered)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn pass(&mut self, point: Point) -> Option<Fault> {
        let passed = self.passed.entry(point).or_default();
        *passed += 1;
        let planned = self.planned.remove(&(point, *passed));
        planned.or_else(|| self.random.as_mut().and_then(Random::fault))
    }
}

impl Random {
    fn fault(&mut self) -> Option<Fault> {
        if self.generator.f64() < self.fail {
            return Some(if self.generator.bool() { Fault::Fail } else { Fault::Lose });
        }
        (!self.longest.is_zero()).then(|| Fault::Delay(self.longest.mul_f64(self.generator.f64())))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

fn lost(message: &str) -> Error {
    Error::new(ErrorKind::Connection, message)
}
