//! Changes of a table without a key, in order, each matching one row by all
//! its cells.

use bytes::BytesMut;
use tokio_postgres::Client;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use zdm_core::apply::InOrder;
use zdm_core::change::{CellRef, Format, RowRef};
use zdm_core::{Error, ErrorKind, Result};

use super::copy::Copy;
use super::shape::Shape;
use crate::error::OrPg;
use crate::types::text::write_value;
use crate::types::{ENCODING, TEXT};

pub(super) async fn apply(session: &Client, shape: &Shape, work: InOrder<'_>) -> Result<()> {
    let mut deletion = None;
    let mut copy: Option<Copy> = None;
    for row in work.rows() {
        if row.before().is_some() {
            // What was inserted before may be what is to be deleted.
            if let Some(copy) = copy.take() {
                copy.finish().await?;
            }
            let statement = match &deletion {
                Some(statement) => statement,
                None => {
                    let types = vec![Type::TEXT; shape.columns.len()];
                    let statement =
                        session.prepare_typed(&delete_one(shape), &types).await.during("sink.apply")?;
                    deletion.insert(statement)
                }
            };
            delete(session, shape, statement, &row).await?;
            fail::fail_point!("apply::row_deleted");
        }
        let Some(after) = row.after() else { continue };
        let into = match &mut copy {
            Some(copy) => copy,
            None => copy.insert(Copy::start(session, &shape.copy()).await?),
        };
        for column in &shape.columns {
            let cell = after.cell(column.at);
            // What the log left out of the new image is as in the old one.
            let cell = if cell.is_unchanged() { row.key_image().cell(column.at) } else { cell };
            into.field(Some(cell)).await?;
        }
        into.end_row();
    }
    match copy {
        Some(copy) => copy.finish().await.map(drop),
        None => Ok(()),
    }
}

/// Deletes one row whose columns all have that text. By their text, since
/// some types have no equality, and since equal is not the same: of two rows
/// with 1.0 and 1.00 the right one must go. The collation, since a cast to
/// text keeps the column's, to which 'a' and 'A' may be one.
fn delete_one(shape: &Shape) -> String {
    let same = |(at, column): (usize, &super::shape::Written)| {
        format!(
            "f.{}::text COLLATE \"C\" IS NOT DISTINCT FROM (${}::text)::{}::text COLLATE \"C\"",
            column.name,
            at + 1,
            column.base
        )
    };
    let same: Vec<String> = shape.columns.iter().enumerate().map(same).collect();
    format!(
        "DELETE FROM {only} t USING (SELECT f.tableoid AS o, f.ctid AS c FROM {only} f WHERE {same} LIMIT 1) one
         WHERE t.tableoid = one.o AND t.ctid = one.c",
        only = shape.only,
        same = same.join(" AND ")
    )
}

async fn delete(
    session: &Client,
    shape: &Shape,
    statement: &tokio_postgres::Statement,
    row: &RowRef<'_>,
) -> Result<()> {
    let image = row.key_image();
    let cells =
        shape.columns.iter().map(|column| Text::of(image.cell(column.at))).collect::<Result<Vec<_>>>()?;
    let values: Vec<&(dyn ToSql + Sync)> = cells.iter().map(|cell| cell as &(dyn ToSql + Sync)).collect();
    match session.execute(statement, &values).await.during("sink.apply")? {
        1 => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Conflict,
            "a row that was changed at the source is not in the target's table, which has no key: \
             something else has written to it; start the run anew",
        )
        .during("sink.apply")),
    }
}

/// A cell as a parameter of type text.
#[derive(Debug)]
struct Text<'a>(Option<std::borrow::Cow<'a, [u8]>>);

impl<'a> Text<'a> {
    fn of(cell: CellRef<'a>) -> Result<Self> {
        match cell.raw() {
            None if cell.is_null() => Ok(Self(None)),
            Some((Format::Native(TEXT), text)) if cell.encoding().name() == ENCODING.name() => {
                Ok(Self(Some(text.into())))
            }
            // An error for a cell that was not carried, too.
            _ => {
                let mut text = BytesMut::new();
                write_value(&cell.value()?, &mut text)?;
                Ok(Self(Some(text.to_vec().into())))
            }
        }
    }
}

impl ToSql for Text<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            Some(text) => {
                out.extend_from_slice(text);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT
    }

    to_sql_checked!();
}
