//! The canonical form: what a value *is*, whichever engine holds it.
//!
//! Two cells are equal when their canonical forms are the same bytes. A form
//! is that of the target's column as the target itself describes it: the
//! value that a source's cell has behind the stages and the conversion is
//! brought to the kind of that column's type, by the conversion's own rules,
//! and so is what the target holds. So a row that was moved rightly is equal
//! also where the types differ, and a value that the conversion has altered
//! by a policy is compared as altered. Null is equal to null alone.
//!
#![doc = include_str!("table.md")]

mod json;

use std::borrow::Cow;

use crate::change::{Array, Value};
use crate::schema::DataType;
use crate::schema::conversion::coerce;

/// How the cells of one column are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Form {
    /// The target's type.
    to: DataType,
    numbers: json::Numbers,
}

impl Form {
    /// The form of a target's column. Between servers of one engine a number
    /// in JSON is its digits; elsewhere what a double holds of it.
    pub(super) fn of(to: &DataType, one_engine: bool) -> Self {
        let numbers = if one_engine { json::Numbers::Exact } else { json::Numbers::Doubles };
        Self { to: to.clone(), numbers }
    }

    /// Appends a value's form. What is no value of the type at all is written
    /// as what it is, so that it equals nothing else.
    pub(super) fn write(&self, value: &Value<'_>, out: &mut Vec<u8>) {
        self.write_as(&self.to, value, out);
    }

    fn write_as(&self, to: &DataType, value: &Value<'_>, out: &mut Vec<u8>) {
        match coerce(value, to) {
            Ok(Some(value)) => self.write_kind(to, &value, out),
            Ok(None) | Err(_) => self.write_kind(to, value, out),
        }
    }

    fn write_kind(&self, to: &DataType, value: &Value<'_>, out: &mut Vec<u8>) {
        match value {
            Value::Null => out.push(0),
            Value::Bool(v) => out.extend([1, u8::from(*v)]),
            Value::Int(v) => whole(i128::from(*v), out),
            Value::UInt(v) => whole(i128::from(*v), out),
            Value::Float32(v) => {
                let bits = if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() };
                tagged(3, &bits.to_le_bytes(), out);
            }
            Value::Float64(v) => {
                let bits = if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
                tagged(4, &bits.to_le_bytes(), out);
            }
            Value::Decimal(v) => tagged(5, decimal(v).as_bytes(), out),
            Value::Text(v) => {
                // A CHAR(n) is the same however many blanks fill it.
                let padded = matches!(to, DataType::Text { fixed: true, .. });
                let text = if padded { v.trim_end_matches(' ') } else { v };
                tagged(6, text.as_bytes(), out);
            }
            Value::Bytes(v) => {
                let padded = matches!(to, DataType::Bytes { fixed: true, .. });
                let end =
                    if padded { v.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1) } else { v.len() };
                tagged(7, &v[..end], out);
            }
            Value::Date(v) => tagged(8, &v.days().to_le_bytes(), out),
            Value::Time(v) => {
                tagged(9, &v.nanos.to_le_bytes(), out);
                if let Some(offset) = v.offset {
                    out.extend(offset.to_le_bytes());
                }
            }
            Value::DateTime(v) => moment(10, *v, out),
            Value::Moment(v) => moment(11, *v, out),
            Value::Interval(v) => {
                tagged(12, &v.months.to_le_bytes(), out);
                out.extend(v.days.to_le_bytes());
                out.extend(v.nanos.to_le_bytes());
            }
            Value::Uuid(v) => tagged(13, v, out),
            Value::Json(v) => {
                out.push(14);
                json::write(v, self.numbers, out);
            }
            Value::Bits(v) => tagged(15, v.as_bytes(), out),
            Value::Native(v) => tagged(16, v.as_bytes(), out),
            Value::Array(v) => self.write_array(to, v, out),
        }
    }

    fn write_array(&self, to: &DataType, array: &Array<'_>, out: &mut Vec<u8>) {
        let mut of = to;
        // An array of arrays is one array of more dimensions.
        while let DataType::Array(inner) = of {
            of = inner;
        }
        out.push(17);
        length(array.dimensions.len(), out);
        for (len, lower) in &array.dimensions {
            out.extend(len.to_le_bytes());
            out.extend(lower.to_le_bytes());
        }
        for element in &array.elements {
            let start = out.len();
            self.write_as(of, element, out);
            length(out.len() - start, out);
        }
    }
}

fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn whole(number: i128, out: &mut Vec<u8>) {
    tagged(2, &number.to_le_bytes(), out);
}

fn moment(tag: u8, at: crate::change::DateTime, out: &mut Vec<u8>) {
    tagged(tag, &at.seconds.to_le_bytes(), out);
    out.extend(at.nanos.to_le_bytes());
}

fn length(of: usize, out: &mut Vec<u8>) {
    out.extend((of as u64).to_le_bytes());
}

