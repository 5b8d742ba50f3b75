//! What keeps writers out of a database, for a moment or for good.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Epoch, RunName};
use crate::schema::Schema;
use crate::{Error, ErrorKind, Position, Result};

/// Where a cutover stands, as the database that is *left* says it. This
/// record decides; all else is derived from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SwitchState {
    /// Somebody asks the process that follows to cut over, until the lease
    /// runs out. Epoch 0: nobody has taken it. Nothing has been done.
    Requested,
    /// A cutover is under way; the source is the active side.
    Preparing,
    /// The source is sealed; the target is the active side.
    Switched,
    /// What was asked for was given up, or was a rehearsal: the note says what
    /// became of it, until the lease runs out. Nothing is under way.
    Answered,
}

/// The durable record of a cutover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchRecord {
    /// The run.
    pub run: RunName,
    /// Where it stands.
    pub state: SwitchState,
    /// The epoch of the process that drives it.
    pub epoch: Epoch,
    /// Where the data goes, for the error that a stray writer gets: a host
    /// and database, never a password.
    pub target: String,
    /// The last position of the source before the switch.
    pub position: Option<Position>,
    /// How often the pair of runs has been switched with this one: 1 for the
    /// first, 2 for the way back from it. Of two records that say
    /// [`Switched`](SwitchState::Switched), one in each database, the higher
    /// one tells where the data is.
    pub leg: u32,
    /// Where the next leg begins in the log of the database that is switched
    /// to; `None` where nothing leads back.
    pub back: Option<Position>,
    /// Until when the process that drives it speaks for itself, in
    /// milliseconds since 1970 by the database's clock.
    pub lease_until: i64,
    /// What is asked for, what became of it, or the certificate of a switch, as
    /// JSON.
    pub note: Option<String>,
}

impl SwitchRecord {
    /// Whether it is about a cutover that is asked for, and none is under way.
    pub fn is_asked(&self) -> bool {
        matches!(self.state, SwitchState::Requested | SwitchState::Answered)
    }

    /// Whether it tells of a switch that came before leg `leg`.
    pub fn is_history(&self, leg: u32) -> bool {
        self.state == SwitchState::Switched && self.leg < leg
    }
}

/// Keeps writers out of the tables of a run.
///
/// A *hold* is up as long as its session lives; a *seal* outlasts every
/// session. Both let the writers of the run through, and those of the run that
/// leads the [other way](RunName::other): what they share is the
/// [pair's](RunName::pair) name.
#[async_trait]
pub trait Fence: Send + Sync {
    /// The database's clock in milliseconds since 1970: leases are counted by
    /// it, so that two machines whose clocks differ agree on what has run out.
    ///
    /// # Errors
    /// When the database fails.
    async fn now(&self) -> Result<i64>;

    /// Reads the record of a cutover; `None` if there is none.
    ///
    /// # Errors
    /// When the database fails.
    async fn record(&self, run: &RunName) -> Result<Option<SwitchRecord>>;

    /// Replaces the record, if it is still `old`: creates it (`None` to
    /// `Some`), renews its lease, or deletes it (`Some` to `None`).
    ///
    /// # Errors
    /// `Fenced` if it is not `old`; `Connection` if the outcome is unknown.
    /// `Ok` means that a [`Hold::seal`] that expects another record than the
    /// present one can no longer succeed, even if its COMMIT is under way.
    async fn swap(&self, run: &RunName, old: Option<&SwitchRecord>, new: Option<&SwitchRecord>)
    -> Result<()>;

    /// Makes ready what a [hold](Self::hold) and its seal lean on, so that
    /// neither takes long once writers wait for it. It refuses no writer and
    /// may come long before; but it may wait for transactions that have the
    /// tables open, and then keeps new ones waiting as briefly as a hold that
    /// is tried. Idempotent; a hold makes ready by itself what is not.
    ///
    /// # Errors
    /// `Timeout`, naming who was in the way, if the deadline passes; when the
    /// database fails or a right is missing.
    async fn arm(&self, run: &RunName, schema: &Schema, options: HoldOptions) -> Result<()>;

    /// Keeps all writers out of the tables and waits for those under way.
    ///
    /// Writers that come meanwhile wait; readers are not disturbed. It tries
    /// for a short time at once, again and again until the deadline, so that
    /// one long transaction does not make every other one wait behind us.
    ///
    /// # Errors
    /// `Timeout`, naming who was in the way, if the deadline passes.
    async fn hold(&self, run: &RunName, schema: &Schema, options: HoldOptions) -> Result<Box<dyn Hold>>;

    /// Seals the tables, with no hold: for a target that is being prepared.
    /// Idempotent.
    ///
    /// # Errors
    /// When the database fails or a right is missing.
    async fn seal(&self, run: &RunName, schema: &Schema, reason: &str) -> Result<()>;

    /// Removes the seal from the tables, in one transaction, for the switch
    /// that was leg `leg`. Idempotent.
    ///
    /// # Errors
    /// `Fenced` when this database has been left since: when the record that
    /// it keeps of the [other direction](RunName::other) is of a higher leg.
    /// A seal that came since stays then, whoever asks and however late. When
    /// the database fails.
    async fn unseal(&self, run: &RunName, schema: &Schema, leg: u32) -> Result<()>;
}

/// What [`Fence::unseal`] says when a switch of a higher leg has left the
/// database.
pub fn left_since(leg: u32) -> Error {
    Error::new(
        ErrorKind::Fenced,
        "the tables have been left again since the switch that would open them: look which side is active, \
         and let the newer process go on alone",
    )
    .with("leg", leg)
    .during("fence.unseal")
}

/// How a hold is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldOptions {
    /// For how long to try in all.
    pub deadline: Duration,
    /// For how long to wait for locks at once.
    pub patience: Duration,
}

impl Default for HoldOptions {
    /// Ten seconds in all, 200 ms at once.
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), patience: Duration::from_millis(200) }
    }
}

/// A fence that is up. It falls when it is dropped, when its session dies,
/// and when our process does.
#[async_trait]
pub trait Hold: Send {
    /// A point in the log behind every write that got in before the hold. The
    /// stream is sure to pass it soon.
    ///
    /// # Errors
    /// When the hold has fallen or the database fails.
    async fn marker(&mut self) -> Result<Position>;

    /// Makes sure that it is still up.
    ///
    /// # Errors
    /// `Fenced` if it has fallen.
    async fn check(&mut self) -> Result<()>;

    /// The commit point of a cutover: in the hold's own session and in one
    /// transaction, seals the tables and replaces the record `old` by `new`.
    /// The seal is there before the hold is gone.
    ///
    /// # Errors
    /// `Fenced` if the hold has fallen or the record is not `old`: nothing
    /// happened. `Connection` if the outcome is unknown: read the record.
    async fn seal(self: Box<Self>, old: &SwitchRecord, new: &SwitchRecord) -> Result<()>;

    /// Lets writers in again.
    ///
    /// # Errors
    /// When the session is already gone; the hold has fallen all the same.
    async fn release(self: Box<Self>) -> Result<()>;
}
