//! What a cutover reports, and a rehearsal.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Position;
use crate::change::DateTime;
use crate::connect::{Epoch, RunName, SequenceValue};
use crate::migrate::certificate::Certificate;
use crate::run::Equal;

/// Step 5: what was compared under the fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verification {
    /// Nothing was.
    Skipped,
    /// What was touched since both sides were last found equal; each table, by
    /// its name at the target.
    Touched(BTreeMap<String, TableScope>),
}

/// What was compared of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableScope {
    /// When all its rows were last compared and equal, as RFC 3339 in UTC, by
    /// the clock of the process.
    pub at: String,
    /// Rows that were compared then.
    pub rows: u64,
    /// Rows that the stream has touched since, and that were compared under the
    /// fence, by their keys; `None` for a table whose rows no key finds on both
    /// sides.
    pub touched: Option<u64>,
}

impl TableScope {
    pub(crate) fn new(equal: Equal, touched: Option<u64>) -> Self {
        Self { at: rfc3339(equal.at), rows: equal.rows, touched }
    }
}

/// Step 7: the way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reverse {
    /// There is none.
    None,
    /// [`Migration::back`](crate::migrate::Migration::back) follows from here in
    /// the log of the target: behind all that was moved, and before all that
    /// the application will write.
    From(Position),
}

/// How long each part of the pause took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Until the requests inside the gate had ended.
    pub gate_ms: f64,
    /// Until the fence was up.
    pub fence_ms: f64,
    /// Until the target had everything.
    pub drain_ms: f64,
    /// Verification under the fence.
    pub verify_ms: f64,
    /// Sequences, triggers and foreign keys, and the way back's start.
    pub finish_ms: f64,
    /// The commit point.
    pub switch_ms: f64,
    /// Until the target was open and the gate flipped.
    pub open_ms: f64,
    /// From the first moment at which a writer had to wait to the last.
    pub total_ms: f64,
}

/// A cutover that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// The run.
    pub run: RunName,
    /// The epoch of the process that did it.
    pub epoch: Epoch,
    /// Where the data went.
    pub target: String,
    /// The marker behind the last write of the source. The target's durable
    /// progress had passed it before the switch.
    pub position: Position,
    /// What writers felt.
    pub pause: Pause,
    /// The live values of the source's sequences under the fence.
    pub sequences: Vec<SequenceValue>,
    /// How far behind them the target's were set.
    pub sequence_margin: u32,
    /// What was compared under the fence.
    pub verification: Verification,
    /// The way back. Step 10 starts it.
    pub reverse: Reverse,
    /// How often the pair of runs has been switched with this one.
    pub leg: u32,
    /// The evidence that nothing was lost, where
    /// [`certificate`](super::CutoverOptions::certificate) asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

/// A cutover that was gone through up to step 5, and given back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rehearsal {
    /// The run.
    pub run: RunName,
    /// The epoch of the process that did it.
    pub epoch: Epoch,
    /// Which switch it was a rehearsal of.
    pub leg: u32,
    /// The marker behind the last write before the fence.
    pub position: Position,
    /// How far the target was behind at step 0, in bytes of the log.
    pub bytes_behind: u64,
    /// What step 0 predicted for the hold and the drain together, in
    /// milliseconds, as far as it could.
    pub predicted_ms: f64,
    /// What writers felt, step by step. Those that a rehearsal has not are 0:
    /// of a cutover it lacks what sequences, foreign keys and the switch take.
    pub pause: Pause,
    /// What was compared under the fence.
    pub verification: Verification,
}

/// What whoever asked another process for a cutover is told, unless it has
/// switched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It was a rehearsal.
    Rehearsed(Box<Rehearsal>),
    /// It was given up, and everything undone.
    GivenUp {
        /// The error's kind.
        kind: String,
        /// What it says.
        message: String,
    },
}

pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A time in UTC.
pub(crate) fn rfc3339(at: DateTime) -> String {
    format!("{}Z", at.to_string().replacen(' ', "T", 1))
}
