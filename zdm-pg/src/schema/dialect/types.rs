//! Neutral types as PostgreSQL's, and PostgreSQL's as a user writes them.

use std::sync::Arc;

use postgres_types::Type;
use zdm_core::schema::conversion::{Bounds, Fit, Mapped, Used};
use zdm_core::schema::{Column, DataType, Definition, DefinitionKind};

use super::NAME;
use crate::connect::quote::{quote_literal, quote_table};
use crate::sink::prepare::ddl::neutral_type;

/// The longest label of an enumeration, in octets.
///
/// <https://www.postgresql.org/docs/current/datatype-enum.html>
const LABEL: usize = 63;

/// A time of day is between these.
const DAY: (i64, i64) = (0, 86_400_000_000_000);

/// The type that holds a column's values with the least loss.
pub(super) fn column_type(column: &Column, used: Used<'_>) -> Mapped {
    let plain = |data_type: DataType| of(data_type);
    let wider = |data_type: DataType, how: &str| of(data_type).fitting(Fit::widened(how));
    match &column.data_type {
        DataType::Integer { bits: 64, unsigned: true } if used.counted => {
            plain(DataType::integer(64)).fitting(Fit::lossy("numbers beyond 9223372036854775807"))
        }
        DataType::Integer { bits: 64, unsigned: true } => wider(
            DataType::Decimal { precision: Some(20), scale: Some(0) },
            "it also holds negative numbers, and larger ones",
        ),
        DataType::Integer { bits, unsigned } => match bits + u8::from(*unsigned) {
            16 => plain(DataType::integer(16)),
            32 => plain(DataType::integer(32)),
            64 => plain(DataType::integer(64)),
            0..=15 => wider(DataType::integer(16), "it also holds numbers of 16 bits"),
            17..=31 => wider(DataType::integer(32), "it also holds numbers of 32 bits"),
            _ => wider(DataType::integer(64), "it also holds numbers of 64 bits"),
        },
        DataType::Year => wider(DataType::integer(16), "it also holds other numbers"),
        DataType::Decimal { .. } | DataType::Float32 | DataType::Float64 if column.unsigned => {
            wider(column.data_type.clone(), "it also holds negative numbers")
        }
        DataType::Decimal { precision: Some(p), .. } if *p > 1000 => {
            wider(DataType::decimal(), "it has no limit")
        }
        DataType::Text { length, fixed: true } => text(DataType::Text { length: *length, fixed: false })
            .fitting(Fit::widened("it also keeps blanks at the end")),
        DataType::Text { length: Some(length), .. } if *length > 10_485_760 => {
            text(DataType::text()).fitting(Fit::widened("it has no limit"))
        }
        DataType::Text { .. } => text(column.data_type.clone()),
        DataType::Bytes { length: Some(_), .. } => wider(DataType::bytes(), "it has no limit"),
        DataType::Date | DataType::Timestamp { .. } => {
            let fit = Fit::lossy("days of no calendar, such as 0000-00-00");
            plain(column.data_type.clone()).fitting(fit)
        }
        DataType::Time { zone: false, .. } => {
            wider(DataType::Interval, "it also holds months and days; say `time` where all are within a day")
        }
        DataType::Json => wider(DataType::Json, "its text is kept as it is; `jsonb` would put it in order"),
        DataType::Enum { labels } => enumeration(labels, used),
        DataType::Set { .. } => {
            text(DataType::text()).fitting(Fit::widened("its labels with commas between them"))
        }
        DataType::Geometry => {
            wider(DataType::bytes(), "the number of its reference system in four octets, then its WKB")
        }
        DataType::Array(of) => {
            let element = column_type(&Column::new(column.name.clone(), of.as_ref().clone()), used);
            let mut mapped = self::of(DataType::Array(Arc::new(element.data_type)));
            mapped.fit = Fit::widened("it has no limit");
            mapped
        }
        DataType::Native => text(DataType::text()).fitting(Fit::widened("its text form")),
        other => plain(other.clone()),
    }
}

