//! A table while the stages plan their work on it.

use super::notes::Notes;
use crate::schema::{Column, ConstraintKind, DataType, Key, KeyPart, Table};
use crate::{Error, ErrorKind, Result};

/// What the log carries of one column, and what stages did to it.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    /// The column of the source's table that it is; `None` if computed.
    pub(super) origin: Option<usize>,
    /// Whether the old image of an update or delete carries it.
    pub(super) in_old: bool,
    /// Whether the new image of an update may lack it, and no old image
    /// stands in.
    pub(super) may_miss: bool,
    /// Whether a stage writes its values.
    pub(super) rewritten: bool,
}

/// A table as the stages so far have made it.
///
/// Whatever names a column by name or position is kept right here, so that no
/// stage can forget it.
#[derive(Debug, Clone)]
pub struct Shape {
    pub(super) table: Table,
    pub(super) facts: Vec<Fact>,
    /// Whether rows may be missing at the target.
    pub(super) filtered: bool,
    /// Whether the table does not reach the target at all.
    pub(super) left_out: bool,
}

impl Shape {
    /// The table as the source has it.
    pub(super) fn of(table: &Table) -> Self {
        // A table without a key can only be changed by its full row, or not
        // at all.
        let full = table.full_old_image || !table.has_key();
        let facts = table.columns.iter().enumerate().map(|(at, column)| {
            let key = table.key_columns().contains(&at);
            Fact {
                origin: Some(at),
                in_old: full || key,
                may_miss: !key && !full && may_stay_behind(&column.data_type),
                rewritten: false,
            }
        });
        Self { facts: facts.collect(), table: table.clone(), filtered: false, left_out: false }
    }

    /// The position of a column.
    pub(super) fn column(&self, name: &str) -> Result<usize> {
        self.table.position(name).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "a stage names a column that the table does not have: correct it, or limit the stage to the tables that have it, with `on`",
            )
            .with("table", &self.table.name)
            .with("column", name)
        })
    }

    /// Whether a column is part of the key.
    pub(super) fn is_key(&self, at: usize) -> bool {
        self.table.key_columns().contains(&at)
    }

    /// What to say of a column.
    pub(super) fn subject(&self, at: usize) -> String {
        format!("{}.{}", self.table.name, self.table.columns[at].name)
    }

    /// Gives a column another name, everywhere in the table.
    pub(super) fn rename(&mut self, at: usize, to: &str, notes: &mut Notes) -> Result<()> {
        let from = self.table.columns[at].name.to_string();
        if from == to {
            return Ok(());
        }
        self.is_free(to)?;
        self.drop_natives(&from, "renames", notes);
        let swap = |names: &mut Vec<String>, definition: &mut String| {
            for name in names.iter_mut().filter(|name| **name == from) {
                to.clone_into(name);
                definition.clear();
            }
        };
        for index in &mut self.table.indexes {
            if let Some(columns) = &mut index.columns {
                swap(columns, &mut index.definition);
            }
            for key in &mut index.keys {
                if let KeyPart::Column(name) = &mut key.part
                    && *name == from
                {
                    to.clone_into(name);
                }
            }
        }
        for constraint in &mut self.table.constraints {
            match &mut constraint.kind {
                // Its definition goes on telling what it does and when.
                ConstraintKind::ForeignKey(key) => swap(&mut key.columns, &mut String::new()),
                kind => {
                    if let Some(columns) = own_columns(kind) {
                        swap(columns, &mut constraint.definition);
                    }
                }
            }
        }
        self.table.columns[at].name = to.into();
        Ok(())
    }

    /// Keeps these columns, in this order.
    pub(super) fn keep(&mut self, columns: &[usize], notes: &mut Notes) -> Result<()> {
        let gone = |at: &usize| !columns.contains(at);
        if let Some(key) = self.table.key_columns().iter().find(|at| gone(at)) {
            return Err(Error::new(
                ErrorKind::Config,
                "a column selection may not drop a key column: rows could no longer be told apart",
            )
            .with("column", self.subject(*key)));
        }
        let dropped: Vec<usize> = (0..self.table.columns.len()).filter(gone).collect();
        if !dropped.is_empty() && self.table.key == Key::FullRow {
            return Err(Error::new(
                ErrorKind::Config,
                "a column selection may not drop columns of a table with no key: each is part of what tells rows apart",
            )
            .with("table", &self.table.name));
        }
        for at in dropped {
            let name = self.table.columns[at].name.to_string();
            self.drop_natives(&name, "drops", notes);
            self.drop_neutrals(&name, notes);
            notes.one_way(
                "stage_drops_column",
                self.subject(at),
                "the way back has no value for this column",
            );
        }
        self.table.columns = columns.iter().map(|at| self.table.columns[*at].clone()).collect();
        self.facts = columns.iter().map(|at| self.facts[*at].clone()).collect();
        if let Key::Columns(key) = &mut self.table.key {
            // OK because a key column that is gone was refused above.
            key.iter_mut().for_each(|k| *k = columns.iter().position(|at| at == k).unwrap_or(*k));
        }
        Ok(())
    }

    /// Adds a column at the end.
    pub(super) fn add(&mut self, column: Column, fact: Fact) -> Result<()> {
        self.is_free(&column.name)?;
        self.table.columns.push(column);
        self.facts.push(fact);
        Ok(())
    }

    /// Marks a column as written by a stage, with another type if it has one.
    pub(super) fn rewrite(
        &mut self,
        at: usize,
        data_type: Option<&DataType>,
        notes: &mut Notes,
    ) -> Result<()> {
        if !self.table.columns[at].is_written() {
            return Err(Error::new(
                ErrorKind::Config,
                "a stage writes a generated column: its values are the target's to compute",
            )
            .with("column", self.subject(at)));
        }
        self.facts[at].rewritten = true;
        if let Some(data_type) = data_type {
            let name = self.table.columns[at].name.to_string();
            self.drop_natives(&name, "gives another type to", notes);
            let mut column = Column::new(name, data_type.clone());
            column.nullable = self.table.columns[at].nullable;
            column.comment = self.table.columns[at].comment.take();
            self.table.columns[at] = column;
        }
        Ok(())
    }

    fn is_free(&self, name: &str) -> Result<()> {
        if self.table.position(name).is_none() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, "a stage makes a column of a name that the table has already")
            .with("table", &self.table.name)
            .with("column", name))
    }

    /// Drops what names a column in the engine's own language only: such a
    /// text cannot be mended.
    fn drop_natives(&mut self, column: &str, verb: &str, notes: &mut Notes) {
        let table = self.table.name.to_string();
        let mut kept = |what: &str, name: &str, text: &str| {
            let kept = !mentions(text, column);
            if !kept {
                notes.dropped(&table, &format!("{what} {name}"), &format!("a stage {verb} column {column}"));
            }
            kept
        };
        self.table.indexes.retain(|i| i.columns.is_some() || kept("index", &i.name, &i.definition));
        self.table
            .constraints
            .retain_mut(|c| own_columns(&mut c.kind).is_some() || kept("constraint", &c.name, &c.definition));
        self.table.triggers.retain(|t| kept("trigger", &t.name, &t.definition));
        if self.table.options.as_ref().is_some_and(|text| !kept("the", "storage clause", text)) {
            self.table.options = None;
            self.table.partitions.clear();
        }
        for at in 0..self.table.columns.len() {
            let of = &self.table.columns[at];
            let generated = of.name != column
                && of.generated.as_ref().is_some_and(|generated| mentions(&generated.expression, column));
            if generated {
                notes.blocker(
                    "stage_breaks_generated",
                    self.subject(at),
                    format!("it is computed from column {column}, which a stage {verb}"),
                );
            }
        }
    }

    fn drop_neutrals(&mut self, column: &str, notes: &mut Notes) {
        let table = self.table.name.to_string();
        let mut kept = |what: &str, name: &str, columns: Option<&[String]>| {
            let kept = !columns.is_some_and(|columns| columns.iter().any(|c| c == column));
            if !kept {
                notes.dropped(&table, &format!("{what} {name}"), &format!("a stage drops column {column}"));
            }
            kept
        };
        self.table.indexes.retain(|i| kept("index", &i.name, i.columns.as_deref()));
        self.table.constraints.retain_mut(|c| {
            let columns = own_columns(&mut c.kind).map(|columns| columns.as_slice());
            kept("constraint", &c.name, columns)
        });
    }
}

