//! Tables of a server, made again on it step by step: the server shows the
//! same.

use zdm_core::connect::Step;

use super::fixture::{Case, described, servers};

const TABLES: &str = "
    CREATE TABLE parent (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY) COMMENT 'it''s ) the parent';
    CREATE TABLE t (
      id INT NOT NULL,
      number INT NOT NULL AUTO_INCREMENT,
      name VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'it''s (a)' COMMENT 'the name',
      old VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_german1_ci,
      token CHAR(36) DEFAULT (UUID()),
      made TIMESTAMP(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
      secret INT INVISIBLE DEFAULT 3,
      kept VARCHAR(60) AS (CONCAT(name, '!')) STORED,
      computed INT AS (secret + 1) VIRTUAL,
      parent BIGINT UNSIGNED,
      body TEXT,
      PRIMARY KEY (id),
      UNIQUE KEY by_number (number),
      UNIQUE KEY by_start (name(5), id),
      KEY by_made (made DESC, id) COMMENT 'newest first',
      FULLTEXT KEY by_words (body),
      CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE SET NULL ON UPDATE CASCADE,
      CONSTRAINT positive CHECK (secret > -100)
    ) ROW_FORMAT = COMPRESSED DEFAULT CHARSET = latin1 COMMENT = 'all of it' STATS_PERSISTENT = 1;
    CREATE TABLE parted (id INT NOT NULL, at DATE NOT NULL, PRIMARY KEY (id, at))
      PARTITION BY RANGE (YEAR(at)) (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE)";

/// Only MySQL has one.
const EXPRESSION: &str =
    "; CREATE TABLE e (id INT PRIMARY KEY, a VARCHAR(9), KEY by_case ((LOWER(a)) DESC, id))";

#[tokio::test]
async fn tables_are_made_as_the_source_shows_them() {
    for (at, server) in servers().await.into_iter().enumerate() {
        let (tables, names) = match at {
            0 => (TABLES.to_owned(), vec!["parent", "t", "parted"]),
            _ => (format!("{TABLES}{EXPRESSION}"), vec!["parent", "t", "parted", "e"]),
        };
        let name = format!("made_{at}");
        let source = server.create_database(&format!("{name}_first")).await.unwrap();
        source.execute(&tables).await.unwrap();
        let schema = described(&server, &name, &tables).await;
        let case = Case::new(&server, &name, schema).await;
        for step in [Step::Bare, Step::Finished, Step::Ready, Step::Finished, Step::Ready, Step::Validated] {
            case.prepare(step).await.unwrap();
        }
        for table in names {
            let shown = async |database: &zdm_servers::mysql::Database| {
                let rows = database.query(&format!("SHOW CREATE TABLE {table}")).await.unwrap();
                // Keys come in the order in which they were made, and what the
                // table says of all texts may be said by each column.
                let own = " CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci";
                let text = rows[0][1].clone().unwrap().replace(own, "");
                let mut lines: Vec<String> = text
                    .lines()
                    .map(|line| line.trim_end_matches(',').replace(" CHARACTER SET latin1", ""))
                    .collect();
                lines.sort();
                lines.iter().map(|line| line.replace(" COLLATE latin1_swedish_ci", "")).collect::<Vec<_>>()
            };
            assert_eq!(shown(&case.database).await, shown(&source).await, "{name}.{table}");
        }
        case.database.execute("INSERT INTO t (id, name) VALUES (0, 'Ab')").await.unwrap();
        assert_eq!(
            case.rows("SELECT id, number, name, secret, kept, computed, LENGTH(token) FROM t").await,
            ["0|1|Ab|3|Ab!|4|36"]
        );
        for refused in
            ["INSERT INTO t (id, secret) VALUES (1, -200)", "INSERT INTO t (id, parent) VALUES (1, 7)"]
        {
            assert!(case.database.execute(refused).await.is_err(), "{refused}");
        }
    }
}
