//! A change that owns everything: for tests, dead letters, JSON and user
//! callbacks. The pipeline itself never makes one.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Image, Op, RowRef, Value};
use crate::Result;
use crate::schema::TableName;

/// One field of an owned change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnedField {
    /// A value, null included.
    Value(Value<'static>),
    /// The log did not carry it.
    Unchanged,
}

/// One changed row that owns its values, with its columns' names.
///
/// ```
/// # use std::sync::Arc;
/// # use zdm_core::change::{BatchBuilder, Change, Value};
/// # use zdm_core::schema::{Column, DataType, Key, Table, TableName};
/// # let table = Arc::new(Table::new(zdm_core::Engine::new("x"), TableName::new("a", "b"),
/// #     vec![Column::new("id", DataType::integer(64))], Key::Columns(vec![0])));
/// let mut builder = BatchBuilder::new();
/// builder.insert(&table, [Value::Int(1).into()])?;
/// let change = Change::from_row(builder.finish().rows().next().unwrap())?;
/// assert_eq!(
///     serde_json::to_string(&change).unwrap(),
///     r#"{"table":{"schema":"a","name":"b"},"op":"insert","before":null,"after":[["id",{"value":{"int":1}}]]}"#
/// );
/// # Ok::<(), zdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The table.
    pub table: TableName,
    /// What happened.
    pub op: Op,
    /// The row as it was, as far as the log carried it.
    pub before: Option<Vec<(SmolStr, OwnedField)>>,
    /// The row as it is.
    pub after: Option<Vec<(SmolStr, OwnedField)>>,
}

impl Change {
    /// Decodes and copies one row.
    ///
    /// # Errors
    /// `Protocol` when a cell is not a value of its type.
    pub fn from_row(row: RowRef<'_>) -> Result<Self> {
        Ok(Self {
            table: row.table().name.clone(),
            op: row.op(),
            before: row.before().map(fields).transpose()?,
            after: row.after().map(fields).transpose()?,
        })
    }

    /// The new value of a column.
    pub fn value(&self, column: &str) -> Option<&Value<'static>> {
        self.after.as_ref()?.iter().find_map(|(name, field)| match field {
            OwnedField::Value(value) if name == column => Some(value),
            _ => None,
        })
    }
}

fn fields(image: Image<'_>) -> Result<Vec<(SmolStr, OwnedField)>> {
    image
        .cells()
        .map(|cell| {
            let field = if cell.is_unchanged() {
                OwnedField::Unchanged
            } else {
                OwnedField::Value(cell.value()?.into_owned())
            };
            Ok((cell.column().name.clone(), field))
        })
        .collect()
}
