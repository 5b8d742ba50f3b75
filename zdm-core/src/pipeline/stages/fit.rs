//! Whether a computed value is of its column's type.

use crate::change::Value;
use crate::schema::{Column, DataType};
use crate::{Error, ErrorKind, Result};

/// Refuses a value of another kind than its column's: the target would guess,
/// or refuse the whole batch without saying why.
pub(super) fn check(value: &Value<'_>, column: &Column) -> Result<()> {
    if fits(value, &column.data_type) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        format!("a stage gave a {} for a column of type {}", kind(value), column.data_type),
    ))
}

fn fits(value: &Value<'_>, data_type: &DataType) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => *data_type == DataType::Bool,
        Value::Int(_) | Value::UInt(_) => matches!(data_type, DataType::Integer { .. } | DataType::Year),
        Value::Float32(_) => *data_type == DataType::Float32,
        Value::Float64(_) => *data_type == DataType::Float64,
        Value::Decimal(_) => matches!(data_type, DataType::Decimal { .. }),
        Value::Text(_) => {
            matches!(
                data_type,
                DataType::Text { .. } | DataType::Enum { .. } | DataType::Set { .. } | DataType::Native
            )
        }
        Value::Bytes(_) => matches!(data_type, DataType::Bytes { .. } | DataType::Geometry),
        Value::Date(_) => *data_type == DataType::Date,
        Value::Time(v) => {
            matches!(data_type, DataType::Time { zone, .. } if *zone == v.offset.is_some())
        }
        Value::DateTime(_) => matches!(data_type, DataType::Timestamp { zone: false, .. }),
        Value::Moment(_) => matches!(data_type, DataType::Timestamp { zone: true, .. }),
        Value::Interval(_) => *data_type == DataType::Interval,
        Value::Uuid(_) => *data_type == DataType::Uuid,
        Value::Json(_) => *data_type == DataType::Json,
        Value::Bits(_) => matches!(data_type, DataType::Bits { .. }),
        Value::Array(v) => match data_type {
            DataType::Array(of) => v.elements.iter().all(|element| fits(element, of)),
            _ => false,
        },
        // A text form, of whatever type it is the text form.
        Value::Native(_) => true,
    }
}

/// What a value is, in words.
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "truth",
        Value::Int(_) | Value::UInt(_) => "whole number",
        Value::Float32(_) | Value::Float64(_) => "float",
        Value::Decimal(_) => "decimal",
        Value::Text(_) => "text",
        Value::Bytes(_) => "string of octets",
        Value::Date(_) => "day",
        Value::Time(_) => "time of day",
        Value::DateTime(_) => "timestamp without zone",
        Value::Moment(_) => "moment",
        Value::Interval(_) => "interval",
        Value::Uuid(_) => "uuid",
        Value::Json(_) => "JSON text",
        Value::Bits(_) => "string of bits",
        Value::Array(_) => "array",
        Value::Native(_) => "native value",
    }
}
