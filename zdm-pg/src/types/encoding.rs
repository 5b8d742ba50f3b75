//! The encoding of cells that a PostgreSQL server sent.

use std::sync::{Arc, LazyLock};

use zdm_core::change::{Encoding, Value};
use zdm_core::schema::Column;
use zdm_core::{Error, ErrorKind, Result};

use super::kind::Shape;
use super::{array, binary, scalar};

/// What sinks know the encoding by.
pub(super) const NAME: &str = "postgresql";
/// The format of a cell in text form.
pub(crate) const TEXT: u8 = 0;
/// The format of a cell in binary form.
pub(crate) const BINARY: u8 = 1;

/// The encoding that every batch of this crate shares.
pub(crate) static ENCODING: LazyLock<Arc<dyn Encoding>> = LazyLock::new(|| Arc::new(PgEncoding));

/// How cells are decoded that a PostgreSQL server sent, in text form (format
/// 0) or binary form (format 1).
///
/// The column's native id is the oid of its type. A type that is not
/// PostgreSQL's own goes by the column's neutral type: a domain by what it is
/// made of, an enum as text, anything else as [`Value::Native`].
///
/// ```
/// use zdm_core::change::{Encoding, Value};
/// use zdm_core::schema::{Column, DataType};
/// use zdm_pg::PgEncoding;
///
/// let column = Column::new("price", DataType::decimal()).native("numeric", 1700);
/// assert_eq!(PgEncoding.decode(&column, 0, b"12.50")?, Value::Decimal("12.50".into()));
/// assert!(PgEncoding.decode(&column, 0, b"cheap").is_err());
/// # Ok::<(), zdm_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct PgEncoding;

impl Encoding for PgEncoding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode<'a>(&self, column: &Column, format: u8, bytes: &'a [u8]) -> Result<Value<'a>> {
        let shape = Shape::of(column);
        let value = match (format, shape) {
            (TEXT, shape) => std::str::from_utf8(bytes).ok().and_then(|text| match shape {
                Shape::Scalar(kind) => scalar::scalar(kind, text),
                Shape::Array(kind) => array::array(kind, text),
            }),
            (BINARY, Shape::Scalar(kind)) => match binary::binary(kind, bytes) {
                Some(value) => value,
                None => return Err(unsupported(column, "the binary form of this type is not read")),
            },
            _ => return Err(unsupported(column, "this format of a cell is not read")),
        };
        // The bytes are a user's data, so they are not shown.
        value.ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                "a cell is not a value of its column's type: the table's description is out of date, \
                 or the server sent rubbish",
            )
            .with("column", &column.name)
            .with("type", &column.native.name)
        })
    }
}

fn unsupported(column: &Column, message: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{message}: ask the server for text"))
        .with("column", &column.name)
        .with("type", &column.native.name)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;
    use zdm_core::change::{Array, Date, DateTime, Interval, Time};
    use zdm_core::schema::DataType;

    use super::*;
    use crate::types::text::write_value;

    fn column(id: u32) -> Column {
        Column::new("c", DataType::Native).native("n", id)
    }

    /// A type, and a value of it.
    fn typed() -> impl Strategy<Value = (u32, u32, Value<'static>)> {
        let micros = |micros: i64| DateTime::from_micros(micros);
        let moment = prop_oneof![
            (-210_866_803_200_000_000_i64..i64::MAX / 2).prop_map(micros),
            Just(DateTime::INFINITY),
            Just(DateTime::NEG_INFINITY)
        ];
        prop_oneof![
            any::<bool>().prop_map(|v| (16, 1000, Value::Bool(v))),
            any::<i16>().prop_map(|v| (21, 1005, Value::Int(v.into()))),
            any::<i32>().prop_map(|v| (23, 1007, Value::Int(v.into()))),
            any::<i64>().prop_map(|v| (20, 1016, Value::Int(v))),
            any::<u32>().prop_map(|v| (26, 1028, Value::UInt(v.into()))),
            any::<f32>().prop_map(|v| (700, 1021, Value::Float32(v))),
            any::<f64>().prop_map(|v| (701, 1022, Value::Float64(v))),
            "-?[0-9]{1,60}(\\.[0-9]{1,40})?|NaN|-?Infinity".prop_map(|v| (
                1700,
                1231,
                Value::Decimal(v.into())
            )),
            ".*".prop_map(|v| (25, 1009, Value::Text(v.into()))),
            any::<Vec<u8>>().prop_map(|v| (17, 1001, Value::Bytes(v.into()))),
            (-2_440_588..2_145_042_906_i32).prop_map(|v| (1082, 1182, Value::Date(Date::from_days(v)))),
            (0..=86_400_000_000_i64).prop_map(|v| (
                1083,
                1183,
                Value::Time(Time { nanos: v * 1_000, offset: None })
            )),
            (0..=86_400_000_000_i64, -57_599..=57_599_i32).prop_map(|(v, offset)| {
                (1266, 1270, Value::Time(Time { nanos: v * 1_000, offset: Some(offset) }))
            }),
            moment.clone().prop_map(|v| (1114, 1115, Value::DateTime(v))),
            moment.prop_map(|v| (1184, 1185, Value::Moment(v))),
            (any::<i32>(), any::<i32>(), any::<i64>()).prop_map(|(months, days, v)| {
                (1186, 1187, Value::Interval(Interval { months, days, nanos: i128::from(v) * 1_000 }))
            }),
            any::<[u8; 16]>().prop_map(|v| (2950, 2951, Value::Uuid(v))),
            ".*".prop_map(|v| (3802, 3807, Value::Json(v.into()))),
            "[01]*".prop_map(|v| (1562, 1563, Value::Bits(v.into()))),
            ".*".prop_map(|v| (869, 1041, Value::Native(v.into()))),
        ]
    }

    proptest! {
        #[test]
        fn a_value_that_was_written_is_read_again((id, _, value) in typed()) {
            let mut text = BytesMut::new();
            write_value(&value, &mut text).unwrap();
            prop_assert_eq!(PgEncoding.decode(&column(id), TEXT, &text).unwrap(), value);
        }

        #[test]
        fn so_is_an_array_of_it((_, id, value) in typed()) {
            let elements = vec![value.clone(), Value::Null, value.clone(), value];
            let value = Value::Array(Box::new(Array { dimensions: vec![(2, 1), (2, -3)], elements }));
            let mut text = BytesMut::new();
            write_value(&value, &mut text).unwrap();
            prop_assert_eq!(PgEncoding.decode(&column(id), TEXT, &text).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, (scalar, array, _) in typed(), format in 0..3_u8) {
            let _ = PgEncoding.decode(&column(scalar), format, &bytes);
            let _ = PgEncoding.decode(&column(array), format, &bytes);
        }
    }
}
