//! Bounds of a table that is keyed by one whole number, without reading it.
//!
//! The server tells of a range how many rows it has, about, by looking at the
//! ends of it in the index. A range of too many rows is divided into equal
//! ones, and those again; neighbours of few rows are joined. So a table of any
//! size, with gaps of any size, is divided by some statements for each chunk
//! that each take less than a millisecond.
//!
//! <https://dev.mysql.com/doc/refman/en/explain-output.html#explain_rows>

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::schema::{Column, Table};

use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_table};
use crate::error::{OrMy, protocol};
use crate::types::Kind;

/// Into how many a range is divided at once.
const PARTS: u64 = 64;

/// The whole number that a table is keyed by, if it is.
pub(crate) fn number(table: &Table) -> Option<&Column> {
    match table.key_columns() {
        // OK to index because the key was made from these columns.
        [at] => {
            Some(&table.columns[*at]).filter(|column| matches!(Kind::of(column), Some(Kind::Integer { .. })))
        }
        _ => None,
    }
}

/// Numbers that end chunks of about so many rows, all but the last one's.
/// `None` where the server tells too little of its index: it knows the table
/// to have `rows` rows.
pub(crate) async fn bounds(
    control: &mut Control,
    table: &Table,
    column: &Column,
    chunk: u64,
    rows: u64,
) -> Result<Option<Vec<Vec<String>>>> {
    let key = Key::of(table, column);
    let Some(whole) = key.extent(control).await? else { return Ok(Some(Vec::new())) };
    let rows_told = key.rows(control, &whole).await?;
    if rows_told < rows / 4 {
        return Ok(None);
    }
    let mut bounds = Bounds { chunk, rows: 0, ends: Vec::new() };
    // What is still to be divided, the lowest last.
    let mut todo = vec![(whole, rows_told)];
    while let Some((range, rows)) = todo.pop() {
        if rows <= chunk + chunk / 2 || range.len() <= u128::from(chunk) {
            bounds.add(&range, rows);
            continue;
        }
        for part in range.divided(rows.div_ceil(chunk).clamp(2, PARTS)).into_iter().rev() {
            let rows = key.rows(control, &part).await?;
            todo.push((part, rows));
        }
    }
    Ok(Some(bounds.ends()))
}

/// Numbers above one and up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    above: i128,
    upto: i128,
}

impl Range {
    fn len(&self) -> u128 {
        self.upto.abs_diff(self.above)
    }

    /// So many ranges that together are this one, none of them empty.
    fn divided(&self, parts: u64) -> Vec<Self> {
        let (len, parts) = (self.len(), u128::from(parts));
        // OK because a column's numbers have 64 bits, so all of this has less
        // than 128.
        let at = |part: u128| self.above.saturating_add_unsigned(len * part / parts);
        (0..parts)
            .map(|part| Self { above: at(part), upto: at(part + 1) })
            .filter(|range| range.above < range.upto)
            .collect()
    }
}

/// Ranges as they come, from below, joined into chunks.
struct Bounds {
    chunk: u64,
    /// Of the chunk that is open.
    rows: u64,
    /// The end of each chunk, the open one's last.
    ends: Vec<i128>,
}

impl Bounds {
    fn add(&mut self, range: &Range, rows: u64) {
        match self.ends.last_mut() {
            Some(end) if self.rows + rows <= self.chunk => {
                *end = range.upto;
                self.rows += rows;
            }
            _ => {
                self.ends.push(range.upto);
                self.rows = rows;
            }
        }
    }

    /// Above the last one nothing is known: rows come there while we read.
    fn ends(mut self) -> Vec<Vec<String>> {
        self.ends.pop();
        self.ends.into_iter().map(|end| vec![end.to_string()]).collect()
    }
}

/// A key as statements name it.
struct Key {
    name: String,
    from: String,
}

impl Key {
    fn of(table: &Table, column: &Column) -> Self {
        // Not FORCE: MySQL would save itself the look that is asked for here.
        // <https://dev.mysql.com/doc/refman/en/range-optimization.html>
        let index = table.key_name.as_ref().map(|name| format!(" USE INDEX ({})", quote_ident(name)));
        let table = quote_table(&table.origin.name.schema, &table.origin.name.name);
        Self { name: quote_ident(&column.name), from: format!("{table}{}", index.unwrap_or_default()) }
    }

    /// All numbers that there are; `None` of an empty table.
    async fn extent(&self, control: &mut Control) -> Result<Option<Range>> {
        // Bare, else the server would not look at the two ends alone.
        let sql = format!("SELECT MIN({0}), MAX({0}) FROM {1}", self.name, self.from);
        let ends: Option<(Option<String>, Option<String>)> =
            control.query_first(sql).await.during("snapshot.plan")?;
        let Some((Some(first), Some(last))) = ends else { return Ok(None) };
        let number = |text: &str| {
            text.parse::<i128>().map_err(|_| protocol("the server showed a whole number that is none"))
        };
        Ok(Some(Range { above: number(&first)? - 1, upto: number(&last)? }))
    }

    /// How many rows are in a range, about.
    async fn rows(&self, control: &mut Control, range: &Range) -> Result<u64> {
        let Self { name, from } = self;
        let sql = format!(
            "EXPLAIN FORMAT=TRADITIONAL SELECT {name} FROM {from} WHERE {name} > {} AND {name} <= {}",
            range.above, range.upto
        );
        let row: Option<Row> = control.query_first(sql).await.during("snapshot.plan")?;
        // Of a range that cannot have any, none is told.
        Ok(row.and_then(|row| row.get_opt::<Option<u64>, _>("rows")?.ok()?).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_divided_without_a_gap() {
        let range = Range { above: i128::from(i64::MIN) - 1, upto: i128::from(u64::MAX) };
        for (range, parts) in
            [(range, 64), (Range { above: 0, upto: 3 }, 64), (Range { above: -1, upto: 0 }, 2)]
        {
            let divided = range.divided(parts);
            assert_eq!((divided[0].above, divided[divided.len() - 1].upto), (range.above, range.upto));
            assert!(divided.windows(2).all(|two| two[0].upto == two[1].above));
            assert!(divided.iter().all(|part| part.len() > 0));
        }
    }

    #[test]
    fn neighbours_of_few_rows_are_joined() {
        let mut bounds = Bounds { chunk: 10, rows: 0, ends: Vec::new() };
        for (upto, rows) in [(10, 4), (20, 4), (30, 4), (40, 0), (50, 9)] {
            bounds.add(&Range { above: upto - 10, upto }, rows);
        }
        assert_eq!(bounds.ends(), [["20"], ["40"]]);
        assert!(Bounds { chunk: 1, rows: 0, ends: Vec::new() }.ends().is_empty());
    }
}