/// The table's own columns that a constraint lists.
fn own_columns(kind: &mut ConstraintKind) -> Option<&mut Vec<String>> {
    match kind {
        ConstraintKind::Primary { columns } | ConstraintKind::Unique { columns } => Some(columns),
        ConstraintKind::ForeignKey(key) => Some(&mut key.columns),
        ConstraintKind::Check { .. } | ConstraintKind::Exclusion => None,
    }
}

/// Whether a log may leave a column of that type out of an update that did
/// not change it: PostgreSQL does so with every value that it keeps out of
/// line, which can be any of variable size beyond some twenty bytes.
fn may_stay_behind(data_type: &DataType) -> bool {
    match data_type {
        DataType::Text { length: Some(length), .. } => *length > 4,
        DataType::Decimal { precision: Some(precision), .. } => *precision > 20,
        DataType::Text { .. }
        | DataType::Bytes { .. }
        | DataType::Decimal { .. }
        | DataType::Bits { .. }
        | DataType::Json
        | DataType::Array(_)
        | DataType::Native => true,
        _ => false,
    }
}

/// Whether a text in some engine's language holds that name as a word. It may
/// be a word that means something else: better one index too few, which is
/// said, than one that is wrong.
fn mentions(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    !name.is_empty()
        && text.match_indices(&name).any(|(at, _)| {
            !text[..at].chars().next_back().is_some_and(word)
                && !text[at + name.len()..].chars().next().is_some_and(word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_mentioned_as_a_word_only() {
        assert!(mentions("CHECK ((\"Email\" <> ''))", "email"));
        assert!(mentions("lower(email)", "email"));
        assert!(!mentions("lower(email_2)", "email"));
        assert!(!mentions("user_email", "email"));
    }
}
