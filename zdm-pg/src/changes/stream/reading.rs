//! From the read buffer, or from the spool, into the batch.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use zdm_core::spool::{Block, Records};
use zdm_core::{Error, ErrorKind, Result};

use super::super::decoder::Step;
use super::super::lookup;
use super::super::message::StreamCommit;
use super::{FULL, Task};
use crate::connect::Control;
use crate::wire::{Frame, Frames};

/// How long the catalog may take to answer.
const CATALOG: Duration = Duration::from_secs(10);
/// A message of so many bytes is kept in the buffer in which it came.
const LARGE: usize = 256 << 10;

/// A streamed transaction that has committed and is read back.
#[derive(Debug)]
pub(super) struct Replay {
    streamed: StreamCommit,
    records: Records,
    /// What of them lies at hand,
    block: Option<Block>,
    /// and the one that must be decoded again.
    again: Option<Range<usize>>,
}

/// What must be done before decoding can go on.
enum Next {
    /// Nothing more is there, or nothing more has room.
    Hand,
    /// The catalog is to be asked.
    LookUp,
    /// More is kept aside in memory than may.
    Settle,
    /// A streamed transaction has committed.
    Streamed(StreamCommit),
    /// Its next block is to be read back.
    Block,
}

impl Task {
    /// Whether the batch can take more.
    pub(super) fn has_room(&self) -> bool {
        !self.hand_over && self.consumed < FULL && self.batch.bytes() < self.full()
    }

    /// A batch should leave room for others in the budget.
    fn full(&self) -> usize {
        usize::try_from(self.budget.total() / 4).map_or(FULL, |share| share.clamp(1, FULL))
    }

    /// Decodes what has arrived, until the batch is full, or nobody wants it
    /// any more.
    pub(super) async fn decode(&mut self) -> Result<()> {
        loop {
            let next = if self.replay.is_some() { self.decode_kept()? } else { self.decode_frames()? };
            let wanted = match next {
                Next::Hand => break,
                Next::LookUp => self.look_up().await?,
                Next::Settle => self.settle_spool().await?,
                Next::Block => self.read_back().await?,
                Next::Streamed(streamed) => {
                    self.forget();
                    let records = self.decoder.begin_streamed(&streamed)?;
                    self.replay = Some(Replay { streamed, records, block: None, again: None });
                    true
                }
            };
            if !wanted {
                break;
            }
        }
        if self.batch.is_empty() {
            self.forget();
        }
        Ok(())
    }

    /// Lets go of what is decoded, which no cell points into.
    fn forget(&mut self) {
        drop(self.copy.split(std::mem::take(&mut self.consumed)));
    }

    /// Decodes the frames that have arrived.
    fn decode_frames(&mut self) -> Result<Next> {
        let (buffer, base, full) = (self.copy.buffer(), self.consumed, self.full());
        let mut frames = Frames::new(buffer.get(base..).unwrap_or_default());
        while self.consumed < FULL && self.batch.bytes() < full {
            let Some(frame) = frames.next()? else {
                self.consumed = base + frames.consumed();
                self.more = false;
                return Ok(Next::Hand);
            };
            let mut streamed = None;
            match frame {
                Frame::Data { start, payload, .. } => {
                    let payload = base + payload.start..base + payload.end;
                    if payload.len() > LARGE && self.decoder.aside().is_open() {
                        if !self.batch.is_empty() {
                            self.hand_over = true;
                            return Ok(Next::Hand);
                        }
                        let (from, to) = (self.consumed, base + frames.consumed());
                        self.received = self.received.max(start);
                        return self.keep_large(from, to, payload);
                    }
                    match self.decoder.decode(buffer, payload, &mut self.batch)? {
                        Step::LookUp => return Ok(Next::LookUp),
                        // Its cells lie elsewhere.
                        Step::Streamed(_) if !self.batch.is_empty() => {
                            self.hand_over = true;
                            return Ok(Next::Hand);
                        }
                        Step::Streamed(commit) => streamed = Some(commit),
                        Step::Done => {}
                    }
                    self.received = self.received.max(start);
                }
                Frame::KeepAlive { end, reply, .. } => {
                    self.received = self.received.max(end);
                    self.decoder.keep_alive(end);
                    if reply {
                        self.clock.now();
                    }
                }
                Frame::End | Frame::Ready => {
                    return Err(Error::new(
                        ErrorKind::Connection,
                        "the server ended the stream: is it being shut down?",
                    ));
                }
            }
            self.consumed = base + frames.consumed();
            if let Some(streamed) = streamed {
                return Ok(Next::Streamed(streamed));
            }
            if self.decoder.aside().is_over() {
                return Ok(Next::Settle);
            }
        }
        Ok(Next::Hand)
    }

