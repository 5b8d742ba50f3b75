//! A column's native type: what the catalog says of it, packed into the
//! number that [`NativeType`] carries, so that a cell is decoded without
//! reading the type's name again.
//!
//! The low byte is MySQL's column type byte as the log writes it today; the
//! bytes above it hold what the log leaves out: sign, character set, digits,
//! the length that a `BINARY` is padded to.

use zdm_core::schema::{Column, NativeType};
use zdm_core::{Error, ErrorKind, Result};

use super::charset::Charset;

/// The column type bytes of the protocol and the log.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html>;
/// the compressed ones are MariaDB's.
pub(crate) mod code {
    #![allow(missing_docs)]
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const TIMESTAMP2: u8 = 17;
    pub(crate) const DATETIME2: u8 = 18;
    pub(crate) const TIME2: u8 = 19;
    pub(crate) const BLOB_COMPRESSED: u8 = 140;
    pub(crate) const VARCHAR_COMPRESSED: u8 = 141;
    pub(crate) const VECTOR: u8 = 242;
    pub(crate) const JSON: u8 = 245;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
    pub(crate) const GEOMETRY: u8 = 255;
}

/// What the bytes of a column's cells mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number of 1, 2, 3, 4 or 8 bytes.
    Integer {
        bytes: u8,
        unsigned: bool,
    },
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Bit {
        bits: u8,
    },
    Year,
    Date,
    /// Temporal types, by the digits of their fraction.
    Time(u8),
    DateTime(u8),
    Timestamp(u8),
    Char(Charset),
    Varchar(Charset),
    /// By the number of bytes that hold its length.
    Text(Charset, u8),
    /// By its length, to which it is padded with zero bytes.
    Binary(u8),
    Varbinary,
    Blob(u8),
    /// Labels are in the type's name; text shows them in the character set.
    Enum(Charset),
    Set(Charset),
    Json,
    Geometry,
    Vector,
    Uuid,
    Inet4,
    Inet6,
}

/// Marks a `STRING` that MariaDB keeps a type of its own in.
const UUID: u8 = 1;
const INET4: u8 = 2;
const INET6: u8 = 3;

impl Kind {
    /// Of a column that this crate described, or that was put into this
    /// engine's language; `None` for any other.
    #[inline]
    pub(crate) fn of(column: &Column) -> Option<Self> {
        Self::unpack(column.native.id)
    }

    fn pack(self) -> u32 {
        let bytes = match self {
            Self::Integer { bytes, unsigned } => {
                let code = match bytes {
                    1 => code::TINY,
                    2 => code::SHORT,
                    3 => code::INT24,
                    4 => code::LONG,
                    _ => code::LONGLONG,
                };
                [code, u8::from(unsigned), 0, 0]
            }
            Self::Float => [code::FLOAT, 0, 0, 0],
            Self::Double => [code::DOUBLE, 0, 0, 0],
            Self::Decimal { precision, scale } => [code::NEWDECIMAL, precision, scale, 0],
            Self::Bit { bits } => [code::BIT, bits, 0, 0],
            Self::Year => [code::YEAR, 0, 0, 0],
            Self::Date => [code::DATE, 0, 0, 0],
            Self::Time(digits) => [code::TIME2, digits, 0, 0],
            Self::DateTime(digits) => [code::DATETIME2, digits, 0, 0],
            Self::Timestamp(digits) => [code::TIMESTAMP2, digits, 0, 0],
            Self::Char(charset) => [code::STRING, charset.code(), 0, 0],
            Self::Varchar(charset) => [code::VARCHAR, charset.code(), 0, 0],
            Self::Text(charset, width) => [code::BLOB, charset.code(), width, 0],
            Self::Binary(length) => [code::STRING, 0, length, 0],
            Self::Varbinary => [code::VARCHAR, 0, 0, 0],
            Self::Blob(width) => [code::BLOB, 0, width, 0],
            Self::Enum(charset) => [code::ENUM, charset.code(), 0, 0],
            Self::Set(charset) => [code::SET, charset.code(), 0, 0],
            Self::Json => [code::JSON, 0, 0, 0],
            Self::Geometry => [code::GEOMETRY, 0, 0, 0],
            Self::Vector => [code::VECTOR, 0, 0, 0],
            Self::Uuid => [code::STRING, 0, 0, UUID],
            Self::Inet4 => [code::STRING, 0, 0, INET4],
            Self::Inet6 => [code::STRING, 0, 0, INET6],
        };
        u32::from_le_bytes(bytes)
    }

