//! Rows that the stream does not carry whole, read again from the source, and
//! why a run becomes consistent though its source never rests.
//!
//! A row that is read again comes from a moment ahead of the stream, so the
//! run is consistent only behind that moment's *after* point. If every such
//! row moved that point to the present, a source with a steady share of them
//! would never be caught: however quick the target is, while one group is
//! applied the next such row is written. Three rules end that.
//!
//! 1. A source keeps one moment for as long as it will do
//!    ([`Snapshot::reread`]). For a transaction that the moment has seen, no
//!    goal is added: the moment's own is there already.
//! 2. A group ends at the boundary that reaches the last goal, though more has
//!    arrived. So behind a moment's *after* point nothing is applied before
//!    the run is consistent.
//! 3. A group holds either transactions that the moment has seen, or such that
//!    it has not, and never both.
//!
//! Then only one kind of transaction can move the consistent point on: its
//! commit is in the log before the *after* point, and yet the moment has not
//! seen it. It was in the middle of its commit at the instant in which the
//! moment was taken. There are no more of these than sessions that commit at
//! one instant, however long the stream's way to that point is and however
//! much is written meanwhile. So whether one more moment is needed is decided
//! anew each time, by a chance that neither the lag nor the length of the copy
//! makes worse; and the distance to go does not grow from moment to moment as
//! long as changes are applied faster than they are made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::change::{Batch, Xid};
use crate::connect::{After, Reread, Snapshot};
use crate::pipeline::Transform;
use crate::schema::Table;
use crate::{Position, Result};

/// Reads through the stages, and remembers behind which points the consistent
/// point has moved by that.
pub(crate) struct SourceReread {
    snapshot: Arc<dyn Snapshot>,
    stages: Arc<dyn Transform>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The transactions of the group that is being gathered.
    group: Vec<Xid>,
    /// Goals that its rereads have added.
    goals: Vec<Position>,
    /// The moment in which rows were read last.
    last: Option<After>,
}

impl SourceReread {
    pub(crate) fn new(snapshot: Arc<dyn Snapshot>, stages: Arc<dyn Transform>) -> Self {
        Self { snapshot, stages, state: Mutex::default() }
    }

    /// A transaction joins the group.
    pub(crate) fn joins(&self, xid: Xid) {
        self.state().group.push(xid);
    }

    /// The last transaction of the group.
    pub(crate) fn newest(&self) -> Option<Xid> {
        self.state().group.last().copied()
    }

    /// Whether a group must end between these two transactions (rule 3).
    ///
    /// # Errors
    /// As [`Snapshot::saw`].
    pub(crate) fn part(&self, one: Xid, other: Xid) -> Result<bool> {
        match self.state().last.as_ref().and_then(|after| after.visibility.as_ref()) {
            Some(moment) => Ok(self.snapshot.saw(moment, one)? != self.snapshot.saw(moment, other)?),
            None => Ok(false),
        }
    }

    /// The group has been applied: gives the goals that it has added.
    pub(crate) fn end_group(&self) -> Vec<Position> {
        let mut state = self.state();
        state.group.clear();
        std::mem::take(&mut state.goals)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Reread for SourceReread {
    async fn reread(&self, table: &Arc<Table>, keys: Batch) -> Result<Batch> {
        let (source_table, keys) = self.stages.keys_back(table, keys)?;
        let behind = self.state().group.clone();
        let (rows, after) = self.snapshot.reread(&source_table, &keys, &behind).await?;
        if self.state().last.as_ref().is_none_or(|last| last.position != after.position) {
            self.snapshot.flushed(&after.position).await?;
            self.state().goals.push(after.position.clone());
        }
        self.state().last = Some(after);
        self.stages.batch(rows)
    }
}
