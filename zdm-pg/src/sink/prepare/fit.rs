//! Which of a table's own statements still fit after the stages, and what is
//! made instead of those that do not.
//!
//! A table of PostgreSQL that kept its name is made by its own statements. One
//! that was renamed, or that comes from another engine, is made by the neutral
//! parts: keys, unique constraints, plain indexes, and foreign keys both of
//! whose ends are moved. The rest is told by [`not_moved`].

use zdm_core::connect::{Finding, Severity};
use zdm_core::schema::{Constraint, ConstraintKind, ForeignKey, Index, Schema, Table};

use crate::connect::quote::{quote_ident, quote_table};
use crate::position::ENGINE;

/// Whether the table's statements are PostgreSQL's.
pub(super) fn is_native(table: &Table) -> bool {
    table.speaks(&ENGINE)
}

/// Whether they also name the right table.
pub(super) fn keeps_name(table: &Table) -> bool {
    is_native(table) && table.keeps_name()
}

/// A quoted list of columns, if the table still has them all.
pub(super) fn column_list(table: &Table, columns: &[String]) -> Option<String> {
    let known = columns.iter().all(|column| table.position(column).is_some());
    let quoted: Vec<_> = columns.iter().map(|column| quote_ident(column)).collect();
    (known && !columns.is_empty()).then(|| quoted.join(", "))
}

/// The names of the key's columns.
pub(super) fn key_columns(table: &Table) -> Vec<String> {
    table
        .key_columns()
        .iter()
        .filter_map(|position| table.columns.get(*position))
        .map(|column| column.name.to_string())
        .collect()
}

/// CREATE INDEX, as far as it fits.
pub(super) fn index(table: &Table, index: &Index) -> Option<String> {
    let columns = index.columns.as_deref().map(|columns| column_list(table, columns));
    // A column of a plain index that is gone takes the index with it.
    if columns == Some(None) {
        return None;
    }
    // A stage that renames columns takes the statement away.
    if keeps_name(table) && !index.definition.is_empty() {
        return Some(index.definition.clone());
    }
    Some(format!(
        "CREATE {}INDEX {} ON {} ({})",
        if index.unique { "UNIQUE " } else { "" },
        quote_ident(&index.name),
        quote_table(&table.name.schema, &table.name.name),
        columns??,
    ))
}

/// What follows ADD CONSTRAINT name, as far as it fits.
pub(super) fn constraint(schema: &Schema, table: &Table, constraint: &Constraint) -> Option<String> {
    match &constraint.kind {
        ConstraintKind::Primary { columns } => {
            let list = column_list(table, columns)?;
            Some(own(table, constraint).unwrap_or_else(|| format!("PRIMARY KEY ({list})")))
        }
        ConstraintKind::Unique { columns } => {
            let list = column_list(table, columns)?;
            Some(own(table, constraint).unwrap_or_else(|| format!("UNIQUE ({list})")))
        }
        ConstraintKind::ForeignKey(key) => foreign_key(schema, table, constraint, key),
        // An expression names columns, and no table.
        _ => own(table, constraint),
    }
}

/// A constraint's own text names columns and no table, but for foreign keys.
fn own(table: &Table, constraint: &Constraint) -> Option<String> {
    (is_native(table) && !constraint.definition.is_empty()).then(|| constraint.definition.clone())
}

fn foreign_key(schema: &Schema, table: &Table, constraint: &Constraint, key: &ForeignKey) -> Option<String> {
    let list = column_list(table, &key.columns)?;
    // A parent that is not moved has no rows that the child could refer to.
    let parent = schema.table(&key.references)?;
    let referenced = column_list(parent, &key.referenced)?;
    // A temporal key (18) says which column is a period, and that only here.
    if keeps_name(table) && constraint.definition.contains(", PERIOD ") {
        return Some(constraint.definition.clone());
    }
    // Its head is made anew, since stages may have renamed what it names.
    let rest = if is_native(table) { behind_references(&constraint.definition) } else { "" };
    Some(format!(
        "FOREIGN KEY ({list}) REFERENCES {} ({referenced}){rest}",
        quote_table(&parent.name.schema, &parent.name.name),
    ))
}

/// What a foreign key's own text says behind `REFERENCES table(columns)`.
fn behind_references(definition: &str) -> &str {
    let mut quoted = false;
    let mut lists = 0;
    for (at, c) in definition.char_indices() {
        match c {
            '"' => quoted = !quoted,
            // The second list is that of the referenced columns.
            ')' if !quoted => {
                lists += 1;
                if lists == 2 {
                    // OK because `)` is one byte.
                    return &definition[at + 1..];
                }
            }
            _ => {}
        }
    }
    ""
}

/// What of this schema, as the stages left it, cannot be made in PostgreSQL,
/// or is made in another way than at its origin.
pub fn not_moved(schema: &Schema) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &schema.tables {
        let mut tell = |code: &str, what: &str, name: &str| {
            findings.push(Finding::new(
                Severity::Warning,
                code,
                &table.name,
                format!("{what} {name} does not fit the table as it arrives: make it by hand"),
            ));
        };
        for i in table.indexes.iter().filter(|i| index(table, i).is_none()) {
            tell("index_not_moved", "the index", &i.name);
        }
        for c in table.constraints.iter().filter(|c| constraint(schema, table, c).is_none()) {
            tell("constraint_not_moved", "the constraint", &c.name);
        }
        if !keeps_name(table) {
            for trigger in &table.triggers {
                tell("trigger_not_moved", "the trigger", &trigger.name);
            }
            if table.options.is_some() || !table.partitions.is_empty() {
                tell("partitions_not_moved", "what partitions and stores it, namely", "its options");
            }
        }
        if !is_native(table) {
            for column in table.columns.iter().filter(|c| c.default.is_some() || c.generated.is_some()) {
                tell("default_not_moved", "the default of column", &column.name);
            }
        }
        if table.columns.iter().any(|c| c.generated.as_ref().is_some_and(|g| !g.stored)) {
            findings.push(Finding::new(
                Severity::Note,
                "virtual_column",
                &table.name,
                "a generated column that the source computes when it is read is stored at the target",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_of_a_foreign_key_are_kept() {
        for (definition, rest) in [
            (r#"FOREIGN KEY ("a)", b) REFERENCES s."t()"(x, "y)") ON DELETE CASCADE"#, " ON DELETE CASCADE"),
            ("FOREIGN KEY (a) REFERENCES s.t(x) NOT VALID", " NOT VALID"),
            ("FOREIGN KEY (a) REFERENCES s.t(x)", ""),
            ("rubbish", ""),
        ] {
            assert_eq!(behind_references(definition), rest);
        }
    }
}
