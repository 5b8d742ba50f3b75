//! Changes of a table without a key, in order, each matching one row by all
//! its cells.

use bytes::{BufMut as _, BytesMut};
use mysql_async::prelude::Queryable;
use zdm_core::apply::InOrder;
use zdm_core::change::RowRef;
use zdm_core::{Error, ErrorKind, Result};

use super::session::Session;
use super::shape::Shape;
use super::statements;
use crate::error::OrMy;
use crate::types::{Kind, write_literal};

pub(super) async fn apply(session: &mut Session, shape: &Shape, work: InOrder<'_>) -> Result<()> {
    let mut insert = statements::insert(shape);
    for row in work.rows() {
        if row.before().is_some() {
            // What was inserted before may be what is to be deleted.
            insert.run(session).await?;
            delete(session, shape, &row).await?;
            fail::fail_point!("apply::row_deleted");
        }
        let Some(after) = row.after() else { continue };
        let cell = |at| {
            let cell = after.cell(at);
            // What the log left out of the new image is as in the old one.
            if cell.is_unchanged() { row.key_image().cell(at) } else { cell }
        };
        insert.row(session, |out| statements::inserted(shape, cell, out)).await?;
    }
    insert.run(session).await
}

async fn delete(session: &mut Session, shape: &Shape, row: &RowRef<'_>) -> Result<()> {
    let mut sql = BytesMut::from(format!("DELETE FROM {} WHERE ", shape.name).as_bytes());
    let image = row.key_image();
    for (number, column) in shape.columns.iter().enumerate() {
        if number > 0 {
            sql.put_slice(b" AND ");
        }
        let described = &shape.table.columns[column.at];
        let mut literal = BytesMut::new();
        write_literal(image.cell(column.at), described, &mut literal)?;
        same(&column.name, Kind::of(described), &literal, &mut sql);
    }
    sql.put_slice(b" LIMIT 1");
    session.begin().await?;
    session.query_drop(&sql[..]).await.during("sink.apply")?;
    if session.affected_rows() == 1 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "a row that was changed at the source is not in the target's table, which has no key: \
         something else has written to it; start the run anew",
    )
    .during("sink.apply"))
}

/// Appends that a column has the very value of a literal. To a collation 'a'
/// and 'A' may be one, and so may 'a' and 'a ': of two such rows the right one
/// must go, so text is compared by its octets. A JSON document is compared as
/// one.
fn same(name: &str, kind: Option<Kind>, literal: &[u8], out: &mut BytesMut) {
    let (left, right): (String, (&[u8], &[u8])) = match kind {
        Some(Kind::Char(_) | Kind::Varchar(_) | Kind::Text(..) | Kind::Enum(_) | Kind::Set(_)) | None => {
            (format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)"), (b"CAST(", b" AS BINARY)"))
        }
        Some(Kind::Json) => (name.to_owned(), (b"CAST(", b" AS JSON)")),
        Some(Kind::Geometry | Kind::Vector) => (format!("CAST({name} AS BINARY)"), (b"", b"")),
        Some(_) => (name.to_owned(), (b"", b"")),
    };
    out.put_slice(left.as_bytes());
    out.put_slice(b" <=> ");
    out.put_slice(right.0);
    out.put_slice(literal);
    out.put_slice(right.1);
}
