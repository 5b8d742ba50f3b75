//! The coalescing of one table's changes, key by key.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::held::{Held, ImageAt, Place, is_whole, too_many};
use crate::Result;
use crate::change::{CellRef, Format, Op};
use crate::schema::Table;

/// What has become of the keys of one table so far.
#[derive(Debug)]
pub(super) struct Keyed {
    table: Arc<Table>,
    index: HashTable<u32>,
    entries: Vec<Entry>,
    /// Images behind images, newest first.
    links: Vec<Link>,
    hasher: RandomState,
    /// The format of each key column, once seen.
    formats: Vec<Option<Format>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    hash: u64,
    pub(super) key: ImageAt,
    pub(super) state: State,
}

/// What a key has come to.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// Nothing was said of it yet.
    Untouched,
    /// No row has it.
    Gone,
    /// A row that had this key all along was changed.
    Updated { newest: Option<u32> },
    /// A row came to have this key; cells that the group does not know lie
    /// under `from` in the target as the group finds it.
    Put { newest: Option<u32>, from: Option<ImageAt> },
}

/// An image, and the one behind it that knows the cells which it left out.
#[derive(Debug)]
struct Link {
    image: ImageAt,
    older: Option<u32>,
}

impl Keyed {
    pub(super) fn new(table: Arc<Table>) -> Self {
        Self {
            formats: vec![None; table.key_columns().len()],
            table,
            index: HashTable::new(),
            entries: Vec::new(),
            links: Vec::new(),
            hasher: RandomState::default(),
        }
    }

    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Memory of its own, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.links.capacity() * size_of::<Link>()
            + self.index.capacity() * (size_of::<u32>() + 1)
    }

    /// Whether the keys of a row are in the formats of the keys before it, so
    /// that their bytes can be compared.
    pub(super) fn comparable(&mut self, held: &Held, place: Place) -> bool {
        let row = held.row(place);
        let images = [row.before().map(|_| place.before()), row.after().map(|_| place.after())];
        let key = self.table.key_columns();
        for image in images.into_iter().flatten() {
            for (seen, format) in self.formats.iter_mut().zip(held.formats(image, key)) {
                match (*seen, format) {
                    (None, _) => *seen = format,
                    (Some(seen), Some(format)) if seen != format => return false,
                    _ => {}
                }
            }
        }
        true
    }

    /// Takes a change in.
    pub(super) fn apply(&mut self, held: &Held, place: Place) -> Result<()> {
        let row = held.row(place);
        match (row.op(), row.before().is_some()) {
            (Op::Insert, _) => {
                let at = self.entry(held, place.after())?;
                let newest = Some(self.link(held, place, None)?);
                self.entries[at].state = State::Put { newest, from: None };
            }
            (Op::Delete, _) => {
                let at = self.entry(held, place.before())?;
                self.entries[at].state = State::Gone;
            }
            (Op::Update, true) if !held.same_key(place.before(), place.after(), self.table.key_columns()) => {
                self.moved(held, place)?;
            }
            (Op::Update, old) => {
                let key = if old { place.before() } else { place.after() };
                self.updated(held, key, place)?;
            }
        }
        Ok(())
    }

    /// A row left its key for another: the old is deleted, the new is put,
    /// with what is known of the row.
    fn moved(&mut self, held: &Held, place: Place) -> Result<()> {
        let old = self.entry(held, place.before())?;
        let (known, from) = match self.entries[old].state {
            State::Untouched => (None, Some(place.before())),
            State::Updated { newest } => (newest, Some(place.before())),
            State::Put { newest, from } => (newest, from),
            State::Gone => (None, None),
        };
        self.entries[old].state = State::Gone;
        let new = self.entry(held, place.after())?;
        let newest = Some(self.link(held, place, known)?);
        self.entries[new].state = State::Put { newest, from };
        Ok(())
    }

    fn updated(&mut self, held: &Held, key: ImageAt, place: Place) -> Result<()> {
        let at = self.entry(held, key)?;
        let state = self.entries[at].state;
        let known = match state {
            State::Updated { newest } | State::Put { newest, .. } => newest,
            State::Untouched | State::Gone => None,
        };
        let newest = Some(self.link(held, place, known)?);
        self.entries[at].state = match state {
            State::Untouched | State::Updated { .. } => State::Updated { newest },
            State::Put { from, .. } => State::Put { newest, from },
            State::Gone => State::Put { newest, from: None },
        };
        Ok(())
    }

    /// Puts the new image of a row in front of what is known of it.
    fn link(&mut self, held: &Held, place: Place, known: Option<u32>) -> Result<u32> {
        let row = held.row(place);
        let mut older = None;
        if !row.after().is_some_and(is_whole) {
            older = known;
            if let Some(before) = row.before() {
                let behind = if is_whole(before) { None } else { known };
                older = Some(self.push(place.before(), behind)?);
            }
        }
        self.push(place.after(), older)
    }

    fn push(&mut self, image: ImageAt, older: Option<u32>) -> Result<u32> {
        let at = u32::try_from(self.links.len()).map_err(|_| too_many())?;
        self.links.push(Link { image, older });
        Ok(at)
    }

    /// The entry of a key, made if it is new.
    fn entry(&mut self, held: &Held, key: ImageAt) -> Result<usize> {
        let Self { table, index, entries, hasher, .. } = self;
        let columns = table.key_columns();
        let hash = held.hash(key, columns, hasher)?;
        let same = |&at: &u32| {
            let entry = &entries[at as usize];
            entry.hash == hash && held.same_key(entry.key, key, columns)
        };
        if let Some(&at) = index.find(hash, same) {
            return Ok(at as usize);
        }
        let at = u32::try_from(entries.len()).map_err(|_| too_many())?;
        index.insert_unique(hash, at, |&at| entries[at as usize].hash);
        entries.push(Entry { hash, key, state: State::Untouched });
        Ok(at as usize)
    }

    /// What is known of a cell, from the newest image backwards.
    pub(super) fn cell<'a>(&self, held: &'a Held, newest: Option<u32>, column: usize) -> Option<CellRef<'a>> {
        let mut next = newest;
        while let Some(at) = next {
            let link = &self.links[at as usize];
            let cell = held.image(link.image).cell(column);
            if !cell.is_unchanged() {
                return Some(cell);
            }
            next = link.older;
        }
        None
    }
}
