//! One column of a table map against the column that the catalog described.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Table__map__event.html>
//! has the table of types and of what follows each in the metadata block.

use zdm_core::Result;
use zdm_core::schema::Column;

use super::super::reader::{Reader, broken};
use super::{Place, What, Width};
use crate::types::{Kind, LOG, OLD, argument, code, fraction_len, labels, packed_len};

/// Reads what the log says of a column and matches it; `None` if it is
/// another type than was described.
pub(super) fn place(wire: u8, metadata: &mut Reader<'_>, column: &Column) -> Result<Option<Place>> {
    let meta = Meta::read(wire, metadata)?;
    let Some(kind) = Kind::of(column) else {
        return Err(broken("a table of the run was described by another crate").with("column", &column.name));
    };
    Ok(matched(wire, meta, kind, column).map(|(width, format)| {
        let what = match kind {
            _ if column.generated.is_some() => What::Generated,
            Kind::Json => What::Json,
            Kind::Text(..) | Kind::Blob(_) | Kind::Geometry => What::Blob,
            _ => What::Plain,
        };
        Place { width, format, what }
    }))
}

/// What stands in the metadata block for one column: nothing, one byte or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Meta(u8, u8);

impl Meta {
    fn read(wire: u8, block: &mut Reader<'_>) -> Result<Self> {
        Ok(match wire {
            code::TINY
            | code::SHORT
            | code::INT24
            | code::LONG
            | code::LONGLONG
            | code::YEAR
            | code::DATE
            | code::TIME
            | code::DATETIME
            | code::TIMESTAMP => Self(0, 0),
            code::FLOAT
            | code::DOUBLE
            | code::BLOB
            | code::BLOB_COMPRESSED
            | code::JSON
            | code::GEOMETRY
            | code::VECTOR
            | code::TIME2
            | code::DATETIME2
            | code::TIMESTAMP2 => Self(block.u8()?, 0),
            code::VARCHAR
            | code::VARCHAR_COMPRESSED
            | code::VAR_STRING
            | code::STRING
            | code::ENUM
            | code::SET
            | code::BIT
            | code::NEWDECIMAL => Self(block.u8()?, block.u8()?),
            _ => return Err(broken("a column is of a type that is not known").with("type", wire)),
        })
    }

    /// A length in bytes.
    fn length(self) -> u32 {
        u16::from_le_bytes([self.0, self.1]).into()
    }

    /// The type within a `STRING`, and its length in bytes: two bits of a
    /// length above 255 hide, inverted, in the type.
    fn string(self) -> (u8, u32) {
        let Self(kind, len) = self;
        if kind & 0x30 == 0x30 {
            (kind, len.into())
        } else {
            (kind | 0x30, u32::from(len) | u32::from((kind & 0x30) ^ 0x30) << 4)
        }
    }
}

fn matched(wire: u8, meta: Meta, kind: Kind, column: &Column) -> Option<(Width, u8)> {
    let log = |width| Some((width, LOG));
    let fixed = |len| log(Width::Fixed(len));
    let characters = |widest: u8| argument(&column.native.name, 0)?.checked_mul(widest.into());
    // A length takes one byte as long as the longest one does.
    let short_or_long = |len: u32| log(Width::Prefixed(if len < 256 { 1 } else { 2 }));
    let is_string = |kind, len| (wire == code::STRING && meta.string() == (kind, len)).then_some(());
    match (kind, wire) {
        (Kind::Integer { bytes: 1, .. }, code::TINY) => fixed(1),
        (Kind::Integer { bytes: 2, .. }, code::SHORT) => fixed(2),
        (Kind::Integer { bytes: 3, .. }, code::INT24) => fixed(3),
        (Kind::Integer { bytes: 4, .. }, code::LONG) => fixed(4),
        (Kind::Integer { bytes: 8, .. }, code::LONGLONG) => fixed(8),
        (Kind::Float, code::FLOAT) if meta.0 == 4 => fixed(4),
        (Kind::Double, code::DOUBLE) if meta.0 == 8 => fixed(8),
        (Kind::Decimal { precision, scale }, code::NEWDECIMAL) if meta == Meta(precision, scale) => {
            fixed(u16::try_from(packed_len(precision, scale)?).ok()?)
        }
        (Kind::Bit { bits }, code::BIT) if meta == Meta(bits % 8, bits / 8) => {
            fixed(u16::from(bits).div_ceil(8))
        }
        (Kind::Year, code::YEAR) => fixed(1),
        (Kind::Date, code::DATE) => fixed(3),
        (Kind::Time(digits), code::TIME2) if meta.0 == digits => fixed(3 + fraction(digits)?),
        (Kind::DateTime(digits), code::DATETIME2) if meta.0 == digits => fixed(5 + fraction(digits)?),
        (Kind::Timestamp(digits), code::TIMESTAMP2) if meta.0 == digits => fixed(4 + fraction(digits)?),
        (Kind::Time(0), code::TIME) => Some((Width::Fixed(3), OLD)),
        (Kind::DateTime(0), code::DATETIME) => Some((Width::Fixed(8), OLD)),
        (Kind::Timestamp(0), code::TIMESTAMP) => Some((Width::Fixed(4), OLD)),
        (Kind::Char(charset), _) => {
            let len = characters(charset.widest())?;
            is_string(code::STRING, len)?;
            short_or_long(len)
        }
        (Kind::Binary(len), _) => {
            is_string(code::STRING, len.into())?;
            log(Width::Prefixed(1))
        }
        (Kind::Uuid | Kind::Inet6, _) => {
            is_string(code::STRING, 16)?;
            log(Width::Prefixed(1))
        }
        (Kind::Inet4, _) => {
            is_string(code::STRING, 4)?;
            log(Width::Prefixed(1))
        }
        (Kind::Varchar(charset), code::VARCHAR) if meta.length() == characters(charset.widest())? => {
            short_or_long(meta.length())
        }
        (Kind::Varbinary, code::VARCHAR) if meta.length() == characters(1)? => short_or_long(meta.length()),
        // MariaDB keeps a vector as a string of bytes.
        (Kind::Vector, code::VARCHAR) if meta.length() == characters(4)? => short_or_long(meta.length()),
        (Kind::Vector, code::VECTOR) => prefixed(meta.0),
        (Kind::Text(_, width) | Kind::Blob(width), code::BLOB) if meta.0 == width => prefixed(width),
        (Kind::Json, code::JSON) | (Kind::Geometry, code::GEOMETRY) => prefixed(meta.0),
        (Kind::Enum(_), _) => {
            let len = if labels(&column.native.name).count() < 256 { 1 } else { 2 };
            is_string(code::ENUM, len)?;
            fixed(u16::try_from(len).ok()?)
        }
        (Kind::Set(_), _) => {
            let bytes = labels(&column.native.name).count().div_ceil(8);
            let len = if bytes > 4 { 8 } else { u16::try_from(bytes).ok()? };
            is_string(code::SET, len.into())?;
            fixed(len)
        }
        _ => None,
    }
}

fn prefixed(width: u8) -> Option<(Width, u8)> {
    (1..=4).contains(&width).then_some((Width::Prefixed(width), LOG))
}

fn fraction(digits: u8) -> Option<u16> {
    fraction_len(digits).and_then(|len| u16::try_from(len).ok())
}
