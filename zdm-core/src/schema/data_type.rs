//! The neutral types, on which every conversion between engines meets.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The neutral type of a column.
///
/// Each engine maps its own types to these and back: N mappings, not N². A
/// type that no other engine knows is [`DataType::Native`]: it moves within
/// its engine by its text form, and is text elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataType {
    /// True or false.
    Bool,
    /// A whole number of 8, 16, 24, 32 or 64 bits.
    Integer {
        /// Width in bits.
        bits: u8,
        /// Whether it has no sign.
        unsigned: bool,
    },
    /// IEEE 754, 32 bits.
    Float32,
    /// IEEE 754, 64 bits.
    Float64,
    /// An exact decimal. Without precision, as large as the engine allows.
    Decimal {
        /// Digits in all.
        precision: Option<u32>,
        /// Digits behind the point; negative rounds before it.
        scale: Option<i32>,
    },
    /// Characters.
    Text {
        /// Most characters, where the type says so.
        length: Option<u32>,
        /// Padded with blanks to that length (`char(n)`).
        fixed: bool,
    },
    /// Octets.
    Bytes {
        /// Most octets, where the type says so.
        length: Option<u32>,
        /// Padded with zeros to that length (`binary(n)`).
        fixed: bool,
    },
    /// A day.
    Date,
    /// A time of day.
    Time {
        /// Digits of a second's fraction.
        precision: Option<u8>,
        /// Whether it carries an offset from UTC.
        zone: bool,
    },
    /// A day and a time of day; with `zone` it is a moment, without it a
    /// reading of some calendar and clock.
    Timestamp {
        /// Digits of a second's fraction.
        precision: Option<u8>,
        /// Whether it is a moment in UTC.
        zone: bool,
    },
    /// Months, days and time, kept apart.
    Interval,
    /// 128 bits.
    Uuid,
    /// JSON; its text is kept as it was written unless the engine stores it
    /// parsed.
    Json,
    /// A string of bits.
    Bits {
        /// Most bits, where the type says so.
        length: Option<u32>,
        /// Of exactly that length.
        fixed: bool,
    },
    /// One of a list of labels, in their order.
    Enum {
        /// The labels, in the type's order.
        labels: Arc<[String]>,
    },
    /// Any number of a list of labels; a value is the labels that it has, in
    /// the type's order, with commas between them.
    Set {
        /// The labels, in the type's order. None has a comma in it.
        labels: Arc<[String]>,
    },
    /// A year with no day: 0, or 1901 to 2155. Its values are whole numbers.
    Year,
    /// A shape on a plane or on the earth. A value is octets: the number of
    /// its reference system (32 bits, little-endian), then its WKB.
    Geometry,
    /// An array of any number of dimensions.
    Array(Arc<Self>),
    /// A type of its engine alone, moved by its text form.
    Native,
}

impl DataType {
    /// A signed integer of that width.
    pub const fn integer(bits: u8) -> Self {
        Self::Integer { bits, unsigned: false }
    }

    /// Text without a limit.
    pub const fn text() -> Self {
        Self::Text { length: None, fixed: false }
    }

    /// Octets without a limit.
    pub const fn bytes() -> Self {
        Self::Bytes { length: None, fixed: false }
    }

    /// A decimal without a limit.
    pub const fn decimal() -> Self {
        Self::Decimal { precision: None, scale: None }
    }

    /// A moment in UTC, in the engine's full precision.
    pub const fn moment() -> Self {
        Self::Timestamp { precision: None, zone: true }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sized = |f: &mut fmt::Formatter<'_>, name: &str, length: &Option<u32>| match length {
            Some(length) => write!(f, "{name}({length})"),
            None => f.write_str(name),
        };
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Integer { bits, unsigned } => write!(f, "{}int{bits}", if *unsigned { "u" } else { "" }),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::Decimal { precision: Some(p), scale: Some(s) } => write!(f, "decimal({p},{s})"),
            Self::Decimal { precision: Some(p), .. } => write!(f, "decimal({p})"),
            Self::Decimal { .. } => f.write_str("decimal"),
            Self::Text { length, fixed } => sized(f, if *fixed { "char" } else { "text" }, length),
            Self::Bytes { length, fixed } => sized(f, if *fixed { "binary" } else { "bytes" }, length),
            Self::Date => f.write_str("date"),
            Self::Time { zone, .. } => f.write_str(if *zone { "time with zone" } else { "time" }),
            Self::Timestamp { zone, .. } => f.write_str(if *zone { "moment" } else { "timestamp" }),
            Self::Interval => f.write_str("interval"),
            Self::Uuid => f.write_str("uuid"),
            Self::Json => f.write_str("json"),
            Self::Bits { length, fixed } => sized(f, if *fixed { "bits" } else { "varbits" }, length),
            Self::Enum { labels } => write!(f, "enum of {}", labels.len()),
            Self::Set { labels } => write!(f, "set of {}", labels.len()),
            Self::Year => f.write_str("year"),
            Self::Geometry => f.write_str("geometry"),
            Self::Array(of) => write!(f, "array of {of}"),
            Self::Native => f.write_str("native"),
        }
    }
}
