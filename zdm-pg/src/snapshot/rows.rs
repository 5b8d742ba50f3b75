//! COPY's rows into a batch: in text, or in binary where the form of each
//! column [passes].
//!
//! Rows lie one behind the other in the batch's own buffer, and cells point
//! into it. Escapes of the text are undone in place, which only ever shrinks
//! a field.
//! <https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2>

mod binary;

use std::sync::Arc;

use bytes::BytesMut;
use zdm_core::Result;
use zdm_core::change::{Assembler, Batch, Budget, Cell, Format, Op};
use zdm_core::schema::Table;

use self::binary::Place;
use crate::connect::{CopiedRow, LARGE};
use crate::error::protocol;
use crate::types::{ENCODING, TEXT, passes};

/// Bytes at which a batch is handed over. A larger row is one alone, in the
/// buffer in which it came.
const FULL: usize = LARGE;

/// What a server is asked to write rows in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Binary,
}

impl Form {
    /// The cheaper one for both servers: binary where that of each column
    /// passes.
    pub(super) fn of(table: &Table) -> Self {
        let mut written = table.columns.iter().filter(|column| column.is_written()).peekable();
        if written.peek().is_some() && written.all(passes) { Self::Binary } else { Self::Text }
    }
}

/// Rows on their way into a batch.
#[derive(Debug)]
pub(crate) struct Rows {
    table: Arc<Table>,
    native: BytesMut,
    assembler: Assembler,
    /// Of one row, between two of them empty.
    fields: Vec<Cell>,
    /// Where a binary stream is.
    binary: Option<Place>,
}

