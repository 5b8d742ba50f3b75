//! What is described says what the server shows.

use zdm_core::connect::Source as _;
use zdm_core::schema::{
    Action, ConstraintKind, IdentityColumn, IndexMethod, Key, KeyPart, Table, UnmovedKind,
};

use super::fixture::{Fixture, each};

const SHOP: &str = "
CREATE TABLE parent (id INT PRIMARY KEY, code VARCHAR(10) NOT NULL UNIQUE);
CREATE TABLE t (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  name VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'it''s (a), b' COMMENT 'the name',
  made TIMESTAMP(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  bits BIT(3) DEFAULT b'101',
  less DECIMAL(5,2) DEFAULT -1.50,
  token CHAR(36) DEFAULT (UUID()),
  secret INT INVISIBLE DEFAULT 3,
  parent INT,
  body TEXT,
  place POINT NOT NULL,
  kept VARCHAR(60) AS (CONCAT(name, ' )')) STORED,
  computed INT AS (less + 1) VIRTUAL,
  PRIMARY KEY (id),
  UNIQUE KEY by_name (name, made),
  UNIQUE KEY by_start (name(5), id),
  KEY by_made (made DESC, id) COMMENT 'a, (b)',
  FULLTEXT KEY by_words (body),
  SPATIAL KEY by_place (place),
  CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE SET NULL,
  CONSTRAINT positive CHECK (less > -100)
) COMMENT 'a ) b';
CREATE TABLE parted (id INT NOT NULL, at DATE NOT NULL, PRIMARY KEY (id, at))
  PARTITION BY RANGE (YEAR(at)) (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE);
CREATE TABLE bare (a INT, b INT NOT NULL, UNIQUE KEY (a));
CREATE TABLE unique_only (a INT, b INT NOT NULL, UNIQUE KEY u (b));
CREATE VIEW v AS SELECT id FROM t;
CREATE PROCEDURE p() SELECT 1;
CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM bare;
CREATE TRIGGER first BEFORE INSERT ON bare FOR EACH ROW SET NEW.a = 1;
CREATE DATABASE zdm; CREATE TABLE zdm.ours (id INT PRIMARY KEY);
CREATE DATABASE other; CREATE TABLE other.t (id INT PRIMARY KEY)";

/// The statement that makes a table again out of what was described.
fn made(table: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    for column in &table.columns {
        let mut line = format!("`{}` {}", column.name, column.native.name);
        if let Some(charset) = &column.charset {
            line += &format!(" CHARACTER SET {charset}");
        }
        if let Some(collation) = &column.collation {
            line += &format!(" COLLATE {collation}");
        }
        match &column.generated {
            Some(generated) => {
                line += &format!(
                    " AS ({}) {}",
                    generated.expression,
                    if generated.stored { "STORED" } else { "VIRTUAL" }
                );
            }
            None => line += if column.nullable { " NULL" } else { " NOT NULL" },
        }
        for (word, text) in [("DEFAULT", &column.default), ("ON UPDATE", &column.on_update)] {
            line += &text.as_ref().map_or_else(String::new, |text| format!(" {word} {text}"));
        }
        if column.identity == Some(IdentityColumn::ByDefault) {
            line += " AUTO_INCREMENT";
        }
        if column.invisible {
            line += " INVISIBLE";
        }
        if let Some(comment) = &column.comment {
            line += &format!(" COMMENT '{comment}'");
        }
        lines.push(line);
    }
    for constraint in &table.constraints {
        match &constraint.kind {
            ConstraintKind::Primary { .. } => lines.push(constraint.definition.clone()),
            _ => lines.push(format!("CONSTRAINT `{}` {}", constraint.name, constraint.definition)),
        }
    }
    let comment = table.comment.as_ref().map_or_else(String::new, |comment| format!("COMMENT='{comment}' "));
    let options = format!("{comment}{}", table.options.as_deref().unwrap_or_default());
    let create = format!("CREATE TABLE `shop`.`{}` ({}) {options}", table.name.name, lines.join(", "));
    std::iter::once(create).chain(table.indexes.iter().map(|index| index.definition.clone())).collect()
}

#[tokio::test]
async fn tables_are_made_again_out_of_what_is_described() {
    for options in each() {
        let fixture = Fixture::new(options, SHOP).await;
        for name in ["parted", "t", "unique_only"] {
            let shown = format!("SHOW CREATE TABLE {name}");
            let before = fixture.shop.query(&shown).await.unwrap().remove(0).remove(1).unwrap();
            fixture.shop.execute(&format!("SET foreign_key_checks = 0; DROP TABLE {name}")).await.unwrap();
            for statement in made(fixture.table(name)) {
                fixture.shop.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
            let after = fixture.shop.query(&shown).await.unwrap().remove(0).remove(1).unwrap();
            // Keys come in the order in which they were made, and a column's
            // collation is shown where it was written, the table's own too.
            let own = " CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci";
            let lines = |text: &str| {
                let line = |line: &str| line.trim_end_matches(',').replace(own, "");
                let mut lines: Vec<_> = text.lines().map(line).collect();
                lines.sort();
                lines
            };
            assert_eq!(lines(&before), lines(&after), "{before}\n{after}");
        }
        fixture.server.close().await.unwrap();
    }
}

#[tokio::test]
async fn neutral_parts_say_what_the_statements_say() {
    for options in each() {
        let fixture = Fixture::new(options, SHOP).await;
        let names: Vec<&str> = fixture.schema.tables.iter().map(|t| t.name.name.as_str()).collect();
        assert_eq!(names, ["bare", "parent", "parted", "t", "unique_only"]);
        let t = fixture.table("t");
        assert_eq!((&t.key, t.key_name.as_deref()), (&Key::Columns(vec![0]), Some("PRIMARY")));
        assert!(t.full_old_image && t.column("secret").invisible && !t.column("name").invisible);
        assert_eq!(t.column("name").charset.as_deref(), Some("latin1"));
        assert!(!t.column("name").equality.ignores_case && t.column("body").equality.ignores_case);
        let generated = |name: &str| t.column(name).generated.as_ref().map(|g| g.stored);
        assert_eq!(
            [generated("kept"), generated("computed"), generated("id")],
            [Some(true), Some(false), None]
        );
        assert!(t.column("less").neutral.is_some() && t.column("computed").neutral.is_some());
        let index = |name: &str| t.indexes.iter().find(|index| index.name == name).unwrap();
        assert!(index("by_made").keys[0].descending && !index("by_made").keys[1].descending);
        assert_eq!(index("by_start").keys[0].prefix, Some(5));
        assert!(index("by_start").unique && index("by_start").columns.is_none());
        assert_eq!(index("by_words").method, IndexMethod::FullText);
        assert_eq!(index("by_place").method, IndexMethod::Spatial);
        assert_eq!(index("by_place").keys[0].part, KeyPart::Column("place".to_owned()));
        let constraint = |name: &str| &t.constraints.iter().find(|c| c.name == name).unwrap().kind;
        let ConstraintKind::ForeignKey(key) = constraint("fk") else { panic!() };
        assert_eq!((key.on_delete, key.on_update), (Action::Cascade, Action::SetNull));
        assert_eq!((key.references.to_string().as_str(), key.acts), ("shop.parent", true));
        assert!(matches!(constraint("positive"), ConstraintKind::Check { neutral: Some(_) }));
        assert_eq!(fixture.table("bare").key, Key::FullRow);
        assert_eq!(fixture.table("unique_only").key, Key::Columns(vec![1]));
        assert!(fixture.table("parted").options.as_deref().unwrap().contains("LESS THAN (2000)"));
        let triggers = &fixture.table("bare").triggers;
        assert_eq!(triggers.len(), 1);
        assert!(
            triggers[0].definition.contains("BEFORE INSERT ON `shop`.`bare`"),
            "{}",
            triggers[0].definition
        );
        let unmoved: Vec<_> = fixture.schema.unmoved.iter().map(|o| (o.kind, o.name.name.as_str())).collect();
        assert_eq!(
            unmoved,
            [(UnmovedKind::Event, "e"), (UnmovedKind::Routine, "p"), (UnmovedKind::View, "v")]
        );
        assert!(fixture.schema.unmoved.iter().all(|object| object.statement.contains("CREATE")));
        let counters: Vec<_> = fixture.schema.sequences.iter().map(|s| s.owner.clone().unwrap().1).collect();
        assert_eq!(counters, ["id"]);
        let all = fixture.source.describe(&zdm_core::schema::Selection::all()).await.unwrap();
        assert!(all.tables.iter().all(|table| ["shop", "other"].contains(&table.name.schema.as_str())));
        fixture.server.close().await.unwrap();
    }
}

/// A column by its name.
trait Named {
    fn column(&self, name: &str) -> &zdm_core::schema::Column;
}

impl Named for Table {
    fn column(&self, name: &str) -> &zdm_core::schema::Column {
        &self.columns[self.position(name).unwrap()]
    }
}
