//! The least and the largest value of each of PostgreSQL's types, and its odd
//! ones, go to a server of the other family and come back the same, by copy
//! and by the log.
//!
//! A type of [`KINDS`] that has no extremes here fails the test. What the
//! report calls lost is in `refused`.

use zdm_core::schema::conversion::Mapping;
use zdm_servers::compare::Across;
use zdm_servers::mysql::{Flavor, MySql, MySqlOptions};
use zdm_servers::postgres::{Database, PgOptions, Postgres};

use super::super::places::{Move, Place};
use super::TYPES;
use super::columns::{KINDS, Kind};

/// How many types share a table.
const TOGETHER: usize = 8;

/// SQL of the values of a type, each of which is cast to it.
fn extremes(ddl: &str) -> Vec<String> {
    let of = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let (nines, zeros) = ("9".repeat(35), "0".repeat(29));
    match ddl {
        "smallint" => of(&["-32768", "32767", "0"]),
        "integer" => of(&["-2147483648", "2147483647", "0"]),
        "bigint" => of(&["-9223372036854775808", "9223372036854775807", "0"]),
        "oid" => of(&["0", "4294967295"]),
        "posint" => of(&["1", "2147483647"]),
        "boolean" => of(&["true", "false"]),
        "real" => {
            of(&["'3.4028235e38'", "'-3.4028235e38'", "'1.17549435e-38'", "'1e-45'", "'-0'", "'16777217'"])
        }
        "double precision" => of(&[
            "'1.7976931348623157e308'",
            "'-1.7976931348623157e308'",
            "'2.2250738585072014e-308'",
            "'5e-324'",
            "'-0'",
            "'0.1'",
            "'9007199254740993'",
        ]),
        "numeric(12,3)" => of(&["'-999999999.999'", "'999999999.999'", "'0.001'", "'-0.000'"]),
        "numeric(38,0)" => {
            vec![format!("'-{}'", "9".repeat(38)), format!("'{}'", "9".repeat(38)), "'0'".into()]
        }
        "numeric(3,-2)" => of(&["'-99900'", "'99900'", "'100'"]),
        "numeric(4,7)" => of(&["'-0.0009999'", "'0.0009999'", "'0.0000001'"]),
        "numeric" => vec![
            format!("'-{nines}.{}'", "9".repeat(30)),
            format!("'{nines}.{}'", "9".repeat(30)),
            format!("'0.{zeros}1'"),
            "'0'".into(),
        ],
        "numeric(80,2)" => vec![format!("'-{nines}.99'"), format!("'{nines}.99'"), "'0.01'".into()],
        "character(3)" => of(&["''", "'é🐘€'", "'a  '", "E'\\t\\n\\\\'"]),
        "character(300)" => of(&["''", "repeat('🐘', 300)", "' a '"]),
        "bpchar" => of(&["''", "'a   '", "repeat('é', 3000)"]),
        "varchar(30)" | "word" => of(&["''", "repeat('🐘', 30)", "'a   '", "E'\\u0001\\uffff'"]),
        "varchar(5000)" => of(&["''", "repeat('🐘', 5000)"]),
        "text" => of(&["''", "repeat('🐘', 300000)", "E'\\'\"\\\\\\n\\r\\t\\u001a'", "'  '"]),
        "name" => of(&["''", "repeat('é', 31)"]),
        "\"char\"" => of(&["''", "E'\\x01'", "E'\\x7f'", "E'\\\\'"]),
        "bytea" => of(&["''", "'\\x00'", "'\\xff'", "decode(repeat('00ff1a', 100000), 'hex')"]),
        "date" => of(&["'0001-01-01'", "'9999-12-31'", "'1582-10-10'", "'2000-02-29'", "'1900-03-01'"]),
        "time" => of(&["'00:00:00'", "'24:00:00'", "'23:59:59.999999'", "'00:00:00.000001'"]),
        "time(3)" => of(&["'00:00:00'", "'24:00:00'", "'23:59:59.999'"]),
        "timetz" => of(&["'00:00:00+15:59:59'", "'24:00:00-15:59:59'", "'23:59:59.999999+00:00:01'"]),
        "timestamp" => {
            of(&["'0001-01-01'", "'9999-12-31 23:59:59.999999'", "'1970-01-01'", "'1582-10-10 12:00'"])
        }
        "timestamp(0)" => of(&["'0001-01-01'", "'9999-12-31 23:59:59'"]),
        "timestamptz" => {
            of(&["'0001-01-01 00:00+00'", "'9999-12-31 23:59:59.999999+00'", "'1969-12-31 23:59:59.5+00'"])
        }
        "timestamptz(3)" => of(&["'0001-01-01 00:00+00'", "'9999-12-31 23:59:59.999+00'"]),
        // Beyond these, since 17, it is infinite.
        "interval" => of(&[
            "'178956970 years 7 mons 2147483646 days 2562047788:00:54.775806'",
            "'-178956970 years -7 mons -2147483647 days -2562047788:00:54.775806'",
            "'0'",
            "'-0.000001 s'",
            "'1 mon -1 day 00:00:01'",
        ]),
        "uuid" => of(&[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'00000000-0000-7000-8000-000000000000'",
        ]),
        "json" | "jsonb" => of(&[
            "'null'",
            "'\"\"'",
            "'{}'",
            "'{\"\": {\"\": [[[[]]]]}}'",
            "'[9223372036854775807, -9223372036854775808, 18446744073709551615, 0.5, -0.25]'",
            "E'\"\\\\u0001\\\\\"\\\\\\\\ /\\\\ud83d\\\\udc18 é\"'",
            "('[' || repeat('[', 90) || repeat(']', 90) || ']')",
        ]),
        "bit(7)" => of(&["'0000000'", "'1111111'", "'1000000'", "'0000001'"]),
        "bit(64)" => of(&["repeat('0', 64)", "repeat('1', 64)", "'1' || repeat('0', 63)"]),
        "bit(80)" => of(&["repeat('0', 80)", "repeat('1', 80)", "'1' || repeat('0', 79)"]),
        "bit varying(9)" => of(&["''", "'111111111'", "'0'"]),
        "bit varying" => of(&["''", "repeat('1', 200)", "'0'"]),
        "mood" => of(&["'sad'", "'é🐘'", "E'a,b \"c\" \\\\ d'"]),
        "ids" | "integer[]" => {
            of(&["'{}'", "'{-2147483648,2147483647,NULL}'", "'{{{{{{1}}}}}}'", "'{{1,2},{3,4}}'", "'{NULL}'"])
        }
        "bigint[]" => of(&["'{}'", "'{-9223372036854775808,9223372036854775807,9007199254740993}'"]),
        "text[]" => of(&["'{}'", "ARRAY['', 'NULL', NULL, E'\\\\\"', '{,}', repeat('é', 1000)]"]),
        "numeric[]" => of(&["'{NaN,1e-1000,0.000,1.10}'", "ARRAY[repeat('9', 1000)::numeric]", "'{}'"]),
        "double precision[]" => of(&["'{NaN,Infinity,-Infinity,-0,5e-324,1.7976931348623157e308}'", "'{}'"]),
        "boolean[]" => of(&["'{t,f,NULL}'", "'{}'"]),
        "timestamptz[]" => {
            of(&["'{infinity,-infinity,4713-01-01 00:00+00 BC,294276-12-31 23:59:59.999999+00}'"])
        }
        "date[]" => of(&["'{infinity,-infinity,4713-01-01 BC,5874897-12-31}'"]),
        "time[]" => of(&["'{00:00,24:00:00,23:59:59.999999}'"]),
        "interval[]" => of(&["'{178956970 years 7 mons,-1 mon +1 day -00:00:00.000001}'"]),
        "uuid[]" => of(&["'{00000000-0000-0000-0000-000000000000,ffffffff-ffff-8fff-80ff-ffffffffffff}'"]),
        "jsonb[]" => of(&["ARRAY['null', '\"\"', '[1, {\"a\": 0.5}]', NULL]::jsonb[]"]),
        "mood[]" => of(&["ARRAY['sad', E'a,b \"c\" \\\\ d', NULL]::mood[]"]),
        "inet[]" => of(&["'{::1,10.0.0.1/8}'"]),
        "inet" => {
            of(&["'0.0.0.0/0'", "'255.255.255.255'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'::/0'"])
        }
        "cidr" => of(&["'0.0.0.0/0'", "'255.255.255.255/32'", "'::/0'"]),
        "macaddr" => of(&["'00:00:00:00:00:00'", "'ff:ff:ff:ff:ff:ff'"]),
        "macaddr8" => of(&["'00:00:00:00:00:00:00:00'", "'ff:ff:ff:ff:ff:ff:ff:ff'"]),
        "money" => of(&["'-92233720368547758.08'", "'92233720368547758.07'", "'0'"]),
        "xml" => of(&["''", "'<a/>'", "('<a>' || repeat('é', 5000) || '</a>')"]),
        "tsvector" => of(&["''", "'a:16383A'", "repeat('x', 2046)"]),
        "tsquery" => of(&["''", "'!(a & b) <16384> c:*ABCD'"]),
        "jsonpath" => of(&["'$'", "'strict $.**{2 to last} ? (@ like_regex \"^a\" flag \"i\")'"]),
        "pg_lsn" => of(&["'0/0'", "'FFFFFFFF/FFFFFFFF'"]),
        "int4range" => of(&["'empty'", "'(,)'", "'[-2147483648,2147483647)'"]),
        "numrange" => of(&["'empty'", "'[NaN,NaN]'", "'[1.10,1.100]'"]),
        "tstzrange" => {
            of(&["'empty'", "'[-infinity,infinity]'", "'[4713-01-01 00:00+00 BC,294276-12-31 23:59+00)'"])
        }
        "int4multirange" => of(&["'{}'", "'{(,-5),[0,1),[5,)}'"]),
        "point" => of(&["'(-1.7976931348623157e308,5e-324)'", "'(NaN,Infinity)'", "'(-0,0)'"]),
        "lseg" | "box" => of(&["'((1e308,1e308),(-1e308,5e-324))'", "'((0,0),(0,0))'"]),
        "path" => of(&["'[(0,0)]'", "'((1e308,-1e308),(5e-324,0))'"]),
        "polygon" => of(&["'((0,0))'", "'((1e308,0),(0,1e308),(-1,-1))'"]),
        "line" => of(&["'{1,-1,0.5}'", "'{0,1,1e300}'"]),
        "circle" => of(&["'<(0,0),0>'", "'<(1e308,-1e308),1.7976931348623157e308>'"]),
        "pair" => of(&["ROW(-2147483648, '')", "ROW(NULL, NULL)", "ROW(1, E'a \"b\" \\\\,()')"]),
        other => panic!("{other} has no extremes here"),
    }
}