    #[inline]
    fn unpack(id: u32) -> Option<Self> {
        let [code, a, b, own] = id.to_le_bytes();
        let integer = |bytes| Self::Integer { bytes, unsigned: a != 0 };
        Some(match (code, a, own) {
            (code::TINY, ..) => integer(1),
            (code::SHORT, ..) => integer(2),
            (code::INT24, ..) => integer(3),
            (code::LONG, ..) => integer(4),
            (code::LONGLONG, ..) => integer(8),
            (code::FLOAT, ..) => Self::Float,
            (code::DOUBLE, ..) => Self::Double,
            (code::NEWDECIMAL, ..) => Self::Decimal { precision: a, scale: b },
            (code::BIT, ..) => Self::Bit { bits: a },
            (code::YEAR, ..) => Self::Year,
            (code::DATE, ..) => Self::Date,
            (code::TIME2, ..) => Self::Time(a),
            (code::DATETIME2, ..) => Self::DateTime(a),
            (code::TIMESTAMP2, ..) => Self::Timestamp(a),
            (code::STRING, _, UUID) => Self::Uuid,
            (code::STRING, _, INET4) => Self::Inet4,
            (code::STRING, _, INET6) => Self::Inet6,
            (code::STRING, 0, _) => Self::Binary(b),
            (code::STRING, ..) => Self::Char(Charset::from_code(a)?),
            (code::VARCHAR, 0, _) => Self::Varbinary,
            (code::VARCHAR, ..) => Self::Varchar(Charset::from_code(a)?),
            (code::BLOB, 0, _) => Self::Blob(b),
            (code::BLOB, ..) => Self::Text(Charset::from_code(a)?, b),
            (code::ENUM, ..) => Self::Enum(Charset::from_code(a)?),
            (code::SET, ..) => Self::Set(Charset::from_code(a)?),
            (code::JSON, ..) => Self::Json,
            (code::GEOMETRY, ..) => Self::Geometry,
            (code::VECTOR, ..) => Self::Vector,
            _ => return None,
        })
    }
}

/// What most columns are, told from the id alone: to unpack it costs more than
/// to read their cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usual {
    /// `INT`, signed.
    Int,
    /// `BIGINT`, signed.
    BigInt,
    /// Characters in UTF-8.
    Utf8,
    /// Anything else.
    No,
}

impl Usual {
    #[inline]
    pub(super) fn of(id: u32) -> Self {
        match id.to_le_bytes() {
            [code::LONG, 0, ..] => Self::Int,
            [code::LONGLONG, 0, ..] => Self::BigInt,
            [code::STRING | code::VARCHAR | code::BLOB, charset, _, 0]
                if Charset::from_code(charset).is_some_and(Charset::is_utf8) =>
            {
                Self::Utf8
            }
            _ => Self::No,
        }
    }
}

/// The native type of a column, from `COLUMN_TYPE` and `CHARACTER_SET_NAME`
/// of `information_schema.COLUMNS`.
///
/// Its name is the former; that the character set is packed into its id does
/// not spare [`Column::charset`].
///
/// # Errors
/// `Unsupported` for a type or a character set that is not known, by name.
pub(crate) fn native_type(column_type: &str, charset: Option<&str>) -> Result<(NativeType, Kind)> {
    let kind = parse(column_type, charset)?;
    Ok((NativeType { name: column_type.into(), id: kind.pack() }, kind))
}

