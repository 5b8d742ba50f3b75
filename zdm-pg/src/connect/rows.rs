//! The rows of a COPY out of a server, in memory for one large row.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::Fuse;
use tokio_postgres::CopyOutStream;
use zdm_core::Result;

use super::Control;
use super::aside::Aside;
use crate::error::{OrPg, protocol};

/// One row as COPY sends it: in text with its line feed, in binary also the
/// format's head and trailer. The server sends each in
/// a message of its own
/// (<https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>).
#[derive(Debug)]
pub(crate) enum CopiedRow {
    /// A view of a buffer that holds others too.
    Shared(Bytes),
    /// A large one, in a buffer of its own.
    Alone(BytesMut),
}

impl CopiedRow {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Shared(row) => row.len(),
            Self::Alone(row) => row.len(),
        }
    }
}

/// A COPY that is being read. A session has one at a time.
pub(crate) struct CopiedRows {
    rows: Pin<Box<Fuse<CopyOutStream>>>,
    way: Way,
}

/// The way around the client, open until this is dropped.
#[derive(Debug)]
struct Way(Aside);

impl Way {
    fn open(aside: &Aside) -> Self {
        aside.open();
        Self(aside.clone())
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Control {
    /// Begins a `COPY … TO STDOUT`. Use nothing else for it: large rows go around
    /// the client.
    ///
    /// # Errors
    ///
    /// As of any statement.
    pub(crate) async fn copied_rows(&self, sql: &str, during: &'static str) -> Result<CopiedRows> {
        let way = Way::open(&self.aside);
        let rows = self.copy_out(sql).await.during(during)?;
        // Polled behind its end, it would take the next answer for a row.
        Ok(CopiedRows { rows: Box::pin(rows.fuse()), way })
    }
}

impl CopiedRows {
    /// The next row; `None` behind the last.
    ///
    /// # Errors
    ///
    /// As of any statement.
    pub(crate) async fn next(&mut self, during: &'static str) -> Result<Option<CopiedRow>> {
        self.way.0.want();
        let row = self.rows.next().await.transpose().during(during)?;
        self.way.0.passed();
        match row {
            Some(row) if row.is_empty() => match self.way.0.take() {
                Some(row) => Ok(Some(CopiedRow::Alone(row))),
                None => Err(protocol("the server sent a row without its end")),
            },
            row => Ok(row.map(CopiedRow::Shared)),
        }
    }
}
