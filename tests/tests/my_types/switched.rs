//! What a target has once it is the active side: foreign keys with what they
//! do, by its own catalog, partitions, and sequences that go on.

use zdm_servers::compare::Across;
use zdm_servers::mysql::{Flavor, MySql, MySqlOptions};
use zdm_servers::postgres::{PgOptions, Postgres};

use super::places::{Move, Place};

/// A parent, and a child for each action that the server has: on a delete,
/// and on an update. Where it is standard SQL, each engine takes it.
fn family(actions: &[(&str, &str)]) -> String {
    let mut sql = String::from(
        "CREATE TABLE parent (id int NOT NULL PRIMARY KEY); INSERT INTO parent VALUES (0), (1), (2);",
    );
    for (at, (deleted, updated)) in actions.iter().enumerate() {
        sql += &format!(
            "CREATE TABLE child{at} (id int NOT NULL PRIMARY KEY, parent_id int DEFAULT 0, \
             CONSTRAINT fk{at} FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE {deleted} ON UPDATE {updated});
             INSERT INTO child{at} VALUES (1, 1), (2, NULL);"
        );
    }
    sql
}

/// PostgreSQL's actions, each on either side.
const ALL: &[(&str, &str)] = &[
    ("NO ACTION", "RESTRICT"),
    ("RESTRICT", "NO ACTION"),
    ("CASCADE", "SET NULL"),
    ("SET NULL", "CASCADE"),
    ("SET DEFAULT", "NO ACTION"),
];
/// Those that InnoDB has, and MySQL logs since 9.7.
const LOGGED: &[(&str, &str)] =
    &[("NO ACTION", "RESTRICT"), ("RESTRICT", "NO ACTION"), ("CASCADE", "SET NULL"), ("SET NULL", "CASCADE")];
/// Those that change no row, since MariaDB logs none that does.
const STILL: &[(&str, &str)] = &[("NO ACTION", "RESTRICT"), ("RESTRICT", "NO ACTION")];

/// The rules of each foreign key, as the standard's own view tells them.
async fn rules(place: &Place) -> Vec<String> {
    let sql = |schema: &str| {
        format!(
            "SELECT CONCAT(CONSTRAINT_NAME, ': ', DELETE_RULE, ', ', UPDATE_RULE) \
               FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {schema} ORDER BY 1"
        )
    };
    let rows = match place {
        Place::MySql(database) => database.query(&sql("DATABASE()")).await,
        Place::Postgres(database) => database.query(&sql("'public'")).await,
    };
    rows.unwrap().into_iter().map(|row| row[0].clone().unwrap()).collect()
}

async fn is_mariadb(place: &Place) -> bool {
    match place {
        Place::MySql(database) => database.value("SELECT VERSION()").await.unwrap().contains("MariaDB"),
        Place::Postgres(_) => false,
    }
}

async fn moved(name: &str, from: &Place, to: &Place, actions: &[(&str, &str)], sequence: Option<&str>) {
    from.sql(&family(actions)).await;
    if let Some(sequence) = sequence {
        from.sql(sequence).await;
    }
    let run = Move::between(from, to, name);
    run.switched().await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let is_mysql = matches!(to, Place::MySql(_));
    // The report says so of SET DEFAULT. InnoDB takes the other two for one, and
    // MariaDB shows but one of them: RESTRICT in CREATE TABLE is not shown, and
    // NO ACTION is what ALTER TABLE makes of either.
    let one = is_mariadb(from).await || is_mariadb(to).await;
    let known = |rule: String| {
        let rule = if is_mysql { rule.replace("SET DEFAULT", "NO ACTION") } else { rule };
        if one { rule.replace("RESTRICT", "NO ACTION") } else { rule }
    };
    let given = rules(from).await;
    assert_eq!(given.len(), actions.len());
    let expected: Vec<String> = given.into_iter().map(&known).collect();
    let found: Vec<String> = rules(to).await.into_iter().map(known).collect();
    assert_eq!(found, expected, "{name}");
    if actions == ALL && is_mysql {
        let report = run.report().await;
        assert!(report.to_string().contains("fk4: refuses where it set the default"), "{report}");
    }
}

/// It has given 5 and 8.
const LOOSE: &str =
    "CREATE SEQUENCE loose START WITH 5 INCREMENT BY 3; SELECT nextval('loose'), nextval('loose')";
const LOOSE_OF_MARIADB: &str =
    "CREATE SEQUENCE loose START WITH 5 INCREMENT BY 3 NOCACHE; SELECT NEXTVAL(loose); SELECT NEXTVAL(loose)";

async fn goes_on(place: &Place) {
    let next = match place {
        Place::MySql(database) => database.value("SELECT NEXTVAL(loose)").await,
        Place::Postgres(database) => database.value("SELECT nextval('loose')").await,
    };
    let next: i64 = next.unwrap().parse().unwrap();
    assert!(next >= 11 && (next - 5) % 3 == 0, "{next}");
}

async fn server(flavor: Flavor) -> MySql {
    let options = match flavor {
        Flavor::MySql => MySqlOptions::mysql().version("9"),
        Flavor::MariaDb => MySqlOptions::mariadb().version("10.11"),
    };
    MySql::start(options.setting("log_bin_trust_function_creators", 1)).await.unwrap()
}

