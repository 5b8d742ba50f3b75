//! The writer of chunks: COPY straight into the table, and the chunk's
//! progress, in one transaction. In binary where the source's rows are, and
//! the target's columns are of the same types.

use std::sync::Arc;

use async_trait::async_trait;
use zdm_core::change::{Batch, Cell, Format, Item, Op, Run};
use zdm_core::connect::{Progress, Writer, WriterOptions};
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use super::apply::spent;
use super::commit::commit;
use super::copy::Copy;
use super::shape::Shape;
use crate::checkpoint::advance;
use crate::connect::Control;
use crate::error::OrPg;
use crate::types::{BINARY, ENCODING};

pub(super) struct Load {
    session: Control,
    schema: String,
    options: WriterOptions,
    open: bool,
    /// Set while a call is under way; found set, a call has failed or was
    /// dropped.
    spent: bool,
    /// The table of the last rows.
    shape: Option<Arc<Shape>>,
    copy: Option<Copy>,
}

impl Load {
    pub(super) fn new(session: Control, schema: String, options: WriterOptions) -> Self {
        Self { session, schema, options, open: false, spent: false, shape: None, copy: None }
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
        let shape = self.shape_of(&run.table).await?;
        let named = |error: Error| error.with("table", &run.table.name).during("sink.load");
        let binary = shape.columns.iter().all(|column| column.binary) && is_binary(batch, run);
        if self.copy.as_ref().is_some_and(|copy| copy.is_binary() != binary) {
            self.finish_copy().await?;
        }
        let mut copy = match self.copy.take() {
            Some(copy) => copy,
            None => {
                self.begin().await?;
                let copy = shape.copy();
                let started = if binary {
                    Copy::start_binary(&self.session, &copy).await
                } else {
                    Copy::start(&self.session, &copy).await
                };
                started.map_err(named)?
            }
        };
        for row in batch.rows_of(run) {
            let image = row.key_image();
            copy.begin_row(shape.columns.len());
            for column in &shape.columns {
                copy.field(Some(image.cell(column.at))).await.map_err(named)?;
            }
            copy.end_row();
            fail::fail_point!("load::row");
        }
        self.copy = Some(copy);
        Ok(())
    }

    async fn shape_of(&mut self, table: &Arc<Table>) -> Result<Arc<Shape>> {
        if let Some(shape) = &self.shape
            && Arc::ptr_eq(&shape.table, table)
        {
            return Ok(Arc::clone(shape));
        }
        self.finish_copy().await?;
        let shape = Arc::new(Shape::of(&self.session, table, false).await?);
        self.shape = Some(Arc::clone(&shape));
        Ok(shape)
    }

    async fn finish_copy(&mut self) -> Result<()> {
        if let Some(copy) = self.copy.take() {
            let table = self.shape.as_ref().map(|shape| shape.table.name.to_string()).unwrap_or_default();
            copy.finish().await.map_err(|error| error.with("table", table).during("sink.load"))?;
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<()> {
        if !self.open {
            self.session.batch_execute("BEGIN").await.during("sink.load")?;
            self.open = true;
        }
        Ok(())
    }
}

/// Whether the cells that somebody sent are in PostgreSQL's binary form.
fn is_binary(batch: &Batch, run: &Run) -> bool {
    let native = |cell: &Cell| match cell {
        Cell::Value { format, .. } => *format == Format::Native(BINARY),
        Cell::Null | Cell::Unchanged => true,
    };
    batch.encoding().name() == ENCODING.name() && batch.cells_of(run).iter().all(native)
}

#[async_trait]
impl Writer for Load {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        spent(&mut self.spent)?;
        self.take(&batch).await?;
        self.spent = false;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn commit(&mut self, progress: Progress) -> Result<()> {
        spent(&mut self.spent)?;
        self.finish_copy().await?;
        fail::fail_point!("load::copied");
        self.begin().await?;
        advance(&*self.session, &self.schema, &self.options.run, self.options.epoch, &progress).await?;
        commit(&self.session).await?;
        self.open = false;
        self.spent = false;
        Ok(())
    }
}
