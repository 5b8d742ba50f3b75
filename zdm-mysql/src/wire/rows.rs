//! Answers to statements, in the text protocol.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html>

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use zdm_core::{Error, Result};

use super::reader::Reader;
use crate::error;

/// One row of an answer: every value as text.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    packet: Bytes,
    cells: Vec<Option<Range<usize>>>,
}

impl Row {
    /// Reads a row of that many columns.
    pub(super) fn read(packet: BytesMut, columns: usize) -> Result<Self> {
        let packet = packet.freeze();
        let mut reader = Reader::new(&packet);
        let mut cells = Vec::new();
        for _ in 0..columns {
            let cell = reader.lenenc_bytes()?;
            let end = packet.len() - reader.rest().len();
            cells.push(cell.map(|cell| end - cell.len()..end));
        }
        Ok(Self { packet, cells })
    }

    /// A value as text; `None` for null, or where there is none.
    pub(crate) fn get(&self, column: usize) -> Option<&str> {
        let range = self.cells.get(column)?.clone()?;
        std::str::from_utf8(self.packet.get(range)?).ok()
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// `Protocol` when it is null.
    pub(crate) fn text(&self, column: usize) -> Result<&str> {
        self.get(column).ok_or_else(|| error::protocol("the server left out a value that is always there"))
    }
}

/// Whether a packet ends a list of columns or rows: `EOF_Packet`.
pub(super) fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

/// Reads `ERR_Packet`.
pub(super) fn server_error(packet: &[u8]) -> Error {
    let mut reader = Reader::new(packet.get(1..).unwrap_or_default());
    let Ok(code) = reader.u16() else {
        return error::protocol("the server sent an error that cannot be read");
    };
    let rest = reader.rest();
    // Before the login, and from a dump, it may come without a state.
    let (state, message) = match rest.strip_prefix(b"#").and_then(|rest| rest.split_at_checked(5)) {
        Some((state, message)) => (String::from_utf8_lossy(state), message),
        None => ("".into(), rest),
    };
    error::from_server(code, &state, String::from_utf8_lossy(message).trim_end_matches('\0'))
}
