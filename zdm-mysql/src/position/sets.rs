//! MySQL's GTID sets: of each source (a UUID and, since 8.3, a tag) the
//! intervals of transaction numbers.
//!
//! <https://dev.mysql.com/doc/refman/en/replication-gtids-concepts.html>

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use zdm_core::{Error, Result};

use super::coordinates::plain;
use super::strange;

/// The largest transaction number, as in the server (`GNO_END` - 1).
const LAST: u64 = i64::MAX as u64 - 1;

/// The UUID of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Uuid(pub(crate) [u8; 16]);

/// The tag of a source's GTIDs, in lower case. Most have none: it is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Tag(String);

/// Numbers from the first to the last one, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

/// A set of transactions.
///
/// Intervals are sorted, and neither overlap nor touch; no source is without
/// one. So one set has one text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GtidSet {
    sources: BTreeMap<(Uuid, Tag), Vec<Interval>>,
}

impl GtidSet {
    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether every transaction of `other` is in it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        other.sources.iter().all(|(source, wanted)| {
            let Some(held) = self.sources.get(source) else { return false };
            wanted.iter().all(|want| {
                // The only one that could hold it begins at or before it.
                let behind = held.partition_point(|have| have.first <= want.first);
                behind.checked_sub(1).and_then(|at| held.get(at)).is_some_and(|have| want.last <= have.last)
            })
        })
    }

    /// Adds one transaction.
    ///
    /// # Errors
    /// `Protocol` for a number that no transaction has.
    pub(crate) fn add(&mut self, uuid: Uuid, tag: &Tag, number: u64) -> Result<()> {
        if let Some(held) = self.sources.get_mut(&(uuid, tag.clone())) {
            insert(held, Interval::new(number, number)?);
            return Ok(());
        }
        self.add_interval(uuid, tag.clone(), Interval::new(number, number)?);
        Ok(())
    }

    /// Adds all of another set.
    pub(crate) fn unite(&mut self, other: &Self) {
        for ((uuid, tag), intervals) in &other.sources {
            for interval in intervals {
                self.add_interval(*uuid, tag.clone(), *interval);
            }
        }
    }

    /// The set without the transactions of another one.
    #[must_use]
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (source, held) in &self.sources {
            let taken = other.sources.get(source).map_or(&[][..], Vec::as_slice);
            for have in held {
                let mut first = have.first;
                for gap in taken.iter().filter(|gap| gap.last >= have.first && gap.first <= have.last) {
                    if gap.first > first {
                        rest.add_interval(
                            source.0,
                            source.1.clone(),
                            Interval { first, last: gap.first - 1 },
                        );
                    }
                    first = gap.last + 1;
                }
                if first <= have.last {
                    rest.add_interval(source.0, source.1.clone(), Interval { first, last: have.last });
                }
            }
        }
        rest
    }

    /// Whether it holds this transaction.
    pub(crate) fn has(&self, uuid: Uuid, tag: &Tag, number: u64) -> bool {
        self.sources.get(&(uuid, tag.clone())).is_some_and(|held| {
            let behind = held.partition_point(|have| have.first <= number);
            behind.checked_sub(1).and_then(|at| held.get(at)).is_some_and(|have| number <= have.last)
        })
    }

    fn add_interval(&mut self, uuid: Uuid, tag: Tag, interval: Interval) {
        insert(self.sources.entry((uuid, tag)).or_default(), interval);
    }

    /// The set as `COM_BINLOG_DUMP_GTID` carries it. A set with a tag takes
    /// the form that servers know since 8.3.
    ///
    /// The set: `n` sources (8 bytes; with tags `1 << 56 | n << 8 | 1`), of
    /// each its UUID, with tags the tag's length doubled and the tag, then the
    /// number of its intervals and of each the first number and the one behind
    /// the last (`Gtid_set::encode` in `sql/rpl_gtid_set.cc`).
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        let tagged = self.sources.keys().any(|(_, tag)| !tag.0.is_empty());
        let sources = self.sources.len() as u64;
        let head = if tagged { 1 << 56 | sources << 8 | 1 } else { sources };
        into.extend_from_slice(&head.to_le_bytes());
        for ((uuid, tag), intervals) in &self.sources {
            into.extend_from_slice(&uuid.0);
            if tagged {
                // OK because a tag has at most 32 bytes.
                into.push(u8::try_from(tag.0.len() * 2).unwrap_or(u8::MAX));
                into.extend_from_slice(tag.0.as_bytes());
            }
            into.extend_from_slice(&(intervals.len() as u64).to_le_bytes());
            for interval in intervals {
                into.extend_from_slice(&interval.first.to_le_bytes());
                into.extend_from_slice(&(interval.last + 1).to_le_bytes());
            }
        }
    }
}

