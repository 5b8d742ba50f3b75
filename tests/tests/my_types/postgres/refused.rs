//! Values that the other engine cannot hold: the report has named them before,
//! and the run stops at each, in the copy and in the log, with its place; or
//! it goes by the user's policy. None is stored as something else.

use futures::StreamExt as _;
use zdm_core::schema::conversion::{Fit, Mapping, Policies, Unfit};
use zdm_servers::mysql::{Flavor, MySql, MySqlOptions};
use zdm_servers::postgres::{Database, PgOptions, Postgres};

use super::super::places::{Move, Place};
use super::super::tables::chosen;

/// A type, a value of it, and a word of what the report says of the type.
type Unheld = (&'static str, &'static str, &'static str);

/// What MariaDB alone refuses by itself, so that no policy is asked.
const OF_MARIADB: Unheld = ("uuid", "'ffffffff-ffff-8fff-80ff-ffffffffffff'", "seventh octet");

/// What MySQL alone does.
const OF_MYSQL: [Unheld; 3] = [
    ("json", "repeat('[', 101) || repeat(']', 101)", "deeper than 100"),
    ("jsonb", "'1e400'", "beyond a double"),
    ("json", "E'\"\\\\ud800\"'", "surrogate"),
];

/// What neither MySQL nor MariaDB holds.
const VALUES: &[Unheld] = &[
    ("real", "'NaN'", "NaN"),
    ("real", "'-Infinity'", "infinities"),
    ("double precision", "'NaN'", "NaN"),
    ("double precision", "'Infinity'", "infinities"),
    ("numeric(12,3)", "'NaN'", "NaN"),
    ("numeric", "'NaN'", "NaN"),
    ("numeric", "'-Infinity'", "infinities"),
    ("numeric", "'1e35'", "35 digits"),
    ("numeric", "'1e-31'", "30 behind"),
    ("numeric(80,2)", "'1e60'", "35 digits"),
    ("date", "'infinity'", "infinities"),
    ("date", "'-infinity'", "infinities"),
    ("date", "'0044-03-15 BC'", "before the year 1"),
    ("date", "'10000-01-01'", "after 9999"),
    ("timestamp", "'infinity'", "infinities"),
    ("timestamp", "'0001-12-31 23:59:59 BC'", "before the year 1"),
    ("timestamp(0)", "'10000-01-01'", "after 9999"),
    ("timestamptz", "'-infinity'", "infinities"),
    ("timestamptz", "'0001-01-01 00:00:00+01'", "before the year 1"),
    ("timestamptz(3)", "'9999-12-31 23:59:59-01'", "after 9999"),
    ("integer[]", "'[0:1]={1,2}'", "begin at 1"),
    ("bytea[]", "ARRAY['\\xff'::bytea]", "UTF-8"),
];

async fn stopped(home: &Database, abroad: &Place, at: usize, (ddl, value, word): Unheld) {
    let from = Place::Postgres(home.clone());
    home.execute(&format!("CREATE SCHEMA s{at}; CREATE TABLE s{at}.v{at} (id int PRIMARY KEY, v {ddl})"))
        .await
        .unwrap();
    let tables = format!("s{at}.*");
    let run = |name: &str| Move::between(&from, abroad, &format!("{name}{at}")).tables(&tables);
    let log = run("log");
    let report = log.report().await;
    let fit = &report.tables[0].columns[1].fit;
    assert!(matches!(fit, Fit::Lossy(what) if what.contains(word)), "{ddl} {value}: {fit:?}");
    log.caught_up().await.unwrap();
    home.execute(&format!("INSERT INTO s{at}.v{at} VALUES (7, ({value})::{ddl})")).await.unwrap();
    // A name of its own, since the log's tables are there.
    let copy =
        run("copy").mapping(Mapping::new().rename_table(&format!("s{at}.v{at}"), format!("abroad.w{at}")));
    for (how, done) in [("log", log.caught_up().await), ("copy", copy.caught_up().await)] {
        let error = done.expect_err(&format!("{how} of {ddl} {value}"));
        let shown = format!("{error:?}");
        let table = [format!("s{at}.v{at}"), format!("abroad.v{at}")];
        assert!(table.iter().any(|table| shown.contains(table)), "{how} of {ddl} {value}: {shown}");
        // What a server refuses by itself it names in its own words.
        let own = [OF_MARIADB].iter().chain(&OF_MYSQL).any(|unheld| *unheld == (ddl, value, word));
        assert!(own || shown.contains("id=7"), "{how} of {ddl} {value}: {shown}");
    }
    for table in ["v", "w"] {
        let Place::MySql(abroad) = abroad else { unreachable!() };
        assert_eq!(
            abroad.value(&format!("SELECT COUNT(*) FROM {table}{at}")).await.unwrap(),
            "0",
            "{ddl} {value}"
        );
    }
}

/// Some of them at each run, all with `ZDM_TEST_TYPES_TABLES=100`.
async fn each_stops_the_run(options: MySqlOptions) {
    let slots = PgOptions::new().setting("max_replication_slots", "100");
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(slots));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let home = postgres.create_database("home").await.unwrap();
    let abroad = Place::MySql(server.create_database("abroad").await.unwrap());
    let mut rng = fastrand::Rng::with_seed(chosen("ZDM_TEST_TYPES_SEED", 20_241_124));
    let mut some = VALUES.to_vec();
    rng.shuffle(&mut some);
    some.truncate(usize::try_from(chosen("ZDM_TEST_TYPES_TABLES", 3)).unwrap() * 2);
    some.extend(if server.flavor() == Flavor::MariaDb { &[OF_MARIADB][..] } else { &OF_MYSQL });
    let each = some.into_iter().enumerate().map(|(at, unheld)| stopped(&home, &abroad, at, unheld));
    futures::stream::iter(each).buffer_unordered(3).collect::<Vec<()>>().await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn what_mysql_does_not_hold_stops_the_run() {
    each_stops_the_run(MySqlOptions::mysql().version("9")).await;
}

#[tokio::test]
async fn what_mariadb_does_not_hold_stops_the_run() {
    each_stops_the_run(MySqlOptions::mariadb().version("10.11")).await;
}

/// Every one of them at once, by copy and by the log.
async fn each_is_null_by_policy(options: MySqlOptions) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let home = postgres.create_database("home").await.unwrap();
    let abroad = server.create_database("abroad").await.unwrap();
    let columns: Vec<String> =
        VALUES.iter().enumerate().map(|(at, (ddl, ..))| format!("c{at} {ddl}")).collect();
    home.execute(&format!("CREATE TABLE v (id int PRIMARY KEY, {})", columns.join(", "))).await.unwrap();
    let values: Vec<String> = VALUES.iter().map(|(ddl, value, _)| format!("({value})::{ddl}")).collect();
    let insert = |id: u32| format!("INSERT INTO v VALUES ({id}, {})", values.join(", "));
    home.execute(&insert(1)).await.unwrap();
    let mut policies = Policies::default();
    policies.out_of_range = Unfit::Null;
    let moved = Move::between(&Place::Postgres(home.clone()), &Place::MySql(abroad.clone()), "nulls")
        .mapping(Mapping::new().policies(policies));
    moved.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    home.execute(&insert(2)).await.unwrap();
    moved.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    for (at, (ddl, value, _)) in VALUES.iter().enumerate() {
        let found = abroad.value(&format!("SELECT COUNT(*) - COUNT(c{at}) FROM v")).await.unwrap();
        let there = abroad.query(&format!("SELECT c{at} FROM v")).await.unwrap();
        assert_eq!(found, "2", "{ddl} {value} became {there:?}");
    }
    server.close().await.unwrap();
}

#[tokio::test]
async fn what_mysql_does_not_hold_is_null_by_policy() {
    each_is_null_by_policy(MySqlOptions::mysql().version("9")).await;
}

#[tokio::test]
async fn what_mariadb_does_not_hold_is_null_by_policy() {
    each_is_null_by_policy(MySqlOptions::mariadb().version("10.11")).await;
}
