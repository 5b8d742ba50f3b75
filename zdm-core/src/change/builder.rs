//! How batches are made: from values, or from cells that already lie in a
//! source's read buffer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::batch::{Begin, Commit, Inner, Item, Op, Run, Xid};
use super::{Batch, Cell, CoreEncoding, DateTime, Encoding, Format, Permit, Value, encode_core};
use crate::schema::{Column, Table};
use crate::{Error, ErrorKind, Position, Result};

/// What a builder is given for one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Field<'a> {
    /// A value, null included.
    Value(Value<'a>),
    /// The log did not carry it.
    Unchanged,
}

impl<'a> From<Value<'a>> for Field<'a> {
    fn from(value: Value<'a>) -> Self {
        Self::Value(value)
    }
}

/// Builds a batch from values, row by row: all that the author of a connector
/// needs. Cells are in the core's own encoding.
///
/// See [the module](super) for an example.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    assembler: Assembler,
}

impl BatchBuilder {
    /// A builder of an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// A transaction begins. The number matters only to a source whose
    /// visibility is exact; others count.
    pub fn begin(&mut self, xid: u128) {
        self.assembler.item(Item::Begin(Begin { xid: Xid(xid) }));
    }

    /// A row came to be.
    ///
    /// # Errors
    /// `Config` if there is not one field for each column.
    pub fn insert<'a>(&mut self, table: &Arc<Table>, new: impl IntoIterator<Item = Field<'a>>) -> Result<()> {
        self.assembler.row(table, Op::Insert, false);
        self.image(new)
    }

    /// A row changed; `old` is given where the log carried it, with
    /// [`Field::Unchanged`] for what it did not carry.
    ///
    /// # Errors
    /// `Config` if an image has not one field for each column.
    pub fn update<'a, O, N>(&mut self, table: &Arc<Table>, old: Option<O>, new: N) -> Result<()>
    where
        O: IntoIterator<Item = Field<'a>>,
        N: IntoIterator<Item = Field<'a>>,
    {
        self.assembler.row(table, Op::Update, old.is_some());
        if let Some(old) = old {
            self.image(old)?;
        }
        self.image(new)
    }

    /// A row ceased to be.
    ///
    /// # Errors
    /// `Config` if there is not one field for each column.
    pub fn delete<'a>(&mut self, table: &Arc<Table>, old: impl IntoIterator<Item = Field<'a>>) -> Result<()> {
        self.assembler.row(table, Op::Delete, true);
        self.image(old)
    }

    /// Tables were emptied.
    pub fn truncate(&mut self, tables: impl Into<Arc<[Arc<Table>]>>) {
        self.assembler.item(Item::Truncate { tables: tables.into() });
    }

    /// A table has another shape from here on.
    pub fn schema(&mut self, old: Option<Arc<Table>>, new: Arc<Table>) {
        self.assembler.item(Item::Schema { old, new });
    }

    /// The transaction is complete; `position` is the point behind it.
    pub fn commit(&mut self, position: Position, time: Option<DateTime>) {
        self.assembler.item(Item::Commit(Commit { position, time }));
    }

    /// Nothing that concerns the run happened up to `position`.
    pub fn idle(&mut self, position: Position) {
        self.assembler.item(Item::Idle { position });
    }

    /// Bytes gathered so far, for who hands over at a limit.
    pub fn bytes(&self) -> usize {
        self.assembler.bytes()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.assembler.is_empty()
    }

    /// The batch, outside any budget.
    pub fn finish(self) -> Batch {
        self.assembler.finish(Bytes::new(), Arc::new(CoreEncoding), None).expect("it has no native cells")
    }

    /// The batch, with its share of the run's budget.
    pub fn finish_with(self, permit: Permit) -> Batch {
        self.assembler
            .finish(Bytes::new(), Arc::new(CoreEncoding), Some(permit))
            .expect("it has no native cells")
    }

    fn image<'a>(&mut self, fields: impl IntoIterator<Item = Field<'a>>) -> Result<()> {
        for field in fields {
            match field {
                Field::Value(value) => self.assembler.value(&value)?,
                Field::Unchanged => self.assembler.cell(Cell::Unchanged),
            }
        }
        self.assembler.end_image()
    }
}

