//! Two databases compared cell by cell, whatever their engines.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::catalog::{Table, Tables, tables};
use super::kind::Kind;
use super::read::{Cells, Column, read};
use crate::error::Result;
use crate::{mysql, postgres};

/// One of the two databases.
#[derive(Debug, Clone)]
pub enum Side {
    /// A PostgreSQL database, and the schema whose tables are compared.
    Postgres(postgres::Database, String),
    /// The same, as the transaction sees it that has exported this snapshot
    /// (`pg_export_snapshot()`) and is still open.
    Seen(postgres::Database, String, String),
    /// A MySQL or MariaDB database.
    MySql(mysql::Database),
}

impl Side {
    /// A PostgreSQL database as the transaction sees it that has exported
    /// this snapshot and is still open. MySQL has no like of that: the side
    /// stays as it is.
    #[must_use]
    pub fn as_seen_by(self, snapshot: &str) -> Self {
        match self {
            Self::Postgres(database, schema) | Self::Seen(database, schema, _) => {
                Self::Seen(database, schema, snapshot.into())
            }
            other => other,
        }
    }
}

/// Its schema `public`.
impl From<&postgres::Database> for Side {
    fn from(database: &postgres::Database) -> Self {
        Self::Postgres(database.clone(), "public".into())
    }
}

impl From<&mysql::Database> for Side {
    fn from(database: &mysql::Database) -> Self {
        Self::MySql(database.clone())
    }
}

/// A comparison of two databases. Tables and columns are matched by name, rows
/// by primary key, or whole where there is none.
///
/// Every column on either side is read, by one SQL expression for each engine
/// and type. One side's table is held in memory: it is for what tests move.
///
/// ```no_run
/// # async fn example(source: zdm_servers::mysql::Database, target: zdm_servers::postgres::Database)
/// # -> zdm_servers::Result<()> {
/// use zdm_servers::compare::Across;
///
/// let found = Across::between(&source, &target).except("zdm_progress").run().await?;
/// assert!(found.is_empty(), "{found}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Across {
    left: Side,
    right: Side,
    except: Vec<String>,
    kinds: HashMap<(String, String), Kind>,
    most: usize,
}

/// One thing that the sides do not have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The key of the row, `column=value`, or of a table without a key the
    /// whole row. Empty where it is the table itself or a column that is missing.
    pub key: String,
    /// The column, if it is one: else the row or the table is missing.
    pub column: Option<String>,
    /// What the left side has.
    pub left: Option<String>,
    /// What the right side has.
    pub right: Option<String>,
}

/// What was found. Empty when both sides are equal.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    /// How many there are.
    pub count: u64,
    /// The first of them, by table and key.
    pub shown: Vec<Difference>,
    /// How many tables were compared.
    pub tables: u64,
    /// How many rows the left side has.
    pub rows: u64,
}

impl Across {
    /// Compares these two.
    pub fn between(left: impl Into<Side>, right: impl Into<Side>) -> Self {
        let (left, right) = (left.into(), right.into());
        Self { left, right, except: Vec::new(), kinds: HashMap::new(), most: 20 }
    }

    /// Leaves a table out.
    #[must_use]
    pub fn except(mut self, table: impl Into<String>) -> Self {
        self.except.push(table.into());
        self
    }

    /// Compares a column in this form, and not in that which its types suggest.
    #[must_use]
    pub fn read_as(mut self, table: impl Into<String>, column: impl Into<String>, kind: Kind) -> Self {
        self.kinds.insert((table.into(), column.into()), kind);
        self
    }