async fn from_postgres() {
    let (mysql, mariadb, postgres) =
        tokio::join!(server(Flavor::MySql), server(Flavor::MariaDb), Postgres::start(PgOptions::new()));
    let postgres = postgres.unwrap();
    for (name, to) in [
        ("to_mysql", Place::MySql(mysql.create_database("shop").await.unwrap())),
        ("to_mariadb", Place::MySql(mariadb.create_database("shop").await.unwrap())),
        ("to_postgres", Place::Postgres(postgres.create_database("shop").await.unwrap())),
    ] {
        let from = Place::Postgres(postgres.create_database(name).await.unwrap());
        moved(name, &from, &to, ALL, Some(LOOSE)).await;
        if name == "to_mysql" {
            let report = Move::between(&from, &to, name).report().await;
            let left: Vec<&str> = report.unmoved.iter().map(|object| object.name.name.as_str()).collect();
            assert_eq!(left, ["loose"]);
            assert!(report.unmoved[0].statement.starts_with("CREATE SEQUENCE"), "{:?}", report.unmoved);
        } else {
            goes_on(&to).await;
        }
    }
    mysql.close().await.unwrap();
    mariadb.close().await.unwrap();
}

#[tokio::test]
async fn foreign_keys_and_sequences_of_postgresql_go_on() {
    from_postgres().await;
}

/// In each way that both servers have of parting rows.
const PARTED: &str = "
CREATE TABLE by_range (id int NOT NULL, y int NOT NULL, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (
  PARTITION p0 VALUES LESS THAN (2000) COMMENT = 'it''s old', PARTITION p1 VALUES LESS THAN MAXVALUE);
CREATE TABLE by_list (id int NOT NULL, s varchar(9) NOT NULL, PRIMARY KEY (id, s)) PARTITION BY LIST COLUMNS (s) (
  PARTITION `a b` VALUES IN ('x', 'it''s'), PARTITION p1 VALUES IN ('y'));
CREATE TABLE by_key (id int NOT NULL PRIMARY KEY) PARTITION BY KEY (id) PARTITIONS 3;
CREATE TABLE by_both (id int NOT NULL, d date NOT NULL, PRIMARY KEY (id, d)) PARTITION BY RANGE (TO_DAYS(d))
  SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (
  PARTITION p0 VALUES LESS THAN (739000), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO by_range VALUES (1, 1999), (2, 2001); INSERT INTO by_list VALUES (1, 'x'), (2, 'y');
INSERT INTO by_key VALUES (1), (2), (3); INSERT INTO by_both VALUES (1, '2020-01-01'), (2, '2025-01-01')";

/// How rows are parted, as the server's catalog tells it.
async fn parts(place: &Place) -> Vec<Vec<Option<String>>> {
    let Place::MySql(database) = place else { return Vec::new() };
    let sql = "SELECT TABLE_NAME, PARTITION_NAME, SUBPARTITION_NAME, PARTITION_METHOD, SUBPARTITION_METHOD, \
                      PARTITION_EXPRESSION, PARTITION_DESCRIPTION, PARTITION_COMMENT \
                 FROM information_schema.PARTITIONS \
                WHERE TABLE_SCHEMA = DATABASE() AND PARTITION_NAME IS NOT NULL ORDER BY 1, 2, 3";
    database.query(sql).await.unwrap()
}

async fn from_mysql(flavor: Flavor, actions: &[(&str, &str)], sequence: Option<&str>) {
    let other = if flavor == Flavor::MySql { Flavor::MariaDb } else { Flavor::MySql };
    let (source, same, kin, postgres) =
        tokio::join!(server(flavor), server(flavor), server(other), Postgres::start(PgOptions::new()));
    let postgres = postgres.unwrap();
    for (number, to) in [
        Place::MySql(same.create_database("shop0").await.unwrap()),
        Place::MySql(kin.create_database("shop1").await.unwrap()),
        Place::Postgres(postgres.create_database("shop2").await.unwrap()),
    ]
    .iter()
    .enumerate()
    {
        let from = Place::MySql(source.create_database(&format!("shop{number}")).await.unwrap());
        from.sql(PARTED).await;
        moved(&format!("from_{flavor}_{number}").to_lowercase(), &from, to, actions, sequence).await;
        // The same server's words are kept; the other's are in the report.
        let (there, here) = (parts(&from).await, parts(to).await);
        assert_eq!((there.len(), here.len()), (11, if number == 0 { 11 } else { 0 }));
        if number == 0 {
            assert_eq!(there, here);
        } else {
            let report = Move::between(&from, to, "parts").report().await.to_string();
            assert!(report.matches("storage and partitions: NOT MOVED").count() >= 4, "{report}");
        }
        let found = Across::between(from.side(), to.side()).run().await.unwrap();
        assert!(found.is_empty(), "{found}");
        if sequence.is_some() && number != 1 {
            goes_on(to).await;
        }
    }
    for server in [source, same, kin] {
        server.close().await.unwrap();
    }
}

#[tokio::test]
async fn foreign_keys_of_mysql_go_on() {
    from_mysql(Flavor::MySql, LOGGED, None).await;
}

#[tokio::test]
async fn foreign_keys_and_sequences_of_mariadb_go_on() {
    from_mysql(Flavor::MariaDb, STILL, Some(LOOSE_OF_MARIADB)).await;
}
