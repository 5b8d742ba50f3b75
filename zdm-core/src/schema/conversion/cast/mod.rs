//! Values of one neutral type as values of another.
//!
//! Each type has one kind of [`Value`]; a cast gives a value of the target's
//! kind, of the same meaning, or says why there is none. It knows neutral
//! types and a target's [`Bounds`], and no engine.

mod bound;
mod coerce;
mod json;
mod text;

pub(crate) use self::coerce::coerce;
use super::{Bounds, NulCharacter, Policies, Unfit};
use crate::change::Value;
use crate::schema::{Column, DataType};

/// How the cells of one column become those of another: a pure function.
#[derive(Debug, Clone, PartialEq)]
pub struct Cast {
    /// Whether the source's texts are labels of a set, with commas between.
    labels: bool,
    to: DataType,
    bounds: Bounds,
    policies: Policies,
}

/// Why a value has no like in the target's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What kind of misfit.
    pub kind: MisfitKind,
    /// In words, for an error that names the value's place beside it.
    pub reason: String,
}

/// What kind a [`Misfit`] is of, which decides over the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisfitKind {
    /// A day of no calendar.
    ZeroDate,
    /// Beyond what the type holds.
    Range,
    /// A character U+0000.
    Nul,
    /// Not such a value at all: no policy helps.
    Kind,
}

impl Misfit {
    fn new(kind: MisfitKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    fn range(reason: impl Into<String>) -> Self {
        Self::new(MisfitKind::Range, reason)
    }

    fn kind(reason: impl Into<String>) -> Self {
        Self::new(MisfitKind::Kind, reason)
    }
}

impl Cast {
    /// The cast from a column as the source has it to what a target has;
    /// `None` where every cell can pass as it lies there.
    pub fn between(from: &Column, to: &DataType, bounds: &Bounds, policies: &Policies) -> Option<Self> {
        if holds_all(&from.data_type, to, bounds, policies) && !bound::can_exceed(&from.data_type, bounds) {
            return None;
        }
        let labels = matches!(from.data_type, DataType::Set { .. });
        Some(Self { labels, to: to.clone(), bounds: bounds.clone(), policies: *policies })
    }

    /// Casts a value; `None` where it is already what the target takes, so
    /// that its cell can stay as it lies there.
    ///
    /// # Errors
    /// A [`Misfit`] that the policies do not cover.
    pub fn apply<'a>(&self, value: &Value<'a>) -> Result<Option<Value<'a>>, Misfit> {
        if self.bounds.any_day && matches!(value, Value::Native(_)) {
            return Ok(None);
        }
        let coerced = match (value, &self.to) {
            (Value::Text(labels), DataType::Array(of)) if self.labels => {
                json::array_of_labels(labels, of).map(Some)
            }
            _ => coerce(value, &self.to),
        };
        let misfit = match coerced {
            Ok(changed) => match self.bounds.check(changed.as_ref().unwrap_or(value)) {
                Ok(()) => return Ok(changed),
                Err(misfit) => misfit,
            },
            Err(misfit) => misfit,
        };
        let policy = match misfit.kind {
            MisfitKind::ZeroDate => self.policies.zero_date,
            MisfitKind::Range => self.policies.out_of_range,
            MisfitKind::Nul if self.policies.nul_character == NulCharacter::Remove => {
                let text = value.as_str().unwrap_or_default().replace('\0', "");
                return Ok(Some(Value::Text(text.into())));
            }
            MisfitKind::Nul | MisfitKind::Kind => Unfit::Error,
        };
        match policy {
            Unfit::Error => Err(misfit),
            Unfit::Null => Ok(Some(Value::Null)),
            Unfit::Nearest => bound::nearest(value, &self.to, &self.bounds, &misfit).map(Some).ok_or(misfit),
        }
    }

    /// Whether it may give null for what is not null, by the policies.
    pub fn may_give_null(&self, from: &DataType) -> bool {
        let dated = matches!(from, DataType::Date | DataType::Timestamp { .. });
        (dated && self.policies.zero_date == Unfit::Null) || self.policies.out_of_range == Unfit::Null
    }
}

/// Whether every cell of one type is, as it is, a cell of another, its
/// [`Bounds`] apart. A label that is none is an enumeration's error value,
/// which some engines have and some have not.
fn holds_all(from: &DataType, to: &DataType, bounds: &Bounds, policies: &Policies) -> bool {
    use DataType as T;
    let trusting = policies.out_of_range == Unfit::Error;
    match (from, to) {
        (T::Integer { bits: a, unsigned: s }, T::Integer { bits: b, unsigned: t }) => {
            (s == t && a <= b) || (*s && !t && a < b)
        }
        (T::Year, T::Year) => true,
        (T::Year, T::Integer { bits, .. }) => *bits >= 16,
        (T::Decimal { precision: None, .. }, T::Decimal { precision: None, .. }) => true,
        (T::Decimal { precision: Some(a), scale: s }, T::Decimal { precision: Some(b), scale: t }) => {
            let (s, t) = (s.unwrap_or(0), t.unwrap_or(0));
            let whole = |p: &u32, s: i32| i64::from(*p) - i64::from(s);
            s <= t && whole(a, s) <= whole(b, t)
        }
        (T::Decimal { precision: Some(_), .. }, T::Decimal { precision: None, .. }) => true,
        (T::Text { length: a, .. }, T::Text { length: b, .. })
        | (T::Bytes { length: a, .. }, T::Bytes { length: b, .. }) => within(*a, *b),
        (T::Enum { .. } | T::Set { .. }, T::Text { length: None, .. }) => true,
        (T::Enum { labels: a }, T::Enum { labels: b }) | (T::Set { labels: a }, T::Set { labels: b }) => {
            trusting && a == b
        }
        // A day of no calendar is to be told with its place.
        (T::Date, T::Date) => bounds.any_day,
        (T::Timestamp { precision: a, zone: s }, T::Timestamp { precision: b, zone: t }) => {
            bounds.any_day && s == t && finer(*b, *a)
        }
        (T::Time { precision: a, zone: s }, T::Time { precision: b, zone: t }) => s == t && finer(*b, *a),
        (T::Bits { length: a, fixed: s }, T::Bits { length: b, fixed: t }) => {
            (s == t && a == b) || (!t && within(*a, *b))
        }
        (T::Geometry, T::Bytes { length: None, .. }) => true,
        (T::Array(a), T::Array(b)) => holds_all(a, b, bounds, policies),
        (a, b) => a == b,
    }
}

/// Whether a limit of one is within another's.
fn within(a: Option<u32>, b: Option<u32>) -> bool {
    b.is_none_or(|b| a.is_some_and(|a| a <= b))
}

/// Whether a clock has at least the digits of another.
fn finer(a: Option<u8>, b: Option<u8>) -> bool {
    a.unwrap_or(6) >= b.unwrap_or(6)
}
