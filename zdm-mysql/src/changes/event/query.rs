//! A statement in the log: a boundary (`BEGIN`, `COMMIT`), DDL, or a change
//! that was not logged as rows.

use zdm_core::Result;

use super::super::reader::{Reader, broken};
use super::Event;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::changes) struct Query {
    /// The default database of its session; empty for none.
    pub(in crate::changes) database: String,
    /// The statement.
    pub(in crate::changes) text: String,
    /// Whether `text` is what was written; else bytes that are not UTF-8 were
    /// replaced in it, since its session spoke another character set.
    pub(in crate::changes) exact: bool,
    /// The error that it ended with on the server that wrote it.
    pub(in crate::changes) error: u16,
    /// `sql_mode` of its session: whether `"` quotes a name, say.
    pub(in crate::changes) sql_mode: Option<u64>,
}

/// Reads `QUERY_EVENT`: the session's thread, the time it took, lengths, the
/// session's variables, database and text.
pub(in crate::changes) fn query(mut event: Reader<'_>) -> Result<Event> {
    event.take(8)?;
    let database = usize::from(event.u8()?);
    let error = event.u16()?;
    let variables = usize::from(event.u16()?);
    let sql_mode = sql_mode(Reader::new(event.take(variables)?, 0))?;
    let database = String::from_utf8_lossy(event.take(database)?).into_owned();
    if event.u8()? != 0 {
        return Err(broken("a statement's database has no end"));
    }
    let bytes = event.rest();
    let exact = std::str::from_utf8(bytes).is_ok();
    let text = String::from_utf8_lossy(bytes).into_owned();
    Ok(Event::Query(Query { database, text, exact, error, sql_mode }))
}

/// Variables come in the order of their codes, each of a length that only its
/// code tells; the wanted one is code 1, behind code 0.
fn sql_mode(mut variables: Reader<'_>) -> Result<Option<u64>> {
    while !variables.is_empty() {
        match variables.u8()? {
            0 => drop(variables.take(4)?),
            1 => return variables.u64().map(Some),
            _ => break,
        }
    }
    Ok(None)
}
