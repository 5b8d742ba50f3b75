//! The table of expressions: for each engine, what a column is on its side and
//! the form that is wanted, the SQL whose text is compared.
//!
//! What SQL says in two ways for the same value (`1.50` and `1.5`, the order of
//! JSON's keys) is brought into one by [`canonical`](super::canonical).

use super::kind::{Family, Kind};

/// For PostgreSQL, with the settings of [`super::read`]. `c` is the column, quoted.
pub(super) fn postgres(c: &str, family: Family, kind: Kind) -> String {
    match (kind, family) {
        (Kind::Number | Kind::Float | Kind::Bits, Family::Bool) => {
            format!("CASE WHEN {c} THEN '1' WHEN NOT {c} THEN '0' END")
        }
        // `real` says the shortest text that is a `real` again: exact as a `double`.
        (Kind::Float | Kind::Number, Family::Float) => format!("{c}::float8::text"),
        (Kind::Number | Kind::Float, Family::Bit) => {
            format!("lpad({c}::text, 64, '0')::bit(64)::bigint::text")
        }
        (Kind::Bytes | Kind::Wkb | Kind::Geometry | Kind::Uuid, Family::Bytes) => {
            format!("encode({c}, 'hex')")
        }
        (Kind::Bytes, Family::Bit) => format!("to_hex({c}::bit(64)::bigint)"),
        (Kind::Bytes, _) => format!("encode(convert_to({c}::text, 'UTF8'), 'hex')"),
        (Kind::Seconds, Family::Time | Family::Interval) => format!("extract(epoch FROM {c})::text"),
        (Kind::Moment, Family::Instant) => format!("({c} AT TIME ZONE 'UTC')::text"),
        (Kind::Set, Family::List) => format!("array_to_string({c}, ',')"),
        // `CHAR(n)` loses its blanks here, as MySQL's does when it is read.
        _ => format!("{c}::text"),
    }
}

/// For MySQL and MariaDB, with the settings of [`super::read`].
pub(super) fn mysql(c: &str, family: Family, kind: Kind) -> String {
    match (kind, family) {
        // `FLOAT` says six digits, and all of them as a `DOUBLE`; a cast to text
        // would cut some off again.
        (Kind::Float | Kind::Number, Family::Float) => format!("{c} * 1e0"),
        (Kind::Number | Kind::Float, Family::Bit) => format!("CAST({c} + 0 AS CHAR)"),
        (Kind::Bits, Family::Bit) => format!("BIN({c} + 0)"),
        (Kind::Bytes | Kind::Uuid, Family::Bytes) => format!("LOWER(HEX({c}))"),
        (Kind::Bytes, Family::Text) => format!("LOWER(HEX(CONVERT({c} USING utf8mb4)))"),
        (Kind::Bytes, _) => format!("LOWER(HEX({c}))"),
        // Four bytes with the reference system, then the well-known binary, x
        // before y whatever the system says of its axes.
        (Kind::Geometry, Family::Geometry | Family::Bytes) => format!("LOWER(HEX({c}))"),
        (Kind::Wkb, Family::Geometry) => format!("LOWER(SUBSTR(HEX({c}), 9))"),
        (Kind::Wkb, _) => format!("LOWER(HEX({c}))"),
        // The words, and not the number behind them; in Unicode, whatever the
        // column's own character set.
        (_, Family::Text | Family::Set | Family::Json) => format!("CONVERT({c} USING utf8mb4)"),
        _ => format!("CAST({c} AS CHAR)"),
    }
}
