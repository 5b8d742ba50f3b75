//! What one cell decodes to.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::{Date, DateTime, Interval, Time};

/// One decoded cell. It borrows from its batch where it can.
///
/// Two values are equal when they are the same to the bit, except that the
/// several spellings of a float's NaN count as one; whether `1.0` and `1.00`
/// are the same key is for the database to say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Value<'a> {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed whole number.
    Int(i64),
    /// An unsigned whole number.
    UInt(u64),
    /// IEEE 754, 32 bits.
    Float32(#[serde(with = "super::float")] f32),
    /// IEEE 754, 64 bits.
    Float64(#[serde(with = "super::float")] f64),
    /// An exact decimal as text: `-12.340`, `NaN`, `Infinity`, `-Infinity`.
    /// No exponent, no plus sign; trailing zeros are part of it.
    Decimal(Cow<'a, str>),
    /// Characters.
    Text(Cow<'a, str>),
    /// Octets.
    Bytes(Cow<'a, [u8]>),
    /// A day.
    Date(Date),
    /// A time of day.
    Time(Time),
    /// The reading of a calendar and clock, with no zone.
    DateTime(DateTime),
    /// A moment in UTC.
    Moment(DateTime),
    /// Months, days and time.
    Interval(Interval),
    /// 128 bits.
    Uuid([u8; 16]),
    /// JSON text, as its engine gives it.
    Json(Cow<'a, str>),
    /// Bits as `0` and `1`.
    Bits(Cow<'a, str>),
    /// An array.
    Array(Box<Array<'a>>),
    /// A value of a type that only its engine knows, in its text form.
    Native(Cow<'a, str>),
}

/// An array of any number of dimensions, its elements in row-major order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Array<'a> {
    /// For each dimension its length and the index of its first element; none
    /// for an empty array.
    pub dimensions: Vec<(u32, i32)>,
    /// The elements, the last dimension fastest.
    pub elements: Vec<Value<'a>>,
}

impl Value<'_> {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value with everything it borrows copied.
    pub fn into_owned(self) -> Value<'static> {
        fn own<T: ToOwned + ?Sized>(cow: Cow<'_, T>) -> Cow<'static, T> {
            Cow::Owned(cow.into_owned())
        }
        match self {
            Self::Null => Value::Null,
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::UInt(v) => Value::UInt(v),
            Self::Float32(v) => Value::Float32(v),
            Self::Float64(v) => Value::Float64(v),
            Self::Decimal(v) => Value::Decimal(own(v)),
            Self::Text(v) => Value::Text(own(v)),
            Self::Bytes(v) => Value::Bytes(own(v)),
            Self::Date(v) => Value::Date(v),
            Self::Time(v) => Value::Time(v),
            Self::DateTime(v) => Value::DateTime(v),
            Self::Moment(v) => Value::Moment(v),
            Self::Interval(v) => Value::Interval(v),
            Self::Uuid(v) => Value::Uuid(v),
            Self::Json(v) => Value::Json(own(v)),
            Self::Bits(v) => Value::Bits(own(v)),
            Self::Native(v) => Value::Native(own(v)),
            Self::Array(v) => Value::Array(Box::new(Array {
                dimensions: v.dimensions,
                elements: v.elements.into_iter().map(Value::into_owned).collect(),
            })),
        }
    }

    /// The text, for a value that is text of some kind.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Decimal(v) | Self::Text(v) | Self::Json(v) | Self::Bits(v) | Self::Native(v) => Some(v),
            _ => None,
        }
    }

    /// The number, for a whole number that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(*v),
            Self::UInt(v) => i64::try_from(*v).ok(),
            _ => None,
        }
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::UInt(a), Self::UInt(b)) => a == b,
            (Self::Float32(a), Self::Float32(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Self::Float64(a), Self::Float64(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Self::Decimal(a), Self::Decimal(b))
            | (Self::Text(a), Self::Text(b))
            | (Self::Json(a), Self::Json(b))
            | (Self::Bits(a), Self::Bits(b))
            | (Self::Native(a), Self::Native(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::DateTime(a), Self::DateTime(b)) | (Self::Moment(a), Self::Moment(b)) => a == b,
            (Self::Interval(a), Self::Interval(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            _ => false,
        }
    }
}

/// For people: null is `null`, octets are hexadecimal, a finite moment ends in
/// `Z`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::UInt(v) => write!(f, "{v}"),
            Self::Float32(v) => write!(f, "{v}"),
            Self::Float64(v) => write!(f, "{v}"),
            Self::Decimal(v) | Self::Text(v) | Self::Json(v) | Self::Bits(v) | Self::Native(v) => {
                f.write_str(v)
            }
            Self::Bytes(v) => {
                f.write_str("0x")?;
                v.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Date(v) => write!(f, "{v}"),
            Self::Time(v) => write!(f, "{v}"),
            Self::DateTime(v) => write!(f, "{v}"),
            Self::Moment(v) if v.split().is_none() => write!(f, "{v}"),
            Self::Moment(v) => write!(f, "{v}Z"),
            Self::Interval(v) => write!(f, "{v}"),
            Self::Uuid(v) => {
                for (i, byte) in v.iter().enumerate() {
                    if matches!(i, 4 | 6 | 8 | 10) {
                        f.write_char('-')?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
            Self::Array(v) => f.debug_list().entries(v.elements.iter().map(DisplayAsDebug)).finish(),
        }
    }
}

struct DisplayAsDebug<'a>(&'a Value<'a>);

impl fmt::Debug for DisplayAsDebug<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Float64(number)
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_of_bits_but_for_nan() {
        assert_eq!(Value::Float64(f64::NAN), Value::Float64(-f64::NAN));
        assert_ne!(Value::Float64(0.0), Value::Float64(-0.0));
        assert_ne!(Value::Decimal("1.0".into()), Value::Decimal("1.00".into()));
        assert_ne!(Value::Null, Value::from(""));
    }

    #[test]
    fn owned_values_pass_through_json() {
        let value = Value::Array(Box::new(Array {
            dimensions: vec![(2, 1)],
            elements: vec![Value::from("a"), Value::Null],
        }));
        let text = serde_json::to_string(&value).unwrap();
        let back: Value<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(back.into_owned(), value);
    }
}
