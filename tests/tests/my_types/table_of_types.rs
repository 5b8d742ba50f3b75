//! The documented table of types says what the dialects do: each of its lines
//! is made at a real server, and the report of its conversion must be that
//! line, word for word.
//!
//! `ZDM_TEST_WRITE_TYPES=1` prints the lines as they should be.

use zdm_core::schema::conversion::Fit;
use zdm_servers::mysql::{MySql, MySqlOptions};
use zdm_servers::postgres::{PgOptions, Postgres};

use super::places::{Move, Place};

const TABLES: &str = include_str!("../../../zdm-core/src/schema/conversion/types.md");

/// The lines of a section: what a column is, and the whole line.
pub(crate) fn lines(title: &str) -> Vec<(String, String)> {
    let section = TABLES.split("\n## ").find(|section| section.starts_with(title)).expect(title);
    let section = section.lines().filter(|line| line.starts_with("| `"));
    section
        .map(|line| {
            let first = line.trim_start_matches("| ").split(" | ").next().unwrap();
            (first.replace('`', ""), line.to_owned())
        })
        .collect()
}

async fn check(title: &str, from: Place, to: Place) {
    let lines = lines(title);
    assert!(lines.len() > 5, "{title}");
    let columns: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(at, (ddl, _))| {
            // A counter is of a key.
            let unique = if ddl.contains("auto_increment") { " unique" } else { "" };
            format!("c{at} {ddl}{unique}")
        })
        .collect();
    if let Place::Postgres(_) = from {
        from.sql("CREATE TYPE mood AS ENUM ('sad', 'happy')").await;
    }
    from.sql(&format!("CREATE TABLE things ({})", columns.join(", "))).await;
    let report = Move::between(&from, &to, "table").report().await;
    let columns = &report.tables[0].columns;
    let found: Vec<String> = columns
        .iter()
        .zip(&lines)
        .map(|(column, (ddl, _))| {
            let (fit, what) = match &column.fit {
                Fit::Exact => ("exact", ""),
                Fit::Widened(what) => ("widened", what.as_str()),
                Fit::Lossy(what) => ("lossy", what.as_str()),
                Fit::Impossible(what) => ("impossible", what.as_str()),
            };
            let what = if what.is_empty() { String::new() } else { format!(" {what}") };
            format!("| `{ddl}` | `{}` | {fit} |{what} |", column.to_type)
        })
        .collect();
    if std::env::var_os("ZDM_TEST_WRITE_TYPES").is_some() {
        println!("## {title}\n\n{}\n", found.join("\n"));
        return;
    }
    assert_eq!(found.len(), lines.len());
    for (found, (_, line)) in found.iter().zip(&lines) {
        assert_eq!(found, line, "{title}");
    }
}

#[tokio::test]
async fn the_table_of_types_is_true() {
    let (mysql, mariadb, postgres) = tokio::join!(
        MySql::start(MySqlOptions::mysql().version("9")),
        MySql::start(MySqlOptions::mariadb().version("10.11")),
        Postgres::start(PgOptions::new())
    );
    let (mysql, mariadb, postgres) = (mysql.unwrap(), mariadb.unwrap(), postgres.unwrap());
    let home = Place::MySql(mysql.create_database("home").await.unwrap());
    let kin = Place::MySql(mariadb.create_database("home").await.unwrap());
    let far = Place::Postgres(postgres.create_database("home").await.unwrap());
    let nowhere = |server: &MySql| Place::MySql(server.database(""));
    let empty = Place::Postgres(postgres.create_database("empty").await.unwrap());
    check("MySQL to PostgreSQL", home.clone(), empty.clone()).await;
    check("PostgreSQL to MySQL", far.clone(), Place::MySql(mysql.create_database("things").await.unwrap()))
        .await;
    far.sql("DROP TABLE things; DROP TYPE mood").await;
    check("PostgreSQL to MariaDB", far, Place::MySql(mariadb.create_database("things").await.unwrap())).await;
    check("MariaDB to PostgreSQL", kin.clone(), empty).await;
    for place in [&home, &kin] {
        place.sql("DROP TABLE things").await;
    }
    check("MySQL to MariaDB", home, nowhere(&mariadb)).await;
    check("MariaDB to MySQL", kin, nowhere(&mysql)).await;
    mysql.close().await.unwrap();
    mariadb.close().await.unwrap();
}
