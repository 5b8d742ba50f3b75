//! The suite that every connector must pass: one check for each clause of the
//! contracts in [`connect`](crate::connect). Behind the feature `conformance`.
//!
//! A connector implements [`Harness`] in its tests and runs [`all`]:
//!
//! ```ignore
//! #[tokio::test]
//! async fn my_engine_keeps_the_contracts() {
//!     zdm_core::conformance::all(&MyHarness::start().await).await.assert();
//! }
//! ```
//!
//! A clause that an engine cannot keep must be named in
//! [`Harness::unsupported`] with the reason; anything else that is missing
//! fails. The memory engine's harness, in this crate's tests, is an example
//! of a hundred lines.
//!
//! What it does not check: types (each engine has its own), speed, and what
//! only a real network does.

mod changes;
mod checkpoint;
mod events;
mod harness;
mod sink;
mod snapshot;
mod target;
mod world;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

pub use harness::{Database, Harness, ITEMS, OTHERS, Open, PLAIN, Row, Statement};

use crate::connect::Checkpoint;

/// For how long one clause may run: whoever hangs fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a clause does not hold.
#[derive(Debug)]
pub struct Broken(String);

impl From<crate::Error> for Broken {
    fn from(error: crate::Error) -> Self {
        Self(format!("{error:?}"))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Verdict<T = ()> = Result<T, Broken>;

/// Ends a check with a reason unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::conformance::Broken(format!($($why)+)));
        }
    };
}
use ensure;

/// One clause and its check.
struct Clause {
    name: &'static str,
    check: for<'a> fn(&'a dyn Harness) -> BoxFuture<'a, Verdict>,
}

/// Names each check by its function.
macro_rules! clauses {
    ($room:literal: $($check:ident),+ $(,)?) => {
        pub(super) const CLAUSES: &[$crate::conformance::Clause] = &[$($crate::conformance::Clause {
            name: concat!($room, "::", stringify!($check)),
            check: |harness| Box::pin($check(harness)),
        }),+];
    };
}
use clauses;

/// How one clause ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It holds.
    Held,
    /// It does not.
    Broken(String),
    /// The harness says that the engine cannot keep it.
    Unsupported(&'static str),
}

/// How each clause ended, by name.
#[derive(Debug)]
#[must_use = "a report that nobody looks at proves nothing"]
pub struct Report {
    outcomes: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// All clauses and how they ended.
    pub fn outcomes(&self) -> &[(&'static str, Outcome)] {
        &self.outcomes
    }

    /// The names of the clauses that do not hold.
    pub fn broken(&self) -> Vec<&'static str> {
        let broken = self.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Broken(_)));
        broken.map(|(name, _)| *name).collect()
    }

    /// Prints each clause.
    ///
    /// # Panics
    /// If one does not hold, or none ran.
    #[expect(clippy::print_stdout, reason = "tests show it when they fail")]
    pub fn assert(&self) {
        println!("{self}");
        let held = self.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Held)).count();
        assert!(self.broken().is_empty() && held > 0, "the connector breaks its contract:\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcomes.iter().try_for_each(|(name, outcome)| match outcome {
            Outcome::Held => writeln!(f, "{name}: holds"),
            Outcome::Broken(why) => writeln!(f, "{name}: BROKEN: {why}"),
            Outcome::Unsupported(why) => writeln!(f, "{name}: unsupported: {why}"),
        })
    }
}

/// Runs every clause: source, snapshot, sink, and the sink's checkpoint.
pub async fn all(harness: &dyn Harness) -> Report {
    matching(harness, "").await
}

/// Runs the clauses whose name (`room::clause`) contains that text.
pub async fn matching(harness: &dyn Harness, text: &str) -> Report {
    let unsupported = harness.unsupported();
    let rooms = [changes::CLAUSES, snapshot::CLAUSES, sink::CLAUSES, checkpoint::CLAUSES];
    let mut outcomes = Vec::new();
    for clause in rooms.into_iter().flatten().filter(|clause| clause.name.contains(text)) {
        let why = unsupported.iter().find(|(name, _)| *name == clause.name);
        outcomes.push((
            clause.name,
            match why {
                Some((_, why)) => Outcome::Unsupported(why),
                None => judged((clause.check)(harness)).await,
            },
        ));
    }
    for (name, _) in &unsupported {
        if !rooms.into_iter().flatten().any(|clause| clause.name == *name) {
            outcomes.push((name, Outcome::Broken("no clause has this name".to_owned())));
        }
    }
    Report { outcomes }
}

/// Runs the clauses of a [`Checkpoint`] that belongs to no sink. Its runs are
/// named `conformance…`.
pub async fn checkpoint(checkpoint: Arc<dyn Checkpoint>) -> Report {
    let outcome = judged(checkpoint::contract(checkpoint.as_ref())).await;
    Report { outcomes: vec![("checkpoint::contract", outcome)] }
}

async fn judged(check: impl Future<Output = Verdict>) -> Outcome {
    // A panic breaks its clause and not the suite. OK because nothing that the
    // check has touched is looked at afterwards.
    let check = AssertUnwindSafe(check).catch_unwind();
    match tokio::time::timeout(LIMIT, check).await {
        Ok(Ok(Ok(()))) => Outcome::Held,
        Ok(Ok(Err(why))) => Outcome::Broken(why.0),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Outcome::Broken(format!("it panics: {}", text.unwrap_or_default()))
        }
        Err(_) => Outcome::Broken(format!("it did not end within {LIMIT:?}")),
    }
}