    /// Keeps the message at `payload` aside, in a frame that lies between
    /// `from` and `to`. The batch is empty: nobody needs what lies before.
    fn keep_large(&mut self, from: usize, to: usize, payload: Range<usize>) -> Result<Next> {
        drop(self.copy.split(from));
        self.consumed = 0;
        let frame = self.copy.split(to - from);
        self.decoder.keep_large(frame.slice(payload.start - from..payload.end - from))?;
        Ok(Next::Settle)
    }

    /// Decodes the block that was read back, which is the buffer of a batch of
    /// its own; nothing of the read buffer is decoded and not forgotten.
    fn decode_kept(&mut self) -> Result<Next> {
        let Some(replay) = &mut self.replay else { return Ok(Next::Hand) };
        let Some(block) = &mut replay.block else { return Ok(Next::Block) };
        loop {
            let record = match replay.again.take() {
                Some(again) => again,
                None => match block.next()? {
                    Some(record) => record,
                    None => break,
                },
            };
            if self.decoder.decode_kept(block.bytes(), record.clone(), &mut self.batch)? == Step::LookUp {
                replay.again = Some(record);
                return Ok(Next::LookUp);
            }
        }
        replay.block = None;
        if self.batch.is_empty() {
            return Ok(Next::Block);
        }
        self.hand_over = true;
        Ok(Next::Hand)
    }

    /// Reads the next block back; behind the last one the transaction ends.
    async fn read_back(&mut self) -> Result<bool> {
        let Some(mut replay) = self.replay.take() else { return Ok(true) };
        fail::fail_point!("changes::streamed");
        let read = async move {
            let block = replay.records.next().await;
            (replay, block)
        };
        let Some((mut replay, block)) = self.meanwhile(read).await? else { return Ok(false) };
        match block? {
            Some(block) => {
                self.native = Some(block.bytes().clone());
                replay.block = Some(block);
                self.replay = Some(replay);
            }
            None => {
                self.native = None;
                self.decoder.end_streamed(&replay.streamed, &mut self.batch)?;
            }
        }
        Ok(true)
    }

    /// Writes to disk what memory may not hold.
    async fn settle_spool(&mut self) -> Result<bool> {
        let Some(mut spool) = self.decoder.aside().lend() else { return Ok(true) };
        let write = async move { spool.settle().await.map(|()| spool) };
        let Some(spool) = self.meanwhile(write).await? else { return Ok(false) };
        self.decoder.aside().restore(spool?);
        Ok(true)
    }

    async fn look_up(&mut self) -> Result<bool> {
        let (config, publication) = (Arc::clone(&self.config), self.publication.clone());
        let (tables, wanted) = (self.tables.clone(), self.decoder.wanted().clone());
        let ask = async move {
            let asked = async {
                let control = Control::connect(&config, "catalog").await?;
                lookup::partitions(&control, &publication, &tables, wanted).await
            };
            tokio::time::timeout(CATALOG, asked)
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, "the catalog did not answer in time"))?
        };
        let Some(found) = self.meanwhile(ask).await? else { return Ok(false) };
        self.decoder.learn(found?);
        Ok(true)
    }
}
