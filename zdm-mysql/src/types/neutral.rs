//! Native type -> neutral type.
//!
//! | native | neutral | value |
//! |---|---|---|
//! | `TINYINT` … `BIGINT`, with `UNSIGNED` | integer of 8, 16, 24, 32, 64 bits | `Int`, `UInt` |
//! | `BOOL` (`TINYINT(1)`) | integer of 8 bits: it holds −128 to 127 | `Int` |
//! | `DECIMAL(p,s)` | decimal | `Decimal` |
//! | `FLOAT`, `DOUBLE` | float | `Float32`, `Float64` |
//! | `BIT(n)` | bits | `Bits` |
//! | `YEAR` | year | `Int`, 0 for `0000` |
//! | `DATE`, `DATETIME(f)` | date, timestamp | `Date`, `DateTime`; `Native` for a day of no calendar |
//! | `TIMESTAMP(f)` | moment | `Moment`; `Native` for the zero date |
//! | `TIME(f)` | time | `Time`, from −838:59:59 to 838:59:59 |
//! | `CHAR`, `VARCHAR`, `TEXT` | text | `Text` |
//! | `BINARY`, `VARBINARY`, `BLOB` | bytes | `Bytes` |
//! | `ENUM` | enum | `Text`; empty for the error value 0 |
//! | `SET` | set | `Text`: labels with commas between them |
//! | `JSON` | json | `Json`, as the server prints it |
//! | `GEOMETRY` and its kinds | geometry | `Bytes`: SRID in 4 bytes, then WKB |
//! | `VECTOR` | array of float | `Array` of `Float32` |
//! | MariaDB's `UUID` | uuid | `Uuid` |
//! | MariaDB's `INET4`, `INET6` | native | `Native` |
//!
//! MariaDB's `JSON` is a `LONGTEXT` with a check, and is moved as text.

use std::borrow::Cow;
use std::sync::Arc;

use zdm_core::Result;
use zdm_core::schema::{DataType, NativeType};

use super::labels::labels;
use super::native::{Kind, argument, native_type};

/// The native and the neutral type of a column, from `COLUMN_TYPE` and
/// `CHARACTER_SET_NAME` of `information_schema.COLUMNS`.
///
/// # Errors
/// `Unsupported` for a type or a character set that is not known, by name.
pub(crate) fn column_type(column_type: &str, charset: Option<&str>) -> Result<(NativeType, DataType)> {
    let (native, kind) = native_type(column_type, charset)?;
    let length = || argument(column_type, 0);
    let neutral = match kind {
        Kind::Integer { bytes, unsigned } => DataType::Integer { bits: bytes * 8, unsigned },
        Kind::Float => DataType::Float32,
        Kind::Double => DataType::Float64,
        Kind::Decimal { precision, scale } => {
            DataType::Decimal { precision: Some(precision.into()), scale: Some(scale.into()) }
        }
        Kind::Bit { bits } => DataType::Bits { length: Some(bits.into()), fixed: true },
        Kind::Year => DataType::Year,
        Kind::Date => DataType::Date,
        Kind::Time(digits) => DataType::Time { precision: Some(digits), zone: false },
        Kind::DateTime(digits) => DataType::Timestamp { precision: Some(digits), zone: false },
        Kind::Timestamp(digits) => DataType::Timestamp { precision: Some(digits), zone: true },
        Kind::Char(_) => DataType::Text { length: length(), fixed: true },
        Kind::Varchar(_) => DataType::Text { length: length(), fixed: false },
        Kind::Text(..) => DataType::text(),
        Kind::Binary(length) => DataType::Bytes { length: Some(length.into()), fixed: true },
        Kind::Varbinary => DataType::Bytes { length: length(), fixed: false },
        Kind::Blob(_) => DataType::bytes(),
        Kind::Geometry => DataType::Geometry,
        Kind::Enum(_) => DataType::Enum { labels: labels(&native.name).map(Cow::into_owned).collect() },
        Kind::Set(_) => DataType::Set { labels: labels(&native.name).map(Cow::into_owned).collect() },
        Kind::Json => DataType::Json,
        Kind::Vector => DataType::Array(Arc::new(DataType::Float32)),
        Kind::Uuid => DataType::Uuid,
        Kind::Inet4 | Kind::Inet6 => DataType::Native,
    };
    Ok((native, neutral))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_as_the_catalog_writes_them() {
        for (native, charset, neutral) in [
            ("mediumint(8) unsigned", None, "uint24"),
            ("tinyint(1)", None, "int8"),
            ("decimal(10,2) unsigned zerofill", None, "decimal(10,2)"),
            ("char(3)", Some("utf8mb3"), "char(3)"),
            ("varchar(20)", Some("latin1"), "text(20)"),
            ("varbinary(7)", None, "bytes(7)"),
            ("binary(5)", None, "binary(5)"),
            ("set('x','y')", Some("latin1"), "set of 2"),
            ("enum('x','y')", Some("latin1"), "enum of 2"),
            ("timestamp(6)", None, "moment"),
            ("vector(3)", None, "array of float32"),
            ("year(4)", None, "year"),
        ] {
            assert_eq!(column_type(native, charset).unwrap().1.to_string(), neutral, "{native}");
        }
    }
}
