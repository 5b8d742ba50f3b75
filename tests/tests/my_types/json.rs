//! JSON of every kind that MySQL stores.

use std::fmt::Write as _;

use fastrand::Rng;

use super::columns::{Taste, one};
use super::text::quoted;

/// What MySQL keeps in forms of its own.
const SCALARS: [&str; 20] = [
    "CAST(CAST('2024-02-29' AS DATE) AS JSON)",
    "CAST(CAST('2024-02-29 23:59:59.123456' AS DATETIME(6)) AS JSON)",
    "CAST(CAST('-838:59:59' AS TIME) AS JSON)",
    "CAST(CAST('00:00:00.000001' AS TIME(6)) AS JSON)",
    "CAST(CAST('-123.4500' AS DECIMAL(10,4)) AS JSON)",
    "CAST(18446744073709551615 AS JSON)",
    "CAST(-9223372036854775808 AS JSON)",
    "CAST(CAST(2024 AS YEAR) AS JSON)",
    "CAST(x'00ff10' AS JSON)",
    "CAST(REPEAT(x'00ff10', 100) AS JSON)",
    "CAST(b'101' AS JSON)",
    "CAST(1e20 AS JSON)",
    "CAST(-0e0 AS JSON)",
    "CAST(1.7976931348623157e308 AS JSON)",
    "CAST(0.1e0 AS JSON)",
    "CAST(1e15 AS JSON)",
    "CAST(123456789012345.6e0 AS JSON)",
    "CAST(TRUE AS JSON)",
    "CAST(ST_GeomFromText('POINT(1 2)') AS JSON)",
    "JSON_OBJECT('t', CAST('12:00' AS TIME), 'n', NULL, 'd', 1.50, 'b', x'ff')",
];

/// Numbers that are not the same once their text was read again.
const BEYOND: [&str; 2] =
    ["CAST(CAST('99999999999999999999999999999999999' AS DECIMAL(65,30)) AS JSON)", "CAST(5e-324 AS JSON)"];

/// An expression of JSON.
pub(crate) fn expression(rng: &mut Rng, mysql: bool, taste: Taste) -> String {
    match rng.u8(..10) {
        0 if mysql && taste == Taste::All => one(rng, &BEYOND).to_owned(),
        0..3 if mysql => one(rng, &SCALARS).to_owned(),
        // Beyond 64 KiB offsets take four octets.
        3 if mysql => {
            let entry = quoted(&document(rng, 1, taste));
            format!("JSON_ARRAY({entry}, REPEAT('long ', {}), 1)", rng.u32(10_000..20_000))
        }
        4 => {
            let many: Vec<String> = (0..rng.usize(1..3000)).map(|n| format!("\"k{n}\": {n}")).collect();
            quoted(&format!("{{{}}}", many.join(", ")))
        }
        _ => {
            let depth = rng.usize(..6);
            quoted(&document(rng, depth, taste))
        }
    }
}

/// Another value, of which much stays as it was.
pub(crate) fn changed(rng: &mut Rng, column: &str, taste: Taste) -> String {
    let value = match rng.u8(..3) {
        0 => one(rng, &SCALARS).to_owned(),
        1 => format!("CAST({} AS JSON)", quoted(&document(rng, 2, taste))),
        _ => rng.i64(..).to_string(),
    };
    let path = one(rng, &["$.a", "$.b", "$.k1", "$[0]", "$[1]", "$.a[0]", "$[1].b", "$.\"é \\\\\"\""]);
    match rng.u8(..4) {
        0 => format!("JSON_REMOVE({column}, '{}')", one(rng, &["$.a", "$[0]", "$.k2"])),
        1 => format!("JSON_REPLACE({column}, '{path}', {value})"),
        _ => format!("JSON_SET({column}, '{path}', {value})"),
    }
}

/// JSON as text.
fn document(rng: &mut Rng, depth: usize, taste: Taste) -> String {
    match rng.u8(..if depth == 0 { 7 } else { 10 }) {
        0 => one(rng, &["null", "true", "false"]).to_owned(),
        1 => rng.i64(..).to_string(),
        2 => {
            one(rng, &["0", "-1", "32767", "32768", "-32769", "65536", "2147483648", "18446744073709551615"])
                .into()
        }
        3 => {
            let value = f64::from_bits(rng.u64(..));
            format!("{:e}", if value.is_normal() { value } else { 0.5 })
        }
        4 => one(rng, &["1.0", "-0.5", "1.50", "100000000000000000000", "0.00001", "1e-7", "123456789.123"])
            .into(),
        5 | 6 => string(rng, taste),
        7 => {
            let inner: Vec<String> = (0..rng.usize(..4)).map(|_| document(rng, depth - 1, taste)).collect();
            format!("[{}]", inner.join(","))
        }
        _ => {
            let keys = ["a", "b", "", "é \\\"", "long key of some length", "漢"];
            let mut out = String::from("{");
            let mut first = true;
            for key in keys {
                if rng.bool() {
                    let comma = if first { "" } else { ", " };
                    // OK because writing to a string cannot fail.
                    let _ = write!(out, "{comma}\"{key}\": {}", document(rng, depth - 1, taste));
                    first = false;
                }
            }
            out + "}"
        }
    }
}

fn string(rng: &mut Rng, taste: Taste) -> String {
    let odd =
        ["", "a", "\\u0001", "\\n\\t\\\\", "\\\"", "🐘", "é", "</script>", "\\u00e9", "\\ud83d\\ude00", "x"];
    let mut out: String = (0..rng.usize(..5)).map(|_| one(rng, &odd)).collect();
    if taste == Taste::All && rng.u8(..10) == 0 {
        out += "\\u0000";
    }
    if rng.u8(..10) == 0 {
        out = "y".repeat(rng.usize(100..20_000));
    }
    format!("\"{out}\"")
}