impl Rows {
    /// Rows of a COPY in that form.
    pub(crate) fn new(table: Arc<Table>, form: Form) -> Self {
        let place = (form == Form::Binary).then_some(Place::Head);
        Self {
            table,
            native: BytesMut::new(),
            assembler: Assembler::new(),
            fields: Vec::new(),
            binary: place,
        }
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// `Protocol` when more was to come.
    pub(super) fn end(&self) -> Result<()> {
        match self.binary {
            None | Some(Place::End) => Ok(()),
            Some(_) => Err(protocol("the server ended the rows of a table without saying so")),
        }
    }

    /// Whether to hand over before `more` bytes are added, none for at once.
    pub(super) fn is_full(&self, more: usize) -> bool {
        !self.is_empty() && self.assembler.bytes() + more > FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.assembler.is_empty()
    }

    /// Adds one row.
    ///
    /// # Errors
    /// `Protocol` when it is no row of the table.
    pub(crate) fn push(&mut self, row: CopiedRow) -> Result<()> {
        let start = self.native.len();
        match row {
            CopiedRow::Alone(row) if start == 0 => self.native = row,
            CopiedRow::Alone(row) => self.native.extend_from_slice(&row),
            CopiedRow::Shared(row) => self.native.extend_from_slice(&row),
        }
        self.add(start)
    }

    /// Adds the row that begins there in the buffer.
    fn add(&mut self, start: usize) -> Result<()> {
        let wrong = || protocol("the server sent a row that is not one of the table");
        // Every place in the buffer then fits 32 bits.
        u32::try_from(self.native.len()).map_err(|_| wrong())?;
        let columns = self.table.columns.iter().filter(|column| column.is_written()).count();
        self.fields.clear();
        match &mut self.binary {
            None => split(&mut self.native[start..], start, columns, &mut self.fields).ok_or_else(wrong)?,
            Some(place) => {
                let message = &self.native[start..];
                if !binary::split(message, start, columns, place, &mut self.fields).ok_or_else(wrong)? {
                    self.native.truncate(start);
                    return Ok(());
                }
            }
        }
        self.assembler.row(&self.table, Op::Insert, false);
        let mut fields = self.fields.iter();
        for column in &self.table.columns {
            // What is computed is neither read nor written, here as in the log.
            let field = if column.is_written() { fields.next().copied() } else { Some(Cell::Unchanged) };
            self.assembler.cell(field.ok_or_else(wrong)?);
        }
        self.assembler.end_image()
    }

    /// Hands over what was gathered, with its share of the budget.
    pub(super) async fn take(&mut self, budget: &Budget) -> Result<Batch> {
        let permit = budget.acquire(self.assembler.bytes()).await;
        self.finish(Some(permit))
    }

    /// Hands over what was gathered, outside any budget.
    pub(crate) fn finish(&mut self, permit: Option<zdm_core::change::Permit>) -> Result<Batch> {
        let assembler = std::mem::take(&mut self.assembler);
        let native = std::mem::take(&mut self.native).freeze();
        assembler.finish(native, Arc::clone(&ENCODING), permit)
    }
}

/// Cuts a row into its fields and undoes their escapes. `base` is where the
/// row lies in the buffer; with the row's length it fits 32 bits.
fn split(row: &mut [u8], base: usize, columns: usize, out: &mut Vec<Cell>) -> Option<()> {
    let (b'\n', line) = row.split_last_mut()? else { return None };
    if columns == 0 {
        return line.is_empty().then_some(());
    }
    let mut start = 0;
    loop {
        let (cell, end) = field(line, start, base)?;
        out.push(cell);
        if out.len() > columns {
            return None;
        }
        match line.get(end) {
            None => return (out.len() == columns).then_some(()),
            // The tab.
            Some(_) => start = end + 1,
        }
    }
}

/// The field that begins at `start`, and where its tab or its row's end is.
fn field(line: &mut [u8], start: usize, base: usize) -> Option<(Cell, usize)> {
    let special = |from: &[u8]| from.iter().position(|byte| matches!(byte, b'\t' | b'\\' | b'\n'));
    let mut end = special(&line[start..]).map_or(line.len(), |at| start + at);
    if line.get(end) == Some(&b'\n') {
        return None;
    }
    if line.get(end) != Some(&b'\\') {
        return Some((cell(base + start, end - start)?, end));
    }
    if end == start && line.get(start + 1) == Some(&b'N') && matches!(line.get(start + 2), None | Some(b'\t'))
    {
        return Some((Cell::Null, start + 2));
    }
    // A backslash that stands first, as in every `bytea`, costs a step and no
    // copy: its escape is dropped from the front.
    let first = if end == start && line.get(start + 1) == Some(&b'\\') { start + 1 } else { start };
    if first > start {
        end = special(&line[start + 2..]).map_or(line.len(), |at| start + 2 + at);
        match line.get(end) {
            None | Some(b'\t') => return Some((cell(base + first, end - first)?, end)),
            _ => {}
        }
    }
    // From here on bytes move to the left.
    let mut write = end;
    loop {
        match line.get(end) {
            None | Some(b'\t') => return Some((cell(base + first, write - first)?, end)),
            Some(b'\n') => return None,
            Some(b'\\') => {
                line[write] = unescape(*line.get(end + 1)?)?;
                end += 2;
            }
            Some(byte) => {
                line[write] = *byte;
                end += 1;
            }
        }
        write += 1;
    }
}

fn cell(offset: usize, len: usize) -> Option<Cell> {
    let (offset, len) = (u32::try_from(offset).ok()?, u32::try_from(len).ok()?);
    Some(Cell::Value { offset, len, format: Format::Native(TEXT) })
}

/// `CopyAttributeOutText` writes these and no others.
fn unescape(letter: u8) -> Option<u8> {
    Some(match letter {
        b'\\' => b'\\',
        b't' => b'\t',
        b'n' => b'\n',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'v' => 0x0b,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use zdm_core::schema::{Column, DataType, Generated, Key, TableName};

    use super::*;
    use crate::position::ENGINE;
    use crate::types::copy_escape;

    fn table(columns: usize) -> Arc<Table> {
        let column = |n| Column::new(format!("c{n}"), DataType::text()).native("text", 25);
        Arc::new(Table::new(
            ENGINE,
            TableName::new("a", "b"),
            (0..columns).map(column).collect(),
            Key::FullRow,
        ))
    }

    fn shared(row: &[u8]) -> CopiedRow {
        CopiedRow::Shared(Bytes::copy_from_slice(row))
    }

    fn read(columns: usize, lines: &[&[u8]]) -> Result<Vec<Vec<Option<Vec<u8>>>>> {
        let mut rows = Rows::new(table(columns), Form::Text);
        lines.iter().try_for_each(|line| rows.push(shared(line)))?;
        let batch = rows.finish(None)?;
        let cells = |row: zdm_core::change::RowRef<'_>| {
            row.after().unwrap().cells().map(|cell| cell.raw().map(|(_, bytes)| bytes.to_vec())).collect()
        };
        Ok(batch.rows().map(cells).collect())
    }

    #[test]
    fn nulls_and_escapes_are_undone() {
        let some = |text: &[u8]| Some(text.to_vec());
        let rows = read(4, &[b"\\N\t\\\\N\t\t\\\\.\n", b"\\\\x00\ta\\tb\\\\\t\\n\t\\\\\\\\\n"]).unwrap();
        assert_eq!(
            rows,
            [
                vec![None, some(b"\\N"), some(b""), some(b"\\.")],
                vec![some(b"\\x00"), some(b"a\tb\\"), some(b"\n"), some(b"\\\\")],
            ]
        );
        assert_eq!(read(1, &[b"\n", b"\\N\n"]).unwrap(), [vec![some(b"")], vec![None]]);
        assert_eq!(read(0, &[b"\n"]).unwrap(), [Vec::<Option<Vec<u8>>>::new()]);
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for line in [
            &b""[..],
            b"a",
            b"a\n",
            b"a\tb\tc\n",
            b"a\nb\t\n",
            b"a\\\tb\n",
            b"a\t\\q\n",
            b"a\\\n",
            b"\\Nx\tb\n",
        ] {
            assert!(read(2, &[line]).is_err(), "{line:?}");
        }
        assert!(read(0, &[b"a\n"]).is_err());
    }

    /// Its cells point into the buffer in which it came.
    #[test]
    fn a_large_row_is_not_copied() {
        let mut rows = Rows::new(table(2), Form::Text);
        let (long, row) = ("y".repeat(FULL), BytesMut::from(&b"x\\ty\t"[..]));
        let row = BytesMut::from_iter(row.iter().copied().chain(long.bytes()).chain(*b"\n"));
        let place = row.as_ptr();
        rows.push(CopiedRow::Alone(row)).unwrap();
        assert!(rows.is_full(0), "it is handed over alone");
        let batch = rows.finish(None).unwrap();
        let row = batch.rows().next().unwrap().after().unwrap();
        assert_eq!(row.cell(0).raw().unwrap().1, b"x\ty");
        assert_eq!(row.cell(0).raw().unwrap().1.as_ptr(), place);
        assert_eq!(row.cell(1).value().unwrap(), long.as_str().into());
        // Behind others it is one of them.
        rows.push(shared(b"1\t2\n")).unwrap();
        rows.push(CopiedRow::Alone(BytesMut::from(&b"3\t4\n"[..]))).unwrap();
        assert_eq!(rows.finish(None).unwrap().row_count(), 2);
    }

    #[test]
    fn generated_columns_are_unchanged() {
        let mut columns = table(3).columns.clone();
        columns[1].generated = Some(Generated { expression: "1".to_owned(), stored: true });
        let table = Arc::new(Table::new(ENGINE, TableName::new("a", "b"), columns, Key::FullRow));
        let mut rows = Rows::new(table, Form::Text);
        rows.push(shared(b"x\ty\n")).unwrap();
        let batch = rows.finish(None).unwrap();
        let row = batch.rows().next().unwrap().after().unwrap();
        assert!(row.cell(1).is_unchanged());
        assert_eq!(row.cell(2).value().unwrap(), "y".into());
    }

    proptest! {
        #[test]
        fn what_was_escaped_comes_back(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 3), 1..5),
        ) {
            let mut lines = Vec::new();
            for row in &rows {
                let mut line = BytesMut::new();
                for (n, field) in row.iter().enumerate() {
                    if n > 0 { line.extend_from_slice(b"\t"); }
                    match field {
                        Some(bytes) => copy_escape(bytes, &mut line),
                        None => line.extend_from_slice(b"\\N"),
                    }
                }
                line.extend_from_slice(b"\n");
                lines.push(line);
            }
            let lines: Vec<&[u8]> = lines.iter().map(|line| &line[..]).collect();
            prop_assert_eq!(read(3, &lines).unwrap(), rows);
        }

        #[test]
        fn no_bytes_make_it_panic(line in prop::collection::vec(prop::sample::select(&b"\\\t\nNax"[..]), 0..12)) {
            let _ = read(2, &[&line]);
        }
    }
}
