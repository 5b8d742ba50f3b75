//! Compares two databases by plain SQL: every table, every row, every column
//! as text, in order. It knows nothing of whoever copied them.

use std::cmp::Ordering;
use std::fmt;
use std::pin::Pin;

use futures::{Stream, TryStreamExt};
use tokio_postgres::{Client, Row};

use crate::{Error, Result};

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Tables that both sides have.
    pub tables: Vec<Compared>,
    /// Tables that only one side has, with which.
    pub missing: Vec<String>,
}

/// One table on both sides.
#[derive(Debug, Clone, Default)]
pub struct Compared {
    /// `schema.name`, quoted.
    pub table: String,
    /// Rows on the left.
    pub left: u64,
    /// Rows on the right.
    pub right: u64,
    /// Rows that only one side has.
    pub different: u64,
    /// The first few of those, `<` on the left and `>` on the right.
    pub examples: Vec<String>,
}

impl Comparison {
    /// Rows and tables that only one side has.
    pub fn differences(&self) -> u64 {
        self.tables.iter().map(|t| t.different).sum::<u64>() + self.missing.len() as u64
    }

    /// Rows on the left.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|t| t.left).sum()
    }
}

/// Empty when both sides are equal.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for missing in &self.missing {
            writeln!(f, "{missing}")?;
        }
        for table in self.tables.iter().filter(|t| t.different > 0) {
            writeln!(
                f,
                "{}: {} rows against {}, {} differ",
                table.table, table.left, table.right, table.different
            )?;
            table.examples.iter().try_for_each(|row| writeln!(f, "  {row}"))?;
        }
        Ok(())
    }
}

/// How many differing rows of a table are shown.
const EXAMPLES: usize = 5;

const SETTINGS: &str = "SET timezone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; \
     SET intervalstyle = 'postgres'; SET datestyle = 'ISO, MDY'; SET row_security = off";

const TABLES: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
       AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'zdm' \
     ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

/// Compares all tables of two databases, but those of the schema `zdm`. Each
/// side is read in whatever transaction its client is in.
///
/// Memory stays flat: rows are sorted by the servers and compared as they
/// come.
pub async fn compare(left: &Client, right: &Client) -> Result<Comparison> {
    let (ours, theirs) = (tables(left).await?, tables(right).await?);
    let mut comparison = Comparison::default();
    for (tables, others, side) in [(&ours, &theirs, "left"), (&theirs, &ours, "right")] {
        let alone = tables.iter().filter(|table| !others.contains(table));
        comparison.missing.extend(alone.map(|table| format!("{table}: only on the {side}")));
    }
    for table in ours.iter().filter(|table| theirs.contains(table)) {
        comparison.tables.push(compare_table(left, right, table).await?);
    }
    Ok(comparison)
}

async fn tables(client: &Client) -> Result<Vec<String>> {
    client.batch_execute(SETTINGS).await.map_err(failed)?;
    let rows = client.query(TABLES, &[]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn compare_table(left: &Client, right: &Client, table: &str) -> Result<Compared> {
    let mut found = Compared { table: table.to_owned(), ..Compared::default() };
    let (mut left, mut right) = (rows(left, table).await?, rows(right, table).await?);
    let (mut l, mut r) = (next(&mut left).await?, next(&mut right).await?);
    loop {
        let order = match (&l, &r) {
            (None, None) => return Ok(found),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // Both servers sorted by bytes, so bytes are what we compare.
            (Some(l), Some(r)) => l.as_bytes().cmp(r.as_bytes()),
        };
        if order != Ordering::Equal {
            found.different += 1;
            if found.examples.len() < EXAMPLES {
                let (mark, row) = if order == Ordering::Less { ('<', &l) } else { ('>', &r) };
                found.examples.push(format!("{mark} {}", row.as_deref().unwrap_or_default()));
            }
        }
        if order != Ordering::Greater {
            found.left += 1;
            l = next(&mut left).await?;
        }
        if order != Ordering::Less {
            found.right += 1;
            r = next(&mut right).await?;
        }
    }
}

type Rows = Pin<Box<dyn Stream<Item = std::result::Result<Row, tokio_postgres::Error>> + Send>>;

async fn rows(client: &Client, table: &str) -> Result<Rows> {
    let sql =
        format!("SELECT _whole_row::text FROM {table} _whole_row ORDER BY _whole_row::text COLLATE \"C\"");
    let none: [&str; 0] = [];
    Ok(Box::pin(client.query_raw(&sql, none).await.map_err(failed)?))
}

async fn next(rows: &mut Rows) -> Result<Option<String>> {
    Ok(rows.try_next().await.map_err(failed)?.map(|row| row.get(0)))
}

fn failed(error: tokio_postgres::Error) -> Error {
    Error::new("comparing two databases").because(error)
}