impl Interval {
    fn new(first: u64, last: u64) -> Result<Self> {
        if first == 0 || first > last || last > LAST {
            return Err(strange("an interval of transaction numbers is out of order or range"));
        }
        Ok(Self { first, last })
    }
}

/// Adds an interval, joining what it touches.
fn insert(held: &mut Vec<Interval>, mut new: Interval) {
    // The usual case: the next transaction of its source.
    if let Some(last) = held.last_mut()
        && last.last + 1 == new.first
    {
        last.last = new.last;
        return;
    }
    // Those that overlap or touch: from the first whose end reaches `new` to
    // the last that begins by its end.
    let from = held.partition_point(|have| have.last + 1 < new.first);
    let to = held.partition_point(|have| have.first <= new.last + 1);
    for have in held.drain(from..to.max(from)) {
        new.first = new.first.min(have.first);
        new.last = new.last.max(have.last);
    }
    held.insert(from, new);
}

impl FromStr for GtidSet {
    type Err = Error;

    /// `uuid[:tag][:interval]…[:tag[:interval]…]…[,…]`, with blanks around
    /// commas and colons as the server allows them.
    fn from_str(text: &str) -> Result<Self> {
        let mut set = Self::default();
        for source in text.split(',').map(str::trim).filter(|source| !source.is_empty()) {
            let mut parts = source.split(':').map(str::trim);
            let uuid: Uuid = parts.next().unwrap_or("").parse()?;
            let mut tag = Tag::default();
            let mut intervals = 0;
            for part in parts {
                if part.starts_with(|c: char| c.is_ascii_digit()) {
                    let (first, last) = part.split_once('-').unwrap_or((part, part));
                    set.add_interval(
                        uuid,
                        tag.clone(),
                        Interval::new(plain(first.trim())?, plain(last.trim())?)?,
                    );
                    intervals += 1;
                } else {
                    tag = part.parse()?;
                }
            }
            if intervals == 0 {
                return Err(strange("a source has no transaction numbers"));
            }
        }
        Ok(set)
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut of = None;
        for ((uuid, tag), intervals) in &self.sources {
            match of {
                Some(last) if last == *uuid => {}
                Some(_) => write!(f, ",{uuid}")?,
                None => write!(f, "{uuid}")?,
            }
            of = Some(*uuid);
            if !tag.0.is_empty() {
                write!(f, ":{}", tag.0)?;
            }
            for Interval { first, last } in intervals {
                if first == last {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for Uuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || strange("a source is no uuid");
        let mut bytes = [0; 16];
        let mut digits =
            text.bytes().enumerate().filter(|(at, b)| !(*b == b'-' && matches!(at, 8 | 13 | 18 | 23)));
        if text.len() != 36 {
            return Err(wrong());
        }
        for byte in &mut bytes {
            let mut digit = || digits.next().and_then(|(_, b)| char::from(b).to_digit(16));
            let (high, low) = digit().zip(digit()).ok_or_else(wrong)?;
            // OK because both are below 16.
            *byte = u8::try_from(high << 4 | low).map_err(|_| wrong())?;
        }
        if digits.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let mark = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{mark}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Tag {
    type Err = Error;

    /// A letter or underscore, then up to 31 more or digits; in any case.
    fn from_str(text: &str) -> Result<Self> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let all = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !first || !all || text.len() > 32 {
            return Err(strange("a tag is out of shape"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}
