//! Two databases of different engines that hold the same are equal, and each
//! difference that is planted is found.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use zdm_servers::compare::{Across, Kind};
use zdm_servers::mysql::{self, MySql, MySqlOptions};
use zdm_servers::postgres::{self, PgOptions, Postgres};

const MYSQL: &str = "
    create table kinds (id bigint unsigned primary key, i mediumint, u bigint unsigned, d decimal(30,4),
      f float, g double, b tinyint(1), c char(8), v varchar(20), l varchar(20) character set latin1, t text,
      fixed binary(4), bytes blob, dt date, m datetime(6), ts timestamp(3) null, ti time(6), y year, bi bit(10),
      flag bit(1), e enum('x','y'), s set('b','a'), j json, uu char(36), uub binary(16), p point, n int);
    insert into kinds values
      (18446744073709551615, -8388608, 18446744073709551615, -12345678901234567890123456.7800, 0.1, 1e300,
       1, 'ab  ', 'ab  ', 'é', 'naïve \\\\ ''x'' 😀', x'0001', x'00ff0a', '1000-01-01', '9999-12-31 23:59:59.999999',
       '2024-02-29 12:34:56.5', '-838:59:59', 2155, b'101', b'1', 'y', 'a,b',
       '{\"b\": [1.50, true, null], \"a\": \"é\\\\n\"}', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
       x'A0EEBC999C0B4EF8BB6D6BB9BD380A11', st_geomfromtext('POINT(1 2)'), null),
      (1, 0, 0, 0, -0.0, 0.1, 0, '', '', '', '', x'', x'', '2024-12-31', '2024-12-31 00:00:00', null,
       '100:00:00.25', 1901, 0, b'0', 'x', '', '[]', null, null, null, 7);
    create table copies (a int, b varchar(9));
    insert into copies values (1, 'x'), (1, 'x'), (2, null)";

const POSTGRES: &str = "
    create type xy as enum ('x', 'y');
    create table kinds (id numeric(20) primary key, i integer, u numeric(20), d numeric(30,4), f real,
      g double precision, b boolean, c char(8), v varchar(20), l varchar(20), t text, fixed bytea, bytes bytea,
      dt date, m timestamp(6), ts timestamptz(3), ti interval, y smallint, bi bit(10), flag boolean, e xy,
      s text[], j jsonb, uu uuid, uub uuid, p bytea, n integer);
    insert into kinds values
      (18446744073709551615, -8388608, 18446744073709551615, -12345678901234567890123456.78, 0.1, 1e300,
       true, 'ab', 'ab  ', 'é', E'naïve \\\\ ''x'' 😀', '\\x00010000', '\\x00ff0a', '1000-01-01',
       '9999-12-31 23:59:59.999999', '2024-02-29 14:34:56.5+02', '-838:59:59', 2155, b'0000000101', true, 'y',
       '{b,a}', '{\"a\": \"é\\n\", \"b\": [1.5, true, null]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
       'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x0101000000000000000000f03f0000000000000040', null),
      (1, 0, 0, 0, -0.0, 0.1, false, '', '', '', '', '\\x00000000', '', '2024-12-31', '2024-12-31 00:00:00', null,
       '100:00:00.25', 1901, b'0000000000', false, 'x', '{}', '[]', null, null, null, 7);
    create table copies (a int, b varchar(9));
    insert into copies values (2, null), (1, 'x'), (1, 'x')";

