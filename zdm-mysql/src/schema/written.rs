//! A table as `SHOW CREATE TABLE` writes it: the server's own words for
//! defaults, keys, constraints and options.
//!
//! One line for each column, then one for each key and constraint, then the
//! line of options, which alone begins with a parenthesis. A line feed in a
//! text is written as an escape, so a line is a line.
//! <https://dev.mysql.com/doc/refman/en/show-create-table.html>

use std::collections::HashMap;

use zdm_core::schema::{
    Action, Condition, Constraint, ConstraintKind, ForeignKey, Index, IndexKey, IndexMethod, KeyPart,
    TableName,
};

use super::neutral;
use super::scan::Scan;
use crate::connect::quote::{quote_ident, quote_table};

/// What the statement says.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// What follows each column's name.
    pub(super) columns: HashMap<String, Clauses>,
    pub(super) indexes: Vec<Index>,
    pub(super) constraints: Vec<Constraint>,
    /// What follows the list, but for the counter and the comment.
    pub(super) options: Option<String>,
}

/// The clauses of a column that the catalog does not tell as plainly.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Clauses {
    pub(super) default: Option<String>,
    pub(super) on_update: Option<String>,
    pub(super) generated: Option<String>,
}

impl Written {
    /// Reads the statement of a table.
    pub(super) fn read(table: &TableName, statement: &str) -> Self {
        let mut written = Self::default();
        let (list, options) = statement.split_once("\n)").unwrap_or((statement, ""));
        written.options = options_of(options);
        for line in list.lines().skip(1) {
            let line = line.trim();
            let line = line.strip_suffix(',').unwrap_or(line);
            let mut scan = Scan::new(line);
            match scan.name() {
                Some(column) => written.column(column, scan),
                None => written.key(table, scan),
            }
        }
        written
    }

    fn column(&mut self, column: String, mut scan: Scan<'_>) {
        let mut clauses = Clauses::default();
        while !scan.is_empty() {
            let word = scan.piece();
            if word.eq_ignore_ascii_case("default") {
                clauses.default = Some(operand(&mut scan));
            } else if word.eq_ignore_ascii_case("on") && scan.take("update") {
                clauses.on_update = Some(operand(&mut scan));
            } else if word.eq_ignore_ascii_case("as") {
                clauses.generated = scan.group().map(str::to_owned);
            } else if word.eq_ignore_ascii_case("check")
                && let Some(condition) = scan.group()
            {
                // MariaDB's checks of one column bear its name.
                self.check(column.clone(), condition, true);
            }
        }
        self.columns.insert(column, clauses);
    }

    fn key(&mut self, table: &TableName, mut scan: Scan<'_>) {
        if scan.take("PRIMARY KEY") {
            let definition = format!("PRIMARY KEY {}", scan.rest());
            let columns = scan.group().map(keys).unwrap_or_default().iter().filter_map(column_of).collect();
            let kind = ConstraintKind::Primary { columns };
            self.constraints.push(Constraint {
                name: "PRIMARY".to_owned(),
                kind,
                definition,
                validated: true,
            });
        } else if scan.take("CONSTRAINT") {
            if let Some(name) = scan.name() {
                self.constraint(table, name, scan);
            }
        } else if scan.take("CHECK") {
            if let Some(condition) = scan.group() {
                self.check(String::new(), condition, true);
            }
        } else {
            self.index(table, scan);
        }
    }

    fn index(&mut self, table: &TableName, mut scan: Scan<'_>) {
        let (word, method) = if scan.take("FULLTEXT ") {
            ("FULLTEXT ", IndexMethod::FullText)
        } else if scan.take("SPATIAL ") {
            ("SPATIAL ", IndexMethod::Spatial)
        } else if scan.take("VECTOR ") {
            ("VECTOR ", IndexMethod::Other("vector".to_owned()))
        } else if scan.take("UNIQUE ") {
            ("UNIQUE ", IndexMethod::Ordered)
        } else {
            ("", IndexMethod::Ordered)
        };
        let unique = word == "UNIQUE ";
        // What is none of these is no key: a period of MariaDB's, say.
        let Some(name) = scan.take("KEY").then(|| scan.name()).flatten() else { return };
        let rest = scan.rest();
        let keys = scan.group().map(keys).unwrap_or_default();
        let whole = |key: &IndexKey| key.prefix.is_none() && matches!(key.part, KeyPart::Column(_));
        let columns = keys.iter().all(whole).then(|| keys.iter().filter_map(column_of).collect::<Vec<_>>());
        if let (true, Some(columns)) = (unique, &columns) {
            let kind = ConstraintKind::Unique { columns: columns.clone() };
            let definition = format!("UNIQUE {rest}");
            self.constraints.push(Constraint { name, kind, definition, validated: true });
            return;
        }
        let mut index = Index::new(name, unique, Vec::new());
        index.definition = format!(
            "CREATE {word}INDEX {} ON {} {rest}",
            quote_ident(&index.name),
            quote_table(&table.schema, &table.name),
        );
        let ascending = !keys.iter().any(|key| key.descending);
        index.columns = columns.filter(|_| ascending && method == IndexMethod::Ordered);
        (index.keys, index.method) = (keys, method);
        self.indexes.push(index);
    }

