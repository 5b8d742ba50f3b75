//! The statements that make tables and what is on them.

use zdm_core::schema::{
    Column, Constraint, ConstraintKind, ForeignKey, Index, IndexMethod, KeyPart, Schema, Table,
};

use super::quoted;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::connect::{Server, is_ours};

/// An index that lets a column be numbered before its own key is there.
pub(super) const NUMBERED: &str = "zdm_numbered";

/// CREATE TABLE with columns, key and checks.
pub(super) fn create_table(server: Server, table: &Table) -> String {
    let mut parts: Vec<String> = table.columns.iter().map(|column| define(server, table, column)).collect();
    parts.extend(key(table));
    if let Some(column) = table.columns.iter().find(|column| column.identity.is_some())
        && key_names(table).first().is_none_or(|first| **first != *column.name)
    {
        parts.push(format!("KEY {} ({})", quote_ident(NUMBERED), quote_ident(&column.name)));
    }
    if server.is_mariadb() || server.is_mysql_since(8, 0, 16) {
        parts.extend(table.constraints.iter().filter_map(|constraint| match constraint.kind {
            ConstraintKind::Check { .. } if is_native(table) && !constraint.definition.is_empty() => {
                let name = if constraint.name.is_empty() {
                    String::new()
                } else {
                    format!("CONSTRAINT {} ", quote_ident(&constraint.name))
                };
                Some(format!("{name}{}", constraint.definition))
            }
            _ => None,
        }));
    }
    let comment = table.comment.as_deref().map(|text| format!(" COMMENT = {}", quote_literal(text)));
    format!(
        "CREATE TABLE {} ({}) {}{}",
        quoted(table),
        parts.join(", "),
        comment.unwrap_or_default(),
        options(table)
    )
}

/// Its options, where they are in this engine's words; but the engine is
/// InnoDB, whatever it was: rows and progress are one transaction.
fn options(table: &Table) -> String {
    let own = table.options.as_deref().filter(|_| is_native(table)).unwrap_or("");
    let mut found = false;
    let words: Vec<&str> = own
        .split(' ')
        .map(|word| {
            let is_engine = !found && word.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("ENGINE="));
            found |= is_engine;
            if is_engine { "ENGINE=InnoDB" } else { word }
        })
        .collect();
    if found { format!(" {}", words.join(" ")) } else { format!(" ENGINE=InnoDB {own}") }
}

fn define(server: Server, table: &Table, column: &Column) -> String {
    let mut sql = format!("{} {}", quote_ident(&column.name), column.native.name);
    if let Some(charset) = &column.charset {
        sql += &format!(" CHARACTER SET {charset}");
    }
    if let Some(collation) = &column.collation {
        sql += &format!(" COLLATE {collation}");
    }
    if let Some(generated) = &column.generated {
        let stored = if generated.stored { "STORED" } else { "VIRTUAL" };
        sql += &format!(" GENERATED ALWAYS AS ({}) {stored}", generated.expression);
        // MariaDB does not know the word there.
        if !column.nullable && !server.is_mariadb() {
            sql += " NOT NULL";
        }
    } else {
        sql += if column.nullable { " NULL" } else { " NOT NULL" };
        match &column.default {
            Some(default) if is_native(table) => sql += &format!(" DEFAULT {default}"),
            _ if column.nullable => sql += " DEFAULT NULL",
            _ => {}
        }
        if let Some(text) = column.on_update.as_ref().filter(|_| is_native(table)) {
            sql += &format!(" ON UPDATE {text}");
        }
        if column.identity.is_some() {
            sql += " AUTO_INCREMENT";
        }
    }
    if hides(server, column) {
        sql += " INVISIBLE";
    }
    if let Some(comment) = &column.comment {
        sql += &format!(" COMMENT {}", quote_literal(comment));
    }
    sql
}

/// Whether a column that its source hides can be hidden here. MariaDB wants a
/// value for it where a statement gives none.
pub(super) fn hides(server: Server, column: &Column) -> bool {
    let valued = column.nullable || column.default.is_some() || column.identity.is_some();
    column.invisible
        && if server.is_mariadb() {
            valued || column.generated.is_some()
        } else {
            server.is_mysql_since(8, 0, 23)
        }
}

