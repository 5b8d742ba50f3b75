//! Rows on their way into the server by COPY, in bounded memory.

use std::pin::Pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::SinkExt as _;
use tokio_postgres::{Client, CopyInSink};
use zdm_core::change::{CellRef, Format};
use zdm_core::{Error, ErrorKind, Result};

use crate::error::{OrPg, protocol};
use crate::types::{BINARY, COPY_HEAD, ENCODING, TEXT, copy_escape, write_copy_cell};

/// What is gathered before it is sent, in bytes.
const PIECE: usize = 128 << 10;

/// One COPY that is under way. Dropped before [`finish`](Self::finish), it
/// fails at the server.
pub(super) struct Copy {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
    /// Whether the row has a field already.
    begun: bool,
    binary: bool,
}

impl Copy {
    /// Begins `COPY … FROM STDIN` in the text format.
    pub(super) async fn start(session: &Client, statement: &str) -> Result<Self> {
        let sink = session.copy_in(statement).await.during("sink.copy")?;
        let buffer = BytesMut::with_capacity(PIECE + PIECE / 4);
        Ok(Self { sink: Box::pin(sink), buffer, begun: false, binary: false })
    }

    /// The same in the binary format.
    pub(super) async fn start_binary(session: &Client, statement: &str) -> Result<Self> {
        let mut copy = Self::start(session, &format!("{statement} (FORMAT binary)")).await?;
        copy.buffer.put_slice(COPY_HEAD);
        copy.binary = true;
        Ok(copy)
    }

    pub(super) fn is_binary(&self) -> bool {
        self.binary
    }

    /// Begins a row of so many fields.
    pub(super) fn begin_row(&mut self, fields: usize) {
        if self.binary {
            // OK because a table has at most 1,600 columns.
            self.buffer.put_u16(u16::try_from(fields).unwrap_or(u16::MAX));
        }
    }

    /// The next field: a cell, or null where there is none.
    pub(super) async fn field(&mut self, cell: Option<CellRef<'_>>) -> Result<()> {
        if self.binary {
            return self.binary_field(cell).await;
        }
        self.tab();
        let Some(cell) = cell else {
            self.buffer.put_slice(b"\\N");
            return Ok(());
        };
        match cell.raw() {
            // A large text is escaped and sent piece by piece.
            Some((Format::Native(TEXT), text))
                if text.len() > PIECE && cell.encoding().name() == ENCODING.name() =>
            {
                for piece in text.chunks(PIECE) {
                    copy_escape(piece, &mut self.buffer);
                    self.send_full().await?;
                }
                Ok(())
            }
            _ => {
                write_copy_cell(cell, &mut self.buffer)?;
                self.send_full().await
            }
        }
    }

    async fn binary_field(&mut self, cell: Option<CellRef<'_>>) -> Result<()> {
        match cell.map(|cell| (cell, cell.raw())) {
            Some((_, Some((Format::Native(BINARY), value)))) => {
                let len = u32::try_from(value.len()).map_err(|_| protocol("a value is too long"))?;
                self.buffer.put_u32(len);
                for piece in value.chunks(PIECE) {
                    self.buffer.put_slice(piece);
                    self.send_full().await?;
                }
                Ok(())
            }
            Some((cell, _)) if !cell.is_null() => Err(Error::new(
                ErrorKind::Unsupported,
                "a cell without a binary form came among rows that have one",
            )
            .with("column", &cell.column().name)),
            _ => {
                self.buffer.put_i32(-1);
                Ok(())
            }
        }
    }

    /// The next field, of characters that need no escape.
    pub(super) fn plain(&mut self, text: &str) {
        self.tab();
        self.buffer.put_slice(text.as_bytes());
    }

    /// Ends a row.
    pub(super) fn end_row(&mut self) {
        if !self.binary {
            self.buffer.put_u8(b'\n');
        }
        self.begun = false;
    }

    /// Sends the rest and waits for the server. Gives the rows it took.
    pub(super) async fn finish(mut self) -> Result<u64> {
        if self.binary {
            self.buffer.put_i16(-1);
        }
        if !self.buffer.is_empty() {
            let rest = self.buffer.split().freeze();
            self.sink.send(rest).await.during("sink.copy")?;
        }
        self.sink.as_mut().finish().await.during("sink.copy")
    }

    fn tab(&mut self) {
        if self.begun {
            self.buffer.put_u8(b'\t');
        }
        self.begun = true;
    }

    async fn send_full(&mut self) -> Result<()> {
        if self.buffer.len() < PIECE {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.buffer.reserve(PIECE + PIECE / 4);
        self.sink.send(piece).await.during("sink.copy")
    }
}
