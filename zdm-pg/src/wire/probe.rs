//! A door for tests and fuzzers of other crates: what `wire` and `connect` do,
//! with plain types. No part of the library's interface.

#![allow(missing_docs, reason = "hidden, and only for our own tests")]

use std::time::Duration;

use futures::SinkExt as _;
use zdm_core::{Position, Result};

use super::{Connection, CopyBoth, Frame, Frames};
use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;
use crate::position::Lsn;

/// Walks the frames in a buffer: how many there are, and their bytes. The
/// entry point for fuzzing.
pub fn walk(buffer: &[u8]) -> Result<(usize, usize)> {
    let mut frames = Frames::new(buffer);
    let mut count = 0;
    while let Some(frame) = frames.next()? {
        if let Frame::Data { payload, .. } = frame {
            assert!(buffer.get(payload).is_some(), "a payload lies inside the buffer");
        }
        count += 1;
    }
    Ok((count, frames.consumed()))
}

/// A replication connection.
#[derive(Debug)]
pub struct Replication(Connection);

impl Replication {
    pub async fn connect(config: &PgConfig) -> Result<Self> {
        Connection::connect(config, "probe").await.map(Self)
    }

    pub fn version(&self) -> u32 {
        self.0.server_version_num()
    }

    pub fn process_id(&self) -> i32 {
        self.0.process_id()
    }

    pub async fn query(&mut self, command: &str) -> Result<Vec<Vec<Option<String>>>> {
        let rows = self.0.query(command).await?;
        Ok(rows.into_iter().map(Vec::from).collect())
    }

    /// System id, timeline, position and database.
    pub async fn identify(&mut self) -> Result<(String, u32, Position, String)> {
        let who = self.0.identify_system().await?;
        Ok((who.system_id, who.timeline, who.flushed.into(), who.dbname))
    }

    pub async fn start(self, slot: &str, from: u64, options: &[(&str, &str)]) -> Result<Log> {
        self.0.start_replication(slot, Lsn(from), options).await.map(Log)
    }
}

/// A stream of the log.
#[derive(Debug)]
pub struct Log(CopyBoth);

/// What one read brought.
#[derive(Debug, Default)]
pub struct Read {
    pub bytes: usize,
    pub payloads: Vec<Vec<u8>>,
    pub keepalives: usize,
    pub reply_wanted: bool,
    pub ended: bool,
    /// The server's log ended here when it sent the last frame.
    pub end: u64,
}

impl Log {
    pub async fn read(&mut self) -> Result<Read> {
        let mut read = Read { bytes: self.0.fill().await?, ..Read::default() };
        let mut ranges = Vec::new();
        let mut frames = self.0.frames();
        while let Some(frame) = frames.next()? {
            match frame {
                Frame::Data { end, payload, .. } => {
                    read.end = end.0;
                    ranges.push(payload);
                }
                Frame::KeepAlive { end, reply, .. } => {
                    read.end = end.0;
                    read.keepalives += 1;
                    read.reply_wanted |= reply;
                }
                Frame::End | Frame::Ready => read.ended = true,
            }
        }
        let consumed = frames.consumed();
        let bytes = self.0.split(consumed);
        read.payloads = ranges.into_iter().filter_map(|range| bytes.get(range).map(<[u8]>::to_vec)).collect();
        Ok(read)
    }

    /// Reads as a benchmark would: the number of frames, nothing copied.
    pub async fn skim(&mut self) -> Result<usize> {
        self.0.fill().await?;
        let mut frames = self.0.frames();
        let mut count = 0;
        while frames.next()?.is_some() {
            count += 1;
        }
        let consumed = frames.consumed();
        drop(self.0.split(consumed));
        Ok(count)
    }

    pub async fn status(&mut self, at: u64, reply: bool) -> Result<()> {
        self.0.send_status(Lsn(at), Lsn(at), Lsn(at), reply).await
    }

    pub async fn finish(self, within: Duration) -> Result<()> {
        self.0.finish(within).await
    }
}

/// A control connection.
#[derive(Debug)]
pub struct Sql(Control);

impl Sql {
    pub async fn connect(config: &PgConfig) -> Result<Self> {
        Control::connect(config, "probe").await.map(Self)
    }

    pub fn version(&self) -> u32 {
        self.0.server_version_num()
    }

    pub fn process_id(&self) -> i32 {
        self.0.process_id()
    }

    /// The first column of the first row, as text.
    pub async fn value(&self, sql: &str) -> Result<Option<String>> {
        let messages = self.0.simple_query(sql).await.during("probe.value")?;
        Ok(messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// A COPY of one piece, which waits before it and behind it. Gives the rows
    /// that the server took.
    pub async fn copy(
        &self,
        sql: &str,
        piece: &str,
        before: impl Future,
        behind: impl Future,
    ) -> Result<u64> {
        let mut copy = Box::pin(self.0.copy_in::<_, bytes::Bytes>(sql).await.during("probe.copy")?);
        before.await;
        copy.send(bytes::Bytes::copy_from_slice(piece.as_bytes())).await.during("probe.copy")?;
        copy.flush().await.during("probe.copy")?;
        behind.await;
        copy.as_mut().finish().await.during("probe.copy")
    }

    /// How often the server was asked, over a connection of its own, what it
    /// does for this one.
    pub fn looks(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.looks()
    }

    pub async fn cancel(&self) -> Result<()> {
        self.0.cancel().await
    }
}
