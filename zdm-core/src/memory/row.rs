//! Rows as the memory engine stores them, and the bytes that order them.

use std::collections::BTreeMap;

use crate::change::{DateTime, Image, Value, encode_core};
use crate::schema::Table;
use crate::{Error, ErrorKind, Result};

/// One stored row: a value for each column.
pub type Row = Vec<Value<'static>>;

/// Where a row lies in its table: its encoded key, or a number for a table
/// with no key.
pub(super) type Place = Vec<u8>;

/// The rows of a table, in the order of their places.
pub(super) type Rows = BTreeMap<Place, Row>;

/// A row of which the log carried some cells; `None` for those it did not.
pub(super) type Partial = Vec<Option<Value<'static>>>;

/// The place of a row in a table with that key.
pub(super) fn place(table: &Table, row: &[Value<'_>]) -> Result<Place> {
    let mut place = Place::new();
    for column in table.key_columns() {
        let value = row.get(*column).filter(|value| !value.is_null()).ok_or_else(|| {
            Error::new(ErrorKind::Rejected, "a column of the key is null").with("table", &table.name)
        })?;
        order(value, &mut place);
    }
    Ok(place)
}

/// The place that an image's key cells name; `None` if the log did not carry
/// all of them.
pub(super) fn partial_place(table: &Table, row: &Partial) -> Result<Option<Place>> {
    let mut place = Place::new();
    for column in table.key_columns() {
        match row.get(*column) {
            Some(Some(value)) if !value.is_null() => order(value, &mut place),
            Some(None) => return Ok(None),
            _ => {
                return Err(
                    Error::new(ErrorKind::Rejected, "a column of the key is null").with("table", &table.name)
                );
            }
        }
    }
    Ok(Some(place))
}

/// Decodes an image.
pub(super) fn partial(image: Image<'_>) -> Result<Partial> {
    image
        .cells()
        .map(|cell| if cell.is_unchanged() { Ok(None) } else { Ok(Some(cell.value()?.into_owned())) })
        .collect()
}

/// The number of a row in a table with no key, as a place.
pub(super) fn numbered(number: u64) -> Place {
    number.to_be_bytes().to_vec()
}

/// Appends bytes that sort as the values do, and tell where they end.
pub(super) fn order(value: &Value<'_>, out: &mut Place) {
    match value {
        Value::Int(v) => {
            out.push(2);
            // OK because flipping the sign bit maps i64's order onto u64's.
            out.extend((v.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        }
        Value::UInt(v) => {
            out.push(3);
            out.extend(v.to_be_bytes());
        }
        Value::Text(v) => escaped(4, v.as_bytes(), out),
        Value::Moment(DateTime { seconds, nanos }) => {
            out.push(5);
            out.extend((seconds.cast_unsigned() ^ (1 << 63)).to_be_bytes());
            out.extend(nanos.to_be_bytes());
        }
        // Some order is enough for the rest: only the source compares keys.
        other => {
            let mut bytes = Vec::new();
            encode_core(other, &mut bytes);
            escaped(9, &bytes, out);
        }
    }
}

/// Zero bytes become `0 255`, and `0 1` ends: a prefix sorts first.
fn escaped(tag: u8, bytes: &[u8], out: &mut Place) {
    out.push(tag);
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(255);
        }
    }
    out.extend([0, 1]);
}

/// Bytes that a row takes, about.
pub(super) fn weight(row: &[Value<'_>]) -> u64 {
    let mut bytes = Vec::new();
    row.iter().for_each(|value| encode_core(value, &mut bytes));
    // OK because a row in memory is shorter than 2^64.
    bytes.len() as u64 + 12 * row.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_as_values_do() {
        let key = |value: Value<'static>| {
            let mut out = Vec::new();
            order(&value, &mut out);
            out
        };
        let ints = [i64::MIN, -1, 0, 1, i64::MAX].map(|v| key(Value::Int(v)));
        assert!(ints.is_sorted());
        let texts = ["", "a", "a\0", "a\0b", "aa", "b"].map(|v| key(Value::from(v)));
        assert!(texts.is_sorted());
        let days = [DateTime { seconds: -1, nanos: 5 }, DateTime { seconds: 0, nanos: 0 }];
        assert!(days.map(|v| key(Value::Moment(v))).is_sorted());
    }
}