/// A neutral type that PostgreSQL has as it is.
fn of(data_type: DataType) -> Mapped {
    let id = oid(&data_type).map_or(0, |native| native.oid());
    let name = neutral_type(&data_type);
    let time = matches!(data_type, DataType::Time { .. }).then_some(DAY);
    Mapped::exact(data_type, name, id).within(Bounds { time, ..Bounds::default() })
}

fn text(data_type: DataType) -> Mapped {
    of(data_type).within(Bounds { no_nul: true, ..Bounds::default() })
}

fn oid(data_type: &DataType) -> Option<Type> {
    Some(match data_type {
        DataType::Bool => Type::BOOL,
        DataType::Integer { bits: 0..=16, unsigned: false } => Type::INT2,
        DataType::Integer { bits: 17..=32, unsigned: false } => Type::INT4,
        DataType::Integer { bits: 33..=64, unsigned: false } => Type::INT8,
        DataType::Integer { bits: 32, unsigned: true } => Type::OID,
        DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Decimal { .. } => Type::NUMERIC,
        DataType::Text { length: Some(_), fixed: true } => Type::BPCHAR,
        DataType::Text { length: Some(_), .. } => Type::VARCHAR,
        DataType::Text { .. } => Type::TEXT,
        DataType::Bytes { .. } => Type::BYTEA,
        DataType::Date => Type::DATE,
        DataType::Time { zone: false, .. } => Type::TIME,
        DataType::Time { zone: true, .. } => Type::TIMETZ,
        DataType::Timestamp { zone: false, .. } => Type::TIMESTAMP,
        DataType::Timestamp { zone: true, .. } => Type::TIMESTAMPTZ,
        DataType::Interval => Type::INTERVAL,
        DataType::Uuid => Type::UUID,
        DataType::Json => Type::JSON,
        DataType::Bits { fixed: true, length: Some(_) } => Type::BIT,
        DataType::Bits { .. } => Type::VARBIT,
        _ => return None,
    })
}

/// An enumeration is a type of its own, made before the table.
fn enumeration(labels: &Arc<[String]>, used: Used<'_>) -> Mapped {
    if labels.is_empty() || labels.iter().any(|label| label.len() > LABEL) {
        return text(DataType::text())
            .fitting(Fit::widened("any text: its labels are too long for an enumeration"));
    }
    let schema = used.name.schema.as_str();
    let name = NAME.joined(&format!("{}_{}", used.name.name, used.column), "_enum");
    let list: Vec<String> = labels.iter().map(|label| quote_literal(label)).collect();
    let quoted = quote_table(schema, &name);
    let mut mapped = Mapped::exact(
        DataType::Enum { labels: Arc::clone(labels) },
        format!("{}.{}", spelled(schema), spelled(&name)),
        0,
    )
    .within(Bounds { labels: true, ..Bounds::default() });
    mapped.needs = Some(Definition {
        kind: DefinitionKind::Type,
        statement: format!("CREATE TYPE {quoted} AS ENUM ({})", list.join(", ")),
        name: quoted,
    });
    if labels.iter().any(String::is_empty) {
        return mapped;
    }
    mapped.fitting(Fit::lossy("the error value '', which is no label"))
}

/// As `format_type` spells a name: quoted only where it must be.
fn spelled(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { name.to_owned() } else { crate::connect::quote::quote_ident(name) }
}

