//! Cells that the log did not carry, read from the target before anything of
//! a step is done.

use bytes::BytesMut;
use mysql_async::{Row, Value as Told};
use zdm_core::Result;
use zdm_core::apply::KeyRef;
use zdm_core::change::{Encoding as _, Value};

use super::pack::Several;
use super::session::Session;
use super::shape::Shape;
use crate::error::protocol;
use crate::types::{MySqlEncoding, TEXT, select, write_value};

/// One row of the target, each written cell as a literal.
#[derive(Debug)]
pub(super) struct Carried(Vec<BytesMut>);

impl Carried {
    /// The literal of a column, by its number among the written ones.
    pub(super) fn literal(&self, number: usize) -> Option<&[u8]> {
        self.0.get(number).map(|literal| &literal[..])
    }

    fn of(shape: &Shape, row: &Row) -> Result<Self> {
        let literal = |(number, column): (usize, &super::shape::Written)| {
            let column = &shape.table.columns[column.at];
            let mut out = BytesMut::new();
            let value = match row.as_ref(number) {
                Some(Told::NULL) => Value::Null,
                Some(Told::Bytes(bytes)) => MySqlEncoding.decode(column, TEXT, bytes)?,
                _ => return Err(protocol("a row of the target came without one of its cells")),
            };
            write_value(&value, column, &mut out)?;
            Ok(out)
        };
        shape.columns.iter().enumerate().map(literal).collect::<Result<_>>().map(Self)
    }
}

/// The rows that have these keys, locked until the transaction ends; `None`
/// for one that is not there.
pub(super) async fn read(
    session: &mut Session,
    shape: &Shape,
    keys: &[KeyRef<'_>],
) -> Result<Vec<Option<Carried>>> {
    let columns: Vec<String> =
        shape.columns.iter().map(|c| select(&shape.table.columns[c.at], &c.name)).collect();
    let head = format!("SELECT {} FROM {} WHERE ", columns.join(", "), shape.name);
    let mut carried = Vec::with_capacity(keys.len());
    let mut several = Several::default();
    for (number, key) in keys.iter().enumerate() {
        several.statement(|out| {
            out.extend_from_slice(head.as_bytes());
            shape.matches(*key, out)?;
            out.extend_from_slice(b" FOR UPDATE");
            Ok(())
        })?;
        if several.is_full(session) || number + 1 == keys.len() {
            for rows in several.rows(session).await? {
                carried.push(rows.first().map(|row| Carried::of(shape, row)).transpose()?);
            }
        }
    }
    Ok(carried)
}
