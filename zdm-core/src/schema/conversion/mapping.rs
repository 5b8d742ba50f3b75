//! What a user wants otherwise than a conversion would do it.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::super::{Schema, Selection, TableName};
use crate::{Error, ErrorKind, Result};

/// A user's wishes for a conversion: names, types, columns to leave behind,
/// and what becomes of values that a target cannot hold.
///
/// In code by its methods; in a file (the tool's `--map`) as TOML:
///
/// ```toml
/// [schemas]
/// shop = "public"
///
/// [types]                        # every column of that type at the source
/// "tinyint(1)" = "boolean"
/// "json" = "jsonb"
///
/// [tables."shop.users"]
/// name = "app.customers"         # another name
/// drop = ["legacy_flag"]         # columns that stay behind
///
/// [tables."shop.users".columns.email]
/// name = "mail"
/// type = "varchar(320)"
///
/// [policies]
/// zero_date = "null"
/// ```
///
/// Between servers of one engine it gives names, and leaves columns behind;
/// types stay what they are.
///
/// Tables and columns are named as they arrive from the stages. A table
/// pattern (`shop.*`) is for all that match; what names a table or column
/// that is not there is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Mapping {
    /// The name at the target of each schema that gets another.
    pub schemas: BTreeMap<String, String>,
    /// The type at the target of each type of the source that gets another
    /// than its dialect's choice. A type is meant with and without its
    /// arguments: `varchar` is for `varchar(20)` as well.
    pub types: BTreeMap<String, String>,
    /// What is wished for a table, or for all that match a pattern.
    pub tables: BTreeMap<String, TableMapping>,
    /// What becomes of values that the target cannot hold.
    pub policies: Policies,
}

/// What is wished for one table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TableMapping {
    /// Its name at the target, `schema.table`.
    pub name: Option<String>,
    /// Columns that stay behind.
    pub drop: Vec<String>,
    /// What is wished for its columns.
    pub columns: BTreeMap<String, ColumnMapping>,
}

/// What is wished for one column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ColumnMapping {
    /// Its name at the target.
    pub name: Option<String>,
    /// Its type at the target, as that engine writes it.
    #[serde(rename = "type")]
    pub data_type: Option<String>,
}

/// What becomes of values that a target cannot hold. Each stops the run
/// unless something else is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Policies {
    /// Days that no calendar has: `0000-00-00`, `2024-02-31`.
    pub zero_date: Unfit,
    /// Numbers, days and times beyond what the target's type holds; NaN and
    /// infinities among them.
    pub out_of_range: Unfit,
    /// Texts with a character U+0000, for a target that has none.
    pub nul_character: NulCharacter,
}

/// What becomes of a value that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unfit {
    /// It stops the run, with table, column and key.
    #[default]
    Error,
    /// It becomes null; a column that is never null can hold null then.
    Null,
    /// It becomes the nearest value that the target holds: the first or last
    /// day, the largest number. A day of no calendar becomes 1970-01-01.
    Nearest,
}

/// What becomes of a text with a character U+0000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NulCharacter {
    /// It stops the run, with table, column and key.
    #[default]
    Error,
    /// The character is left out.
    Remove,
}

impl Mapping {
    /// No wish.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the tables of a schema to another.
    #[must_use]
    pub fn schema(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.schemas.insert(from.into(), to.into());
        self
    }

    /// Gives every column of a type of the source this one at the target.
    #[must_use]
    pub fn data_type(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.types.insert(from.into(), to.into());
        self
    }

    /// Gives a table another name.
    #[must_use]
    pub fn rename_table(mut self, table: &str, to: impl Into<String>) -> Self {
        self.table(table).name = Some(to.into());
        self
    }

    /// Leaves a column behind.
    #[must_use]
    pub fn drop_column(mut self, table: &str, column: impl Into<String>) -> Self {
        self.table(table).drop.push(column.into());
        self
    }

    /// Gives a column another name.
    #[must_use]
    pub fn rename_column(mut self, table: &str, column: &str, to: impl Into<String>) -> Self {
        self.table(table).columns.entry(column.to_owned()).or_default().name = Some(to.into());
        self
    }

    /// Gives a column this type at the target, as that engine writes it.
    #[must_use]
    pub fn column_type(mut self, table: &str, column: &str, data_type: impl Into<String>) -> Self {
        self.table(table).columns.entry(column.to_owned()).or_default().data_type = Some(data_type.into());
        self
    }

    /// Chooses what becomes of values that the target cannot hold.
    #[must_use]
    pub fn policies(mut self, policies: Policies) -> Self {
        self.policies = policies;
        self
    }

