//! The least and the largest value of every type of the documented table go to
//! PostgreSQL, or to the server's kin, and come back the same, by copy and by
//! the log.
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

/// What only its kin holds as well.
fn extremes_of_kin(ddl: &str) -> &'static [&'static str] {
    match ddl {
        "date" => &["'0000-00-00'", "'2024-02-31'", "'2024-00-10'", "'0000-12-31'"],
        "datetime" => &["'0000-00-00 00:00:00'", "'2023-02-29 23:59:59'"],
        "datetime(3)" => &["'0000-00-00 00:00:00.000'", "'2024-06-31 00:00:00.999'"],
        "timestamp" | "timestamp(6)" => &["'0000-00-00 00:00:00'"],
        "point" | "geometry" => {
            &["ST_GeomFromText('POINT(45 -90)', 4326)", "ST_GeomFromText('POINT(0 0)', 3857)"]
        }
        "geometrycollection" => &["ST_GeomFromText('GEOMETRYCOLLECTION EMPTY', 0)"],
        _ => &[],
    }
}

fn is_shape(ddl: &str) -> bool {
    ddl.starts_with("geometry")
        || ddl.ends_with("point")
        || ddl.ends_with("string")
        || ddl.ends_with("polygon")
}

/// How many types share a table.
const TOGETHER: usize = 8;

/// Some types and their values; each row has one of each.
struct Table {
    name: String,
    columns: Vec<(String, Vec<String>)>,
}

impl Table {
    /// All that is to be tried.
    fn all(types: &[String], kin: bool) -> Vec<Self> {
        // What counts has to be a key.
        let (counted, plain): (Vec<_>, Vec<_>) = types.iter().partition(|ddl| ddl.contains("auto_increment"));
        let values = |ddl: &String| {
            let mut values = extremes(ddl);
            values.extend(extremes_of_kin(ddl).iter().filter(|_| kin).map(|value| (*value).to_owned()));
            (ddl.clone(), values)
        };
        let together = plain.chunks(TOGETHER).chain(counted.chunks(1)).enumerate();
        together
            .map(|(at, ddls)| Self {
                name: format!("t{at}"),
                columns: ddls.iter().map(|ddl| values(ddl)).collect(),
            })
            .collect()
    }

    fn is_counted(&self) -> bool {
        self.columns[0].0.contains("auto_increment")
    }

    fn ddl(&self) -> String {
        let unique = if self.is_counted() { " UNIQUE" } else { "" };
        let columns = self.columns.iter().enumerate().map(|(at, (ddl, _))| format!("c{at} {ddl}{unique}"));
        let columns = columns.collect::<Vec<_>>().join(", ");
        format!("CREATE TABLE {} (id int PRIMARY KEY, {columns}) DEFAULT CHARSET utf8mb4", self.name)
    }

    /// Every other row, from `first` on: each half has all values, but of what
    /// counts.
    fn insert(&self, first: usize) -> String {
        let most = self.columns.iter().map(|(_, values)| values.len()).max().unwrap_or_default();
        let (rows, step) = if self.is_counted() { (most, 1) } else { (2 * most, 2) };
        let row = |id: usize| {
            let values = self.columns.iter().map(|(_, values)| values[id / step % values.len()].as_str());
            format!("({id}, {})", values.collect::<Vec<_>>().join(", "))
        };
        let rows: Vec<String> = (first..rows).step_by(2).map(row).collect();
        format!("INSERT INTO {} VALUES {}", self.name, rows.join(", "))
    }

    /// What the log carries: the other rows, one of nulls, and what was copied
    /// once more.
    fn go_on(&self) -> String {
        let again = format!("UPDATE {} SET id = id + 1000 WHERE id % 2 = 0", self.name);
        let nulls = if self.is_counted() {
            String::new()
        } else {
            format!("; INSERT INTO {} VALUES (200{})", self.name, ", NULL".repeat(self.columns.len()))
        };
        format!("{}; {again}{nulls}", self.insert(1))
    }
}