    fn constraint(&mut self, table: &TableName, name: String, mut scan: Scan<'_>) {
        let definition = scan.rest().to_owned();
        if scan.take("FOREIGN KEY") {
            if let Some(key) = foreign_key(table, scan) {
                let kind = ConstraintKind::ForeignKey(key);
                self.constraints.push(Constraint { name, kind, definition, validated: true });
            }
        } else if scan.take("CHECK")
            && let Some(condition) = scan.group()
        {
            self.check(name, condition, !scan.rest().contains("NOT ENFORCED"));
        }
    }

    fn check(&mut self, name: String, condition: &str, validated: bool) {
        let not = if validated { "" } else { " NOT ENFORCED" };
        self.constraints.push(Constraint {
            name,
            kind: ConstraintKind::Check { neutral: neutral(condition) },
            definition: format!("CHECK ({condition}){not}"),
            validated,
        });
    }
}

/// One value or call, in parentheses or not: `'x'`, `b'1'`, `-1.5`,
/// `current_timestamp(3)`, `(uuid())`.
fn operand(scan: &mut Scan<'_>) -> String {
    let mut text = String::new();
    loop {
        let rest = scan.rest();
        // A sign or an introducer belongs to what follows it.
        let joins = rest.starts_with(['-', '+'])
            || rest.starts_with('_')
            || rest.get(1..2) == Some("'") && rest.starts_with(['b', 'x', 'B', 'X', 'N']);
        text += scan.piece();
        if !joins || scan.is_empty() {
            break;
        }
    }
    if scan.rest().starts_with('(') && !text.starts_with('(') && !text.ends_with('\'') {
        text += scan.piece();
    }
    text
}

fn keys(group: &str) -> Vec<IndexKey> {
    Scan::items(group).into_iter().map(key).collect()
}

fn key(text: &str) -> IndexKey {
    let mut scan = Scan::new(text);
    let part = match scan.name() {
        Some(name) => KeyPart::Column(name),
        None => {
            let native = scan.group().unwrap_or_default().to_owned();
            KeyPart::Expression(Condition { neutral: neutral(&native), native })
        }
    };
    let prefix = scan.group().and_then(|digits| digits.trim().parse().ok());
    IndexKey { part, prefix, descending: scan.take("DESC") }
}

fn column_of(key: &IndexKey) -> Option<String> {
    key.as_column().map(str::to_owned)
}

fn foreign_key(table: &TableName, mut scan: Scan<'_>) -> Option<ForeignKey> {
    let names = |group: &str| -> Vec<String> {
        Scan::items(group).into_iter().filter_map(|item| Scan::new(item).name()).collect()
    };
    let columns = names(scan.group()?);
    if !scan.take("REFERENCES") {
        return None;
    }
    let first = scan.name()?;
    let references = if scan.take(".") {
        TableName::new(first, scan.name()?)
    } else {
        TableName::new(table.schema.clone(), first)
    };
    let referenced = names(scan.group()?);
    let (mut on_delete, mut on_update) = (Action::NoAction, Action::NoAction);
    loop {
        if scan.take("ON DELETE") {
            on_delete = action(&mut scan);
        } else if scan.take("ON UPDATE") {
            on_update = action(&mut scan);
        } else {
            break;
        }
    }
    let acts = on_delete.acts() || on_update.acts();
    Some(ForeignKey { columns, references, referenced, acts, on_delete, on_update })
}

fn action(scan: &mut Scan<'_>) -> Action {
    for (word, action) in [
        ("CASCADE", Action::Cascade),
        ("SET NULL", Action::SetNull),
        ("SET DEFAULT", Action::SetDefault),
        ("RESTRICT", Action::Restrict),
        ("NO ACTION", Action::NoAction),
    ] {
        if scan.take(word) {
            return action;
        }
    }
    Action::NoAction
}

