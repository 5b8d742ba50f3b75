//! A statement in the log: a boundary (`BEGIN`, `COMMIT`), DDL, or a change
//! that was not logged as rows.

use zdm_core::Result;

use super::super::reader::{Reader, broken};
use super::Event;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::changes) struct Query {
    /// The default database of its session; empty for none.
    pub(in crate::changes) database: String,
    /// The statement.
    pub(in crate::changes) text: String,
    /// Whether `text` is what was written; else bytes that are not UTF-8 were
    /// replaced in it, since its session spoke another character set.
    pub(in crate::changes) exact: bool,
    /// `sql_mode` of its session: whether `"` quotes a name, say.
    pub(in crate::changes) sql_mode: Option<u64>,
    /// The databases of all tables that it, its triggers and its functions
    /// have used, where the server tells them: MySQL, so that replicas can
    /// apply statements on different databases at once.
    pub(in crate::changes) databases: Option<Vec<String>>,
}

/// Reads `QUERY_EVENT`: the session's thread, the time it took, lengths, the
/// session's variables, database and text.
pub(in crate::changes) fn query(mut event: Reader<'_>) -> Result<Event> {
    event.take(8)?;
    let database = usize::from(event.u8()?);
    event.u16()?; // the error that it ended with
    let variables = usize::from(event.u16()?);
    let (sql_mode, databases) = variables_of(Reader::new(event.take(variables)?, 0))?;
    let database = String::from_utf8_lossy(event.take(database)?).into_owned();
    if event.u8()? != 0 {
        return Err(broken("a statement's database has no end"));
    }
    let bytes = event.rest();
    let exact = std::str::from_utf8(bytes).is_ok();
    let text = String::from_utf8_lossy(bytes).into_owned();
    Ok(Event::Query(Query { database, text, exact, sql_mode, databases }))
}

/// Variables come in the order of their codes, nearly, each of a length that
/// only its code tells: what follows an unknown one cannot be read.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Query__event.html>
fn variables_of(mut variables: Reader<'_>) -> Result<(Option<u64>, Option<Vec<String>>)> {
    /// In place of a number of databases: too many, or children of foreign
    /// keys, which are not known.
    const NOT_TOLD: u8 = 254;
    let (mut sql_mode, mut databases) = (None, None);
    while !variables.is_empty() {
        match variables.u8()? {
            // Bits of the session; numbers of the transaction.
            0 | 10 => drop(variables.take(4)?),
            1 => sql_mode = Some(variables.u64()?),
            // Steps of AUTO_INCREMENT, tables that are updated.
            3 => drop(variables.take(4)?),
            4 => drop(variables.take(6)?),
            // Time zone, catalog.
            5 | 6 => short(&mut variables)?,
            // Names of months, the database's collation.
            7 | 8 => drop(variables.take(2)?),
            9 => drop(variables.take(8)?),
            // User and host who defines.
            11 => {
                short(&mut variables)?;
                short(&mut variables)?;
            }
            12 => {
                let count = variables.u8()?;
                if count == NOT_TOLD {
                    return Ok((sql_mode, None));
                }
                let names = (0..count).map(|_| name(&mut variables)).collect::<Result<_>>()?;
                databases = Some(names);
            }
            13 => drop(variables.take(3)?),
            _ => break,
        }
    }
    Ok((sql_mode, databases))
}

/// Passes what has its length in a byte before it.
fn short(variables: &mut Reader<'_>) -> Result<()> {
    let len = variables.u8()?;
    variables.take(len.into()).map(drop)
}

/// A name up to its zero byte.
fn name(variables: &mut Reader<'_>) -> Result<String> {
    let mut name = Vec::new();
    loop {
        match variables.u8()? {
            0 => return Ok(String::from_utf8_lossy(&name).into_owned()),
            byte => name.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[u8]) -> Result<(Option<u64>, Option<Vec<String>>)> {
        variables_of(Reader::new(variables, 0))
    }

    #[test]
    fn databases_are_found_behind_what_comes_before_them() {
        let before = b"\0\0\0\0\0\x01\x04\0\0\0\0\0\0\0\x06\x03std\x04\x08\0\x08\0\xff\0\x05\x03UTC";
        let (mode, databases) = read(&[&before[..], b"\x0c\x02a\0shop\0"].concat()).unwrap();
        assert_eq!((mode, databases.unwrap()), (Some(4), vec!["a".to_owned(), "shop".to_owned()]));
        assert_eq!(read(&[&before[..], b"\x0c\xfe\x0d\0\0\0"].concat()).unwrap(), (Some(4), None));
        assert_eq!(read(&[&before[..], b"\xc8\x0c\x01a\0"].concat()).unwrap(), (Some(4), None));
        assert_eq!(read(b"").unwrap(), (None, None));
        assert!(read(b"\x0c\x02a\0").is_err());
    }
}