/// Some types, and their values.
struct Table {
    name: String,
    columns: Vec<(Kind, Vec<String>)>,
}

impl Table {
    fn of(flavor: Flavor, prefix: &str, at: usize, kinds: &[Kind]) -> Self {
        let columns = kinds.iter().map(|kind| {
            let mut values = extremes(kind.ddl);
            // MariaDB has 0 for a number that is -0, and the report says so.
            values.retain(|value| {
                flavor == Flavor::MySql || value != "'-0'" || !matches!(kind.ddl, "real" | "double precision")
            });
            (*kind, values)
        });
        Self { name: format!("{prefix}{at}"), columns: columns.collect() }
    }

    fn ddl(&self) -> String {
        let columns: Vec<String> =
            self.columns.iter().enumerate().map(|(at, (kind, _))| format!("c{at} {}", kind.ddl)).collect();
        format!("CREATE TABLE {} (id int PRIMARY KEY, {})", self.name, columns.join(", "))
    }

    /// Every other row, from `first` on.
    fn insert(&self, first: usize) -> String {
        let most = self.columns.iter().map(|(_, values)| values.len()).max().unwrap_or_default();
        let row = |id: usize| {
            let values = self
                .columns
                .iter()
                .map(|(kind, values)| format!("({})::{}", values[id / 2 % values.len()], kind.ddl));
            format!("({id}, {})", values.collect::<Vec<_>>().join(", "))
        };
        let rows: Vec<String> = (first..2 * most).step_by(2).map(row).collect();
        format!("INSERT INTO {} VALUES {}", self.name, rows.join(", "))
    }

