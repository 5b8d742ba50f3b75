//! What a column is on its side, and in which form two sides are compared.

/// What a column is on its own side, as far as its text depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Number,
    Float,
    Bool,
    Text,
    Bytes,
    Date,
    /// A date with a time.
    Moment,
    /// PostgreSQL's `timestamptz`, which says its zone. MySQL's `TIMESTAMP` does not.
    Instant,
    Time,
    /// PostgreSQL's `interval`.
    Interval,
    Bit,
    Set,
    /// PostgreSQL's arrays.
    List,
    Json,
    Uuid,
    Geometry,
}

/// The form in which the values of two columns are compared: what they are, if
/// they are the same thing written in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A number, exactly: `1.50`, `1.5` and `15e-1` are one; a boolean is 0 or 1.
    Number,
    /// A number of eight bytes in floating point, to its last bit.
    Float,
    /// Text, with every blank. (`CHAR(n)` has none at its end, on either engine.)
    Text,
    /// Bytes, in hex.
    Bytes,
    /// A date with a time, to the microsecond, in UTC where it is a point in
    /// time. A fraction of zero is none.
    Moment,
    /// A time or a span of time, in seconds: negative and over a day too.
    Seconds,
    /// Bits, without the zeros in front.
    Bits,
    /// A set of words, in any order.
    Set,
    /// JSON, its keys sorted and its numbers exact.
    Json,
    /// A UUID, without dashes, in lower case, from text or 16 bytes.
    Uuid,
    /// A geometry as its reference system and its well-known binary, x before y.
    Geometry,
    /// A geometry as its well-known binary, x before y.
    Wkb,
}

impl Kind {
    /// The form that both can say.
    pub(super) fn common(left: Family, right: Family) -> Self {
        use Family as F;
        let either = |family| left == family || right == family;
        let both = |family| left == family && right == family;
        let number = |family| matches!(family, F::Number | F::Bool | F::Float);
        if either(F::Json) {
            Self::Json
        } else if either(F::Uuid) {
            Self::Uuid
        } else if either(F::Geometry) {
            if both(F::Geometry) { Self::Geometry } else { Self::Wkb }
        } else if either(F::Bit) {
            match if left == F::Bit { right } else { left } {
                F::Number | F::Float => Self::Number,
                F::Bytes => Self::Bytes,
                _ => Self::Bits,
            }
        } else if either(F::Bytes) {
            Self::Bytes
        } else if number(left) && number(right) {
            if either(F::Float) { Self::Float } else { Self::Number }
        } else if either(F::Set) {
            Self::Set
        } else if either(F::Time) {
            Self::Seconds
        } else if either(F::Moment) || either(F::Instant) {
            Self::Moment
        } else {
            Self::Text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, Kind};

    #[test]
    fn two_sides_meet_in_a_form_whichever_is_left() {
        for (left, right, kind) in [
            (Family::Bool, Family::Number, Kind::Number),
            (Family::Float, Family::Number, Kind::Float),
            (Family::Bit, Family::Bool, Kind::Bits),
            (Family::Bit, Family::Number, Kind::Number),
            (Family::Bit, Family::Bytes, Kind::Bytes),
            (Family::Text, Family::Json, Kind::Json),
            (Family::Bytes, Family::Uuid, Kind::Uuid),
            (Family::Geometry, Family::Bytes, Kind::Wkb),
            (Family::Geometry, Family::Geometry, Kind::Geometry),
            (Family::Set, Family::List, Kind::Set),
            (Family::Time, Family::Interval, Kind::Seconds),
            (Family::Interval, Family::Interval, Kind::Text),
            (Family::Date, Family::Text, Kind::Text),
            (Family::Moment, Family::Text, Kind::Moment),
            (Family::Instant, Family::Moment, Kind::Moment),
        ] {
            assert_eq!(Kind::common(left, right), kind, "{left:?} {right:?}");
            assert_eq!(Kind::common(right, left), kind, "{right:?} {left:?}");
        }
    }
}
