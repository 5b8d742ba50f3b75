//! What a statement in the log means to the tables of a run.
//!
//! Rows come as rows; a statement is a boundary, DDL, or a change that the
//! server did not log as rows. DDL is not parsed: it is searched for the names
//! of the run's tables, and what cannot be told apart stops the run. To stop
//! for nothing costs a restart; to go on wrongly costs rows.
//!
//! <https://dev.mysql.com/doc/refman/en/sql-statements.html>

mod words;

use std::sync::Arc;

use zdm_core::schema::{Schema, Table, TableName};

use self::words::{Word, words};
use super::event::Query;

/// What a statement means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Rows follow, up to their commit.
    Begin,
    /// What came since the beginning is committed.
    Commit,
    /// What came since the beginning is not.
    Rollback,
    /// What came since some moment is not; more may follow.
    RollbackTo,
    /// Rows follow that belong to an XA transaction.
    XaStart,
    /// An XA transaction is decided.
    XaCommit,
    XaRollback,
    /// Nothing that concerns the run.
    Nothing,
    /// These tables are emptied.
    Truncate(Vec<Arc<Table>>),
    /// A table of the run may have another shape from here on.
    Changes(TableName),
    /// Rows may have changed that were not logged as rows.
    NotAsRows,
}

/// The tables that statements are searched for.
#[derive(Debug)]
pub(super) struct Tables(Vec<Arc<Table>>);

impl Tables {
    pub(super) fn new(schema: &Schema) -> Self {
        Self(schema.tables.clone())
    }

    /// What `query` means. Within a transaction of rows only boundaries and
    /// `CREATE TABLE … SELECT` come.
    pub(super) fn meaning(&self, query: &Query) -> Meaning {
        let words = words(&query.text);
        let starts = |with: &[&str]| {
            with.iter().enumerate().all(|(at, word)| words.get(at).is_some_and(|found| found.is(word)))
        };
        let Some(first) = words.first().and_then(Word::keyword) else { return Meaning::Nothing };
        match first.as_str() {
            "BEGIN" => Meaning::Begin,
            "START" if starts(&["START", "TRANSACTION"]) => Meaning::Begin,
            "COMMIT" => Meaning::Commit,
            "ROLLBACK" if words.iter().any(|word| word.is("TO")) => Meaning::RollbackTo,
            "ROLLBACK" => Meaning::Rollback,
            // Rolled back rows are not logged at all.
            "SAVEPOINT" | "RELEASE" => Meaning::Nothing,
            "XA" => match words.get(1).and_then(Word::keyword).as_deref() {
                Some("START" | "BEGIN") => Meaning::XaStart,
                Some("COMMIT") => Meaning::XaCommit,
                Some("ROLLBACK") => Meaning::XaRollback,
                _ => Meaning::Nothing,
            },
            // Neither a shape nor a row.
            "GRANT" | "REVOKE" | "FLUSH" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECK" | "SET"
            | "INSTALL" | "UNINSTALL" | "CACHE" | "RESET" => Meaning::Nothing,
            "TRUNCATE" => self.truncate(query, &words),
            "CREATE" | "ALTER" | "DROP" | "RENAME" => self.ddl(query, &words),
            // A memory table is emptied so when its server starts again.
            "DELETE" => match self.mentioned(query, &words).next() {
                Some(_) => Meaning::NotAsRows,
                None => Meaning::Nothing,
            },
            _ => Meaning::NotAsRows,
        }
    }

    fn truncate(&self, query: &Query, words: &[Word]) -> Meaning {
        let name = words.get(1..).unwrap_or_default();
        let name = if name.first().is_some_and(|word| word.is("TABLE")) { &name[1..] } else { name };
        let tables: Vec<Arc<Table>> = self.named(query, name).into_iter().collect();
        // Written in a way that hides the name.
        if tables.is_empty()
            && let Some(table) = self.mentioned(query, words).next()
        {
            return Meaning::Changes(table.origin.name.clone());
        }
        if tables.is_empty() { Meaning::Nothing } else { Meaning::Truncate(tables) }
    }

