//! Neutral types as MySQL's and MariaDB's.

use std::fmt::Write as _;

use zdm_core::change::DateTime;
use zdm_core::schema::conversion::{Bounds, Fit, Mapped, Used};
use zdm_core::schema::{Column, DataType};

use super::collation::{exact, padding};
use crate::connect::Server;
use crate::connect::quote::quote_literal;
use crate::types;

/// A key holds at most so many octets.
///
/// <https://dev.mysql.com/doc/refman/8.4/en/innodb-limits.html>
pub(super) const KEY: u32 = 3072;
/// A character of `utf8mb4` has at most so many octets.
pub(super) const WIDEST: u32 = 4;
/// Octets of a row that texts with a limit may take, of the 65,535 that a row
/// can have outside of its large columns.
const ROW: u64 = 48_000;
/// A text with a larger limit is a large column.
const LONGEST: u32 = 4_000;

/// The first and the last second that MySQL's calendar has.
const FIRST: DateTime = DateTime { seconds: -62_135_596_800, nanos: 0 };
const LAST: DateTime = DateTime { seconds: 253_402_300_799, nanos: 999_999_000 };
/// `TIME` goes from -838:59:59 to 838:59:59.
const TIME: (i64, i64) = (-3_020_399_000_000_000, 3_020_399_000_000_000);

const DAYS: &str = "infinities, and days before the year 1 or after 9999";

/// MariaDB keeps some UUIDs in another order of octets, and takes none that
/// would look like one of those.
///
/// <https://mariadb.com/kb/en/uuid-data-type/>
const LATE_UUIDS: &str =
    "UUIDs whose seventh octet is 80 to ff and whose ninth 01 to 80, which MariaDB refuses";

/// The type that holds a column's values with the least loss.
pub(super) fn column_type(server: &Server, column: &Column, used: Used<'_>) -> Mapped {
    let of = |name: &str| native(server, name);
    let words = |length, how: &str| characters(server, used, length, Fit::widened(how));
    match &column.data_type {
        DataType::Bool => of("tinyint(1)").fitting(Fit::widened("it also holds other numbers than 0 and 1")),
        DataType::Integer { bits, unsigned } => {
            let name = match bits {
                0..=8 => "tinyint",
                9..=16 => "smallint",
                17..=24 => "mediumint",
                25..=32 => "int",
                _ => "bigint",
            };
            of(&if *unsigned { format!("{name} unsigned") } else { name.to_owned() })
        }
        DataType::Year => of("year"),
        DataType::Float32 => of("float").fitting(Fit::lossy(unheld_floats(server))),
        DataType::Float64 => of("double").fitting(Fit::lossy(unheld_floats(server))),
        DataType::Decimal { precision, scale } => decimal(server, *precision, scale.unwrap_or(0)),
        DataType::Text { length: Some(length), fixed: true } if *length <= 255 => {
            let (collation, equality) = padding();
            let mut mapped = of(&format!("char({length})"));
            mapped.collation = Some(collation.to_owned());
            mapped.equality = equality;
            mapped.fitting(Fit::widened("blanks at the end, which are its padding, are not shown"))
        }
        DataType::Text { length, .. } => characters(server, used, *length, Fit::Exact),
        DataType::Bytes { length, fixed } => octets(server, used, *length, *fixed),
        DataType::Date => of("date").fitting(Fit::lossy(DAYS)),
        DataType::Time { precision, zone: false } => of(&format!("time({})", digits(*precision)))
            .fitting(Fit::widened("it also holds spans of more than a day and below zero")),
        DataType::Time { zone: true, .. } => words(Some(32), "its text, with the offset from UTC"),
        DataType::Timestamp { precision, zone } => {
            let loss = if *zone {
                format!("{DAYS}; and that it is in UTC is not in the type")
            } else {
                DAYS.to_owned()
            };
            of(&format!("datetime({})", digits(*precision))).fitting(Fit::lossy(loss))
        }
        DataType::Interval => words(Some(80), "its text in ISO 8601"),
        DataType::Uuid if server.is_mariadb_since(10, 7, 0) => of("uuid").fitting(Fit::lossy(LATE_UUIDS)),
        DataType::Uuid => ascii(server, "char(36)").fitting(Fit::widened("its text")),
        DataType::Json => json(
            server,
            Fit::lossy(
                "the order of keys, keys that come twice, and how numbers are written: zeros at the end, digits beyond a double's; nested deeper than 100, numbers beyond a double and halves of surrogate pairs are refused",
            ),
        ),
        DataType::Bits { length: Some(length @ 1..=64), fixed: true } => of(&format!("bit({length})")),
        DataType::Bits { length, .. } => words(*length, "its bits as a text of 0 and 1"),
        DataType::Enum { labels } => match list("enum", labels, 65_535, server) {
            Some(mapped) => mapped,
            None => words(Some(255), "any text: its labels do not fit an enumeration"),
        },
        DataType::Set { labels } => match list("set", labels, 64, server) {
            Some(mapped) => mapped,
            None => words(None, "any text: its labels do not fit a set"),
        },
        DataType::Geometry => of("geometry"),
        DataType::Array(of) => json(server, Fit::Exact).fitting(Fit::lossy(match of.as_ref() {
            DataType::Bytes { .. } => "indexes that do not begin at 1, and octets that are not UTF-8",
            _ => "indexes that do not begin at 1",
        })),
        _ => words(None, "its text form"),
    }
}

