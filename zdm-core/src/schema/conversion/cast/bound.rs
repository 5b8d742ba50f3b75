//! What a target's type cannot hold of its neutral type, and what is nearest.

use super::super::Bounds;
use super::coerce::{range_of, zero_date};
use super::{Misfit, MisfitKind};
use crate::change::{Date, DateTime, Time, Value};
use crate::schema::DataType;

/// Whether a value of that type may be beyond the bounds. What a server would
/// refuse by itself is looked for as well: it does not know the row's key.
pub(super) fn can_exceed(from: &DataType, bounds: &Bounds) -> bool {
    let dated = bounds.finite || bounds.first.is_some() || bounds.last.is_some();
    match from {
        DataType::Float32 | DataType::Float64 | DataType::Decimal { .. } => bounds.finite,
        DataType::Date | DataType::Timestamp { .. } => dated,
        DataType::Time { .. } => bounds.time.is_some(),
        DataType::Text { length, .. } => {
            bounds.no_nul || bounds.octets.is_some_and(|most| length.is_none_or(|n| u64::from(n) * 4 > most))
        }
        DataType::Bytes { length, .. } => {
            bounds.octets.is_some_and(|most| length.is_none_or(|n| u64::from(n) > most))
        }
        DataType::Enum { .. } => bounds.labels,
        _ => false,
    }
}

impl Bounds {
    /// Whether a value of the target's kind is within.
    pub(super) fn check(&self, value: &Value<'_>) -> Result<(), Misfit> {
        let beyond = |what: &str| Err(Misfit::range(format!("the target holds no {what}")));
        match value {
            Value::Float32(v) if self.finite && !v.is_finite() => beyond("NaN and no infinity"),
            Value::Float64(v) if self.finite && !v.is_finite() => beyond("NaN and no infinity"),
            Value::Decimal(v) if self.finite && v.ends_with(['N', 'y']) => beyond("NaN and no infinity"),
            Value::Date(v) if self.finite && !v.is_finite() => beyond("infinite day"),
            Value::DateTime(v) | Value::Moment(v) if self.finite && v.split().is_none() => {
                beyond("infinite moment")
            }
            Value::Date(v) if v.is_finite() => self.lies(DateTime::join(*v, 0)),
            Value::DateTime(v) | Value::Moment(v) => self.lies(*v),
            Value::Time(v) => match self.time {
                Some((least, most)) if v.nanos < least || v.nanos > most => beyond("such time of day"),
                _ => Ok(()),
            },
            Value::Text(v) if self.no_nul && v.contains('\0') => {
                Err(Misfit::new(MisfitKind::Nul, "the target's texts have no character U+0000"))
            }
            Value::Text(v) if self.octets.is_some_and(|most| v.len() as u64 > most) => beyond("text so long"),
            Value::Bytes(v) if self.octets.is_some_and(|most| v.len() as u64 > most) => {
                beyond("string of octets so long")
            }
            _ => Ok(()),
        }
    }

    fn lies(&self, at: DateTime) -> Result<(), Misfit> {
        match (self.first, self.last) {
            (Some(first), _) if at < first => Err(Misfit::range(format!("the target begins at {first}"))),
            (_, Some(last)) if at > last => Err(Misfit::range(format!("the target ends at {last}"))),
            _ => Ok(()),
        }
    }
}

/// The value of the target's that is nearest; `None` where nothing is near.
pub(super) fn nearest(
    value: &Value<'_>,
    to: &DataType,
    bounds: &Bounds,
    misfit: &Misfit,
) -> Option<Value<'static>> {
    if misfit.kind == MisfitKind::ZeroDate {
        return zero_date(to);
    }
    let clamp = |at: DateTime| {
        let at = bounds.first.map_or(at, |first| at.max(first));
        bounds.last.map_or(at, |last| at.min(last))
    };
    match (value, to) {
        (Value::Int(_) | Value::UInt(_), DataType::Integer { bits, unsigned }) => {
            let number = value.as_i64().map_or(i128::from(u64::MAX), i128::from);
            let (least, most) = range_of(*bits, *unsigned);
            let number = number.clamp(least, most);
            Some(i64::try_from(number).map_or_else(|_| Value::UInt(u64::MAX), Value::Int))
        }
        (Value::Float32(v), DataType::Float32) => {
            v.is_infinite().then(|| Value::Float32(f32::MAX.copysign(*v)))
        }
        (Value::Float64(v), DataType::Float64) => {
            v.is_infinite().then(|| Value::Float64(f64::MAX.copysign(*v)))
        }
        (Value::Date(v), DataType::Date) => {
            let at = match *v {
                Date::INFINITY => bounds.last?,
                Date::NEG_INFINITY => bounds.first?,
                day => clamp(DateTime::join(day, 0)),
            };
            at.split().map(|(day, _)| Value::Date(day))
        }
        (Value::DateTime(v), DataType::Timestamp { zone: false, .. }) => Some(Value::DateTime(clamp(*v))),
        (Value::Moment(v), DataType::Timestamp { zone: false, .. }) => Some(Value::DateTime(clamp(*v))),
        (Value::Moment(v), DataType::Timestamp { zone: true, .. }) => Some(Value::Moment(clamp(*v))),
        (Value::Time(v), DataType::Time { .. }) => {
            let (least, most) = bounds.time?;
            Some(Value::Time(Time { nanos: v.nanos.clamp(least, most), offset: v.offset }))
        }
        _ => None,
    }
}