/// A decimal without zeros that say nothing: `1.0`, `1.00` and `01` are `1`.
fn decimal(text: &str) -> Cow<'_, str> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let digits = digits.trim_start_matches('0');
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    match digits {
        "" => Cow::Borrowed("0"),
        digits if sign.is_empty() => Cow::Borrowed(digits),
        digits => Cow::Owned(format!("{sign}{digits}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::change::{Date, DateTime, Interval, Time};

    fn form(to: &DataType, value: &Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        Form::of(to, false).write(value, &mut out);
        out
    }

    fn text(fixed: bool) -> DataType {
        DataType::Text { length: Some(8), fixed }
    }

    /// Each line: a type of a target, and values that are one there.
    #[test]
    fn what_is_the_same_has_one_form() {
        let clock = DataType::Timestamp { precision: None, zone: false };
        let at = DateTime { seconds: 5, nanos: 500_000_000 };
        let time = DataType::Time { precision: None, zone: false };
        for (to, values) in [
            (DataType::integer(64), vec![Value::Int(7), Value::UInt(7), Value::Decimal("7.00".into())]),
            (DataType::integer(8), vec![Value::Int(1), Value::Bool(true)]),
            (DataType::Bool, vec![Value::Bool(true), Value::Int(1), Value::UInt(1)]),
            (DataType::decimal(), ["1.0", "1.00", "1", "01"].map(|d| Value::Decimal(d.into())).to_vec()),
            (DataType::decimal(), vec![Value::Decimal("-0.0".into()), Value::Int(0)]),
            (DataType::Float64, vec![Value::Float64(1.5), Value::Decimal("1.5".into()), Value::Float32(1.5)]),
            (DataType::Float64, vec![Value::Float64(f64::NAN), Value::Float64(-f64::NAN)]),
            (text(true), vec![Value::from("ab"), Value::from("ab   ")]),
            (text(false), vec![Value::from("é"), Value::Bytes("é".as_bytes().into())]),
            (
                DataType::Bytes { length: Some(4), fixed: true },
                vec![Value::Bytes(b"ab"[..].into()), Value::Bytes(b"ab\0\0"[..].into())],
            ),
            (DataType::Date, vec![Value::Date(Date::from_days(0)), Value::from("1970-01-01")]),
            (clock, vec![Value::DateTime(at), Value::Moment(at), Value::from("1970-01-01 00:00:05.5")]),
            (
                time,
                vec![
                    Value::Time(Time { nanos: 1_000_000_000, offset: None }),
                    Value::Interval(Interval { months: 0, days: 0, nanos: 1_000_000_000 }),
                ],
            ),
            (
                DataType::Uuid,
                vec![
                    Value::Uuid([17; 16]),
                    Value::Bytes([17; 16][..].into()),
                    Value::from("11111111-1111-1111-1111-111111111111"),
                ],
            ),
            (
                DataType::Json,
                vec![
                    Value::Json(r#"{"a": 1, "b": [1.50, "é"]}"#.into()),
                    Value::Json(r#"{"b":[1.5,"\u00e9"],"a":1.0}"#.into()),
                ],
            ),
            (
                DataType::Bits { length: Some(3), fixed: true },
                vec![Value::Bits("101".into()), Value::from("101")],
            ),
            (DataType::Year, vec![Value::Int(1999), Value::UInt(1999)]),
            (DataType::Native, vec![Value::Native("10.0.0.1".into()), Value::from("10.0.0.1")]),
            (
                DataType::Array(Arc::new(DataType::decimal())),
                vec![
                    Value::Array(Box::new(Array {
                        dimensions: vec![(1, 1)],
                        elements: vec![Value::Decimal("2.0".into())],
                    })),
                    Value::Json("[2]".into()),
                ],
            ),
        ] {
            let first = form(&to, &values[0]);
            for value in &values[1..] {
                assert_eq!(form(&to, value), first, "{value:?} as {to}");
            }
        }
    }

    /// Each line: a type of a target, and values no two of which are one.
    #[test]
    fn what_differs_has_two_forms() {
        let moment = |seconds, nanos| Value::Moment(DateTime { seconds, nanos });
        let time = |nanos, offset| Value::Time(Time { nanos, offset });
        for (to, values) in [
            (
                text(false),
                vec![Value::Null, Value::from(""), Value::from("a"), Value::from("a "), Value::from("A")],
            ),
            (
                DataType::bytes(),
                vec![Value::Null, Value::Bytes(b""[..].into()), Value::Bytes(b"\0"[..].into())],
            ),
            (
                text(true),
                vec![Value::Null, Value::from(""), Value::from("a"), Value::from("b"), Value::from(" a")],
            ),
            (DataType::moment(), vec![moment(0, 0), moment(0, 1_000), moment(3600, 0), Value::Null]),
            (
                DataType::Time { precision: None, zone: true },
                vec![time(0, Some(0)), time(0, Some(3600)), time(1, Some(0))],
            ),
            (DataType::integer(64), vec![Value::Int(0), Value::Int(1), Value::Int(-1), Value::Null]),
            (
                DataType::decimal(),
                ["1", "1.01", "10", "0.1", "-1", "NaN"].map(|d| Value::Decimal(d.into())).to_vec(),
            ),
            (DataType::Float64, [0.0, -0.0, f64::INFINITY, f64::NAN, 1e300].map(Value::Float64).to_vec()),
            (
                DataType::Date,
                vec![Value::Date(Date::INFINITY), Value::Native("0000-00-00".into()), Value::Null],
            ),
            (
                DataType::Interval,
                vec![
                    Value::Interval(Interval { months: 0, days: 1, nanos: 0 }),
                    Value::Interval(Interval { months: 0, days: 0, nanos: 86_400_000_000_000 }),
                ],
            ),
            (
                DataType::Json,
                [
                    r#"{"a":1}"#,
                    r#"{"a":2}"#,
                    r#"{"a":null}"#,
                    "{}",
                    "null",
                    r#""null""#,
                    "[1,2]",
                    "[2,1]",
                    "1",
                ]
                .map(|j| Value::Json(j.into()))
                .to_vec(),
            ),
        ] {
            for (at, one) in values.iter().enumerate() {
                for other in &values[at + 1..] {
                    assert_ne!(form(&to, one), form(&to, other), "{one:?} and {other:?} as {to}");
                }
            }
        }
    }
}