/// A type by a name that was made here, with what such a type cannot hold.
fn native(server: &Server, name: &str) -> Mapped {
    bounded(server, name, None).unwrap_or_else(|| {
        // A name that is made here is one that is read there, as the tests show.
        Mapped::exact(DataType::text(), name, 0)
            .fitting(Fit::Impossible(format!("{name} is not understood: this is a bug, please report it")))
    })
}

/// A type by its name and character set, with what it cannot hold.
pub(super) fn bounded(server: &Server, name: &str, charset: Option<&str>) -> Option<Mapped> {
    let charset = charset.or_else(|| has_characters(name).then_some("utf8mb4"));
    let (native, data_type) = types::column_type(name, charset).ok()?;
    let mut mapped = Mapped::exact(data_type, native.name, native.id);
    if charset == Some("utf8mb4") {
        let (collation, equality) = exact(server);
        mapped.collation = Some(collation.to_owned());
        mapped.equality = equality;
    }
    mapped.charset = charset.map(Into::into);
    let calendar =
        |first, last| Bounds { finite: true, first: Some(first), last: Some(last), ..Bounds::default() };
    mapped.bounds = match &mapped.data_type {
        DataType::Float32 | DataType::Float64 | DataType::Decimal { .. } => {
            Bounds { finite: true, ..Bounds::default() }
        }
        DataType::Date | DataType::Timestamp { zone: false, .. } => calendar(FIRST, LAST),
        DataType::Timestamp { zone: true, .. } => {
            calendar(DateTime { seconds: 1, nanos: 0 }, last_moment(server))
        }
        DataType::Time { .. } => Bounds { time: Some(TIME), ..Bounds::default() },
        _ => Bounds::default(),
    };
    Some(mapped)
}

/// The numbers that a FLOAT or DOUBLE has elsewhere, and not at the server.
fn unheld_floats(server: &Server) -> &'static str {
    if keeps_signs_of_zeros(server) { "NaN and infinities" } else { "NaN and infinities, and the sign of -0" }
}

/// MariaDB stores 0 for -0: 11.8, and 10.11 in its later releases (10.11.18
/// does). Which release began with it is nowhere written, so none is trusted.
pub(super) fn keeps_signs_of_zeros(server: &Server) -> bool {
    !server.is_mariadb()
}

/// `TIMESTAMP` ends with 31 bits, and since MariaDB 11.5 with 32.
fn last_moment(server: &Server) -> DateTime {
    let seconds = if server.is_mariadb_since(11, 5, 0) { 4_294_967_295 } else { 2_147_483_647 };
    DateTime { seconds, nanos: 999_999_000 }
}

fn has_characters(name: &str) -> bool {
    let word = name.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    matches!(word, "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set")
}

/// Text that is ASCII by nature.
pub(super) fn ascii(server: &Server, name: &str) -> Mapped {
    let mut mapped = bounded(server, name, Some("ascii")).unwrap_or_else(|| native(server, "longtext"));
    mapped.collation = Some("ascii_bin".to_owned());
    mapped
}

