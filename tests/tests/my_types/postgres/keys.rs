//! Keys that another engine might take for one, or not find again: rows are
//! copied, changed and deleted by them.

use zdm_servers::compare::Across;
use zdm_servers::mysql::{MySql, MySqlOptions};
use zdm_servers::postgres::{PgOptions, Postgres};

use super::super::places::{Move, Place};
use super::TYPES;

/// A type, and keys of it that are not equal in PostgreSQL.
const KEYS: &[(&str, &[&str])] = &[
    (
        "text",
        &[
            "''",
            "' '",
            "'a'",
            "'A'",
            "'a '",
            "'a  '",
            "E'a\\t'",
            "'á'",
            "E'a\\u0301'",
            "'ß'",
            "'ss'",
            "'K'",
            "E'\\u212a'",
            "'🐘'",
            "'0'",
            "'00'",
            "E'\\u200b'",
            "E'a\\u200b'",
            "'NULL'",
            "E'\\\\N'",
        ],
    ),
    ("varchar(30)", &["'a'", "'A'", "'a '", "'á'", "''"]),
    ("character(5)", &["'a'", "'A'", "'á'", "''", "E'a\\t'"]),
    ("bytea", &["'\\x'", "'\\x00'", "'\\x0000'", "'\\x20'", "'\\x61'", "'\\x41'", "'\\x6120'"]),
    ("numeric", &["1.0", "2", "-1", "0.000000000000000000000000000001", "1e30"]),
    ("numeric(9,4)", &["1.0", "-1", "0.0001"]),
    ("double precision", &["0", "0.1", "0.30000000000000004", "0.3", "1e300", "-1e-300"]),
    ("real", &["0", "0.1", "16777216", "3.4028235e38"]),
    ("timestamptz", &["'2024-10-27 02:30+01'", "'2024-10-27 02:30+02'", "'2024-01-01 00:00:00.000001+00'"]),
    ("date", &["'0001-01-01'", "'9999-12-31'"]),
    ("time", &["'24:00'", "'00:00'", "'00:00:00.000001'"]),
    ("interval", &["'1 day'", "'1 mon'", "'-00:00:00.000001'"]),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-fffffffffffe'"]),
    ("boolean", &["true", "false"]),
    ("mood", &["'sad'", "'Sad'", "'1'", "'it''s'"]),
    ("bit(9)", &["'000000000'", "'111111111'"]),
    ("inet", &["'10.0.0.1/16'", "'10.0.0.1/8'", "'::1/64'"]),
];

async fn by_each_key(options: MySqlOptions) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let home = postgres.create_database("home").await.unwrap();
    home.execute(TYPES).await.unwrap();
    for (at, (ddl, keys)) in KEYS.iter().enumerate() {
        let rows: Vec<String> = keys.iter().map(|key| format!("(({key})::{ddl}, 1)")).collect();
        home.execute(&format!(
            "CREATE TABLE k{at} (k {ddl} PRIMARY KEY, v int); INSERT INTO k{at} VALUES {}",
            rows.join(", ")
        ))
        .await
        .unwrap();
    }
    let abroad = server.create_database("abroad").await.unwrap();
    let there = Move::between(&Place::Postgres(home.clone()), &Place::MySql(abroad.clone()), "keys");
    // A span of time is another text there: its table is told by its other column.
    let equal = async |what: &str| {
        let interval = KEYS.iter().position(|(ddl, _)| *ddl == "interval").unwrap();
        let found = Across::between(&home, &abroad).except(format!("k{interval}")).run().await.unwrap();
        assert!(found.is_empty(), "{what}:\n{found}");
        let sum = format!("SELECT concat(count(*), ' ', sum(v)) FROM k{interval}");
        assert_eq!(home.value(&sum).await.unwrap(), abroad.value(&sum).await.unwrap(), "{what}");
    };
    there.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    equal("copied").await;
    for (at, (ddl, keys)) in KEYS.iter().enumerate() {
        let mut sql = String::from("BEGIN;");
        for (number, key) in keys.iter().enumerate() {
            sql += &match number % 3 {
                0 => format!("UPDATE k{at} SET v = {number} + 10 WHERE k = ({key})::{ddl};"),
                1 => format!("DELETE FROM k{at} WHERE k = ({key})::{ddl};"),
                _ => format!(
                    "DELETE FROM k{at} WHERE k = ({key})::{ddl}; INSERT INTO k{at} VALUES (({key})::{ddl}, 5);"
                ),
            };
        }
        home.execute(&format!("{sql} COMMIT")).await.unwrap();
    }
    there.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    equal("followed").await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn keys_of_postgresql_are_apart_at_mysql() {
    by_each_key(MySqlOptions::mysql().version("9")).await;
}

#[tokio::test]
async fn keys_of_postgresql_are_apart_at_mariadb() {
    by_each_key(MySqlOptions::mariadb().version("10.11")).await;
}
