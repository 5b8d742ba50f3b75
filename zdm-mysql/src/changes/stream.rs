//! A stream of changes that is open.
//!
//! One task owns the socket: it reads, decodes, and hands batches over. A
//! consumer that is slow, or a budget that is used up, stops the reading, and
//! the server waits for us for as long as a day. It keeps nothing for us, so
//! acknowledgements are ignored.
//!
//! A batch is what has arrived when the consumer is ready for it, up to a
//! limit; it ends within a transaction only at that limit, since the log may
//! yet take back what it has of it ([`undo`](super::undo)). Its cells point into the read buffer. Events that lie in no buffer
//! yet (compressed ones, XA transactions that were kept aside) are put into
//! one of the batch's own; then all that the batch has is.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Assembler, Batch, Budget};
use zdm_core::connect::{Ack, Changes, StreamOptions};
use zdm_core::{Error, ErrorKind, Result};

use super::aside::Events;
use super::gauge::Poller;
use super::payload::Payload;
use super::start;
use super::undo::Undone;
use super::walk::{From, Then, Walk};
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::position::Point;
use crate::types::ENCODING;
use crate::wire::{Connection, Dump};

/// Bytes at which a batch is full.
const FULL: usize = 1 << 20;
/// How long a server may be silent that was asked for heartbeats.
const SILENCE: Duration = Duration::from_secs(30);

/// What goes from the task to the consumer.
#[derive(Debug)]
enum Handed {
    Batch(Batch),
    Failed(Error),
    End,
}

/// Opens a stream of the run's changes behind `options.from`.
///
/// # Errors
/// `Gap` when changes behind that point are lost or were never there; those of
/// connecting.
pub(crate) async fn open(
    config: &Arc<MySqlConfig>,
    undone: &Undone,
    options: StreamOptions,
) -> Result<Changes> {
    let from = Point::of(&options.from)?;
    let mut control = Control::connect(config, "changes").await?;
    let start = start::check(&mut control, config, &options.run, &from)
        .await
        .map_err(|error| error.during("source.changes"))?;
    let walk = Walk::new(
        &options.schema,
        &from,
        start.server,
        start.checksums,
        config.undecided_limit(),
        undone.clone(),
    );
    let dump = Connection::connect(config).await?.dump(&start.request).await?;
    // Nobody takes it: the server keeps nothing for a reader.
    let (ack, _) = Ack::new();
    let (out, handed) = mpsc::channel(1);
    let (poller, head) = Poller::start(Arc::clone(config), control, start.server);
    poller.handed_over(from.at.as_ref().map(|at| &at.point));
    let task = Task {
        dump,
        patience: config.heartbeat() * 3 + SILENCE,
        walk,
        consumed: 0,
        own: None,
        payloads: Vec::new(),
        decided: None,
        more: true,
        batch: Assembler::new(),
        failed: None,
        out,
        poller,
        budget: options.budget,
        cancel: options.cancel,
    };
    tokio::spawn(task.run());
    let batches = futures::stream::unfold(Some(handed), |handed| async {
        let mut handed = handed?;
        match handed.recv().await {
            Some(Handed::Batch(batch)) => Some((Ok(batch), Some(handed))),
            Some(Handed::Failed(error)) => Some((Err(error), None)),
            Some(Handed::End) => None,
            // Only if the runtime goes down: nobody may take it for the end.
            None => Some((Err(Error::new(ErrorKind::Connection, "the stream's task is gone")), None)),
        }
    });
    Ok(Changes { batches: batches.fuse().boxed(), ack, head })
}

#[derive(Debug)]
struct Task {
    dump: Dump,
    patience: Duration,
    walk: Walk,
    /// Bytes of the read buffer that are decoded, and not yet handed over.
    consumed: usize,
    /// The batch's own buffer, once something must be put there: it begins
    /// with a copy of what cells point to already.
    own: Option<BytesMut>,
    /// Compressed events that are being read, one within the other.
    payloads: Vec<Payload>,
    /// An XA transaction that is being read, since it was decided.
    decided: Option<Events>,
    /// There may be whole events behind `consumed`.
    more: bool,
    batch: Assembler,
    /// Why nothing more can be read: told when what came before is handed over.
    failed: Option<Error>,
    out: mpsc::Sender<Handed>,
    poller: Poller,
    budget: Budget,
    cancel: CancellationToken,
}

impl Task {
    async fn run(mut self) {
        let last = match self.follow().await {
            Ok(()) => Handed::End,
            Err(error) => Handed::Failed(error),
        };
        let out = self.out.clone();
        // The socket closes first: who reads the end may read again at once.
        drop(self);
        let _ = out.send(last).await;
    }