async fn write(home: &Database, sql: &str, kin: bool) {
    let mode = if kin { "STRICT_ALL_TABLES,ALLOW_INVALID_DATES" } else { "STRICT_ALL_TABLES" };
    let settle = format!("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '{mode}'");
    home.execute(&format!("{settle}; {sql}")).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn there_and_back(server: &MySql, types: &[String], abroad: Place, mapping: Mapping) {
    let kin = matches!(abroad, Place::MySql(_));
    let home = server.create_database("home").await.unwrap();
    let tables = Table::all(types, kin);
    for table in &tables {
        write(&home, &format!("{}; {}", table.ddl(), table.insert(0)), kin).await;
    }
    let again = server.create_database("again").await.unwrap();
    let there = Move::between(&Place::MySql(home.clone()), &abroad, "there");
    let back = Move::between(&abroad, &Place::MySql(again.clone()), "back").mapping(mapping);
    for (what, write_more) in [("copied", false), ("followed", true)] {
        for table in tables.iter().filter(|_| write_more) {
            write(&home, &table.go_on(), kin).await;
        }
        there.caught_up().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        back.caught_up().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        // What lies between is compared too, where it says everything alike.
        let places = [Some(Place::MySql(again.clone())), Some(abroad.clone()).filter(|_| kin)];
        for place in places.into_iter().flatten() {
            let mut across = Across::between(&home, place.side());
            for table in &tables {
                for at in (0..table.columns.len()).filter(|at| is_shape(&table.columns[*at].0)) {
                    across = across.read_as(&table.name, format!("c{at}"), Kind::Geometry);
                }
            }
            let found = across.run().await.unwrap();
            let named = found.shown.iter().map(|difference| {
                let table = tables.iter().find(|table| table.name == difference.table);
                let at =
                    difference.column.as_ref().and_then(|name| name.strip_prefix('c')?.parse::<usize>().ok());
                format!("{} {difference}", table.zip(at).map_or("", |(table, at)| &table.columns[at].0))
            });
            assert!(found.is_empty(), "{what}:\n{}", named.collect::<Vec<_>>().join("\n"));
            assert_eq!(found.tables, tables.len() as u64, "{what}");
        }
    }
}

fn types(title: &str) -> Vec<String> {
    lines(title).into_iter().map(|(ddl, _)| ddl).collect()
}

async fn by_postgres(options: MySqlOptions, title: &str, mapping: Mapping) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let abroad = Place::Postgres(postgres.create_database("abroad").await.unwrap());
    there_and_back(&server, &types(title), abroad, mapping).await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn extremes_of_mysql_come_back_from_postgresql() {
    let mapping = Mapping::new().data_type("interval", "time(6)").data_type("real[]", "vector(3)");
    by_postgres(MySqlOptions::mysql().version("9"), "MySQL to PostgreSQL", mapping).await;
}

#[tokio::test]
async fn extremes_of_mariadb_come_back_from_postgresql() {
    let mapping = Mapping::new().data_type("interval", "time(6)");
    by_postgres(MySqlOptions::mariadb().version("10.11"), "MariaDB to PostgreSQL", mapping).await;
}

async fn by_kin(options: MySqlOptions, kin: MySqlOptions, types: Vec<String>) {
    let (server, other) = tokio::join!(MySql::start(options), MySql::start(kin));
    let (server, other) = (server.unwrap(), other.unwrap());
    let abroad = Place::MySql(other.create_database("abroad").await.unwrap());
    there_and_back(&server, &types, abroad, Mapping::new()).await;
    server.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn extremes_of_mysql_come_back_from_mariadb() {
    // A vector is tested by itself: not every MariaDB has it.
    let types = types("MySQL to PostgreSQL").into_iter().filter(|ddl| !ddl.starts_with("vector"));
    by_kin(MySqlOptions::mysql().version("9"), MySqlOptions::mariadb().version("10.11"), types.collect())
        .await;
}

#[tokio::test]
async fn extremes_of_mariadb_come_back_from_mysql() {
    let both = types("MySQL to PostgreSQL").into_iter().chain(types("MariaDB to PostgreSQL"));
    let mut types: Vec<String> = both.filter(|ddl| !ddl.starts_with("vector")).collect();
    types.sort();
    types.dedup();
    by_kin(MySqlOptions::mariadb().version("11.8"), MySqlOptions::mysql().version("9"), types).await;
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
