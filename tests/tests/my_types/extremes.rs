//! The least and the largest value of every type of the documented table go to
//! PostgreSQL and come back the same, by copy and by the log.
//!
//! A line of the table that has no extremes here fails the test.

use zdm_core::schema::conversion::{Fit, Mapping};
use zdm_servers::compare::{Across, Kind};
use zdm_servers::mysql::{Database, MySql, MySqlOptions};
use zdm_servers::postgres::{PgOptions, Postgres};

use super::places::{Move, Place};
use super::table_of_types::lines;

/// SQL of the odd values of a type, but for those that its line calls lost.
fn extremes(ddl: &str) -> Vec<String> {
    let of = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let repeated = |text: &str, n: usize| format!("REPEAT('{text}', {n})");
    match ddl {
        "tinyint" | "tinyint(1)" => of(&["-128", "127", "0"]),
        "smallint" => of(&["-32768", "32767"]),
        "mediumint" => of(&["-8388608", "8388607"]),
        "int" => of(&["-2147483648", "2147483647"]),
        "bigint" => of(&["-9223372036854775808", "9223372036854775807"]),
        "tinyint unsigned" => of(&["0", "255"]),
        "smallint unsigned" => of(&["0", "65535"]),
        "mediumint unsigned" => of(&["0", "16777215"]),
        "int unsigned" => of(&["0", "4294967295"]),
        "bigint unsigned" => of(&["0", "18446744073709551615"]),
        "bigint unsigned auto_increment" => of(&["1", "9223372036854775807", "2", "3"]),
        "float(7,3)" | "float unsigned" => of(&["0", "9999.999", "0.001"]),
        "float" => of(&["-3.40282e38", "3.40282e38", "1.17549e-38", "0.1"]),
        "double" => of(&["-1.7976931348623157e308", "1.7976931348623157e308", "2.2250738585072014e-308"]),
        "double unsigned" => of(&["0", "1.7976931348623157e308", "2.2250738585072014e-308"]),
        "decimal(10,2)" => of(&["-99999999.99", "99999999.99", "0.01"]),
        "decimal(10,2) unsigned" => of(&["0", "99999999.99", "0.01"]),
        "decimal(65,30)" => {
            let most = format!("{}.{}", "9".repeat(35), "9".repeat(30));
            vec![format!("-{most}"), most, format!("0.{}1", "0".repeat(29))]
        }
        "bit(9)" => of(&["b'000000000'", "b'111111111'", "b'100000000'"]),
        "year" => of(&["0", "1901", "2155"]),
        "char(5)" | "char(5) character set latin1" => of(&["''", "'ééééé'", "' a'"]),
        "varchar(20)" => vec!["''".to_owned(), repeated("€", 20), "'a  '".to_owned()],
        "tinytext" => vec!["''".to_owned(), repeated("é", 127)],
        "text" => vec!["''".to_owned(), repeated("x", 65535), repeated("é", 30000)],
        "mediumtext" | "longtext" => vec!["''".to_owned(), repeated("é", 70000)],
        "binary(4)" => of(&["0x00000000", "0xffffffff", "0x61000000"]),
        "varbinary(9)" => of(&["''", "0x00ff00ff00ff00ff00", "0x6100"]),
        "tinyblob" => vec!["''".to_owned(), "REPEAT(0x00, 255)".to_owned()],
        "blob" => vec!["''".to_owned(), "REPEAT(0xff, 65535)".to_owned()],
        "mediumblob" | "longblob" => vec!["''".to_owned(), "REPEAT(0x00ff, 40000)".to_owned()],
        "enum('a','b')" => of(&["'a'", "'b'"]),
        "set('a','b')" => of(&["''", "'a'", "'a,b'"]),
        "date" => of(&["'0001-01-01'", "'9999-12-31'", "'2000-02-29'"]),
        "datetime" => of(&["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
        "datetime(3)" => of(&["'0001-01-01 00:00:00.001'", "'9999-12-31 23:59:59.999'"]),
        "timestamp" => of(&["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"]),
        "timestamp(6)" => of(&["'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.499999'"]),
        "time" => of(&["'-838:59:59'", "'838:59:59'", "'00:00:00'"]),
        "time(3)" => of(&["'-838:59:58.999'", "'838:59:58.999'", "'-00:00:00.001'"]),
        "json" => of(&["'null'", "'[]'", r#"'{"a": [1, -0.5, "é\\u0001", true], "": {}}'"#]),
        "geometry" | "point" => of(&["POINT(-1e308, 1e-300)", "POINT(0, -1.5)"]),
        "linestring" => of(&["ST_GeomFromText('LINESTRING(0 0, 1 1.5, -1e300 2)')"]),
        "polygon" => of(&["ST_GeomFromText('POLYGON((0 0, 4 0, 4 4, 0 0), (1 0.5, 2 0.5, 2 1, 1 0.5))')"]),
        "multipoint" => of(&["ST_GeomFromText('MULTIPOINT(0 0, 1e300 1)')"]),
        "multilinestring" => of(&["ST_GeomFromText('MULTILINESTRING((0 0, 1 1), (2 2, 3 3))')"]),
        "multipolygon" => of(&["ST_GeomFromText('MULTIPOLYGON(((0 0, 4 0, 4 4, 0 0)))')"]),
        "geometrycollection" => {
            of(&["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(0 0, 1 1))')"])
        }
        "vector(3)" => of(&["TO_VECTOR('[-3.4e38, 0, 1.5]')", "TO_VECTOR('[0, 1.5e-30, -1]')"]),
        "uuid" => of(&[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'123e4567-e89b-12d3-a456-426614174000'",
        ]),
        "inet4" => of(&["'0.0.0.0'", "'255.255.255.255'"]),
        "inet6" => of(&["'::'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'::ffff:1.2.3.4'"]),
        other => panic!("{other} has no extremes here"),
    }
}

fn is_shape(ddl: &str) -> bool {
    ddl.starts_with("geometry")
        || ddl.ends_with("point")
        || ddl.ends_with("string")
        || ddl.ends_with("polygon")
}

/// A table for each type: the `first` of its values, or the others.
async fn write(home: &Database, types: &[String], first: bool) {
    for (at, ddl) in types.iter().enumerate() {
        let counted = ddl.contains("auto_increment");
        let (key, unique) = (format!("id int PRIMARY KEY, v {ddl}"), if counted { " UNIQUE" } else { "" });
        let mut sql =
            vec!["SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'".to_owned()];
        if first {
            sql.push(format!("CREATE TABLE t{at} ({key}{unique}) DEFAULT CHARSET utf8mb4"));
        }
        for (id, value) in extremes(ddl).iter().enumerate() {
            if (id == 0) == first {
                sql.push(format!("INSERT INTO t{at} VALUES ({id}, {value})"));
            }
        }
        if !first && !counted {
            // What was copied is said anew by the log.
            sql.push(format!("UPDATE t{at} SET id = 100 WHERE id = 0"));
            sql.push(format!("INSERT INTO t{at} VALUES (200, NULL)"));
        }
        home.execute(&sql.join("; ")).await.unwrap_or_else(|error| panic!("{ddl}: {error}"));
    }
}

async fn there_and_back(options: MySqlOptions, title: &str, mapping: Mapping) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let types: Vec<String> = lines(title).into_iter().map(|(ddl, _)| ddl).collect();
    let home = server.create_database("home").await.unwrap();
    write(&home, &types, true).await;
    let again = server.create_database("again").await.unwrap();
    let abroad = Place::Postgres(postgres.create_database("abroad").await.unwrap());
    let there = Move::between(&Place::MySql(home.clone()), &abroad, "there");
    let back = Move::between(&abroad, &Place::MySql(again.clone()), "back").mapping(mapping);
    let equal = async |what: &str| {
        let mut across = Across::between(&home, &again);
        for at in (0..types.len()).filter(|at| is_shape(&types[*at])) {
            across = across.read_as(format!("t{at}"), "v", Kind::Geometry);
        }
        let found = across.run().await.unwrap();
        let named = found.shown.iter().map(|difference| {
            let at = difference.table.strip_prefix('t').and_then(|at| at.parse::<usize>().ok());
            format!("{} {difference}", at.map_or("", |at| types[at].as_str()))
        });
        assert!(found.is_empty(), "{title} {what}:\n{}", named.collect::<Vec<_>>().join("\n"));
        assert_eq!(found.tables, types.len() as u64, "{title} {what}");
    };
    there.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    back.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    equal("copied").await;
    write(&home, &types, false).await;
    there.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    back.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    equal("followed").await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn extremes_of_mysql_come_back_from_postgresql() {
    let mapping = Mapping::new().data_type("interval", "time(6)").data_type("real[]", "vector(3)");
    there_and_back(MySqlOptions::mysql().version("9"), "MySQL to PostgreSQL", mapping).await;
}

#[tokio::test]
async fn extremes_of_mariadb_come_back_from_postgresql() {
    let mapping = Mapping::new().data_type("interval", "time(6)");
    there_and_back(MySqlOptions::mariadb().version("10.11"), "MariaDB to PostgreSQL", mapping).await;
}

#[tokio::test]
async fn vectors_of_mysql_are_vectors_at_mariadb() {
    let (from, to) = tokio::join!(
        MySql::start(MySqlOptions::mysql().version("9")),
        MySql::start(MySqlOptions::mariadb().version("11.8"))
    );
    let (from, to) = (from.unwrap(), to.unwrap());
    let home = from.create_database("home").await.unwrap();
    home.execute("CREATE TABLE t (id int PRIMARY KEY, v vector(3))").await.unwrap();
    home.execute("INSERT INTO t VALUES (1, TO_VECTOR('[-1e19, 0, 1.5]'))").await.unwrap();
    let there = to.create_database("home").await.unwrap();
    let moved = Move::between(&Place::MySql(home.clone()), &Place::MySql(there.clone()), "vectors");
    let column = moved.report().await.tables[0].columns[1].clone();
    let lost =
        "vectors of fewer elements than the type names, and those whose squares add up to more than a float";
    assert_eq!((column.to_type.as_str(), column.fit), ("vector(3)", Fit::lossy(lost)));
    moved.caught_up().await.unwrap();
    let changed =
        "INSERT INTO t VALUES (2, TO_VECTOR('[0, 1.5e-30, -1]')), (3, NULL); DELETE FROM t WHERE id = 1";
    let octets = "SELECT id, HEX(v) FROM t ORDER BY id";
    assert_eq!(there.query(octets).await.unwrap(), home.query(octets).await.unwrap());
    home.execute(changed).await.unwrap();
    moved.caught_up().await.unwrap();
    let (found, expected) = (there.query(octets).await.unwrap(), home.query(octets).await.unwrap());
    assert_eq!((found.len(), &found), (2, &expected));
    // What the report calls lost is refused, and nothing is filled up.
    home.execute("INSERT INTO t VALUES (4, TO_VECTOR('[-3.4e38, 0, 0]'))").await.unwrap();
    let refused = moved.caught_up().await.unwrap_err();
    assert_eq!(refused.kind(), zdm_core::ErrorKind::Rejected, "{refused}");
    assert_eq!(there.query(octets).await.unwrap(), expected);
    from.close().await.unwrap();
    to.close().await.unwrap();
}
