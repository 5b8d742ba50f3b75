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

use smol_str::SmolStr;
use zdm_core::schema::{Schema, Table, TableName};

use self::words::{Reading, Word, Words};
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
    /// What came since that savepoint is not; more may follow.
    RollbackTo(Savepoint),
    /// A moment that can be rolled back to.
    Savepoint(Savepoint),
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

/// The name of a savepoint, its ASCII letters as small ones, which servers do
/// not tell apart; `None` for one that is not readable.
pub(super) type Savepoint = Option<SmolStr>;

/// The tables that statements are searched for.
#[derive(Debug)]
pub(super) struct Tables(Vec<Arc<Table>>);

impl Tables {
    pub(super) fn new(schema: &Schema) -> Self {
        Self(schema.tables.clone())
    }

    /// What `query` means. Within a transaction of rows only boundaries and
    /// `CREATE TABLE … SELECT` come.
    ///
    /// Where a statement can be read in several ways, it means the worst.
    pub(super) fn meaning(&self, query: &Query) -> Meaning {
        // Nearly all of them.
        match query.text.as_str() {
            "BEGIN" => return Meaning::Begin,
            "COMMIT" => return Meaning::Commit,
            _ => {}
        }
        let comments = query.text.contains("/*");
        Reading::all(query.sql_mode)
            .filter(|reading| comments || !reading.conditional)
            .map(|reading| self.read(query, Words::new(&query.text, reading)))
            .reduce(Meaning::worse)
            .unwrap_or(Meaning::NotAsRows)
    }

    fn read(&self, query: &Query, mut words: Words<'_>) -> Meaning {
        // MariaDB logs `SET STATEMENT name = value FOR` before what it is for.
        while {
            let mut ahead = words.clone();
            ahead.pass("SET") && ahead.pass("STATEMENT")
        } {
            if !words.any(|word| word.is("FOR")) {
                return Meaning::NotAsRows;
            }
        }
        let all = words.clone();
        let Some(first) = words.next() else { return Meaning::Nothing };
        let first = first.keyword().unwrap_or_default();
        match first.as_str() {
            "BEGIN" => Meaning::Begin,
            "START" if words.pass("TRANSACTION") => Meaning::Begin,
            "COMMIT" => Meaning::Commit,
            "ROLLBACK" if words.any(|word| word.is("TO")) => Meaning::RollbackTo(savepoint(query, words)),
            "ROLLBACK" => Meaning::Rollback,
            "SAVEPOINT" => Meaning::Savepoint(savepoint(query, words)),
            // Nobody goes back to one that is gone.
            "RELEASE" => Meaning::Nothing,
            "XA" => match words.next().and_then(|word| word.keyword()).as_deref() {
                Some("START" | "BEGIN") => Meaning::XaStart,
                Some("COMMIT") => Meaning::XaCommit,
                Some("ROLLBACK") => Meaning::XaRollback,
                _ => Meaning::Nothing,
            },
            // Neither a shape nor a row.
            "GRANT" | "REVOKE" | "FLUSH" | "SET" | "INSTALL" | "UNINSTALL" | "CACHE" | "RESET" => {
                Meaning::Nothing
            }
            // Of tables; but MariaDB's `ANALYZE UPDATE …` runs what it shows.
            "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECK" => {
                while words.pass("LOCAL") || words.pass("NO_WRITE_TO_BINLOG") {}
                let of_tables = ["TABLE", "TABLES", "VIEW"].into_iter().any(|word| words.pass(word));
                if of_tables { Meaning::Nothing } else { self.change(query) }
            }
            "TRUNCATE" => self.truncate(query, words),
            "CREATE" | "ALTER" | "DROP" | "RENAME" => self.ddl(query, all),
            "DELETE" if is_emptied(words.clone()) => match self.mentioned(query, words) {
                Some(_) => Meaning::NotAsRows,
                None if query.databases.is_some() => self.change(query),
                None => Meaning::Nothing,
            },
            _ => self.change(query),
        }
    }

    /// A change that was logged as a statement. Its text does not tell what it
    /// changes, since triggers, views, functions and foreign keys do not show;
    /// but MySQL tells which databases it has used in all.
    fn change(&self, query: &Query) -> Meaning {
        let ours = |name: &String| self.0.iter().any(|table| same(&table.origin.name.schema, name));
        match &query.databases {
            Some(used) if !used.is_empty() && !used.iter().any(ours) => Meaning::Nothing,
            _ => Meaning::NotAsRows,
        }
    }

    fn truncate(&self, query: &Query, mut words: Words<'_>) -> Meaning {
        words.pass("TABLE");
        match self.named(query, words.clone()) {
            Some(table) if query.exact => Meaning::Truncate(vec![table]),
            // Written in a way that hides the name.
            _ => self.changed(self.mentioned(query, words)),
        }
    }

    fn ddl(&self, query: &Query, words: Words<'_>) -> Meaning {
        let mut rest = words.clone();
        let head = head(&mut rest);
        let has = |word: &str| head.iter().any(|found| found == word);
        let verb = head.first().map_or("", String::as_str);
        if has("TABLE") || has("TABLES") {
            // Nobody else sees a temporary one.
            if has("TEMPORARY") {
                return Meaning::Nothing;
            }
            if verb != "CREATE" {
                return self.changed(self.mentioned(query, rest));
            }
            // Does nothing where the table is, and ours are.
            if rest.pass("IF") {
                return Meaning::Nothing;
            }
            // Another table may well be made from, or refer to, one of ours.
            return self.changed(self.named(query, rest).or_else(|| self.hidden(query)));
        }
        if has("DATABASE") || has("SCHEMA") {
            // A new default character set changes no table that is there.
            if verb != "DROP" {
                return Meaning::Nothing;
            }
            let dropped = |word: Word<'_>| self.0.iter().find(|table| word.names(&table.origin.name.schema));
            return self.changed(rest.find_map(dropped).map(Arc::clone).or_else(|| self.hidden(query)));
        }
        if has("INDEX") && (verb == "DROP" || has("REPLACE")) {
            return self.index(query, rest);
        }
        if verb == "CREATE" || BESIDE.iter().any(|beside| has(beside)) {
            return Meaning::Nothing;
        }
        self.changed(self.mentioned(query, rest))
    }

