//! A table as statements name it.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use zdm_core::apply::{KeyRef, key_is_bytewise};
use zdm_core::schema::{ConstraintKind, DataType, Table};
use zdm_core::{Error, Result};

use crate::connect::quote::{quote_ident, quote_table};
use crate::types::write_literal;

/// A column that writers set.
#[derive(Debug)]
pub(super) struct Written {
    /// Where it is in a row.
    pub(super) at: usize,
    /// Its quoted name.
    pub(super) name: String,
    /// Whether it belongs to the key.
    pub(super) in_key: bool,
    /// Whether the server may set it by itself when a row is changed.
    pub(super) moves: bool,
}

/// A table, with all that its statements need.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) table: Arc<Table>,
    /// Its quoted name.
    pub(super) name: String,
    /// The columns that writers set.
    pub(super) columns: Vec<Written>,
    /// The columns of unique keys beside the key, as positions in a row: an
    /// update that sets one is a delete and an insert, since values may be
    /// swapped between rows, and no server here checks at the end only.
    unique: Unique,
    /// Whether two spellings of a key are one key.
    pub(super) respelled: bool,
}

#[derive(Debug)]
enum Unique {
    Columns(Vec<usize>),
    /// Over what is computed from others.
    Anything,
}

impl Shape {
    /// By the run's own description: its unique keys are known before the
    /// target has them.
    pub(super) fn of(table: &Arc<Table>) -> Self {
        let written = |(at, column): (usize, &zdm_core::schema::Column)| Written {
            at,
            name: quote_ident(&column.name),
            in_key: table.key_columns().contains(&at),
            moves: column.on_update.is_some() || matches!(column.data_type, DataType::Timestamp { .. }),
        };
        let columns = table.columns.iter().enumerate().filter(|(_, column)| column.is_written());
        Self {
            name: quote_table(&table.name.schema, &table.name.name),
            columns: columns.map(written).collect(),
            unique: unique(table),
            respelled: !key_is_bytewise(table),
            table: Arc::clone(table),
        }
    }

    /// Whether setting that column may clash with another row.
    pub(super) fn is_unique(&self, at: usize) -> bool {
        match &self.unique {
            Unique::Columns(columns) => columns.contains(&at),
            Unique::Anything => true,
        }
    }

    /// Whether there are unique keys beside the key.
    pub(super) fn has_more_unique_keys(&self) -> bool {
        !matches!(&self.unique, Unique::Columns(columns) if columns.is_empty())
    }

    /// Whether the key is all there is of a row.
    pub(super) fn is_all_key(&self) -> bool {
        self.columns.iter().all(|column| column.in_key)
    }

    /// The names of the columns that writers set, for an INSERT.
    pub(super) fn names(&self) -> String {
        self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Appends the condition that a row has this key.
    pub(super) fn matches(&self, key: KeyRef<'_>, out: &mut BytesMut) -> Result<()> {
        for (number, &at) in self.table.key_columns().iter().enumerate() {
            if number > 0 {
                out.put_slice(b" AND ");
            }
            // OK to index because a table's key names its own columns.
            let column = &self.table.columns[at];
            out.put_slice(quote_ident(&column.name).as_bytes());
            out.put_slice(b" = ");
            write_literal(key.cell(at), column, out)?;
        }
        Ok(())
    }

    /// Names the table in an error.
    pub(super) fn named(&self, error: Error) -> Error {
        error.with("table", &self.table.name)
    }
}

fn unique(table: &Table) -> Unique {
    let mut key: Vec<usize> = table.key_columns().to_vec();
    key.sort_unstable();
    let mut all = Vec::new();
    let lists = table
        .constraints
        .iter()
        .filter_map(|constraint| match &constraint.kind {
            ConstraintKind::Primary { columns } | ConstraintKind::Unique { columns } => {
                Some(Some(columns.clone()))
            }
            _ => None,
        })
        .chain(table.indexes.iter().filter(|index| index.unique).map(|index| {
            let names = index.keys.iter().map(|key| key.as_column().map(str::to_owned));
            let names: Option<Vec<String>> = names.collect();
            names.filter(|names| !names.is_empty()).or_else(|| index.columns.clone())
        }));
    for list in lists {
        let columns = list
            .and_then(|names| names.iter().map(|name| table.position(name)).collect::<Option<Vec<usize>>>());
        match columns {
            Some(columns) if columns.iter().all(|&at| table.columns[at].is_written()) => {
                let mut sorted = columns.clone();
                sorted.sort_unstable();
                if sorted != key {
                    all.extend(columns);
                }
            }
            _ => return Unique::Anything,
        }
    }
    Unique::Columns(all)
}

#[cfg(test)]
mod tests {
    use zdm_core::schema::{Column, Constraint, Generated, Index, Key, TableName};

    use super::*;
    use crate::position::ENGINE;

    fn table() -> Table {
        let columns = ["id", "a", "b"].map(|name| Column::new(name, DataType::integer(64)));
        let mut table = Table::new(ENGINE, TableName::new("d", "t"), columns.to_vec(), Key::Columns(vec![0]));
        table.constraints.push(Constraint {
            name: "PRIMARY".to_owned(),
            kind: ConstraintKind::Primary { columns: vec!["id".to_owned()] },
            definition: String::new(),
            validated: true,
        });
        table
    }

    #[test]
    fn unique_columns_are_those_beside_the_key() {
        let is = |table: Table| {
            let shape = Shape::of(&Arc::new(table));
            [0, 1, 2].map(|at| shape.is_unique(at))
        };
        assert_eq!(is(table()), [false; 3]);
        let mut with_index = table();
        with_index.indexes.push(Index::new("a", true, vec!["a".to_owned()]));
        with_index.indexes.push(Index::new("b", false, vec!["b".to_owned()]));
        assert_eq!(is(with_index.clone()), [false, true, false]);
        with_index.columns[1].generated = Some(Generated { expression: "b + 1".to_owned(), stored: true });
        assert_eq!(is(with_index), [true; 3]);
    }
}