    /// Goes on until it is not wanted any more, or fails.
    async fn follow(&mut self) -> Result<()> {
        let (out, cancel) = (self.out.clone(), self.cancel.clone());
        loop {
            if self.more
                && self.has_room()
                && let Err(error) = self.decode()
            {
                self.failed = Some(error);
                self.more = false;
            }
            // The rest of a transaction is on its way.
            let waits = self.walk.is_within() && self.failed.is_none() && self.has_room();
            let ready = self.walk.has_news(&self.batch) && !waits;
            if !ready && let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.more && self.has_room() {
                // Full of what is not ours: go on, but let others run.
                tokio::task::yield_now().await;
                if cancel.is_cancelled() || out.is_closed() {
                    return Ok(());
                }
                continue;
            }
            let read = !self.more && self.failed.is_none() && self.has_room();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                () = out.closed() => return Ok(()),
                slot = out.reserve(), if ready => {
                    let Ok(slot) = slot else { return Ok(()) };
                    match self.next_batch().await? {
                        Some(batch) if batch.is_empty() => {}
                        Some(batch) => slot.send(Handed::Batch(batch)),
                        None => return Ok(()),
                    }
                }
                filled = fill(&mut self.dump, self.patience), if read => match filled {
                    Ok(()) => self.more = true,
                    Err(error) => self.failed = Some(error),
                },
            }
        }
    }

    /// Whether the batch can take more.
    fn has_room(&self) -> bool {
        let own = self.own.as_ref().map_or(0, BytesMut::len);
        self.consumed < FULL && own < FULL && self.batch.bytes() < self.full()
    }

    /// A batch should leave room for others in the budget.
    fn full(&self) -> usize {
        usize::try_from(self.budget.total() / 4).map_or(FULL, |share| share.clamp(1, FULL))
    }

    /// Decodes what has arrived, until the batch is full.
    fn decode(&mut self) -> Result<()> {
        let decoded = self.decode_events();
        if self.batch.is_empty() {
            // No cell points into them.
            drop(self.dump.split(std::mem::take(&mut self.consumed)));
            self.own = None;
        }
        decoded
    }

    fn decode_events(&mut self) -> Result<()> {
        while self.has_room() {
            if self.payloads.is_empty() && self.decided.is_none() {
                let Some(event) = self.dump.next()? else {
                    self.more = false;
                    return Ok(());
                };
                let end = event.end;
                let (buffer, range) = match &mut self.own {
                    None => (self.dump.buffer(), event),
                    Some(own) => {
                        let start = own.len();
                        own.extend_from_slice(self.dump.buffer().get(event).unwrap_or_default());
                        (&own[..], start..own.len())
                    }
                };
                let then = self.walk.event(buffer, range, From::Log, &mut self.batch)?;
                self.consumed = end;
                self.take(then);
            } else {
                self.decode_within()?;
            }
        }
        Ok(())
    }

    /// Decodes the next event that lies within another, or was kept aside.
    fn decode_within(&mut self) -> Result<()> {
        if self.own.is_none() {
            let pointed_to = if self.batch.is_empty() { 0 } else { self.consumed };
            self.own = Some(BytesMut::from(self.dump.buffer().get(..pointed_to).unwrap_or_default()));
        }
        let Some(own) = &mut self.own else { return Ok(()) };
        let found = if let Some(payload) = self.payloads.last_mut() {
            let found = payload.next(own)?;
            if found.is_none() {
                self.payloads.pop();
            }
            found
        } else if let Some(events) = &mut self.decided {
            let found = events.next(own);
            if found.is_none() {
                self.decided = None;
                self.walk.decided(&mut self.batch)?;
            }
            found
        } else {
            None
        };
        if let Some(range) = found {
            let then = self.walk.event(own, range, From::Within, &mut self.batch)?;
            self.take(then);
        }
        Ok(())
    }

    fn take(&mut self, then: Then) {
        match then {
            Then::Next => {}
            Then::Unpack(payload) => self.payloads.push(payload),
            Then::Decide(events) => self.decided = Some(events),
        }
    }

    /// The batch, once the budget has room for it; `None` if it is not wanted
    /// any more.
    async fn next_batch(&mut self) -> Result<Option<Batch>> {
        self.walk.settle(&mut self.batch);
        self.walk.handed_over();
        let (batch, consumed) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.consumed));
        let native = self.dump.split(consumed);
        let native = self.own.take().map_or(native, BytesMut::freeze);
        let (budget, cancel, out) = (self.budget.clone(), self.cancel.clone(), self.out.clone());
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(None),
            () = out.closed() => return Ok(None),
            permit = budget.acquire(batch.bytes().max(native.len())) => permit,
        };
        let batch = batch.finish(native, Arc::clone(&ENCODING), Some(permit))?;
        self.poller.handed_over(self.walk.file());
        Ok(Some(batch))
    }
}

/// Waits for more of the log. A server that was asked for heartbeats and sends
/// nothing is gone.
async fn fill(dump: &mut Dump, patience: Duration) -> Result<()> {
    match tokio::time::timeout(patience, dump.fill()).await {
        Ok(filled) => filled.map(|_| ()),
        Err(_) => Err(Error::new(
            ErrorKind::Connection,
            "the server has sent nothing for too long, though it was asked for heartbeats: the connection is lost",
        )),
    }
}