    /// An index is dropped, or made anew. It is nothing to a run, but where it
    /// is the key that rows are known by.
    fn index(&self, query: &Query, mut words: Words<'_>) -> Meaning {
        let Some(index) = words.next() else { return Meaning::Nothing };
        let Some(table) = self.mentioned(query, words) else { return Meaning::Nothing };
        let key = index.names("PRIMARY") || table.key_name.as_ref().is_some_and(|key| index.names(key));
        if key || !query.exact { self.changed(Some(table)) } else { Meaning::Nothing }
    }

    fn changed(&self, table: Option<Arc<Table>>) -> Meaning {
        table.map_or(Meaning::Nothing, |table| Meaning::Changes(table.origin.name.clone()))
    }

    /// The table whose name begins here.
    fn named(&self, query: &Query, mut name: Words<'_>) -> Option<Arc<Table>> {
        let first = name.next()?;
        let (schema, table) = match (&first, name.next()) {
            // As ODBC writes a table of the default database.
            (Word::Dot, Some(table)) => (query.database.as_str(), table),
            (_, Some(Word::Dot)) => (first.text()?, name.next()?),
            _ => (query.database.as_str(), first.clone()),
        };
        let ours = self
            .0
            .iter()
            .find(|ours| same(&ours.origin.name.schema, schema) && table.names(&ours.origin.name.name));
        ours.map(Arc::clone)
    }

    /// A table that is named anywhere from here on.
    fn mentioned(&self, query: &Query, words: Words<'_>) -> Option<Arc<Table>> {
        let (mut schema, mut dotted): (Option<Word<'_>>, bool) = (None, false);
        for word in words {
            if word == Word::Dot {
                dotted = true;
                continue;
            }
            let found = self.0.iter().find(|table| {
                let name = &table.origin.name;
                // `.t` is of the default database.
                let default = !dotted || schema.as_ref().is_none_or(|schema| schema.text().is_none());
                word.names(&name.name)
                    && (schema.as_ref().is_some_and(|schema| dotted && schema.names(&name.schema))
                        || (default && same(&query.database, &name.schema)))
            });
            if let Some(table) = found {
                return Some(Arc::clone(table));
            }
            (schema, dotted) = (Some(word), false);
        }
        self.hidden(query)
    }

    /// A table whose name may be among the characters that could not be read.
    fn hidden(&self, query: &Query) -> Option<Arc<Table>> {
        if query.exact {
            return None;
        }
        let text = query.text.to_lowercase();
        let hidden = |name: &str| !name.is_ascii() || text.contains(&name.to_lowercase());
        self.0.iter().find(|table| hidden(&table.origin.name.name)).map(Arc::clone)
    }
}

impl Meaning {
    /// What a statement means that means one of the two.
    fn worse(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Nothing, some) | (some, Self::Nothing) => some,
            (Self::Changes(table), _) | (_, Self::Changes(table)) => Self::Changes(table),
            _ => Self::NotAsRows,
        }
    }
}

/// The savepoint whose name ends a statement.
fn savepoint(query: &Query, words: Words<'_>) -> Savepoint {
    let words: Vec<_> = words.take(3).collect();
    let name = match words.as_slice() {
        [name] => name,
        [keyword, name] if keyword.is("SAVEPOINT") => name,
        _ => return None,
    };
    // Servers take no other characters for a name.
    let is_named = |name: &&str| query.exact && name.chars().all(|c| u32::from(c) <= 0xffff);
    let name = name.text().filter(is_named)?;
    Some(name.to_ascii_lowercase().into())
}

/// Whether it goes on as what a server writes for a table in memory that it
/// has lost by being started again: ``FROM `a`.`t` ``, and nothing more.
fn is_emptied(mut words: Words<'_>) -> bool {
    let quoted = |word: Option<Word<'_>>| matches!(word, Some(Word::Quoted(_)));
    words.pass("FROM")
        && quoted(words.next())
        && words.next() == Some(Word::Dot)
        && quoted(words.next())
        && words.next().is_none()
}

/// The words that say what a statement is about, up to the first name.
fn head(words: &mut Words<'_>) -> Vec<String> {
    let mut head: Vec<String> = Vec::new();
    while head.last().is_none_or(|last| last != "TABLE" && last != "TABLES") {
        let mut ahead = words.clone();
        match ahead.next().and_then(|word| word.keyword()).filter(|word| HEAD.contains(&word.as_str())) {
            Some(word) => head.push(word),
            None => break,
        }
        *words = ahead;
    }
    head
}

/// Objects that have a name and no rows, and words that only these have. What a
/// trigger does is logged as rows.
const BESIDE: [&str; 17] = [
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
    "DEFINER",
    "ALGORITHM",
    "SQL",
];

/// Words that may come between `CREATE`, `ALTER`, `DROP` or `RENAME` and the
/// first name.
const HEAD: [&str; 43] = [
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
    "ALGORITHM",
    "SQL",
    "SECURITY",
    "DEFINER",
    "INVOKER",
];

/// Names as statements write them: the server may fold their case, so ours is
/// found in any.
fn same(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        a.eq_ignore_ascii_case(b)
    } else {
        a == b || a.to_lowercase() == b.to_lowercase()
    }
}

#[cfg(test)]
mod tests;