    fn ddl(&self, query: &Query, words: &[Word]) -> Meaning {
        /// Objects that have a name and no rows. What a trigger does is logged
        /// as rows.
        const BESIDE: [&str; 14] = [
            "VIEW",
            "TRIGGER",
            "PROCEDURE",
            "FUNCTION",
            "EVENT",
            "USER",
            "ROLE",
            "SERVER",
            "RESOURCE",
            "TABLESPACE",
            "LOGFILE",
            "SEQUENCE",
            "PACKAGE",
            "INDEX",
        ];
        let create = words.first().is_some_and(|word| word.is("CREATE"));
        // The words before the first name say what it is about.
        let head =
            words.iter().take_while(|word| word.keyword().is_some_and(|word| HEAD.contains(&word.as_str())));
        let head: Vec<String> = head.filter_map(Word::keyword).collect();
        let has = |word: &str| head.iter().any(|found| found == word);
        if has("TEMPORARY") || (has("TABLE") && create && has("EXISTS")) {
            // The latter does nothing where the table is, and ours are.
            return Meaning::Nothing;
        }
        if has("DATABASE") || has("SCHEMA") {
            // A new default character set changes no table that is there.
            let dropped = words.first().is_some_and(|word| word.is("DROP"));
            let of =
                self.0.iter().find(|table| words.iter().any(|word| word.names(&table.origin.name.schema)));
            return match of.filter(|_| dropped) {
                Some(table) => Meaning::Changes(table.origin.name.clone()),
                None => Meaning::Nothing,
            };
        }
        if !has("TABLE") && BESIDE.iter().any(|beside| has(beside)) {
            return Meaning::Nothing;
        }
        let changed = if create {
            // Another table may well be made from, or refer to, one of ours.
            let table = words.iter().position(|word| word.is("TABLE")).map_or(0, |at| at + 1);
            self.named(query, words.get(table..).unwrap_or_default())
        } else {
            self.mentioned(query, words).next().map(Arc::clone)
        };
        match changed {
            Some(table) => Meaning::Changes(table.origin.name.clone()),
            None if !query.exact && self.0.iter().any(|table| !table.origin.name.name.is_ascii()) => {
                // Its name may be among the characters that could not be read.
                Meaning::Changes(TableName::new(query.database.as_str(), "a table whose name cannot be read"))
            }
            None => Meaning::Nothing,
        }
    }

    /// The table whose name begins here.
    fn named(&self, query: &Query, name: &[Word]) -> Option<Arc<Table>> {
        let found = |schema: &str, table: &Word| {
            self.0
                .iter()
                .find(|ours| same(&ours.origin.name.schema, schema) && table.names(&ours.origin.name.name))
                .map(Arc::clone)
        };
        match name {
            [schema, Word::Dot, table, ..] => found(schema.text()?, table),
            [table, ..] => found(&query.database, table),
            [] => None,
        }
    }

    /// The tables that are named anywhere in the statement.
    fn mentioned<'a>(&'a self, query: &'a Query, words: &'a [Word]) -> impl Iterator<Item = &'a Arc<Table>> {
        self.0.iter().filter(move |table| {
            let name = &table.origin.name;
            (0..words.len()).any(|at| {
                let here = words.get(at).is_some_and(|word| word.names(&name.name));
                let dotted = at.checked_sub(1).and_then(|at| words.get(at)) == Some(&Word::Dot);
                let schema = at.checked_sub(2).and_then(|at| words.get(at));
                here && if dotted {
                    schema.is_some_and(|schema| schema.names(&name.schema))
                } else {
                    same(&query.database, &name.schema)
                }
            })
        })
    }
}

/// Words that may come between `CREATE`, `ALTER`, `DROP` or `RENAME` and the
/// first name.
const HEAD: [&str; 42] = [
    "CREATE",
    "ALTER",
    "DROP",
    "RENAME",
    "TABLE",
    "TABLES",
    "TEMPORARY",
    "OR",
    "REPLACE",
    "IF",
    "NOT",
    "EXISTS",
    "ONLINE",
    "OFFLINE",
    "IGNORE",
    "DATABASE",
    "SCHEMA",
    "VIEW",
    "TRIGGER",
    "PROCEDURE",
    "FUNCTION",
    "EVENT",
    "USER",
    "ROLE",
    "SERVER",
    "RESOURCE",
    "GROUP",
    "TABLESPACE",
    "UNDO",
    "LOGFILE",
    "SEQUENCE",
    "PACKAGE",
    "BODY",
    "INDEX",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "AGGREGATE",
    "SQL",
    "SECURITY",
    "DEFINER",
    "INVOKER",
];

/// Names as statements write them: the server may fold their case, so ours is
/// found in any.
fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests;
