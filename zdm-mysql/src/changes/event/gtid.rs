//! The events that begin a transaction.

use zdm_core::Result;

use super::super::reader::{Reader, broken};
use super::Event;
use crate::position::{MariaGtid, Tag, Uuid};

/// A transaction of MySQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::changes) struct Gtid {
    /// Its name; `None` where GTIDs are off.
    pub(in crate::changes) id: Option<(Uuid, Tag, u64)>,
    /// When it was committed where it was written first, in microseconds
    /// since 1970.
    pub(in crate::changes) committed: Option<u64>,
}

/// The name that an application gave to an XA transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::changes) struct XaId {
    pub(in crate::changes) format: i32,
    pub(in crate::changes) global: Vec<u8>,
    pub(in crate::changes) branch: Vec<u8>,
}

/// A transaction of MariaDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::changes) struct MariaTransaction {
    pub(in crate::changes) id: MariaGtid,
    /// One statement follows and is all of it: no XID, no COMMIT.
    pub(in crate::changes) standalone: bool,
    /// It is DDL.
    pub(in crate::changes) ddl: bool,
    /// Its rows are an XA transaction's, which is prepared and not decided.
    pub(in crate::changes) prepares: Option<XaId>,
    /// It decides an XA transaction; the statement that follows says how.
    pub(in crate::changes) completes: Option<XaId>,
}

/// `GTID_LOG_EVENT` and `ANONYMOUS_GTID_LOG_EVENT`: flags, UUID, number, and
/// then what servers since 5.7 and 8.0 have added.
pub(in crate::changes) fn gtid(mut event: Reader<'_>, anonymous: bool) -> Result<Event> {
    /// Both times are there: the one here, and the one of the first server.
    const TWO_TIMES: u64 = 1 << 55;
    event.u8()?;
    let (uuid, number) = (Uuid(event.array()?), event.u64()?);
    let mut committed = None;
    // The logical clock: 2, and two numbers that order parallel appliers.
    if event.len() >= 17 + 7 && event.u8()? == 2 {
        event.take(16)?;
        let time = event.u56()?;
        committed = Some(if time & TWO_TIMES != 0 { event.u56()? } else { time });
    }
    let id = (!anonymous).then(|| (uuid, Tag::default(), number));
    Ok(Event::Gtid(Gtid { id, committed }))
}

/// `GTID_TAGGED_LOG_EVENT`, in the server's own serialization: version, size
/// and last field that must be known, then fields by number.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/PageLibsMysqlSerialization.html>
pub(in crate::changes) fn tagged(mut event: Reader<'_>) -> Result<Event> {
    let version = var_len(&mut event)?;
    if version != 1 {
        return Err(broken("a GTID is of an unknown version").with("version", version));
    }
    var_len(&mut event)?; // its size
    if var_len(&mut event)? > 11 {
        return Err(broken("a GTID has a field that must be known and is not"));
    }
    let (mut uuid, mut number, mut tag) = (None, None, Tag::default());
    let (mut here, mut first) = (None, None);
    while !event.is_empty() {
        match var_len(&mut event)? {
            0 => drop(var_len(&mut event)?), // flags
            1 => {
                let mut bytes = [0; 16];
                for byte in &mut bytes {
                    *byte =
                        u8::try_from(var_len(&mut event)?).map_err(|_| broken("a UUID is out of shape"))?;
                }
                uuid = Some(Uuid(bytes));
            }
            2 => number = Some(signed(var_len(&mut event)?)),
            3 => {
                let len = usize::try_from(var_len(&mut event)?).map_err(|_| broken("a tag is too long"))?;
                let text = event.text(len)?;
                if !text.is_empty() {
                    tag = text.parse()?;
                }
            }
            6 => here = Some(var_len(&mut event)?),
            7 => first = Some(var_len(&mut event)?),
            4 | 5 | 8..=11 => drop(var_len(&mut event)?),
            // Who does not know a field cannot know its length.
            _ => break,
        }
    }
    let id = uuid.zip(number).ok_or_else(|| broken("a GTID has no name"))?;
    let number = u64::try_from(id.1).map_err(|_| broken("a GTID's number is negative"))?;
    Ok(Event::Gtid(Gtid { id: Some((id.0, tag, number)), committed: first.or(here) }))
}

/// MariaDB's: number, domain, flags, and what the flags announce.
pub(in crate::changes) fn maria(server: u32, mut event: Reader<'_>) -> Result<Event> {
    const STANDALONE: u8 = 1;
    const GROUP_COMMIT: u8 = 2;
    const DDL: u8 = 32;
    const PREPARED: u8 = 64;
    const COMPLETED: u8 = 128;
    let (number, domain, flags) = (event.u64()?, event.u32()?, event.u8()?);
    if flags & GROUP_COMMIT != 0 {
        event.u64()?;
    }
    let xa = if flags & (PREPARED | COMPLETED) != 0 {
        let format = event.u32()?.cast_signed();
        let (global, branch) = (event.u8()?, event.u8()?);
        let mut part = |len: u8| event.take(len.into()).map(<[u8]>::to_vec);
        Some(XaId { format, global: part(global)?, branch: part(branch)? })
    } else {
        None
    };
    Ok(Event::Maria(MariaTransaction {
        id: MariaGtid { domain, server, number },
        standalone: flags & STANDALONE != 0,
        ddl: flags & DDL != 0,
        prepares: xa.clone().filter(|_| flags & PREPARED != 0),
        completes: xa.filter(|_| flags & COMPLETED != 0),
    }))
}

/// A number whose first byte tells, by the ones at its lower end, how many
/// bytes follow.
fn var_len(event: &mut Reader<'_>) -> Result<u64> {
    let first = event.u8()?;
    let more = first.trailing_ones();
    let mut wide = [0; 8];
    let len = if more >= 8 { 8 } else { more as usize };
    wide.get_mut(..len).ok_or_else(|| broken("a number is too long"))?.copy_from_slice(event.take(len)?);
    let rest = u64::from_le_bytes(wide);
    Ok(match more {
        0..=6 => u64::from(first >> (more + 1)) | rest << (7 - more),
        _ => rest,
    })
}

/// A signed number, whose sign is its lowest bit.
fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_serialization() {
        for (bytes, number) in [
            (&[0b1010_1010][..], 0b101_0101),
            (&[0b01, 0x02], 0x80),
            (&[0b11, 0, 1], 1 << 13),
            (&[0xff, 1, 2, 3, 4, 5, 6, 7, 8], 0x0807_0605_0403_0201),
        ] {
            assert_eq!(var_len(&mut Reader::new(bytes, 0)).unwrap(), number, "{bytes:x?}");
        }
        assert_eq!((signed(0), signed(1), signed(2), signed(3)), (0, -1, 1, -2));
    }
}