fn parse(column_type: &str, charset: Option<&str>) -> Result<Kind> {
    let unsupported = |what: &str| {
        Error::new(
            ErrorKind::Unsupported,
            format!("{what}: leave the table out, or change the column's type first"),
        )
        .with("type", column_type)
    };
    let lower = column_type.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(lower.len());
    let word = &lower[..end];
    if !matches!(word, "enum" | "set") && lower.contains("compressed*/") {
        return Err(unsupported("columns that the server compresses are not read"));
    }
    let charset = || {
        let name =
            charset.ok_or_else(|| unsupported("the catalog gives no character set for this column"))?;
        Charset::by_name(name)
            .ok_or_else(|| unsupported("text in this character set is not read").with("character set", name))
    };
    let digits = || u8::try_from(argument(&lower, 0).unwrap_or(0)).ok().filter(|digits| *digits <= 6);
    let integer = |bytes| Kind::Integer { bytes, unsigned: lower.contains("unsigned") };
    Ok(match word {
        "tinyint" => integer(1),
        "smallint" => integer(2),
        "mediumint" => integer(3),
        "int" => integer(4),
        "bigint" => integer(8),
        "float" => Kind::Float,
        "double" => Kind::Double,
        "decimal" => {
            let precision = u8::try_from(argument(&lower, 0).unwrap_or(10)).ok();
            let scale = u8::try_from(argument(&lower, 1).unwrap_or(0)).ok();
            match (precision, scale) {
                (Some(precision), Some(scale)) if precision <= 65 && scale <= precision => {
                    Kind::Decimal { precision, scale }
                }
                _ => return Err(unsupported("the digits of this decimal are not understood")),
            }
        }
        "bit" => match u8::try_from(argument(&lower, 0).unwrap_or(1)) {
            Ok(bits @ 1..=64) => Kind::Bit { bits },
            _ => return Err(unsupported("the width of this column is not understood")),
        },
        "year" => Kind::Year,
        "date" => Kind::Date,
        "time" => Kind::Time(digits().ok_or_else(|| unsupported("more digits than a second has"))?),
        "datetime" => Kind::DateTime(digits().ok_or_else(|| unsupported("more digits than a second has"))?),
        "timestamp" => Kind::Timestamp(digits().ok_or_else(|| unsupported("more digits than a second has"))?),
        "char" => Kind::Char(charset()?),
        "varchar" => Kind::Varchar(charset()?),
        "tinytext" => Kind::Text(charset()?, 1),
        "text" => Kind::Text(charset()?, 2),
        "mediumtext" => Kind::Text(charset()?, 3),
        "longtext" => Kind::Text(charset()?, 4),
        "binary" => match u8::try_from(argument(&lower, 0).unwrap_or(1)) {
            Ok(length) => Kind::Binary(length),
            Err(_) => return Err(unsupported("the length of this column is not understood")),
        },
        "varbinary" => Kind::Varbinary,
        "tinyblob" => Kind::Blob(1),
        "blob" => Kind::Blob(2),
        "mediumblob" => Kind::Blob(3),
        "longblob" => Kind::Blob(4),
        "enum" => Kind::Enum(charset()?),
        "set" => Kind::Set(charset()?),
        "json" => Kind::Json,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => Kind::Geometry,
        "vector" => Kind::Vector,
        "uuid" => Kind::Uuid,
        "inet4" => Kind::Inet4,
        "inet6" => Kind::Inet6,
        _ => return Err(unsupported("a column of this type cannot be read")),
    })
}

/// The number in the type's parentheses, counted from 0.
pub(crate) fn argument(column_type: &str, nth: usize) -> Option<u32> {
    let (_, rest) = column_type.split_once('(')?;
    let (arguments, _) = rest.split_once(')')?;
    arguments.split(',').nth(nth)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for (column_type, charset, kind) in [
            ("tinyint(1)", None, Kind::Integer { bytes: 1, unsigned: false }),
            ("mediumint(8) unsigned zerofill", None, Kind::Integer { bytes: 3, unsigned: true }),
            ("bigint unsigned", None, Kind::Integer { bytes: 8, unsigned: true }),
            ("float(7,2)", None, Kind::Float),
            ("decimal(65,30)", None, Kind::Decimal { precision: 65, scale: 30 }),
            ("bit(64)", None, Kind::Bit { bits: 64 }),
            ("time(3)", None, Kind::Time(3)),
            ("datetime", None, Kind::DateTime(0)),
            ("timestamp(6)", None, Kind::Timestamp(6)),
            ("varchar(20)", Some("latin1"), Kind::Varchar(Charset::by_name("latin1").unwrap())),
            ("char(3)", Some("utf8mb4"), Kind::Char(Charset::by_name("utf8mb4").unwrap())),
            ("longtext", Some("utf8"), Kind::Text(Charset::by_name("utf8mb3").unwrap(), 4)),
            ("binary(255)", None, Kind::Binary(255)),
            ("mediumblob", None, Kind::Blob(3)),
            ("enum('a(b')", Some("latin1"), Kind::Enum(Charset::by_name("latin1").unwrap())),
            ("point", None, Kind::Geometry),
            ("inet6", None, Kind::Inet6),
            ("uuid", None, Kind::Uuid),
        ] {
            let (native, parsed) = native_type(column_type, charset).unwrap();
            assert_eq!((parsed, Kind::unpack(native.id)), (kind, Some(kind)), "{column_type}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let error = native_type("varchar(9)", Some("swe7")).unwrap_err();
        assert!(error.to_string().contains("swe7"), "{error}");
        let error = native_type("varchar(100) /*M!100301 COMPRESSED*/", Some("latin1")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(native_type("xmltype", None).is_err());
        assert_eq!(Kind::unpack(0), None);
    }
}