    /// Whether nothing is wished.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn table(&mut self, table: &str) -> &mut TableMapping {
        self.tables.entry(table.to_owned()).or_default()
    }

    /// The name that a table shall have, where it is wished.
    pub(crate) fn name_of(&self, table: &TableName) -> Result<Option<TableName>> {
        let Some(name) = self.tables.get(&table.to_string()).and_then(|wish| wish.name.as_deref()) else {
            return Ok(None);
        };
        name.parse().map(Some).map_err(|error: Error| error.with("table", table))
    }

    /// What is wished for a table: by patterns first, so that its own wish has
    /// the last word.
    pub(crate) fn wishes_of(&self, table: &TableName) -> Vec<&TableMapping> {
        let mut meant: Vec<_> = self.tables.iter().filter(|(of, _)| means(of, table)).collect();
        meant.sort_by_key(|(of, _)| **of == table.to_string());
        meant.into_iter().map(|(_, wish)| wish).collect()
    }

    /// The name that a table shall have where nothing else decides over it.
    pub(crate) fn renamed(&self, table: &TableName) -> Result<TableName> {
        if let Some(wish) = self.name_of(table)? {
            return Ok(wish);
        }
        let schema = self.schemas.get(table.schema.as_str());
        Ok(schema.map_or_else(|| table.clone(), |schema| TableName::new(schema.as_str(), table.name.clone())))
    }

    /// Refuses wishes for what is not there.
    ///
    /// # Errors
    /// `Config`.
    pub(crate) fn refuse_strangers(&self, schema: &Schema) -> Result<()> {
        match self.stranger(schema) {
            None => Ok(()),
            Some(stranger) => Err(Error::new(
                ErrorKind::Config,
                "the mapping names what no table of the run has: correct it, or leave it out",
            )
            .with("named", stranger)),
        }
    }

    /// Refuses one name for two tables, which stages would merge.
    ///
    /// # Errors
    /// `Config`.
    pub(crate) fn refuse_merging(&self, schema: &Schema) -> Result<()> {
        let mut names = HashSet::new();
        for table in &schema.tables {
            let name = self.renamed(&table.name)?;
            if !names.insert(name.clone()) {
                return Err(Error::new(ErrorKind::Config, "the mapping gives two tables one name")
                    .with("table", &table.name)
                    .with("name", name));
            }
        }
        Ok(())
    }

    /// What it names and nobody has.
    fn stranger(&self, schema: &Schema) -> Option<String> {
        for name in self.schemas.keys() {
            if !schema.tables.iter().any(|t| t.name.schema == name.as_str()) {
                return Some(name.clone());
            }
        }
        for (pattern, wish) in &self.tables {
            let tables: Vec<_> = schema.tables.iter().filter(|t| means(pattern, &t.name)).collect();
            if tables.is_empty() {
                return Some(pattern.clone());
            }
            let named = wish.drop.iter().chain(wish.columns.keys());
            for column in named {
                if !tables.iter().any(|table| table.position(column).is_some()) {
                    return Some(format!("{pattern}.{column}"));
                }
            }
        }
        None
    }

    /// A wish that is none for names, as the file writes it: of types, or of
    /// what becomes of values.
    pub(crate) fn beyond_names(&self) -> Option<String> {
        if let Some(name) = self.types.keys().next() {
            return Some(format!("[types] {name}"));
        }
        let typed = self.tables.iter().find_map(|(table, wish)| {
            let column = wish.columns.iter().find(|(_, wish)| wish.data_type.is_some());
            column.map(|(column, _)| format!("[tables.{table}.columns.{column}] type"))
        });
        typed.or_else(|| (self.policies != Policies::default()).then(|| "[policies]".to_owned()))
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// `Config`.
    pub fn check(&self) -> Result<()> {
        for (pattern, wish) in &self.tables {
            let fail = |message: &str| Err(Error::new(ErrorKind::Config, message).with("table", pattern));
            if !pattern.contains('.') {
                return fail("a mapping names a table as schema.table");
            }
            if wish.name.is_some() && pattern.contains(['*', '?']) {
                return fail("a mapping cannot give one name to all tables that match a pattern");
            }
            if let Some(name) = &wish.name {
                name.parse::<TableName>().map_err(|error| error.with("table", pattern))?;
            }
        }
        Ok(())
    }
}

/// Whether a wish is for that table.
fn means(pattern: &str, table: &TableName) -> bool {
    *pattern == table.to_string() || Selection::new([pattern]).is_ok_and(|tables| tables.matches(table))
}
