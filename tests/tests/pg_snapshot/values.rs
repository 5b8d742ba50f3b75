//! What a SELECT decodes and what the log decodes is the same value, and it is
//! the one that the server means.

use std::collections::BTreeMap;

use zdm_core::change::{Batch, Value};

use super::fixture::{Fixture, server};

/// Types with odd values of theirs, as SQL that makes them, and whether an
/// array of the type is worth a table as well.
pub(crate) const TYPES: [(&str, &[&str]); 52] = [
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "32767", "0"]),
    ("int4", &["-2147483648", "2147483647"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    ("oid", &["0", "4294967295"]),
    ("float4", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "3.4028235e38", "1e-45", "0.1"]),
    ("float8", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1.7976931348623157e308", "5e-324", "0.1"]),
    (
        "numeric",
        &["'NaN'", "0", "-0.00", "1.0", "1.00", "1e131071", "1e-16383", "12345678901234567890.0987654321"],
    ),
    ("numeric(7,3)", &["1234.5", "-0.001"]),
    (
        "text",
        &[
            "''",
            "E'a\\tb\\nc\\rd\\be\\ff\\x0bg'",
            "E'\\\\N'",
            "E'\\\\.'",
            "E'\\\\'",
            "'NULL'",
            "'{\"a\",b}'",
            "'ünïcødé 🐘'",
            "repeat('long ', 100000)",
        ],
    ),
    ("varchar(20)", &["'abc  '", "''"]),
    ("char(5)", &["'ab'", "''"]),
    ("\"char\"", &["'x'", "''"]),
    ("name", &["'a name'"]),
    ("bytea", &["''", "'\\x00ff5c0a'", "decode(repeat('ab', 100000), 'hex')"]),
    (
        "date",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'5874897-12-31'",
            "'0001-12-31 BC'",
            "'2024-02-29'",
        ],
    ),
    ("time", &["'24:00:00'", "'00:00:00'", "'23:59:59.999999'", "'12:00:00.5'"]),
    ("time(2)", &["'01:02:03.456'"]),
    ("timetz", &["'24:00:00+15:59:59'", "'00:00:00-15:59:59'", "'12:34:56.789+05:30'"]),
    (
        "timestamp",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 00:00:00 BC'",
            "'294276-12-31 23:59:59.999999'",
            "'12026-01-01 00:00:00.000001'",
            "'1999-12-31 23:59:59.1'",
        ],
    ),
    (
        "timestamptz",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 00:00:00+00 BC'",
            "'294276-12-31 23:59:59.999999+00'",
            "'2024-03-31 02:30:00+05:45'",
            "'1880-01-01 00:00:00+00:19:32'",
        ],
    ),
    (
        "interval",
        &[
            "'0'",
            "'1 year 2 mons 3 days 04:05:06.789'",
            "'-1 year -2 mons +3 days -04:05:06.000001'",
            "'178956970 years 7 mons 2147483647 days'",
            "'-178956970 years -8 mons'",
            "'1 mon -1 day'",
            "'-1 day +00:00:00.5'",
            "'-00:00:00.000001'",
            "'2562047788 hours'",
        ],
    ),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-fffffffffffe'"]),
    ("json", &["'{\"a\" : 1,  \"a\":2}'", "'null'", "'\"\\u00e9\\n\"'"]),
    ("jsonb", &["'{\"b\": 1.00, \"a\": [null, \"\\\\\"]}'", "'null'"]),
    ("bit(5)", &["'10101'"]),
    ("varbit", &["''", "'1'", "'0001'"]),
    ("inet", &["'::1'", "'10.0.0.1/8'"]),
    ("cidr", &["'10.0.0.0/8'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("money", &["'-12.34'"]),
    ("point", &["'(1.5,-2)'"]),
    ("box", &["'(1,2),(3,4)'"]),
    ("int4range", &["'[1,5)'", "'empty'", "'(,)'"]),
    ("tsvector", &["'''a b'':1 c'"]),
    ("xml", &["'<a>&amp;</a>'"]),
    ("pg_lsn", &["'16/B374D848'"]),
    ("mood", &["'sad'", "'very glad, \"NULL\"'"]),
    ("posint", &["7"]),
    ("moment", &["'infinity'", "'2024-01-01 00:00:00+00'"]),
    ("pair", &["ROW(1, 'a \"b\" \\ c')"]),
    ("numrange", &["'[1.10,1.100]'", "'(NaN,)'"]),
    ("tsrange", &["'[-infinity,infinity)'", "'(2024-01-01 00:00:00,)'"]),
    ("line", &["'{1,-1,0.5}'"]),
    ("lseg", &["'[(0,0),(1e300,-0)]'"]),
    ("path", &["'((0,0),(1,1))'", "'[(0,0),(1,1)]'"]),
    ("polygon", &["'((0,0),(1,1),(2,0))'"]),
    ("circle", &["'<(0,0),1e-300>'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("tsquery", &["'''a b'':AB & !c <2> d:*'"]),
    ("jsonpath", &["'$.\"a b\"[*] ? (@ > 1)'"]),
    ("txid_snapshot", &["'10:20:10,14,15'"]),
];

/// Types and values that came with a major version.
pub(crate) const LATER: [(u16, &str, &[&str]); 4] = [
    (13, "xid8", &["'18446744073709551615'"]),
    (14, "numeric", &["'Infinity'", "'-Infinity'"]),
    (14, "int4multirange", &["'{}'", "'{[1,3),[5,)}'"]),
    (17, "interval", &["'infinity'", "'-infinity'"]),
];

/// Arrays, by type.
const ARRAYS: [(&str, &[&str]); 5] = [
    (
        "int4[]",
        &[
            "'{}'",
            "'{1,NULL,-3}'",
            "'[0:1][-2:-1]={{1,2},{3,4}}'",
            "'{{{1},{2}},{{3},{4}}}'",
            "ARRAY[]::int4[]",
        ],
    ),
    (
        "text[]",
        &["'{NULL,\"NULL\",null,\"\",\"a,b\",\"{\",\"q\\\"\\\\\"}'", "ARRAY[E'\\n\\t', ' x ', E'\\\\N']"],
    ),
    ("moment[]", &["ARRAY['infinity'::moment, NULL]"]),
    ("mood[]", &["ARRAY['sad'::mood, 'very glad, \"NULL\"']"]),
    // A domain over an array.
    ("ids", &["'{1,NULL}'", "'[5:6]={1,2}'"]),
];

fn tables(major: u16) -> Vec<(String, String, Vec<String>)> {
    let mut tables = Vec::new();
    let later = LATER.iter().filter(|(from, ..)| *from <= major);
    let scalars = TYPES.into_iter().chain(later.map(|(_, name, values)| (*name, *values)));
    let scalars = scalars.map(|(name, values)| (name, values, true));
    for (name, values, in_array) in scalars.chain(ARRAYS.map(|(name, values)| (name, values, false))) {
        let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
        if in_array {
            // The same values as an array of two dimensions.
            let all: Vec<_> = values.iter().map(|value| format!("({value})::{name}")).collect();
            let all = all.join(", ");
            let array = format!("ARRAY[ARRAY[{all}], ARRAY[{all}]]");
            tables.push((format!("t{}", tables.len()), format!("{name}[]"), vec![array]));
        }
        tables.push((format!("t{}", tables.len()), name.to_owned(), values));
    }
    tables
}

#[tokio::test]
async fn a_select_and_the_log_decode_one_value() {
    let tables = tables(server().await.major().await.unwrap());
    let mut sql = String::from(
        "CREATE TYPE mood AS ENUM ('sad', 'very glad, \"NULL\"'); CREATE DOMAIN posint AS int CHECK (VALUE > 0);
         CREATE DOMAIN moment AS timestamptz; CREATE TYPE pair AS (a int, b text); CREATE DOMAIN ids AS int[];",
    );
    for (table, kind, _) in &tables {
        sql += &format!("CREATE TABLE {table} (i int PRIMARY KEY, v {kind});");
    }
    let fixture = Fixture::new("decode", &sql).await;
    let mut sql = String::new();
    for (table, kind, values) in &tables {
        sql += &format!("INSERT INTO {table} VALUES (-1, NULL);");
        for (i, value) in values.iter().enumerate() {
            sql += &format!("INSERT INTO {table} VALUES ({i}, ({value})::{kind});");
        }
    }
    fixture.db.execute(&sql).await.unwrap();
    let goal = fixture.db.value("SELECT pg_current_wal_flush_lsn()").await.unwrap();
    let log =
        fixture.log_until(&zdm_core::Position::new(fixture.snapshot.start().engine().clone(), goal)).await;
    for (table, kind, values) in &tables {
        let (batches, _) = fixture.read(fixture.whole(table).await).await.unwrap();
        let (selected, logged) = (values_of(&batches, table, 1), values_of(&log, table, 1));
        assert_eq!(selected.len(), values.len() + 1, "{kind}");
        assert_eq!(selected, logged, "{kind}");
        assert_eq!(selected[&-1], Value::Null);
        let known = ![
            "inet",
            "cidr",
            "macaddr",
            "money",
            "point",
            "box",
            "int4range",
            "tsvector",
            "xml",
            "pg_lsn",
            "pair",
            "numrange",
            "tsrange",
            "line",
            "lseg",
            "path",
            "polygon",
            "circle",
            "macaddr8",
            "tsquery",
            "jsonpath",
            "txid_snapshot",
            "xid8",
            "int4multirange",
        ]
        .contains(&kind.trim_end_matches("[]"));
        for value in selected.values() {
            match value {
                Value::Native(_) => assert!(!known, "{kind}: {value}"),
                Value::Array(array) => {
                    let native = array.elements.iter().any(|e| matches!(e, Value::Native(_)));
                    assert!(!(native && known), "{kind}: {value}");
                }
                _ => {}
            }
        }
    }
}

/// The values of a column by the key, the first one.
pub(crate) fn values_of(batches: &[Batch], table: &str, column: usize) -> BTreeMap<i64, Value<'static>> {
    let rows = batches.iter().flat_map(|batch| batch.rows()).filter(|row| row.table().name.name == table);
    let pair = |row: zdm_core::change::RowRef<'_>| {
        let image = row.after().unwrap();
        let key = image.cell(0).value().unwrap().as_i64().unwrap();
        let value = image.cell(column).value().unwrap_or_else(|error| panic!("{table} {key}: {error}"));
        (key, value.into_owned())
    };
    rows.map(pair).collect()
}