/// One change of the first row for each column: the smallest that its type can tell.
const PLANTED: [(&str, &str); 26] = [
    ("i", "8388608"),
    ("u", "18446744073709551614"),
    ("d", "-12345678901234567890123456.7801"),
    ("f", "0.10000001"),
    ("g", "1.0000000000000002e300"),
    ("b", "false"),
    ("c", "'abc'"),
    ("v", "'ab '"),
    ("l", "'e'"),
    ("t", r"E'naïve \\ ''x'' 😁'"),
    ("fixed", r"'\x000100'"),
    ("bytes", r"'\x00ff0b'"),
    ("dt", "'1000-01-02'"),
    ("m", "'9999-12-31 23:59:59.999998'"),
    ("ts", "'2024-02-29 12:34:56.501+00'"),
    ("ti", "'838:59:59'"),
    ("y", "2154"),
    ("bi", "b'0000001101'"),
    ("flag", "false"),
    ("e", "'x'"),
    ("s", "'{a}'"),
    ("j", r#"'{"a": "é\n", "b": [1.5, true, 0]}'"#),
    ("uu", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'"),
    ("uub", "null"),
    ("p", r"'\x0101000000000000000000004000000000000000f03f'"),
    ("n", "0"),
];

async fn mysql(options: MySqlOptions, sql: &str) -> mysql::Database {
    let database = MySql::start(options.durable(false).database("d")).await.unwrap().database("d");
    database.execute(sql).await.unwrap();
    database
}

async fn postgres(sql: &str) -> postgres::Database {
    let database = Postgres::start(PgOptions::new().database("d")).await.unwrap().database("d");
    database.execute(sql).await.unwrap();
    database
}

#[tokio::test]
async fn every_type_is_equal_to_its_like_and_every_planted_difference_is_found() {
    let ours = postgres(POSTGRES).await;
    for options in [
        MySqlOptions::mysql(),
        MySqlOptions::mariadb().version("10.11"),
        MySqlOptions::mariadb().version("11.8"),
    ] {
        let theirs = mysql(options, MYSQL).await;
        let found = Across::between(&theirs, &ours).run().await.unwrap();
        assert!(found.is_empty(), "{found}");
        assert_eq!((found.tables, found.rows), (2, 5));
        let set: Vec<String> = PLANTED.iter().map(|(column, value)| format!("{column} = {value}")).collect();
        let planted = postgres(POSTGRES).await;
        planted.execute(&format!("update kinds set {} where id > 1", set.join(", "))).await.unwrap();
        let mut columns = PLANTED.map(|(column, _)| column);
        columns.sort_unstable();
        let there = Across::between(&theirs, &planted).show(99).run().await.unwrap();
        let back = Across::between(&planted, &theirs).show(99).run().await.unwrap();
        for found in [there, back] {
            let is: Vec<&str> = found.shown.iter().filter_map(|cell| cell.column.as_deref()).collect();
            assert_eq!(is, columns, "{found}");
            assert!(found.shown.iter().all(|cell| cell.key == "id=\"18446744073709551615\""), "{found}");
        }
    }
}

#[tokio::test]
async fn rows_columns_and_tables_that_one_side_lacks_are_found() {
    let (ours, theirs) = (postgres(POSTGRES).await, mysql(MySqlOptions::mariadb(), MYSQL).await);
    let count = async || Across::between(&theirs, &ours).run().await.unwrap().count;
    assert_eq!(count().await, 0);
    // Without a key, copies of a row are counted.
    ours.execute("insert into copies values (1, 'x')").await.unwrap();
    assert_eq!(count().await, 1);
    theirs.execute("insert into copies values (1, 'x')").await.unwrap();
    assert_eq!(count().await, 0);
    theirs.execute("delete from copies where a = 2").await.unwrap();
    assert_eq!(count().await, 1);
    ours.execute("delete from kinds where id = 1").await.unwrap();
    assert_eq!(count().await, 2);
    ours.execute("alter table kinds add extra int").await.unwrap();
    assert_eq!(count().await, 3);
    theirs.execute("create table more (a int)").await.unwrap();
    let found = Across::between(&theirs, &ours).show(2).run().await.unwrap();
    assert_eq!((found.count, found.shown.len()), (4, 2));
    let text = found.to_string();
    assert!(
        text.contains("more: \"the table\" against \"nothing\"") && text.contains("and 2 more"),
        "{text}"
    );
    let found = Across::between(&theirs, &ours).except("kinds").except("copies").except("more").run().await;
    assert!(!found.unwrap().is_empty(), "nothing is not equal to nothing");
}

#[tokio::test]
async fn two_of_a_kind_and_cousins_are_compared_too() {
    let mariadb = mysql(MySqlOptions::mariadb(), MYSQL).await;
    let other = mysql(MySqlOptions::mysql(), MYSQL).await;
    let found = Across::between(&mariadb, &other).run().await.unwrap();
    assert!(found.is_empty(), "{found}");
    // Its reference system is a part of a geometry, where both sides know of one.
    other.execute("update kinds set p = st_geomfromtext('POINT(1 2)', 4326) where id > 1").await.unwrap();
    let found = Across::between(&mariadb, &other).run().await.unwrap();
    assert_eq!((found.count, found.shown[0].column.as_deref()), (1, Some("p")), "{found}");
    let (left, right) = (postgres(POSTGRES).await, postgres(POSTGRES).await);
    assert!(Across::between(&left, &right).run().await.unwrap().is_empty());
    left.execute("update kinds set s = '{a,b}' where id > 1").await.unwrap();
    assert_eq!(Across::between(&left, &right).run().await.unwrap().count, 1);
    // Whoever says that the order does not matter is believed.
    let as_sets = Across::between(&left, &right).read_as("kinds", "s", Kind::Set);
    assert!(as_sets.run().await.unwrap().is_empty());
}
