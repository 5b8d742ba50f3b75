//! The encoding of cells that a server of this family sent.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use zdm_core::change::{Encoding, Value};
use zdm_core::schema::Column;
use zdm_core::{Error, ErrorKind, Result};

use super::native::{Kind, Usual};
use super::{log, text};

/// What sinks know the encoding by.
pub(super) const NAME: &str = "mysql";
/// The format of a cell in text form, as the text protocol gives it.
pub(crate) const TEXT: u8 = 0;
/// The format of a cell in the log.
pub(crate) const LOG: u8 = 1;
/// The format of a day or time of a table that was made before MySQL 5.6 and
/// never rebuilt: the log tells, the catalog does not.
pub(crate) const OLD: u8 = 2;

/// The encoding that every batch of this crate shares.
pub(crate) static ENCODING: LazyLock<Arc<dyn Encoding>> = LazyLock::new(|| Arc::new(MySqlEncoding));

/// How cells are decoded that a MySQL or MariaDB server sent: in the text form
/// of its protocol (format 0), in the form of its log (format 1), or in the
/// log's form of days and times before MySQL 5.6 (format 2).
///
/// A cell is decoded by its column's native id, in which this crate keeps what
/// the log leaves out: sign, character set, digits. A column that another
/// crate described has none, and its cells are refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct MySqlEncoding;

impl Encoding for MySqlEncoding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode<'a>(&self, column: &Column, format: u8, bytes: &'a [u8]) -> Result<Value<'a>> {
        // What most cells are. The value is made where it is given back: moved
        // there, it would cost more than it does to make it.
        match (Usual::of(column.native.id), format) {
            (Usual::Int, LOG) => {
                if let Ok(four) = bytes.try_into() {
                    return Ok(Value::Int(i32::from_le_bytes(four).into()));
                }
            }
            (Usual::BigInt, LOG) => {
                if let Ok(eight) = bytes.try_into() {
                    return Ok(Value::Int(i64::from_le_bytes(eight)));
                }
            }
            (Usual::Utf8, TEXT | LOG) => {
                if let Ok(text) = std::str::from_utf8(bytes) {
                    return Ok(Value::Text(Cow::Borrowed(text)));
                }
            }
            _ => {}
        }
        unusual(column, format, bytes)
    }
}

/// Decodes whatever a cell is.
#[inline(never)]
fn unusual<'a>(column: &Column, format: u8, bytes: &'a [u8]) -> Result<Value<'a>> {
    let Some(kind) = Kind::of(column) else {
        return Err(failed(ErrorKind::Config, "this column was not described by this crate", column));
    };
    let value = match format {
        TEXT => text::value(kind, column, bytes),
        LOG => log::value(kind, column, bytes),
        OLD => log::old_value(kind, bytes),
        _ => None,
    };
    // The bytes are a user's data, so they are not shown.
    value.ok_or_else(|| {
        failed(
            ErrorKind::Protocol,
            "a cell is not a value of its column's type and character set: the table's description is out \
                 of date, or the row holds bytes that are no characters; correct the row on the source",
            column,
        )
    })
}

#[cold]
fn failed(kind: ErrorKind, message: &str, column: &Column) -> Error {
    Error::new(kind, message).with("column", &column.name).with("type", &column.native.name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zdm_core::schema::DataType;

    use super::*;
    use crate::types::column_type;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, id: u32, code: u8, format in 0..4_u8, name: String) {
            for id in [id, id & 0x0fff_ff00 | u32::from(code)] {
                let column = Column::new("c", DataType::Native).native(name.clone(), id);
                let _ = MySqlEncoding.decode(&column, format, &bytes);
            }
        }
    }

    /// The two forms of one value, as one server gave them.
    #[test]
    fn both_forms_are_one_value() {
        for (native, charset, log, text) in [
            ("mediumint(9)", None, &b"\xff\xff\xff"[..], &b"-1"[..]),
            ("mediumint(8) unsigned zerofill", None, b"\x2a\0\0", b"00000042"),
            ("bigint(20) unsigned", None, b"\xff\xff\xff\xff\xff\xff\xff\xff", b"18446744073709551615"),
            ("decimal(10,2) unsigned zerofill", None, b"\x80\0\0\x0c\x32", b"00000012.50"),
            ("float", None, b"\xcd\xcc\xcc\x3d", b"0.10000000149011612"),
            ("double", None, b"\0\0\0\0\0\0\0\x80", b"-0"),
            ("bit(9)", None, b"\x01\x02", b"\x01\x02"),
            ("year(4)", None, b"\0", b"0000"),
            ("binary(5)", None, b"a", b"a\0\0\0\0"),
            ("varchar(9)", Some("latin1"), b"\xe9", b"\xe9"),
            ("enum('a','b')", Some("utf16"), b"\x02", b"\0b"),
            ("enum('a','b')", Some("latin1"), b"\0", b""),
            ("set('a','b','c')", Some("latin1"), b"\x05", b"a,c"),
            ("set('a','b','c')", Some("latin1"), b"\0", b""),
            ("date", None, b"\x0a\xd0\x0f", b"2024-00-10"),
            ("inet4", None, b"\x7f\0\0\x01", b"127.0.0.1"),
            ("vector(1)", None, b"\0\0\x80\x3f", b"\0\0\x80\x3f"),
        ] {
            let (native_type, neutral) = column_type(native, charset).unwrap();
            let column = Column::new("c", neutral).native(native_type.name, native_type.id);
            let log = MySqlEncoding.decode(&column, LOG, log).unwrap();
            assert_eq!(log, MySqlEncoding.decode(&column, TEXT, text).unwrap(), "{native}");
        }
    }
}
