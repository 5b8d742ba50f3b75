//! Every kind of difference, planted at the target of each pair.

use zdm_core::verify::Kind;
use zdm_tests::engine::{Database, Engine};
use zdm_tests::route::Route;

use crate::fixture::{followed, migration, options, plant, route, verify};

const POSTGRES: &str = "
    CREATE TABLE thing (
        id bigint PRIMARY KEY, note varchar(40), padded char(8), at timestamp(6), moment timestamptz,
        amount numeric(12, 4), doc jsonb, data bytea, yes boolean, single real, twofold double precision,
        day date, mark uuid, bits bit(9));
    CREATE TABLE word (k varchar(40) PRIMARY KEY, v text NOT NULL);
    CREATE TABLE pair (a int, b timestamp(3), v int UNIQUE, PRIMARY KEY (a, b));
    CREATE TABLE log (what varchar(40), n int);
    ALTER TABLE log REPLICA IDENTITY FULL;
    INSERT INTO thing SELECT i, 'note ' || i, 'p' || i, timestamp '2024-02-29 12:00:00.123456' + i * interval '1 min',
        timestamptz '2024-02-29 12:00:00+00' + i * interval '1 min', i / 7.0, jsonb_build_object('n', i, 'b', i / 4.0),
        decode(lpad(to_hex(i), 8, '0'), 'hex'), i % 2 = 0, i / 3.0, i / 3.0, date '2000-01-01' + i::int,
        ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, (i % 512)::int::bit(9)
        FROM generate_series(1, 600) i;
    INSERT INTO word SELECT chr(97 + i % 26) || i || chr(65 + i % 26), repeat('v', 40) FROM generate_series(1, 900) i;
    INSERT INTO pair SELECT i % 20, timestamp '2024-01-01' + i * interval '250 ms', i FROM generate_series(1, 400) i;
    INSERT INTO log SELECT 'x', i / 2 FROM generate_series(1, 100) i;";

/// Numbers from 1 to 1000, as every version makes them.
const NUMBERS: &str = "(SELECT 1 + a.n + 10 * b.n + 100 * c.n AS i FROM ten a, ten b, ten c)";

fn mysql() -> String {
    format!(
        "CREATE TABLE ten (n int PRIMARY KEY);
         INSERT INTO ten VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
         CREATE TABLE thing (
             id bigint PRIMARY KEY, note varchar(40), padded char(8), at datetime(6), moment timestamp(6) NULL,
             amount decimal(12, 4), doc json, data varbinary(40), yes tinyint(1), single float, twofold double,
             day date, mark binary(16), bits bit(9));
         CREATE TABLE word (k varchar(40) PRIMARY KEY, v text NOT NULL);
         CREATE TABLE pair (a int, b datetime(3), v int UNIQUE, PRIMARY KEY (a, b));
         CREATE TABLE log (what varchar(40), n int);
         SET time_zone = '+00:00';
         INSERT INTO thing SELECT i, concat('note ', i), concat('p', i),
             timestamp('2024-02-29 12:00:00.123456') + INTERVAL i MINUTE,
             timestamp('2024-02-29 12:00:00') + INTERVAL i MINUTE, i / 7, json_object('n', i, 'b', i / 4),
             unhex(lpad(hex(i), 8, '0')), i % 2 = 0, i / 3, i / 3, date('2000-01-01') + INTERVAL i DAY,
             unhex(lpad(i, 32, '0')), i % 512
             FROM {NUMBERS} t WHERE i <= 600;
         INSERT INTO word SELECT concat(char(97 + i % 26), i, char(65 + i % 26)), repeat('v', 40)
             FROM {NUMBERS} t WHERE i <= 900;
         INSERT INTO pair SELECT i % 20, timestamp('2024-01-01') + INTERVAL (i * 250000) MICROSECOND, i
             FROM {NUMBERS} t WHERE i <= 400;
         INSERT INTO log SELECT 'x', i DIV 2 FROM {NUMBERS} t WHERE i <= 100;"
    )
}

/// What is done to the target, and what is to be told of it; `{…}` is as its
/// engine says it.
const PLANTED: [(&str, &str); 21] = [
    ("DELETE FROM thing WHERE id = 7", "thing id=7: missing"),
    ("INSERT INTO thing (id, note) VALUES (100001, 'alien')", "thing id=100001: extra"),
    ("INSERT INTO thing (id) VALUES (-5)", "thing id=-5: extra"),
    ("UPDATE thing SET note = 'note 18' WHERE id = 8", "thing id=8: changed note"),
    // Two rows have exchanged their values.
    ("UPDATE thing SET note = 'note 10' WHERE id = 9", "thing id=9: changed note"),
    ("UPDATE thing SET note = 'note 9' WHERE id = 10", "thing id=10: changed note"),
    ("UPDATE thing SET note = NULL WHERE id = 11", "thing id=11: changed note"),
    ("UPDATE thing SET note = '' WHERE id = 12", "thing id=12: changed note"),
    ("UPDATE thing SET note = 'note 13 ' WHERE id = 13", "thing id=13: changed note"),
    ("UPDATE thing SET note = 'Note 14' WHERE id = 14", "thing id=14: changed note"),
    ("UPDATE thing SET at = {at} WHERE id = 15", "thing id=15: changed at"),
    ("UPDATE thing SET moment = {moment} WHERE id = 16", "thing id=16: changed moment"),
    ("UPDATE thing SET amount = amount + 0.0001 WHERE id = 17", "thing id=17: changed amount"),
    ("UPDATE thing SET doc = '{\"n\": 18, \"b\": 4.25}' WHERE id = 18", "thing id=18: changed doc"),
    ("UPDATE thing SET data = {data} WHERE id = 19", "thing id=19: changed data"),
    ("UPDATE thing SET yes = {flip}, day = day + {day} WHERE id = 20", "thing id=20: changed yes, day"),
    (
        "UPDATE thing SET padded = 'q', twofold = twofold + 1 WHERE id = 600",
        "thing id=600: changed padded, twofold",
    ),
    ("DELETE FROM word WHERE k = 'b1B'", "word k=\"b1B\": missing"),
    ("UPDATE word SET v = 'w' WHERE k = 'c2C'", "word k=\"c2C\": changed v"),
    ("INSERT INTO word VALUES ('zzz', 'v')", "word k=\"zzz\": extra"),
    (
        "UPDATE pair SET v = 1000 + v WHERE a = 3 AND v = 3",
        "pair a=3 b=\"2024-01-01 00:00:00.75\": changed v",
    ),
];