    fn query(&self) -> String {
        let seen =
            self.columns.iter().enumerate().map(|(at, (kind, _))| kind.seen.replace("{}", &format!("c{at}")));
        format!("SELECT id::text, {} FROM {} ORDER BY id", seen.collect::<Vec<_>>().join(", "), self.name)
    }
}

async fn write(database: &Database, sql: &str) {
    database.execute(sql).await.unwrap_or_else(|error| panic!("{error:?}: {}", &sql[..sql.len().min(2000)]));
}

async fn same(tables: &[Table], home: &Database, again: &Database, what: &str) {
    for table in tables {
        let (before, after) =
            (home.query(&table.query()).await.unwrap(), again.query(&table.query()).await.unwrap());
        assert_eq!(before.len(), after.len(), "{what}: {}", table.name);
        for (before, after) in before.iter().zip(&after) {
            for (at, (left, right)) in before.iter().zip(after).enumerate() {
                let ddl = at.checked_sub(1).map_or("key", |at| table.columns[at].0.ddl);
                assert!(
                    left == right,
                    "{what}: {ddl} of row {:?}: {left:?} came back as {right:?}",
                    before[0]
                );
            }
        }
    }
}

async fn there_and_back(options: MySqlOptions) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let tables: Vec<Table> = [("t", true), ("own", false)]
        .into_iter()
        .flat_map(|(prefix, alike)| {
            let kinds: Vec<Kind> = KINDS.iter().filter(|kind| kind.alike == alike).copied().collect();
            let tables = kinds.chunks(TOGETHER).enumerate();
            tables.map(|(at, kinds)| Table::of(server.flavor(), prefix, at, kinds)).collect::<Vec<_>>()
        })
        .collect();
    let home = postgres.create_database("home").await.unwrap();
    let again = postgres.create_database("again").await.unwrap();
    home.execute(TYPES).await.unwrap();
    again.execute(TYPES).await.unwrap();
    let mut mapping = Mapping::new();
    for table in &tables {
        write(&home, &table.ddl()).await;
        write(&home, &table.insert(0)).await;
        for (at, (kind, _)) in table.columns.iter().enumerate() {
            if let Some(back) = kind.back {
                mapping = mapping.column_type(&format!("abroad.{}", table.name), &format!("c{at}"), back);
            }
        }
    }
    let abroad = Place::MySql(server.create_database("abroad").await.unwrap());
    let there = Move::between(&Place::Postgres(home.clone()), &abroad, "there");
    let back = Move::between(&abroad, &Place::Postgres(again.clone()), "back").mapping(mapping);
    for (what, write_more) in [("copied", false), ("followed", true)] {
        if write_more {
            for table in &tables {
                write(&home, &table.insert(1)).await;
                // What was copied is said anew by the log.
                write(&home, &format!("UPDATE {} SET id = id + 1000 WHERE id % 2 = 0", table.name)).await;
            }
        }
        there.caught_up().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let own = tables.iter().filter(|table| table.name.starts_with("own"));
        let across =
            own.fold(Across::between(&home, abroad.side()), |across, table| across.except(&table.name));
        let found = across.run().await.unwrap();
        assert!(found.is_empty() && found.rows > 0, "{what} there: {:?}", found.shown);
        back.caught_up().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        same(&tables, &home, &again, what).await;
    }
    server.close().await.unwrap();
}

#[tokio::test]
async fn extremes_of_postgresql_come_back_from_mysql() {
    there_and_back(MySqlOptions::mysql().version("9")).await;
}

#[tokio::test]
async fn extremes_of_postgresql_come_back_from_mariadb() {
    there_and_back(MySqlOptions::mariadb().version("10.11")).await;
}
