//! Where in the log we are: the point behind the last event, in all the words
//! that a position has.

use std::cmp::Ordering;

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
    /// No position before this is told: what comes first may be read again.
    floor: Option<Coordinates>,
    /// Why it is read again.
    low: Option<Low>,
}

impl Place {
    /// The place of a stream that begins behind `from`, on that server.
    pub(super) fn new(from: &Point, server: u32) -> Self {
        // With another server's coordinates nothing can be compared.
        let floor = from.at.clone().filter(|at| at.server == server);
        Self { server, gtids: from.gtids.clone(), file: None, floor, low: from.low.clone() }
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
                file.offset += u64::from(header.size);
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
    /// where it begins.
    pub(super) fn has(&self, name: &Name, begins: &FilePoint) -> bool {
        match (&self.gtids, name) {
            (Some(Gtids::Set(set)), Name::MySql(uuid, tag, number)) => set.has(*uuid, tag, *number),
            (Some(Gtids::Domains(domains)), Name::Maria(gtid)) => {
                domains.last(gtid.domain).is_some_and(|last| gtid.number <= last.number)
            }
            (None, _) => self.floor.as_ref().is_some_and(|floor| *begins < floor.point),
            _ => false,
        }
    }

    /// The reader has that transaction now.
    pub(super) fn take(&mut self, name: &Name) -> Result<()> {
        match (&mut self.gtids, name) {
            (Some(Gtids::Set(set)), Name::MySql(uuid, tag, number)) => set.add(*uuid, tag, *number),
            (Some(Gtids::Domains(domains)), Name::Maria(gtid)) => {
                domains.advance(*gtid);
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

    /// The point that a stream can go on from; `None` while what is read was
    /// had before.
    pub(super) fn point(&self, low: Option<Low>) -> Option<Point> {
        let at = Coordinates { server: self.server, point: self.file.clone()? };
        if self.floor.as_ref().is_some_and(|floor| at.point < floor.point) {
            return None;
        }
        Some(Point { gtids: self.gtids.clone(), at: Some(at), low })
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
    if wide < last { wide + (1 << 32) } else { wide }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_grow_beyond_four_gibibytes() {
        assert_eq!(widen(4, 120), 120);
        assert_eq!(widen(u64::from(u32::MAX) - 5, 3), (1 << 32) + 3);
        assert_eq!(widen((1 << 32) + 7, 9), (1 << 32) + 9);
    }
}
