//! Which description of a table counts, of those that the log has given.
//!
//! The server describes a table once, and again when it has changed. Within a
//! streamed transaction it does so for that one alone, since nobody can know
//! then in which order it will come; once that one is committed, the server
//! takes its descriptions for known. It may have described the table to
//! others meanwhile. So each has a number, in the order in which they were
//! sent, and the newest one that was committed counts.
//!
//! (`get_schema_sent_in_streamed_txn` and `cleanup_rel_sync_cache` in
//! `pgoutput.c`.)

use hashbrown::HashMap;
use zdm_core::Result;

use super::message::broken;
use super::relation::Relation;

/// By the number that row messages use for a table.
type Known = HashMap<u32, Described>;

#[derive(Debug)]
struct Described {
    number: u64,
    /// `None` lies outside the run.
    relation: Option<Relation>,
}

/// The relations that row messages may name.
#[derive(Debug, Default)]
pub(super) struct Relations {
    known: Known,
    /// Those of the streamed transaction that is being decoded.
    streamed: Option<Known>,
    /// How many have come.
    count: u64,
}

impl Relations {
    /// The number of a description that comes now.
    pub(super) fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(super) fn describe(&mut self, id: u32, number: u64, relation: Option<Relation>) {
        self.streamed.as_mut().unwrap_or(&mut self.known).insert(id, Described { number, relation });
    }

    /// The relation of a row message; `None` lies outside the run.
    pub(super) fn known(&self, id: u32) -> Result<Option<&Relation>> {
        self.streamed
            .as_ref()
            .unwrap_or(&self.known)
            .get(&id)
            .map(|described| described.relation.as_ref())
            .ok_or_else(|| broken("a row of a table that was never described").with("oid", id))
    }

    /// The rows of a streamed transaction follow.
    pub(super) fn begin_streamed(&mut self) {
        self.streamed = Some(Known::new());
    }

    /// They were all there are.
    pub(super) fn end_streamed(&mut self) {
        for (id, described) in self.streamed.take().into_iter().flatten() {
            if self.known.get(&id).is_none_or(|known| known.number < described.number) {
                self.known.insert(id, described);
            }
        }
    }
}
