//! Where in the log we are: the point behind the last event, in all the words
//! that a position has.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use zdm_core::Result;

use super::event::{Header, kind};
use super::reader::broken;
use crate::position::{Coordinates, Domains, FilePoint, GtidSet, Gtids, Low, MariaGtid, Point, Tag, Uuid};

/// The name of a transaction, as its server gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    MySql(Uuid, Tag, u64),
    Maria(MariaGtid),
    /// GTIDs are off.
    None,
}

/// Follows the log.
#[derive(Debug)]
pub(super) struct Place {
    server: u32,
    /// The transactions that the reader has, if it goes by them.
    gtids: Option<Gtids>,
    /// The file that is read, once the stream has named it.
    file: Option<FilePoint>,
    /// Where the reader was, on this server: what comes first may be read again.
    floor: Option<Coordinates>,
    /// Why it is read again.
    low: Option<Low>,
    /// MariaDB: by domain, the transaction up to which it is.
    again: BTreeMap<u32, MariaGtid>,
}

impl Place {
    /// The place of a stream that begins behind `from`, on that server.
    pub(super) fn new(from: &Point, server: u32) -> Self {
        // With another server's coordinates nothing can be compared.
        let floor = from.at.clone().filter(|at| at.server == server);
        let again = match (&from.gtids, &from.low) {
            (Some(Gtids::Domains(have)), Some(Low::Domains(low))) => have
                .iter()
                .filter(|gtid| low.last(gtid.domain) != Some(*gtid))
                .map(|gtid| (gtid.domain, gtid))
                .collect(),
            _ => BTreeMap::new(),
        };
        Self { server, gtids: from.gtids.clone(), file: None, floor, low: from.low.clone(), again }
    }

    /// The server whose log it is.
    pub(super) fn server(&self) -> u32 {
        self.server
    }

    /// The stream goes on in another file.
    pub(super) fn rotate(&mut self, file: &str, offset: u64) -> Result<()> {
        self.file = Some(FilePoint::new(file, offset)?);
        Ok(())
    }

    /// An event that is part of the file has been read. Within transactions
    /// MariaDB leaves its end out since 11.8, and events beyond 4 GiB tell
    /// only the lower half of theirs.
    pub(super) fn advance(&mut self, header: &Header) -> Result<()> {
        if header.is_artificial() || matches!(header.kind, kind::HEARTBEAT | kind::HEARTBEAT_V2) {
            return Ok(());
        }
        let Some(file) = &mut self.file else {
            return Err(broken("the log did not say which file it is"));
        };
        if header.next == 0 {
            // A format description that is sent again in mid-file has no place.
            if header.kind != kind::FORMAT_DESCRIPTION {
                file.offset = file.offset.saturating_add(header.size.into());
            }
            return Ok(());
        }
        file.offset = widen(file.offset, header.next);
        Ok(())
    }

    /// The server has sent everything before that point.
    pub(super) fn silent(&mut self, file: &str, offset: u64) -> Result<()> {
        if file.is_empty() || offset == 0 {
            return Ok(());
        }
        let beat = FilePoint::new(file, offset)?;
        // A heartbeat that is late says nothing new.
        if self.file.as_ref().is_none_or(|at| at.partial_cmp(&beat) != Some(Ordering::Greater)) {
            self.file = Some(beat);
        }
        Ok(())
    }

    /// Whether the reader has that transaction already. Without GTIDs, by
    /// where it begins. Not by MariaDB's numbers: another server may have
    /// given lower ones later.
    pub(super) fn has(&self, name: &Name, begins: &FilePoint) -> bool {
        match (&self.gtids, name) {
            (Some(Gtids::Set(set)), Name::MySql(uuid, tag, number)) => set.has(*uuid, tag, *number),
            (Some(Gtids::Domains(_)), Name::Maria(gtid)) => self.again.contains_key(&gtid.domain),
            (None, _) => self.floor.as_ref().is_some_and(|floor| *begins < floor.point),
            _ => false,
        }
    }

    /// The reader has that transaction now.
    pub(super) fn take(&mut self, name: &Name) -> Result<()> {
        match (&mut self.gtids, name) {
            (Some(Gtids::Set(set)), Name::MySql(uuid, tag, number)) => set.add(*uuid, tag, *number),
            (Some(Gtids::Domains(domains)), Name::Maria(gtid)) => {
                match self.again.get(&gtid.domain) {
                    None => domains.advance(*gtid),
                    Some(last) if last == gtid => drop(self.again.remove(&gtid.domain)),
                    Some(_) => {}
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Where the last event ended, if the stream has named a file.
    pub(super) fn file(&self) -> Option<&FilePoint> {
        self.file.as_ref()
    }

    /// What must be read again for a transaction that begins here.
    pub(super) fn low(&self, name: &Name, begins: &FilePoint) -> Result<Low> {
        Ok(match (&self.gtids, name) {
            (Some(Gtids::Set(_)), Name::MySql(uuid, tag, number)) => {
                let mut set = GtidSet::default();
                set.add(*uuid, tag, *number)?;
                Low::Set(set)
            }
            // Read again: what was before it is not known any more, but the
            // point that we began at is.
            (Some(Gtids::Domains(_)), Name::Maria(_)) if self.has(name, begins) => match &self.low {
                Some(low) => low.clone(),
                None => return Err(broken("a transaction comes again that was not asked for")),
            },
            (Some(Gtids::Domains(have)), Name::Maria(gtid)) => Low::Domains(before(have, *gtid)),
            _ => Low::File(begins.clone()),
        })
    }

    /// Whether all that was read again is behind us.
    pub(super) fn is_new(&self) -> bool {
        let behind = |at: &FilePoint| {
            self.floor.as_ref().is_none_or(|floor| at.partial_cmp(&floor.point) != Some(Ordering::Less))
        };
        self.again.is_empty() && self.file.as_ref().is_some_and(behind)
    }

    /// The point that a stream can go on from.
    ///
    /// # Errors
    /// `Protocol` when the stream has not named a file.
    pub(super) fn point(&self, low: Option<Low>) -> Result<Point> {
        let point = self.file.clone().ok_or_else(|| broken("the log did not say which file it is"))?;
        Ok(Point { gtids: self.gtids.clone(), at: Some(Coordinates { server: self.server, point }), low })
    }
}

/// A point of MariaDB's that has nothing of a domain from `gtid` on.
fn before(have: &Domains, gtid: MariaGtid) -> Domains {
    let mut before = Domains::default();
    for known in have.iter().filter(|known| known.domain != gtid.domain) {
        before.advance(known);
    }
    if let Some(known) = have.last(gtid.domain).filter(|known| known.number < gtid.number) {
        before.advance(known);
    }
    before
}

/// All of an offset of which only the lower 32 bits are known: offsets grow.
fn widen(last: u64, lower: u32) -> u64 {
    let wide = last & !u64::from(u32::MAX) | u64::from(lower);
    if wide < last { wide.saturating_add(1 << 32) } else { wide }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_grow_beyond_four_gibibytes() {
        assert_eq!(widen(4, 120), 120);
        assert_eq!(widen(u64::from(u32::MAX) - 5, 3), (1 << 32) + 3);
        assert_eq!(widen((1 << 32) + 7, 9), (1 << 32) + 9);
        // No file is so long, and no server may make us panic.
        assert_eq!(widen(u64::MAX, 1), u64::MAX);
    }
}