/// The same for the table with no key, which nothing repairs.
const KEYLESS: [(&str, &str); 2] = [
    ("INSERT INTO log VALUES ('x', 4)", "log n=4 what=\"x\": extra"),
    ("DELETE FROM log WHERE n = 6", "log n=6 what=\"x\": missing, 2 equal rows"),
];

fn in_words(route: &Route, sql: &str) -> String {
    let (at, moment, data, day) = match &route.target {
        Database::Postgres(_) => (
            "timestamp '2024-02-29 12:15:00'",
            "timestamptz '2024-02-29 12:16:00-01'",
            "'\\x00000113'::bytea",
            "1",
        ),
        Database::MySql(_) => {
            ("'2024-02-29 12:15:00'", "'2024-02-29 13:16:00'", "x'00000113'", "INTERVAL 1 DAY")
        }
    };
    // A truth of MySQL's is a number.
    let flip = match (&route.source, &route.target) {
        (Database::Postgres(_), Database::Postgres(_)) => "NOT yes",
        _ => "1 - yes",
    };
    let texts = [("{flip}", flip), ("{at}", at), ("{moment}", moment), ("{data}", data), ("{day}", day)];
    texts.iter().fold(sql.to_owned(), |sql, (name, text)| sql.replace(name, text))
}

async fn each_kind(name: &str, from: Engine, to: Engine) {
    let tables = match from {
        Engine::Postgres => POSTGRES.to_owned(),
        Engine::MySql | Engine::MariaDb => mysql(),
    };
    let route = route(name, from, to, &tables).await;
    let migration = migration(&route);
    let running = followed(&migration).await;
    let (report, found) = verify(&migration, options()).await;
    assert_eq!(found, Vec::<String>::new(), "{name}: the copy is whole");
    assert!(report.is_equal(), "{report:?}");
    let all = report.tables.values().filter(|table| table.source_rows >= 100);
    assert_eq!(all.map(|table| table.source_rows).sum::<u64>(), 2_000, "{report:?}");
    let all: Vec<_> = PLANTED.iter().chain(&KEYLESS).collect();
    for (sql, _) in &all {
        plant(&route, &in_words(&route, sql)).await;
    }
    let mut expected: Vec<_> = all.iter().map(|(_, told)| (*told).to_owned()).collect();
    expected.sort();
    let (report, found) = verify(&migration, options()).await;
    assert_eq!(found, expected, "{name}");
    assert_eq!(report.differences(), expected.len() as u64 + 1, "a row of no key was there twice");
    // The same in one part, and one row of a part.
    let (_, found) = verify(&migration, options().part(Default::default())).await;
    assert_eq!(found, expected, "{name}, in large parts");

    let (report, found) = verify(&migration, options().repair(true)).await;
    assert_eq!(report.repaired(), PLANTED.len() as u64, "{found:?}");
    let (_, found) = verify(&migration, options()).await;
    let mut left = KEYLESS.map(|(_, told)| told.to_owned());
    left.sort();
    assert_eq!(found, left, "{name}, repaired");
    running.stop().await.unwrap();
    let by_hand =
        "DELETE FROM log WHERE n IN (4, 6); INSERT INTO log VALUES ('x', 4), ('x', 4), ('x', 6), ('x', 6)";
    plant(&route, by_hand).await;
    route.equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres() {
    each_kind("kinds_pp", Engine::Postgres, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_mysql() {
    each_kind("kinds_pm", Engine::Postgres, Engine::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_to_postgres() {
    each_kind("kinds_mp", Engine::MySql, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_to_postgres() {
    each_kind("kinds_ap", Engine::MariaDb, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_to_mariadb() {
    each_kind("kinds_ma", Engine::MySql, Engine::MariaDb).await;
}

#[test]
fn kinds_are_told_in_the_words_of_the_documentation() {
    let words = [Kind::Missing, Kind::Extra, Kind::Changed].map(|kind| serde_json::to_value(kind).unwrap());
    assert_eq!(words, ["missing", "extra", "changed"]);
}