/// Digits of a second: PostgreSQL and MySQL both keep six at most.
fn digits(precision: Option<u8>) -> u8 {
    precision.unwrap_or(6).min(6)
}

fn decimal(server: &Server, precision: Option<u32>, scale: i32) -> Mapped {
    let limited = precision.and_then(|precision| {
        let (precision, scale) = match u32::try_from(scale) {
            // More digits behind the point than in all: zeros follow it.
            Ok(scale) => (precision.max(scale), scale),
            // It is rounded before the point: so many zeros are before it.
            Err(_) => (precision + scale.unsigned_abs(), 0),
        };
        (precision <= 65 && scale <= 30).then(|| format!("decimal({precision},{scale})"))
    });
    match limited {
        Some(name) => native(server, &name).fitting(Fit::lossy("NaN")),
        None => native(server, "decimal(65,30)").fitting(Fit::lossy(
            "more than 35 digits before the point or 30 behind it, NaN, infinities, and how many zeros are at the end",
        )),
    }
}

/// Characters with a limit, as it can be kept.
fn characters(server: &Server, used: Used<'_>, length: Option<u32>, fit: Fit) -> Mapped {
    let most = match u32::try_from(used.key_parts) {
        Ok(parts @ 1..) => {
            // OK because 3072 octets are 768 of the widest characters.
            let most = KEY / WIDEST / parts;
            if length.is_none_or(|length| length > most) {
                return native(server, &format!("varchar({most})")).fitting(Fit::lossy(format!(
                    "texts of more than {most} characters, since a key is limited"
                )));
            }
            most
        }
        _ if fills_row(used) => 255,
        _ => LONGEST,
    };
    match length {
        Some(length) if length <= most => native(server, &format!("varchar({})", length.max(1))).fitting(fit),
        Some(_) if fit == Fit::Exact => {
            native(server, "longtext").fitting(Fit::widened("it has no limit, since a row is limited"))
        }
        _ => native(server, "longtext").fitting(fit),
    }
}

/// Whether the texts of a table that have a limit could fill a row.
fn fills_row(used: Used<'_>) -> bool {
    let limits = used.table.columns.iter().map(|column| match column.data_type {
        DataType::Text { length: Some(length), .. } | DataType::Bits { length: Some(length), .. }
            if length <= LONGEST =>
        {
            u64::from(length * WIDEST)
        }
        DataType::Bytes { length: Some(length), .. } if length <= LONGEST => u64::from(length),
        _ => 0,
    });
    limits.sum::<u64>() > ROW
}

fn octets(server: &Server, used: Used<'_>, length: Option<u32>, fixed: bool) -> Mapped {
    if let Ok(parts @ 1..) = u32::try_from(used.key_parts) {
        let most = KEY / parts;
        return match length {
            Some(length) if length <= most => native(server, &format!("varbinary({})", length.max(1))),
            _ => native(server, &format!("varbinary({most})"))
                .fitting(Fit::lossy(format!("more than {most} octets, since a key is limited"))),
        };
    }
    match length {
        Some(length) if fixed && length <= 255 => native(server, &format!("binary({length})")),
        Some(length) if length <= LONGEST && !fills_row(used) => {
            native(server, &format!("varbinary({})", length.max(1)))
        }
        Some(_) => native(server, "longblob").fitting(Fit::widened("it has no limit")),
        None => native(server, "longblob"),
    }
}

/// MySQL parses JSON; MariaDB keeps its text.
fn json(server: &Server, fit: Fit) -> Mapped {
    if server.is_mariadb() { native(server, "longtext") } else { native(server, "json").fitting(fit) }
}

/// `enum('a','b')`. Blanks at the end of a label would be cut.
fn list(word: &str, labels: &[String], most: usize, server: &Server) -> Option<Mapped> {
    let fits = |label: &String| label.chars().count() <= 255 && !label.ends_with(' ');
    if labels.is_empty() || labels.len() > most || !labels.iter().all(fits) {
        return None;
    }
    let mut name = format!("{word}(");
    for (at, label) in labels.iter().enumerate() {
        // OK because writing to a string cannot fail.
        let _ = write!(name, "{}{}", if at == 0 { "" } else { "," }, quote_literal(label));
    }
    name.push(')');
    bounded(server, &name, None)
}