/// Without what is told elsewhere: the counter, and the comment.
fn options_of(text: &str) -> Option<String> {
    let mut scan = Scan::new(text);
    let mut options: Vec<String> = Vec::new();
    while !scan.is_empty() {
        let word = scan.piece();
        if !scan.take("=") {
            options.push(word.to_owned());
            continue;
        }
        let value = scan.piece();
        if !["AUTO_INCREMENT", "COMMENT"].iter().any(|told| word.eq_ignore_ascii_case(told)) {
            options.push(format!("{word}={value}"));
        }
    }
    (!options.is_empty()).then(|| options.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "CREATE TABLE `t` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(20) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'it''s, (a)' COMMENT 'DEFAULT 1',
  `doc` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`doc`)),
  `at` timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  `bits` bit(3) DEFAULT b'101',
  `u` char(36) DEFAULT (uuid()) /*!80023 INVISIBLE */,
  `less` decimal(5,2) DEFAULT -1.50,
  `both` varchar(50) GENERATED ALWAYS AS (concat(`name`,_utf8mb4' )')) VIRTUAL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `u1` (`name`,`at`),
  UNIQUE KEY `u2` (`name`(5)),
  KEY `k` (`at` DESC,`id`) COMMENT 'x',
  KEY `e` ((lower(`name`))),
  FULLTEXT KEY `f` (`doc`),
  CONSTRAINT `fk` FOREIGN KEY (`id`) REFERENCES `d``b`.`p` (`x`) ON DELETE CASCADE ON UPDATE SET NULL,
  CONSTRAINT `c` CHECK ((`id` > 0)) /*!80016 NOT ENFORCED */
) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COMMENT='a ) b' ROW_FORMAT=COMPRESSED
/*!50100 PARTITION BY HASH (`id`)
PARTITIONS 2 */";

    #[test]
    fn the_servers_own_words_are_kept() {
        let written = Written::read(&TableName::new("shop", "t"), SHOWN);
        let column = |name: &str| &written.columns[name];
        assert_eq!(column("name").default.as_deref(), Some("'it''s, (a)'"));
        assert_eq!(column("doc").default.as_deref(), Some("NULL"));
        assert_eq!(column("at").default.as_deref(), Some("CURRENT_TIMESTAMP(3)"));
        assert_eq!(column("at").on_update.as_deref(), Some("CURRENT_TIMESTAMP(3)"));
        assert_eq!(column("bits").default.as_deref(), Some("b'101'"));
        assert_eq!(column("u").default.as_deref(), Some("(uuid())"));
        assert_eq!(column("less").default.as_deref(), Some("-1.50"));
        assert_eq!(column("both").generated.as_deref(), Some("concat(`name`,_utf8mb4' )')"));
        assert_eq!(
            written.options.as_deref(),
            Some(
                "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 ROW_FORMAT=COMPRESSED \
                 /*!50100 PARTITION BY HASH (`id`)\nPARTITIONS 2 */"
            )
        );
    }

    #[test]
    fn keys_and_constraints_are_told_apart() {
        let written = Written::read(&TableName::new("shop", "t"), SHOWN);
        let names: Vec<_> = written.constraints.iter().map(|c| (c.name.as_str(), c.validated)).collect();
        assert_eq!(names, [("doc", true), ("PRIMARY", true), ("u1", true), ("fk", true), ("c", false)]);
        let ConstraintKind::ForeignKey(key) = &written.constraints[3].kind else { panic!() };
        assert_eq!(key.references, TableName::new("d`b", "p"));
        assert_eq!((key.on_delete, key.on_update, key.acts), (Action::Cascade, Action::SetNull, true));
        assert_eq!(written.constraints[4].definition, "CHECK ((`id` > 0)) NOT ENFORCED");
        let definitions: Vec<_> = written.indexes.iter().map(|index| index.definition.as_str()).collect();
        assert_eq!(
            definitions,
            [
                "CREATE UNIQUE INDEX `u2` ON `shop`.`t` (`name`(5))",
                "CREATE INDEX `k` ON `shop`.`t` (`at` DESC,`id`) COMMENT 'x'",
                "CREATE INDEX `e` ON `shop`.`t` ((lower(`name`)))",
                "CREATE FULLTEXT INDEX `f` ON `shop`.`t` (`doc`)",
            ]
        );
        assert_eq!(written.indexes[0].keys[0].prefix, Some(5));
        assert!(written.indexes[1].keys[0].descending && written.indexes[1].columns.is_none());
        assert_eq!(written.indexes[3].method, IndexMethod::FullText);
    }
}