/// The primary key, and the unique key that tells rows apart, if another one
/// does.
pub(super) fn key(table: &Table) -> Vec<String> {
    let mut parts = Vec::new();
    for constraint in &table.constraints {
        match &constraint.kind {
            ConstraintKind::Primary { .. } => parts.extend(constraint_text(table, constraint)),
            ConstraintKind::Unique { columns } if is_key(table, columns) => {
                parts.extend(constraint_text(table, constraint));
            }
            _ => {}
        }
    }
    if parts.is_empty() && table.has_key() {
        parts.push(format!("PRIMARY KEY ({})", list(&key_names(table))));
    }
    parts
}

/// The names of the key's columns, in its order.
pub(super) fn key_names(table: &Table) -> Vec<String> {
    // OK to index because a table's key names its own columns.
    table.key_columns().iter().map(|&at| table.columns[at].name.to_string()).collect()
}

/// Whether columns are the key, in any order.
pub(super) fn is_key(table: &Table, columns: &[String]) -> bool {
    let (mut own, mut other) = (key_names(table), columns.to_vec());
    own.sort_unstable();
    other.sort_unstable();
    own == other
}

/// What follows ADD for a primary or unique key.
pub(super) fn constraint_text(table: &Table, constraint: &Constraint) -> Option<String> {
    let own = (is_native(table) && !constraint.definition.is_empty()).then(|| constraint.definition.clone());
    match &constraint.kind {
        ConstraintKind::Primary { columns } => {
            Some(own.unwrap_or_else(|| format!("PRIMARY KEY ({})", list(columns))))
        }
        ConstraintKind::Unique { columns } => {
            let text = own.unwrap_or_else(|| format!("UNIQUE ({})", list(columns)));
            Some(format!("CONSTRAINT {} {text}", quote_ident(&constraint.name)))
        }
        _ => None,
    }
}

/// What follows ADD for an index, by the end of its own statement where that
/// is still true, else from its neutral keys.
pub(super) fn index_text(table: &Table, index: &Index) -> Option<String> {
    let word = match (&index.method, index.unique) {
        (IndexMethod::FullText, _) => "FULLTEXT ",
        (IndexMethod::Spatial, _) => "SPATIAL ",
        (IndexMethod::Other(name), _) if name == "vector" => "VECTOR ",
        (_, true) => "UNIQUE ",
        _ => "",
    };
    let name = quote_ident(&index.name);
    let written = table.written.as_ref().map_or(&table.origin.name, |written| &written.name);
    let head = format!("CREATE {word}INDEX {name} ON {} ", quote_table(&written.schema, &written.name));
    if is_native(table)
        && let Some(rest) = index.definition.strip_prefix(&head)
    {
        return Some(format!("{word}INDEX {name} {rest}"));
    }
    let keys: Option<Vec<String>> = index
        .keys
        .iter()
        .map(|key| {
            let text = match &key.part {
                KeyPart::Column(column) => quote_ident(column),
                KeyPart::Expression(of) if is_native(table) => format!("({})", of.native),
                KeyPart::Expression(_) => return None,
            };
            let prefix = key.prefix.map_or_else(String::new, |most| format!("({most})"));
            Some(format!("{text}{prefix}{}", if key.descending { " DESC" } else { "" }))
        })
        .collect();
    let keys = keys.filter(|keys| !keys.is_empty())?;
    Some(format!("{word}INDEX {name} ({})", keys.join(", ")))
}

/// What follows ADD for a foreign key, made from its neutral parts: they name
/// tables and columns as they are here. `None` where the parent is not moved.
pub(super) fn foreign_key(schema: &Schema, constraint: &Constraint, key: &ForeignKey) -> Option<String> {
    let parent = schema.table(&key.references)?;
    let mut text = format!(
        "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({})",
        quote_ident(&constraint.name),
        list(&key.columns),
        quoted(parent),
        list(&key.referenced),
    );
    // InnoDB has no SET DEFAULT.
    for (word, action) in [("DELETE", key.on_delete), ("UPDATE", key.on_update)] {
        if action != zdm_core::schema::Action::SetDefault {
            text += &format!(" ON {word} {}", action.sql());
        }
    }
    Some(text)
}

/// Whether a table's native parts are in the words of MySQL or MariaDB: what
/// the one says was put into the other's words before, where they differ.
pub(super) fn is_native(table: &Table) -> bool {
    is_ours(table.written.as_ref().map_or(&table.origin.engine, |written| &written.engine))
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|column| quote_ident(column)).collect::<Vec<_>>().join(", ")
}
