//! Rows on their way into the server by COPY, in bounded memory.

use std::pin::Pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::SinkExt as _;
use tokio_postgres::{Client, CopyInSink};
use zdm_core::Result;
use zdm_core::change::{CellRef, Format};

use crate::error::OrPg;
use crate::types::{ENCODING, TEXT, copy_escape, write_copy_cell};

/// What is gathered before it is sent, in bytes.
const PIECE: usize = 128 << 10;

/// One COPY that is under way. Dropped before [`finish`](Self::finish), it
/// fails at the server.
pub(super) struct Copy {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
    /// Whether the row has a field already.
    begun: bool,
}

impl Copy {
    /// Begins `COPY … FROM STDIN` in the text format.
    pub(super) async fn start(session: &Client, statement: &str) -> Result<Self> {
        let sink = session.copy_in(statement).await.during("sink.copy")?;
        Ok(Self { sink: Box::pin(sink), buffer: BytesMut::with_capacity(PIECE + PIECE / 4), begun: false })
    }

    /// The next field: a cell, or null where there is none.
    pub(super) async fn field(&mut self, cell: Option<CellRef<'_>>) -> Result<()> {
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

    /// The next field, of characters that need no escape.
    pub(super) fn plain(&mut self, text: &str) {
        self.tab();
        self.buffer.put_slice(text.as_bytes());
    }

    /// Ends a row.
    pub(super) fn end_row(&mut self) {
        self.buffer.put_u8(b'\n');
        self.begun = false;
    }

    /// Sends the rest and waits for the server. Gives the rows it took.
    pub(super) async fn finish(mut self) -> Result<u64> {
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
