//! Which partitions belong to which table of the run.
//!
//! Changes are published under the partition that they happened in, since the
//! root's name would hide the TRUNCATE of one partition. New partitions come
//! along by themselves; the catalog is asked when the log first names one.

use hashbrown::{HashMap, HashSet};

/// What the catalog says about partitions, as of when it was asked.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    root_of: HashMap<u32, u32>,
    /// Published, but not part of the run.
    elsewhere: HashSet<u32>,
    leaves: HashMap<u32, Vec<u32>>,
    /// Whom the log named and we did not know.
    wanted: HashSet<u32>,
    /// Read, and not yet used for a decision that only fresh knowledge allows.
    fresh: bool,
}

/// Where a relation belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belongs {
    /// To this table of the run.
    To(u32),
    /// To the publication, but not to the run.
    Elsewhere,
}

/// One partition of a table, or a table that the publication has besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) relation: u32,
    pub(super) belongs: Belongs,
    /// Whether rows lie in it, rather than in partitions of its own.
    pub(super) leaf: bool,
}

impl Partitions {
    /// What was just read from the catalog. `wanted` are those it was asked for.
    pub(super) fn new(entries: impl IntoIterator<Item = Entry>, wanted: HashSet<u32>) -> Self {
        let mut read = Self { wanted, fresh: true, ..Self::default() };
        for entry in entries {
            match entry.belongs {
                Belongs::Elsewhere => {
                    read.elsewhere.insert(entry.relation);
                }
                Belongs::To(root) => {
                    read.root_of.insert(entry.relation, root);
                    if entry.leaf {
                        read.leaves.entry(root).or_default().push(entry.relation);
                    }
                }
            }
        }
        read
    }

    pub(super) fn belongs(&self, id: u32) -> Option<Belongs> {
        match self.root_of.get(&id) {
            Some(root) => Some(Belongs::To(*root)),
            None => self.elsewhere.contains(&id).then_some(Belongs::Elsewhere),
        }
    }

    /// The partitions of a root in which rows lie.
    pub(super) fn leaves(&self, root: u32) -> impl Iterator<Item = u32> {
        self.leaves.get(&root).into_iter().flatten().copied()
    }

    /// Whether the catalog was asked for this relation already.
    pub(super) fn looked_for(&self, id: u32) -> bool {
        self.wanted.contains(&id)
    }

    /// Notes that the catalog is to be asked.
    pub(super) fn look_for(&mut self, id: u32) {
        self.wanted.insert(id);
    }

    /// Those that the log named and that were not known.
    pub(super) fn wanted(&self) -> &HashSet<u32> {
        &self.wanted
    }

    /// Whether this was read since it was last asked for; true once.
    pub(super) fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }
}
