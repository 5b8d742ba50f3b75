//! COPY's binary format, row by row.
//!
//! Head and trailer are the stream's own and no rows: the head comes in front
//! of the first row, or of the trailer where there is none.
//! <https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4>

use zdm_core::change::{Cell, Format};

use crate::types::{BINARY, COPY_HEAD};

/// How far the stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Head,
    Rows,
    End,
}

/// What a message of the stream is, which lies at `base` of a buffer: a row,
/// whose cells are added to `out`, or none. Nothing: it is not of the format.
pub(super) fn split(
    message: &[u8],
    base: usize,
    columns: usize,
    place: &mut Place,
    out: &mut Vec<Cell>,
) -> Option<bool> {
    let mut rest = message;
    match place {
        Place::Head => rest = rest.strip_prefix(&COPY_HEAD[..])?,
        Place::Rows => {}
        Place::End => return None,
    }
    *place = Place::Rows;
    let (count, mut rest) = rest.split_first_chunk::<2>()?;
    let count = i16::from_be_bytes(*count);
    if count == -1 {
        *place = Place::End;
        return rest.is_empty().then_some(false);
    }
    if usize::try_from(count).ok()? != columns {
        return None;
    }
    for _ in 0..columns {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let len = i32::from_be_bytes(*len);
        if len == -1 {
            out.push(Cell::Null);
            rest = after;
            continue;
        }
        let at = base + (message.len() - after.len());
        let (value, after) = after.split_at_checked(usize::try_from(len).ok()?)?;
        let (offset, len) = (u32::try_from(at).ok()?, u32::try_from(value.len()).ok()?);
        out.push(Cell::Value { offset, len, format: Format::Native(BINARY) });
        rest = after;
    }
    rest.is_empty().then_some(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROW: &[u8] = b"\0\x02\0\0\0\x01x\xff\xff\xff\xff";

    fn cell(offset: u32, len: u32) -> Cell {
        Cell::Value { offset, len, format: Format::Native(BINARY) }
    }

    #[test]
    fn rows_lie_between_head_and_trailer() {
        let (mut place, mut out) = (Place::Head, Vec::new());
        let first = [&COPY_HEAD[..], ROW].concat();
        assert_eq!(split(&first, 100, 2, &mut place, &mut out), Some(true));
        assert_eq!(out, [cell(100 + 19 + 6, 1), Cell::Null]);
        out.clear();
        assert_eq!(split(ROW, 200, 2, &mut place, &mut out), Some(true));
        assert_eq!(out, [cell(206, 1), Cell::Null]);
        assert_eq!(split(b"\xff\xff", 300, 2, &mut place, &mut out), Some(false));
        assert_eq!(split(ROW, 300, 2, &mut place, &mut out), None, "nothing follows the trailer");
        let (mut place, mut out) = (Place::Head, Vec::new());
        let none = [&COPY_HEAD[..], b"\xff\xff"].concat();
        assert_eq!(split(&none, 0, 2, &mut place, &mut out), Some(false));
    }

    #[test]
    fn what_is_no_row_is_refused() {
        let whole = [&COPY_HEAD[..], ROW].concat();
        for end in 0..whole.len() {
            assert_eq!(split(&whole[..end], 0, 2, &mut Place::Head, &mut Vec::new()), None, "{end}");
        }
        let longer = [ROW, b"\0"].concat();
        for row in [ROW, &longer[..]] {
            let columns = if row == ROW { 3 } else { 2 };
            assert_eq!(split(row, 0, columns, &mut Place::Rows, &mut Vec::new()), None);
        }
        assert_eq!(split(ROW, 0, 2, &mut Place::Head, &mut Vec::new()), None, "it has no head");
        let negative = b"\0\x01\xff\xff\xff\xfe";
        assert_eq!(split(negative, 0, 1, &mut Place::Rows, &mut Vec::new()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(row in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut out = Vec::new();
            if split(&row, 7, 2, &mut Place::Rows, &mut out) == Some(true) {
                prop_assert_eq!(out.len(), 2);
            }
        }
    }
}