/// Builds a batch from cells: what a decoder uses that walks a read buffer,
/// and a stage that rewrites rows.
///
/// Rows are `row`, then `cell` or `value` for each column of each image, old
/// before new, with `end_image` behind each. Native cells point into the
/// buffer that is given to [`finish`](Self::finish).
#[derive(Debug, Default)]
pub struct Assembler {
    core: BytesMut,
    cells: Vec<Cell>,
    items: Vec<Item>,
    /// Cells that lie before the image being written.
    image: usize,
    /// The furthest end of a native cell.
    native_end: usize,
    parent: Option<Parent>,
}

/// A moment of an [`Assembler`]: what it held then.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    core: usize,
    cells: usize,
    items: usize,
    /// Rows of the last item, which more may have joined since.
    rows: usize,
    native_end: usize,
}

/// Kept alive for its buffers' budget.
struct Parent(Arc<Inner>);

impl std::fmt::Debug for Parent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parent")
    }
}

impl Assembler {
    /// An assembler of an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// An assembler of a batch that is made out of another: cells of `source`
    /// may be put into it as they are. It keeps the source's core buffer (so
    /// old core cells stay valid) and its share of the budget; finish it with
    /// [`finish_derived`](Self::finish_derived).
    pub fn derive(source: &Batch) -> Self {
        let inner = source.inner();
        Self {
            core: BytesMut::from(&inner.core[..]),
            parent: Some(Parent(Arc::clone(inner))),
            ..Self::default()
        }
    }

    /// Adds what is not a row.
    pub fn item(&mut self, item: Item) {
        self.items.push(item);
    }

    /// Begins a row. It joins the run before it where table, operation and
    /// images are the same.
    pub fn row(&mut self, table: &Arc<Table>, op: Op, old: bool) {
        if let Some(Item::Rows(run)) = self.items.last_mut()
            && Arc::ptr_eq(&run.table, table)
            && run.op == op
            && run.old == old
        {
            run.rows += 1;
            return;
        }
        let table = Arc::clone(table);
        self.items.push(Item::Rows(Run { table, op, old, first: self.cells.len(), rows: 1 }));
    }

    /// Adds a cell.
    pub fn cell(&mut self, cell: Cell) {
        self.native_end = self.native_end.max(cell.native_end());
        self.cells.push(cell);
    }

    /// Adds rows that lie together already, as [`Batch::cells_of`] gives them.
    /// They join the run before them as [`row`](Self::row) does.
    ///
    /// # Errors
    /// `Config` if there are not as many cells as `rows` rows have.
    pub fn rows(&mut self, table: &Arc<Table>, op: Op, old: bool, rows: usize, cells: &[Cell]) -> Result<()> {
        let images = usize::from(old) + usize::from(op != Op::Delete);
        if rows * table.columns.len() * images != cells.len() {
            return Err(Error::new(ErrorKind::Config, "rows were given with too few or too many cells")
                .with("table", &table.name));
        }
        let first = self.cells.len();
        self.cells.extend_from_slice(cells);
        self.image = self.cells.len();
        self.native_end = cells.iter().fold(self.native_end, |end, cell| end.max(cell.native_end()));
        match self.items.last_mut() {
            Some(Item::Rows(last)) if Arc::ptr_eq(&last.table, table) && last.op == op && last.old == old => {
                last.rows += rows;
            }
            _ => self.items.push(Item::Rows(Run { table: Arc::clone(table), op, old, first, rows })),
        }
        Ok(())
    }

    /// Adds a cell in the core's encoding.
    ///
    /// # Errors
    /// `Rejected` when the batch would grow beyond 4 GiB.
    pub fn value(&mut self, value: &Value<'_>) -> Result<()> {
        let cell = self.encode(value)?;
        self.cells.push(cell);
        Ok(())
    }

    /// Encodes a value into the core buffer and gives its cell, without
    /// adding it to the row.
    ///
    /// # Errors
    /// `Rejected` when the batch would grow beyond 4 GiB.
    pub fn encode(&mut self, value: &Value<'_>) -> Result<Cell> {
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let start = self.core.len();
        encode_core(value, &mut self.core);
        self.core_cell(start)
    }

    /// Appends a value that [`encode_core`] has written already, and gives
    /// its cell: for a value that borrows from this assembler.
    ///
    /// # Errors
    /// `Rejected` when the batch would grow beyond 4 GiB.
    pub fn encoded(&mut self, bytes: &[u8]) -> Result<Cell> {
        let start = self.core.len();
        self.core.extend_from_slice(bytes);
        self.core_cell(start)
    }

