//! The rows of a statement one by one, as they lie in the packets: for answers
//! of any size.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use zdm_core::Result;

use super::{COM_QUERY, Connection, MAX_COLUMNS, MAX_PACKET};
use crate::error;
use crate::wire::channel::MAX_PAYLOAD;
use crate::wire::reader::Reader;
use crate::wire::rows;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends a statement and reads its answer up to the first row; how many
    /// columns there are. Take every row before anything else is asked.
    ///
    /// # Errors
    ///
    /// What the server reported.
    pub(crate) async fn select(&mut self, statement: &str) -> Result<usize> {
        self.begin()?;
        self.channel.command(&[&[COM_QUERY], statement.as_bytes()].concat()).await?;
        let first = self.channel.packet(MAX_PACKET).await?;
        if first.first() == Some(&0xff) {
            self.busy = false;
            return Err(rows::server_error(&first));
        }
        let columns = match first.first() {
            Some(0x00 | 0xfb) => None,
            _ => Reader::new(&first).lenenc()?.filter(|count| *count <= MAX_COLUMNS),
        };
        let columns = columns.and_then(|count| usize::try_from(count).ok());
        let columns = columns.ok_or_else(|| error::protocol("the server's answer has no columns"))?;
        for _ in 0..columns {
            self.channel.packet(MAX_PACKET).await?;
        }
        if !rows::is_end(&self.channel.packet(MAX_PACKET).await?) {
            return Err(error::protocol("the server's answer does not end its columns"));
        }
        Ok(columns)
    }

    /// The next row of what was [selected](Self::select): its cells in the
    /// text form, each behind its length. `None` behind the last one.
    ///
    /// # Errors
    ///
    /// What the server reported, or the connection's end.
    pub(crate) async fn next_row(&mut self) -> Result<Option<BytesMut>> {
        let packet = self.channel.packet(MAX_PAYLOAD).await?;
        // A row may begin with 0xfe as well, and is larger then.
        if rows::is_end(&packet) {
            self.busy = false;
            return Ok(None);
        }
        if packet.first() == Some(&0xff) {
            self.busy = false;
            return Err(rows::server_error(&packet));
        }
        Ok(Some(packet))
    }

    /// Whether a statement can be sent.
    pub(crate) fn is_idle(&self) -> bool {
        !self.busy
    }
}
