//! What a verification has found.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::change::Value;
use crate::connect::{Phase, RunName};
use crate::schema::TableName;

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The source has it, the target has not.
    Missing,
    /// The target has it, the source has not.
    Extra,
    /// Both have it, and some columns differ.
    Changed,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Changed => "changed",
        })
    }
}

/// What became of a difference that was to be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// The row is what the source has.
    Done,
    /// The row changed each time that it was to be repaired: look again.
    Restless,
    /// The target refused it, or rows of the table cannot be told apart.
    Failed,
}

/// A row that differs, and still does after the stream has passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Difference {
    /// The table, by its name at the target.
    #[serde(with = "name")]
    pub table: TableName,
    /// The row's key: each column, by its name at the target, and its value.
    /// A row of a table with no key is known by all its columns.
    pub key: BTreeMap<String, serde_json::Value>,
    /// How it differs.
    pub kind: Kind,
    /// The columns that differ, by their names at the target; none unless it
    /// is [changed](Kind::Changed).
    pub columns: Vec<String>,
    /// How many equal rows, for a table with no key; else 1.
    pub rows: u64,
    /// What became of it, where repairs were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// A table's name as one text: `public.orders`.
mod name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::schema::TableName;

    pub(super) fn serialize<S: Serializer>(name: &TableName, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TableName, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// For people: `public.orders id=7: changed amount, note`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table)?;
        for (column, value) in &self.key {
            write!(f, " {column}={value}")?;
        }
        write!(f, ": {}", self.kind)?;
        if !self.columns.is_empty() {
            write!(f, " {}", self.columns.join(", "))?;
        }
        if self.rows > 1 {
            write!(f, ", {} equal rows", self.rows)?;
        }
        match self.repair {
            Some(Repair::Done) => f.write_str(", repaired"),
            Some(Repair::Restless) => f.write_str(", not repaired: it goes on changing"),
            Some(Repair::Failed) => f.write_str(", not repaired"),
            None => Ok(()),
        }
    }
}

/// What was compared of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TableReport {
    /// Rows that were read at the source.
    pub source_rows: u64,
    /// Rows that were read at the target.
    pub target_rows: u64,
    /// Rows that differed at first, and were looked at again by their keys.
    pub looked_at: u64,
    /// Rows that the target lacks.
    pub missing: u64,
    /// Rows that the source lacks.
    pub extra: u64,
    /// Rows that differ.
    pub changed: u64,
    /// Rows that never rested, so that nobody can say.
    pub unsettled: u64,
    /// Differences that were repaired.
    pub repaired: u64,
}

/// What a verification has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The run.
    pub run: RunName,
    /// Where the run stood; `None` where there is none of that name, and two
    /// databases were compared that rest.
    pub phase: Option<Phase>,
    /// Each table, by its name at the target.
    pub tables: BTreeMap<String, TableReport>,
}

impl Report {
    /// Rows that differ, repaired or not.
    pub fn differences(&self) -> u64 {
        self.sum(|table| table.missing + table.extra + table.changed)
    }

    /// Rows that never rested.
    pub fn unsettled(&self) -> u64 {
        self.sum(|table| table.unsettled)
    }

    /// Differences that were repaired.
    pub fn repaired(&self) -> u64 {
        self.sum(|table| table.repaired)
    }

    /// Rows that were read, those of the side that has more.
    pub fn rows(&self) -> u64 {
        self.sum(|table| table.source_rows.max(table.target_rows))
    }

    /// Whether both sides hold the same now, as far as every row could be
    /// settled.
    pub fn is_equal(&self) -> bool {
        self.differences() == self.repaired() && self.unsettled() == 0
    }

    fn sum(&self, of: impl Fn(&TableReport) -> u64) -> u64 {
        self.tables.values().map(of).sum()
    }
}

/// A value as JSON shows it: numbers that every reader can hold as numbers,
/// all else as text.
pub(super) fn shown(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(yes) => (*yes).into(),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        other => other.to_string().into(),
    }
}
