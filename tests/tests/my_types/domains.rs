//! PostgreSQL's domains and collations at servers that have no such: what they
//! ask is asked by the column, as the target's own catalog and its refusals
//! tell; what cannot be is in the report.

use std::collections::BTreeSet;

use zdm_core::connect::Severity;
use zdm_servers::mysql::{MySql, MySqlOptions};
use zdm_servers::postgres::{PgOptions, Postgres};

use super::objects::{set, shown, told};
use super::places::{Move, Place};

const GOODS: &str = "
CREATE DOMAIN price AS numeric(8,2) NOT NULL DEFAULT 1.50 CONSTRAINT positive CHECK (VALUE > 0);
CREATE DOMAIN small_price AS price CONSTRAINT small CHECK (VALUE < 100);
CREATE DOMAIN zip AS text CONSTRAINT five CHECK (VALUE ~ '^[0-9]{5}$');
CREATE DOMAIN tag AS varchar(9) NOT NULL CONSTRAINT short CHECK (VALUE <> '');
CREATE DOMAIN pair AS int[] CONSTRAINT two CHECK (VALUE <> '{}');
CREATE DOMAIN later AS int;
CREATE EXTENSION citext;
CREATE DOMAIN nick AS citext;
CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE goods (
  id int PRIMARY KEY,
  a price,
  b price DEFAULT 7,
  c small_price,
  zip zip,
  tag tag,
  tags tag[],
  pair pair,
  later later,
  mail citext UNIQUE,
  nick nick,
  city text COLLATE folded,
  CONSTRAINT a_positive CHECK (id > 0)
);
INSERT INTO goods (id, tag) VALUES (1, 'x'), (-2 + 4, 'y');
ALTER DOMAIN later ADD CONSTRAINT none_now CHECK (VALUE > 5) NOT VALID";

async fn at(options: MySqlOptions) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let home = postgres.create_database("shop").await.unwrap();
    home.execute(GOODS).await.unwrap();
    let there = server.create_database("shop").await.unwrap();
    let moved = Move::between(&Place::Postgres(home.clone()), &Place::MySql(there.clone()), "domains");
    let report = moved.report().await;
    assert_eq!(
        told(&report),
        set(&[
            "dropped check zip_five",
            "dropped check tags_short",
            "dropped check tags_not_null",
            "dropped check pair_two",
            "dropped check later_none_now",
            "left collation public.folded",
            "left type public.later",
            "left type public.nick",
            "left type public.pair",
            "left type public.price",
            "left type public.small_price",
            "left type public.tag",
            "left type public.zip",
        ])
    );
    // Finer there: told of each column, a domain's too.
    let finer: BTreeSet<String> = report
        .findings()
        .into_iter()
        .filter(|finding| finding.code == "column_differs" && finding.message.contains("told apart"))
        .map(|finding| {
            assert_eq!(finding.severity, Severity::Warning);
            finding.subject
        })
        .collect();
    assert_eq!(finer, set(&["public.goods.city", "public.goods.mail", "public.goods.nick"]));

    let refused = [
        "INSERT INTO goods (id, tag, a) VALUES (9, 'x', -1)",
        "INSERT INTO goods (id, tag, b) VALUES (9, 'x', 0)",
        "INSERT INTO goods (id, tag, c) VALUES (9, 'x', 100)",
        "INSERT INTO goods (id, tag) VALUES (9, '')",
        "INSERT INTO goods (id, tag, a) VALUES (9, 'x', NULL)",
    ];
    for sql in refused {
        assert!(home.execute(sql).await.is_err(), "taken at home: {sql}");
    }
    moved.switched().await.unwrap();
    let mut found = shown(&there, "goods").await;
    found.retain(|line| ["a", "b", "c", "tag", "constraint"].contains(&line.split(' ').next().unwrap()));
    // MySQL shows the number of a default as a text.
    let plain = |line: String| if line.contains("decimal") { line.replace('\'', "") } else { line };
    let found: BTreeSet<String> = found.into_iter().map(plain).collect();
    let collate = if server.flavor() == zdm_servers::mysql::Flavor::MySql { "0900" } else { "nopad" };
    let tag = format!("tag varchar 9 collate utf8mb4_{collate}_bin not null");
    let expected = set(&[
        "a decimal 8,2 not null default 1.50",
        "b decimal 8,2 not null default 7.00",
        "c decimal 8,2 not null default 1.50",
        &tag,
        "constraint a_positive check id > 0",
        "constraint a_positive_2 check a > 0",
        "constraint b_positive check b > 0",
        "constraint c_positive check c > 0",
        "constraint c_small check c < 100",
        "constraint tag_short check tag <> ''",
    ]);
    let differ: Vec<&String> = found.symmetric_difference(&expected).collect();
    assert!(differ.is_empty(), "{differ:#?}");

    // The target refuses what the source refuses, and fills in what it fills in.
    for sql in refused {
        let error = there.execute(sql).await.expect_err(sql).to_string().to_lowercase();
        assert!(error.contains("check") || error.contains("constraint") || error.contains("null"), "{error}");
    }
    let fill = "INSERT INTO goods (id, tag) VALUES (9, 'x')";
    there.execute(fill).await.unwrap();
    let filled = "SELECT CONCAT(a, ' ', b, ' ', c) FROM goods WHERE id IN (1, 9) GROUP BY 1";
    assert_eq!(there.value(filled).await.unwrap(), "1.50 7.00 1.50");
    server.close().await.unwrap();
}

#[tokio::test]
async fn domains_of_postgresql_are_asked_by_mysql() {
    at(MySqlOptions::mysql().version("9")).await;
}

#[tokio::test]
async fn domains_of_postgresql_are_asked_by_mariadb() {
    at(MySqlOptions::mariadb().version("10.11")).await;
}
