//! The writer of chunks: LOAD DATA from memory where the server takes it, long
//! INSERTs where not, and the chunk's progress, in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use mysql_async::prelude::Queryable;
use zdm_core::change::{Batch, Item, Op, Run};
use zdm_core::connect::{Progress, Writer, WriterOptions};
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use super::pack::{Pack, as_sent};
use super::session::Session;
use super::shape::Shape;
use super::{spent, statements};
use crate::error::OrMy;
use crate::types::{load_expression, write_field};

/// How many bytes of fields are collected for one LOAD DATA.
const FIELDS: usize = 1 << 20;
/// In packets of this size they are sent.
const PIECE: usize = 64 << 10;

pub(super) struct Load {
    session: Session,
    /// The database of our own tables.
    ours: String,
    options: WriterOptions,
    /// Set while a call is under way; found set, a call has failed or was
    /// dropped.
    spent: bool,
    /// The table of the last rows, and what has come for it.
    into: Option<(Shape, Way)>,
}

/// How rows come into a table.
enum Way {
    Infile { statement: String, fields: BytesMut, rows: u64 },
    Insert(Pack),
}

impl Load {
    pub(super) fn new(session: Session, ours: String, options: WriterOptions) -> Self {
        Self { session, ours, options, spent: false, into: None }
    }

    async fn take(&mut self, batch: &Batch) -> Result<()> {
        for item in batch.items() {
            match item {
                Item::Rows(run) if run.op == Op::Insert => self.rows(batch, run).await?,
                Item::Begin(_) | Item::Commit(_) | Item::Idle { .. } => {}
                _ => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        "a chunk holds inserts only: give changes to a writer for applying",
                    ));
                }
            }
        }
        Ok(())
    }

    async fn rows(&mut self, batch: &Batch, run: &Run) -> Result<()> {
        if !self.into.as_ref().is_some_and(|(shape, _)| Arc::ptr_eq(&shape.table, &run.table)) {
            self.finish().await?;
            self.session.begin_in(&run.table.name.schema).await?;
            self.into = Some(self.way(&run.table));
        }
        let Some((shape, way)) = &mut self.into else { return Ok(()) };
        let session = &mut self.session;
        for row in batch.rows_of(run) {
            let image = row.key_image();
            let done = match way {
                Way::Infile { statement, fields, rows } => {
                    for (number, column) in shape.columns.iter().enumerate() {
                        if number > 0 {
                            fields.put_u8(b'\t');
                        }
                        write_field(image.cell(column.at), &shape.table.columns[column.at], fields)
                            .map_err(|error| shape.named(error))?;
                    }
                    fields.put_u8(b'\n');
                    *rows += 1;
                    if fields.len() < FIELDS { Ok(()) } else { send(session, statement, fields, rows).await }
                }
                Way::Insert(pack) => {
                    pack.row(session, |out| statements::inserted(shape, |at| image.cell(at), out)).await
                }
            };
            done.map_err(|error| shape.named(error))?;
        }
        Ok(())
    }

    fn way(&self, table: &Arc<Table>) -> (Shape, Way) {
        let shape = Shape::of(table);
        let way = if self.session.infile {
            Way::Infile { statement: infile(&shape), fields: BytesMut::new(), rows: 0 }
        } else {
            Way::Insert(statements::insert(&shape))
        };
        (shape, way)
    }

    /// Writes what has come together.
    async fn finish(&mut self) -> Result<()> {
        let Some((shape, mut way)) = self.into.take() else { return Ok(()) };
        let done = match &mut way {
            Way::Infile { statement, fields, rows } => send(&mut self.session, statement, fields, rows).await,
            Way::Insert(pack) => pack.run(&mut self.session).await,
        };
        done.map_err(|error| shape.named(error))?;
        self.into = Some((shape, way));
        Ok(())
    }

    async fn end(&mut self, progress: &Progress) -> Result<()> {
        self.finish().await?;
        fail::fail_point!("load::copied");
        self.session.commit(&self.ours, self.options.epoch, progress).await
    }
}

/// The form of the fields is that of [`write_field`].
fn infile(shape: &Shape) -> String {
    let mut list = Vec::with_capacity(shape.columns.len());
    let mut set = Vec::new();
    for (number, column) in shape.columns.iter().enumerate() {
        let variable = format!("@zdm_{number}");
        match load_expression(&shape.table.columns[column.at], &variable) {
            Some(expression) => {
                set.push(format!("{} = {expression}", column.name));
                list.push(variable);
            }
            None => list.push(column.name.clone()),
        }
    }
    let set = if set.is_empty() { String::new() } else { format!(" SET {}", set.join(", ")) };
    format!(
        "LOAD DATA LOCAL INFILE 'zdm' INTO TABLE {} CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY '\\t' ENCLOSED BY '' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
        shape.name,
        list.join(", ")
    )
}

async fn send(session: &mut Session, statement: &str, fields: &mut BytesMut, rows: &mut u64) -> Result<()> {
    if *rows == 0 {
        return Ok(());
    }
    session.begin().await?;
    let mut rest = fields.split().freeze();
    let mut pieces: Vec<std::io::Result<Bytes>> = Vec::with_capacity(rest.len() / PIECE + 1);
    while !rest.is_empty() {
        pieces.push(Ok(rest.split_to(PIECE.min(rest.len()))));
    }
    session.set_infile_handler(async move { Ok(futures::stream::iter(pieces).boxed()) });
    session.query_drop(statement).await.during("sink.load")?;
    as_sent(session, std::mem::take(rows)).await
}

#[async_trait]
impl Writer for Load {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        spent(&mut self.spent)?;
        let outcome = self.take(&batch).await;
        self.session.settled(outcome).await?;
        self.spent = false;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn commit(&mut self, progress: Progress) -> Result<()> {
        spent(&mut self.spent)?;
        let outcome = self.end(&progress).await;
        self.session.settled(outcome).await?;
        self.spent = false;
        Ok(())
    }
}