/// Reads a type as a user writes it; `None` for what is no type's name.
pub(super) fn parse(text: &str) -> Option<Mapped> {
    let lower = text.trim().to_lowercase();
    if let Some(element) = lower.strip_suffix("[]") {
        let element = parse(element)?;
        let mut mapped = of(DataType::Array(Arc::new(element.data_type)));
        mapped.native.name = format!("{}[]", element.native.name).into();
        return Some(mapped);
    }
    let (word, arguments) = split(&lower)?;
    let number = |at: usize| arguments.get(at).copied();
    let digits = || number(0).and_then(|n| u8::try_from(n).ok()).filter(|n| *n < 7);
    let data_type = match word.as_str() {
        "boolean" | "bool" => DataType::Bool,
        "smallint" | "int2" => DataType::integer(16),
        "integer" | "int" | "int4" => DataType::integer(32),
        "bigint" | "int8" => DataType::integer(64),
        "real" | "float4" => DataType::Float32,
        "double precision" | "float8" => DataType::Float64,
        "numeric" | "decimal" => DataType::Decimal {
            precision: number(0),
            scale: number(0).map(|_| number(1).and_then(|n| i32::try_from(n).ok()).unwrap_or(0)),
        },
        "text" => return Some(self::text(DataType::text())),
        "character varying" | "varchar" => {
            return Some(self::text(DataType::Text { length: number(0), fixed: false }));
        }
        // Without a length it has no limit, where `character` has one of 1.
        "bpchar" if number(0).is_none() => {
            let mut mapped = self::text(DataType::text());
            (mapped.native.name, mapped.native.id) = ("bpchar".into(), Type::BPCHAR.oid());
            return Some(mapped);
        }
        "character" | "char" | "bpchar" => {
            return Some(self::text(DataType::Text { length: Some(number(0).unwrap_or(1)), fixed: true }));
        }
        "bytea" => DataType::bytes(),
        "date" => DataType::Date,
        "time" | "time without time zone" => DataType::Time { precision: digits(), zone: false },
        "timetz" | "time with time zone" => DataType::Time { precision: digits(), zone: true },
        "timestamp" | "timestamp without time zone" => {
            DataType::Timestamp { precision: digits(), zone: false }
        }
        "timestamptz" | "timestamp with time zone" => DataType::Timestamp { precision: digits(), zone: true },
        "interval" => DataType::Interval,
        "uuid" => DataType::Uuid,
        "json" => DataType::Json,
        "jsonb" => return Some(Mapped::exact(DataType::Json, "jsonb", Type::JSONB.oid())),
        "bit" => DataType::Bits { length: Some(number(0).unwrap_or(1)), fixed: true },
        "bit varying" | "varbit" => DataType::Bits { length: number(0), fixed: false },
        // Types whose values are texts to everybody else.
        _ => return other(text.trim()),
    };
    Some(of(data_type))
}

/// A type by its name alone: an extension's, or a user's. The server says
/// whether it is there.
fn other(text: &str) -> Option<Mapped> {
    let named = text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '"'))
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '(' | ')' | ',' | ' '));
    named.then(|| Mapped::exact(DataType::Native, text, 0))
}

/// The words of a type and the numbers between them:
/// `timestamp(3) with time zone`.
fn split(text: &str) -> Option<(String, Vec<u32>)> {
    let Some((head, rest)) = text.split_once('(') else {
        return Some((text.split_whitespace().collect::<Vec<_>>().join(" "), Vec::new()));
    };
    let (arguments, tail) = rest.split_once(')')?;
    let words: Vec<_> = head.split_whitespace().chain(tail.split_whitespace()).collect();
    let numbers = arguments.split(',').map(|n| n.trim().parse().ok()).collect::<Option<Vec<u32>>>();
    Some((words.join(" "), numbers.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_users_write_them() {
        for (given, name, data_type) in [
            ("BOOLEAN", "boolean", "bool"),
            ("numeric(20,0)", "numeric(20,0)", "decimal(20,0)"),
            ("varchar(320)", "character varying(320)", "text(320)"),
            ("timestamp(3) with time zone", "timestamp(3) with time zone", "moment"),
            ("timestamptz", "timestamp with time zone", "moment"),
            ("text[]", "text[]", "array of text"),
            ("bpchar", "bpchar", "text"),
            ("char", "character(1)", "char(1)"),
            ("jsonb", "jsonb", "json"),
            ("geometry(Point,4326)", "geometry(Point,4326)", "native"),
        ] {
            let mapped = parse(given).unwrap();
            assert_eq!(
                (mapped.native.name.as_str(), mapped.data_type.to_string().as_str()),
                (name, data_type)
            );
        }
        for wrong in ["", "int; drop table x", "'x'"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
