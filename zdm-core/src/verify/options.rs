//! How a verification runs.

use std::path::PathBuf;
use std::time::Duration;

use crate::connect::ChunkSize;
use crate::schema::Selection;

/// How a verification runs. Its speed is bounded by the
/// [throttle](crate::migrate::Migration::throttle) of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Which of the run's tables, by their names at the source. All.
    pub tables: Selection,
    /// Parts that are compared at once, each with a connection to either
    /// side. Two.
    pub jobs: usize,
    /// How large a part is at the source. 16 MiB: a part that differs is read
    /// a second time.
    pub part: ChunkSize,
    /// How often a row must be found to differ, each time behind the stream
    /// and each time by the same values, before it is called different.
    /// Three.
    pub rounds: u32,
    /// How often a row that goes on changing is looked at before it is given
    /// up as unsettled. Twelve.
    pub attempts: u32,
    /// For how long the stream is waited for that makes no headway: nobody
    /// follows the run then. Thirty seconds.
    pub patience: Duration,
    /// Whether differences are repaired. The run must follow in this process.
    pub repair: bool,
    /// A file in which is kept how far it has come: with the same file it goes
    /// on from there. `None`: it begins anew each time.
    pub state: Option<PathBuf>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            tables: Selection::all(),
            jobs: 2,
            part: ChunkSize { bytes: 16 << 20 },
            rounds: 3,
            attempts: 12,
            patience: Duration::from_secs(30),
            repair: false,
            state: None,
        }
    }
}

/// One setter for each field, so that their docs stand in one place.
macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        impl VerifyOptions {
            $(#[doc = concat!("The same, with another [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            })*
        }
    };
}

setters! {
    tables: Selection,
    jobs: usize,
    part: ChunkSize,
    rounds: u32,
    attempts: u32,
    patience: Duration,
    repair: bool,
    state: Option<PathBuf>,
}
