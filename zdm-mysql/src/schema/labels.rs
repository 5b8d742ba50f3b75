//! The labels of `ENUM` and `SET` that the catalog cannot show.
//!
//! The catalog and `SHOW CREATE TABLE` are in `utf8mb3`, and say `?` for each
//! character beyond U+FFFF. The log gives labels by their numbers, so such a
//! label would come out of it as another one than out of a SELECT. What a
//! number means, the server says of a column of that type: of a temporary
//! table, which no log and no other session sees.

use mysql_async::prelude::Queryable;
use zdm_core::schema::TableName;
use zdm_core::{Error, ErrorKind, Result};

use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::OrMy;
use crate::types::labels;

/// The character sets with characters beyond U+FFFF.
const WIDE: &[&str] = &["utf8mb4", "utf16", "utf16le", "utf32", "gb18030"];

/// A column's type with its true labels; `shown` is how the catalog has it.
///
/// # Errors
/// `Unsupported`, with what to do, where the server lets nobody look.
pub(crate) async fn complete(
    control: &mut Control,
    table: &TableName,
    column: &str,
    shown: String,
    charset: Option<&str>,
) -> Result<String> {
    let (word, step): (_, fn(usize) -> u64) = match shown.split('(').next() {
        Some("enum") => ("enum", |at| at as u64 + 1),
        Some("set") => ("set", |at| 1 << at),
        _ => return Ok(shown),
    };
    let mut all: Vec<String> = labels(&shown).map(Into::into).collect();
    let unsure: Vec<usize> = (0..all.len()).filter(|at| all[*at].contains('?')).collect();
    if unsure.is_empty() || !charset.is_some_and(|charset| WIDE.contains(&charset)) {
        return Ok(shown);
    }
    let numbers: Vec<u64> = unsure.iter().map(|at| step(*at)).collect();
    let told = ask(control, table, column, &numbers).await.map_err(|error| {
        Error::new(
            ErrorKind::Unsupported,
            "labels with a '?' may have characters that the catalog does not show, and reading them by a \
             temporary table failed: GRANT CREATE TEMPORARY TABLES on its database to the user of the run",
        )
        .with("table", table)
        .with("column", column)
        .caused_by(error)
    })?;
    for (at, label) in unsure.into_iter().zip(told) {
        all[at] = label;
    }
    let list: Vec<String> = all.iter().map(|label| quote_literal(label)).collect();
    Ok(format!("{word}({})", list.join(",")))
}

/// What the column makes of these numbers.
async fn ask(control: &mut Control, table: &TableName, column: &str, numbers: &[u64]) -> Result<Vec<String>> {
    let during = "schema.labels";
    let asked = quote_table(&table.schema, "zdm_labels");
    let (name, of) = (quote_ident(column), quote_table(&table.schema, &table.name));
    let make = format!("CREATE TEMPORARY TABLE {asked} SELECT {name} AS label FROM {of} LIMIT 0");
    control.query_drop(make).await.during(during)?;
    let mut told = Vec::with_capacity(numbers.len());
    for number in numbers {
        for sql in [format!("DELETE FROM {asked}"), format!("INSERT INTO {asked} VALUES ({number})")] {
            control.query_drop(sql).await.during(during)?;
        }
        let label = format!("SELECT CONVERT(label USING utf8mb4) FROM {asked}");
        let label: Option<String> = control.query_first(label).await.during(during)?;
        told.push(label.ok_or_else(|| crate::error::protocol("a label is not told"))?);
    }
    // With IF EXISTS it would be in the log.
    control.query_drop(format!("DROP TEMPORARY TABLE {asked}")).await.during(during)?;
    Ok(told)
}