    /// Shows at most so many differences: 20 by default. All are counted.
    #[must_use]
    pub fn show(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Compares. Both sides must hold still.
    pub async fn run(&self) -> Result<Differences> {
        let (left, right) = tokio::try_join!(self.tables(&self.left), self.tables(&self.right))?;
        let mut found = Found { most: self.most, ..Found::default() };
        for (name, there, here) in [("left", &left, &right), ("right", &right, &left)] {
            for table in there.keys().filter(|table| !here.contains_key(*table)) {
                found.add(table, String::new(), None, name == "left", "the table".into());
            }
        }
        for (name, ours) in &left {
            if let Some(theirs) = right.get(name) {
                self.table(name, ours, theirs, &mut found).await?;
                found.all.tables += 1;
            }
        }
        Ok(found.all)
    }

    async fn tables(&self, side: &Side) -> Result<Tables> {
        let mut tables = tables(side).await?;
        tables.retain(|name, _| !self.except.contains(name));
        Ok(tables)
    }

    async fn table(&self, name: &str, ours: &Table, theirs: &Table, found: &mut Found) -> Result<()> {
        for (left, here, there) in [(true, ours, theirs), (false, theirs, ours)] {
            for column in here.columns.keys().filter(|column| !there.columns.contains_key(*column)) {
                found.add(name, String::new(), Some(column.clone()), left, "the column".into());
            }
        }
        let common: Vec<&String> =
            ours.columns.keys().filter(|column| theirs.columns.contains_key(*column)).collect();
        let columns = |mine: &Table, other: &Table| -> Vec<Column> {
            let column = |column: &&String| {
                let family = mine.columns[*column];
                let chosen = self.kinds.get(&(name.to_owned(), (*column).clone())).copied();
                let kind = chosen.unwrap_or_else(|| Kind::common(family, other.columns[*column]));
                Column { name: (*column).clone(), family, kind }
            };
            common.iter().map(column).collect()
        };
        // A key that only one side has, or that differs, matches nothing: all columns do then.
        let key = ours.key.iter().map(|key| common.iter().position(|column| *column == key));
        let key = key.collect::<Option<Vec<usize>>>().filter(|key| ours.key == theirs.key && !key.is_empty());
        let key = key.unwrap_or_else(|| (0..common.len()).collect());
        let of = |row: &Cells| key.iter().map(|&at| row[at].clone()).collect::<Cells>();

        let mut left: BTreeMap<Cells, Vec<Cells>> = BTreeMap::new();
        let rows = &mut found.all.rows;
        read(&self.left, name, &columns(ours, theirs), |row| {
            *rows += 1;
            left.entry(of(&row)).or_default().push(row);
        })
        .await?;
        let mut right: BTreeMap<Cells, Vec<Cells>> = BTreeMap::new();
        read(&self.right, name, &columns(theirs, ours), |row| {
            let key = of(&row);
            // What is equal on both sides is done with: of equal rows, one for one.
            let rows = left.get_mut(&key);
            match rows.and_then(|rows| Some((rows.iter().position(|other| *other == row)?, rows))) {
                None => right.entry(key).or_default().push(row),
                Some((at, rows)) => {
                    rows.swap_remove(at);
                    if rows.is_empty() {
                        left.remove(&key);
                    }
                }
            }
        })
        .await?;
        let key = |cells: &Cells| {
            let parts =
                key.iter().zip(cells).map(|(&at, cell)| format!("{}={}", common[at], shown(cell.as_deref())));
            parts.collect::<Vec<_>>().join(" ")
        };
        for (cells, rows) in &left {
            let others = right.remove(cells).unwrap_or_default();
            for (at, row) in rows.iter().enumerate() {
                match others.get(at) {
                    None => found.add(name, key(cells), None, true, "the row".into()),
                    Some(other) => {
                        for (column, (l, r)) in row.iter().zip(other).enumerate().filter(|(_, (l, r))| l != r)
                        {
                            found.cell(name, key(cells), common[column], (l, r));
                        }
                    }
                }
            }
            for _ in rows.len()..others.len() {
                found.add(name, key(cells), None, false, "the row".into());
            }
        }
        for (cells, rows) in &right {
            for _ in rows {
                found.add(name, key(cells), None, false, "the row".into());
            }
        }
        Ok(())
    }
}

impl Differences {
    /// Whether both sides are equal, and something was compared at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.tables > 0
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tables == 0 && self.count == 0 {
            return f.write_str("no table was compared");
        }
        for difference in &self.shown {
            writeln!(f, "{difference}")?;
        }
        match self.count - self.shown.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table)?;
        if !self.key.is_empty() {
            write!(f, " [{}]", self.key)?;
        }
        if let Some(column) = &self.column {
            write!(f, " {column}")?;
        }
        write!(f, ": {} against {}", shown(self.left.as_deref()), shown(self.right.as_deref()))
    }
}

fn shown(cell: Option<&str>) -> String {
    cell.map_or("null".into(), |text| format!("{text:?}"))
}

/// What is gathered on the way.
#[derive(Debug, Default)]
struct Found {
    all: Differences,
    most: usize,
}

impl Found {
    /// Something that only one side has.
    fn add(&mut self, table: &str, key: String, column: Option<String>, left: bool, what: String) {
        let (what, nothing) = (Some(what), Some("nothing".to_owned()));
        let (left, right) = if left { (what, nothing) } else { (nothing, what) };
        self.push(Difference { table: table.into(), key, column, left, right });
    }

    fn cell(
        &mut self,
        table: &str,
        key: String,
        column: &str,
        (left, right): (&Option<String>, &Option<String>),
    ) {
        let (left, right) = (left.clone(), right.clone());
        self.push(Difference { table: table.into(), key, column: Some(column.into()), left, right });
    }

    fn push(&mut self, difference: Difference) {
        self.all.count += 1;
        if self.all.shown.len() < self.most {
            self.all.shown.push(difference);
        }
    }
}