    /// Decodes a cell of the batch that this one is derived from, or one that
    /// was [encoded](Self::encoded) here.
    ///
    /// # Errors
    /// As [`CellRef::value`](super::CellRef::value); `Protocol` for a cell of
    /// another batch.
    pub fn decode(&self, cell: Cell, column: &Column) -> Result<Value<'_>> {
        let elsewhere = || Error::new(ErrorKind::Protocol, "a cell lies beyond the buffer of its batch");
        let range = |offset: u32, len: u32| offset as usize..offset as usize + len as usize;
        match (cell, &self.parent) {
            (Cell::Value { offset, len, format: Format::Core }, _) => {
                super::decode_core(self.core.get(range(offset, len)).ok_or_else(elsewhere)?)
            }
            (Cell::Value { offset, len, format: Format::Native(format) }, Some(Parent(parent))) => {
                let bytes = parent.native.get(range(offset, len)).ok_or_else(elsewhere)?;
                parent.encoding.decode(column.decoded_by(), format, bytes)
            }
            (Cell::Value { .. }, None) => Err(elsewhere()),
            (Cell::Null, _) => Ok(Value::Null),
            (Cell::Unchanged, _) => Err(super::batch::not_carried(column)),
        }
    }

    fn core_cell(&self, start: usize) -> Result<Cell> {
        match (u32::try_from(start), u32::try_from(self.core.len() - start)) {
            (Ok(offset), Ok(len)) if u32::try_from(self.core.len()).is_ok() => {
                Ok(Cell::Value { offset, len, format: Format::Core })
            }
            _ => Err(Error::new(ErrorKind::Rejected, "a batch holds at most 4 GiB: hand over earlier")),
        }
    }

    /// Ends an image.
    ///
    /// # Errors
    /// `Config` if it has not one cell for each column; the batch is spoiled.
    pub fn end_image(&mut self) -> Result<()> {
        let Some(Item::Rows(run)) = self.items.last() else {
            return Err(Error::new(ErrorKind::Config, "an image was ended that no row had begun"));
        };
        let (given, wanted) = (self.cells.len() - self.image, run.table.columns.len());
        self.image = self.cells.len();
        if given == wanted {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Config,
            format!("a row needs {wanted} cells, one for each column, but got {given}"),
        )
        .with("table", &run.table.name))
    }

    /// What it holds now, between two rows, for [`rewind`](Self::rewind). That
    /// of an empty one is `Mark::default()`.
    pub fn mark(&self) -> Mark {
        Mark {
            core: self.core.len(),
            cells: self.cells.len(),
            items: self.items.len(),
            rows: if let Some(Item::Rows(run)) = self.items.last() { run.rows } else { 0 },
            native_end: self.native_end,
        }
    }

    /// Takes out again what was added since `mark`, which is one of this
    /// assembler's: rows that their log takes back behind them.
    pub fn rewind(&mut self, mark: &Mark) {
        self.core.truncate(mark.core);
        self.cells.truncate(mark.cells);
        self.items.truncate(mark.items);
        if let Some(Item::Rows(run)) = self.items.last_mut() {
            run.rows = mark.rows;
        }
        self.image = self.cells.len();
        self.native_end = mark.native_end;
    }

    /// Bytes gathered so far, native ones up to the furthest cell.
    pub fn bytes(&self) -> usize {
        self.core.len()
            + self.native_end
            + size_of_val(self.cells.as_slice())
            + size_of_val(self.items.as_slice())
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The batch; native cells point into `native`.
    ///
    /// # Errors
    /// `Protocol` if a native cell lies beyond `native`, or a row is
    /// incomplete.
    pub fn finish(self, native: Bytes, encoding: Arc<dyn Encoding>, permit: Option<Permit>) -> Result<Batch> {
        if self.native_end > native.len() {
            return Err(Error::new(ErrorKind::Protocol, "a cell lies beyond the buffer of its batch"));
        }
        let complete: usize = self
            .items
            .iter()
            .map(|i| if let Item::Rows(run) = i { run.rows * run.stride() } else { 0 })
            .sum();
        if complete != self.cells.len() {
            return Err(Error::new(ErrorKind::Protocol, "the last row of a batch is incomplete"));
        }
        let range = 0..self.items.len();
        let inner = Inner {
            native,
            core: self.core.freeze(),
            cells: self.cells,
            items: self.items,
            encoding,
            permit,
            parent: self.parent.map(|parent| parent.0),
        };
        Ok(Batch { inner: Arc::new(inner), range })
    }

    /// The batch, for an assembler made by [`derive`](Self::derive): native
    /// cells point into the source's buffer.
    ///
    /// # Errors
    /// As [`finish`](Self::finish); `Config` if it was not derived.
    pub fn finish_derived(self) -> Result<Batch> {
        let Some(Parent(parent)) = &self.parent else {
            return Err(Error::new(ErrorKind::Config, "this batch was not derived from another"));
        };
        let (native, encoding) = (parent.native.clone(), Arc::clone(&parent.encoding));
        self.finish(native, encoding, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;
    use crate::schema::{DataType, Key, TableName};

    fn table() -> Arc<Table> {
        let columns = vec![Column::new("id", DataType::integer(64)), Column::new("name", DataType::text())];
        Arc::new(Table::new(Engine::new("test"), TableName::new("a", "b"), columns, Key::Columns(vec![0])))
    }

    #[test]
    fn equal_rows_join_one_run_and_old_comes_before_new() {
        let table = table();
        let mut builder = BatchBuilder::new();
        builder.begin(1);
        for id in 0..3 {
            builder.insert(&table, [Value::Int(id).into(), Value::from("x").into()]).unwrap();
        }
        let old = Some([Value::Int(0).into(), Field::Unchanged]);
        builder.update(&table, old, [Value::Int(9).into(), Field::Unchanged]).unwrap();
        builder.commit(Position::new(Engine::new("test"), "1"), None);
        let batch = builder.finish();
        assert_eq!((batch.items().len(), batch.row_count(), batch.complete()), (4, 4, 4));
        let last = batch.rows().last().unwrap();
        assert_eq!(last.before().unwrap().cell(0).value().unwrap(), Value::Int(0));
        assert_eq!(last.after().unwrap().cell(0).value().unwrap(), Value::Int(9));
        assert!(last.after().unwrap().cell(1).is_unchanged());
    }

    #[test]
    fn what_was_added_since_a_mark_is_taken_out_again() {
        let (table, other) = (table(), table());
        let row = |batch: &mut Assembler, table: &Arc<Table>, id| {
            batch.row(table, Op::Insert, false);
            batch.value(&Value::Int(id)).unwrap();
            batch.value(&Value::from("x")).unwrap();
            batch.end_image().unwrap();
        };
        let mut batch = Assembler::new();
        batch.item(Item::Begin(Begin { xid: Xid(1) }));
        row(&mut batch, &table, 1);
        let (mark, bytes) = (batch.mark(), batch.bytes());
        // One that joins the run, and one that does not.
        row(&mut batch, &table, 2);
        row(&mut batch, &other, 3);
        batch.rewind(&mark);
        assert_eq!(batch.bytes(), bytes);
        row(&mut batch, &table, 4);
        batch.item(Item::Commit(Commit { position: Position::new(Engine::new("test"), "1"), time: None }));
        let batch = batch.finish(Bytes::new(), Arc::new(CoreEncoding), None).unwrap();
        let ids: Vec<_> = batch.rows().map(|row| row.after().unwrap().cell(0).value().unwrap()).collect();
        assert_eq!((ids, batch.items().len()), (vec![Value::Int(1), Value::Int(4)], 3));
        let mut empty = Assembler::new();
        row(&mut empty, &table, 5);
        empty.rewind(&Mark::default());
        assert!(empty.is_empty() && empty.bytes() == 0);
    }

    #[test]
    fn a_row_with_too_few_cells_is_refused() {
        let error = BatchBuilder::new().insert(&table(), [Value::Int(1).into()]).unwrap_err();
        assert!(error.to_string().contains("needs 2 cells"), "{error}");
    }

    #[test]
    fn a_cell_beyond_its_buffer_is_refused() {
        let mut assembler = Assembler::new();
        assembler.row(&table(), Op::Insert, false);
        assembler.cell(Cell::Value { offset: 1, len: 4, format: Format::Native(0) });
        assembler.cell(Cell::Null);
        assembler.end_image().unwrap();
        assert!(assembler.finish(Bytes::from_static(b"1234"), Arc::new(CoreEncoding), None).is_err());
    }

    #[tokio::test]
    async fn a_derived_batch_keeps_the_budget() {
        let budget = super::super::Budget::new(100);
        let mut builder = BatchBuilder::new();
        builder.insert(&table(), [Value::Int(1).into(), Value::Null.into()]).unwrap();
        let source = builder.finish_with(budget.acquire(60).await);
        let derived = Assembler::derive(&source).finish_derived().unwrap();
        drop(source);
        assert_eq!(budget.available(), 40);
        drop(derived);
        assert_eq!(budget.available(), 100);
    }
}
