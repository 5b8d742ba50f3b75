//! A stream of changes that is open.
//!
//! One task owns the socket and does four things, none of which waits for
//! another: it reads, it hands batches over, it takes acknowledgements, and it
//! reports to the server on its own clock. A consumer that is slow, or a
//! budget that is used up, stops the reading and nothing else; the server goes
//! on hearing from us and does not give up.
//!
//! A batch is what has arrived when the consumer is ready for it, up to a
//! limit. Bytes stay in the read buffer until then, since the batch's cells
//! point into them; or in the block of the spool in which they lie, while a
//! streamed transaction is read back.

mod reading;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Assembler, Batch, Budget};
use zdm_core::connect::{Ack, Changes, StreamOptions};
use zdm_core::spool::Spool;
use zdm_core::{Error, ErrorKind, Position, Result};

use self::reading::Replay;
use super::decoder::Decoder;
use super::gauge::{Gauge, Poller};
use super::silence::Silence;
use super::{lookup, names, slot};
use crate::config::PgConfig;
use crate::connect::Control;
use crate::connect::quote::quote_ident;
use crate::position::Lsn;
use crate::types::ENCODING;
use crate::wire::{Connection, CopyBoth};

/// Bytes at which a batch is full.
const FULL: usize = 1 << 20;
/// Acknowledgements are reported no more often than this.
const SELDOM: Duration = Duration::from_secs(1);
/// How long an ended stream waits for the last acknowledgement,
const LAST_ACK: Duration = Duration::from_secs(30);
/// and once nobody holds the stream any more.
const ABANDONED: Duration = Duration::from_secs(2);
/// How long the server may take to end the stream.
const GOODBYE: Duration = Duration::from_secs(5);
/// The first version that streams transactions while they run.
const STREAMS: u32 = 140_000;

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
/// `Gap` when changes behind that point are lost; `Conflict` when another
/// reader has the slot; those of connecting.
pub(crate) async fn open(config: &Arc<PgConfig>, options: StreamOptions) -> Result<Changes> {
    let from = Lsn::of(&options.from)?;
    slot::check(config, &options.run, &options.schema, &options.from).await?;
    let (slot, publication) = (names::slot(config, &options.run), names::publication(config, &options.run));
    let control = Control::connect(config, "catalog").await?;
    let newest = lookup::next_transaction(&control).await?;
    let mut decoder = Decoder::new(&options.schema, from, newest, Spool::new(options.spool));
    let tables: Vec<u32> = options.schema.tables.iter().map(|table| table.origin.id).collect();
    decoder.learn(lookup::partitions(&control, &publication, &tables, decoder.wanted().clone()).await?);

    let mut connection = Connection::connect(config, "changes").await?;
    let patience = patience(&mut connection).await?;
    let configured = config.status_interval();
    let interval = if patience.is_zero() { configured } else { configured.min(patience / 3) };
    let pid = connection.process_id();
    let name = quote_ident(&publication);
    let streaming = config.streaming() && control.server_version_num() >= STREAMS;
    let plugin: &[(&str, &str)] = if streaming {
        &[("proto_version", "2"), ("streaming", "on"), ("publication_names", &name)]
    } else {
        &[("proto_version", "1"), ("publication_names", &name)]
    };
    // It waits for nobody, and over this connection nobody can look at it.
    let start = connection.start_replication(&slot, from, plugin);
    let copy = tokio::time::timeout(config.answer_timeout(), start)
        .await
        .map_err(|_| Error::new(ErrorKind::Timeout, "the server did not begin the stream in time"))??;
    slot::check_started(&control, &slot, pid, from).await?;

    let (ack, acks) = Ack::new();
    let (out, handed) = mpsc::channel(1);
    let (gauge, head) = Gauge::new(from);
    let poller = Poller::start(Arc::clone(config), control, Arc::clone(&gauge), slot);
    let task = Task {
        copy,
        consumed: 0,
        native: None,
        replay: None,
        more: true,
        hand_over: false,
        unflushed: false,
        decoder,
        batch: Assembler::new(),
        failed: None,
        received: from,
        handed: from,
        acked: None,
        acks,
        silence: Silence::new(patience, Instant::now()),
        clock: Clock { interval, last: Instant::now(), due: Instant::now() },
        out,
        gauge,
        _poller: poller,
        budget: options.budget,
        cancel: options.cancel,
        config: Arc::clone(config),
        publication,
        tables,
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

/// How long the server waits to hear from us before it gives up on us; zero
/// is for ever.
async fn patience<S>(connection: &mut Connection<S>) -> Result<Duration>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let statement = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
    let rows = connection.query(statement).await?;
    let millis = rows.first().and_then(|row| row.get(0)?.parse().ok()).unwrap_or(0);
    Ok(Duration::from_millis(millis))
}

/// When the server hears from us next.
#[derive(Debug)]
struct Clock {
    interval: Duration,
    last: Instant,
    due: Instant,
}

impl Clock {
    fn told(&mut self) {
        self.last = Instant::now();
        self.due = self.last + self.interval;
    }

    /// There is news that can wait a little, lest each commit be reported.
    fn soon(&mut self) {
        self.due = self.due.min(self.last + SELDOM);
    }

    fn now(&mut self) {
        self.due = Instant::now();
    }
}

#[derive(Debug)]
struct Task {
    copy: CopyBoth,
    /// Bytes of the read buffer that are decoded, and not yet handed over.
    consumed: usize,
    /// Where the batch's cells lie, if not in the read buffer.
    native: Option<Bytes>,
    /// The streamed transaction that is being read back.
    replay: Option<Replay>,
    /// There may be whole frames behind `consumed`.
    more: bool,
    /// What comes next lies elsewhere: first the batch must go.
    hand_over: bool,
    /// A status waits to be written.
    unflushed: bool,
    decoder: Decoder,
    batch: Assembler,
    /// Why nothing more can be read: told when what came before is handed over.
    failed: Option<Error>,
    /// How far the server has sent.
    received: Lsn,
    /// How far the consumer was told.
    handed: Lsn,
    acked: Option<Lsn>,
    acks: watch::Receiver<Option<Position>>,
    silence: Silence,
    clock: Clock,
    out: mpsc::Sender<Handed>,
    gauge: Arc<Gauge>,
    _poller: Poller,
    budget: Budget,
    cancel: CancellationToken,
    config: Arc<PgConfig>,
    publication: String,
    tables: Vec<u32>,
}

/// Why the task stops following.
enum Stop {
    /// The token was cancelled, or nobody holds the stream.
    Wanted,
    Failed(Error),
}

impl Task {
    async fn run(mut self) {
        match self.follow().await {
            Stop::Wanted => self.close(Handed::End).await,
            Stop::Failed(error) if error.kind() == ErrorKind::Connection => {
                let out = self.out.clone();
                drop(self);
                let _ = out.send(Handed::Failed(error)).await;
            }
            Stop::Failed(error) => self.close(Handed::Failed(error)).await,
        }
    }

    async fn follow(&mut self) -> Stop {
        let (out, cancel) = (self.out.clone(), self.cancel.clone());
        loop {
            if self.more
                && self.has_room()
                && let Err(error) = self.decode().await
            {
                self.failed = Some(error);
                self.more = false;
            }
            let ready = self.decoder.has_news(&self.batch);
            if !ready && let Some(error) = self.failed.take() {
                return Stop::Failed(error);
            }
            if self.more && self.has_room() {
                // Full of what is not ours: go on, but let others run.
                tokio::task::yield_now().await;
                if cancel.is_cancelled() || out.is_closed() {
                    return Stop::Wanted;
                }
                continue;
            }
            let read = !self.more && self.failed.is_none() && self.has_room();
            if !read {
                self.silence.heard(Instant::now());
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Stop::Wanted,
                () = out.closed() => return Stop::Wanted,
                Ok(()) = self.acks.changed() => {
                    if let Err(error) = self.acknowledge() {
                        return Stop::Failed(error);
                    }
                    self.clock.soon();
                }
                () = tokio::time::sleep_until(self.clock.due) => self.report(false),
                () = tokio::time::sleep_until(self.silence.due()), if read => {
                    if let Err(error) = self.silence.passed() {
                        return Stop::Failed(error);
                    }
                    self.report(true);
                }
                slot = out.reserve(), if ready => {
                    let Ok(slot) = slot else { return Stop::Wanted };
                    match self.next_batch().await {
                        Ok(Some(batch)) => slot.send(Handed::Batch(batch)),
                        Ok(None) => return Stop::Wanted,
                        Err(error) => return Stop::Failed(error),
                    }
                    self.gauge.handed_over(self.handed);
                }
                turn = turn(&mut self.copy, read, self.unflushed) => match turn {
                    Ok(Turn::Read) => {
                        self.more = true;
                        self.unflushed = false;
                        self.silence.heard(Instant::now());
                    }
                    Ok(Turn::Wrote) => self.unflushed = false,
                    Err(error) => {
                        self.unflushed = false;
                        self.failed = Some(error);
                    }
                },
            }
        }
    }

    /// The batch, once the budget has room for it; `None` if it is not wanted
    /// any more.
    async fn next_batch(&mut self) -> Result<Option<Batch>> {
        self.decoder.settle(&mut self.batch);
        let (batch, consumed) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.consumed));
        let budget = self.budget.clone();
        let permit = budget.acquire(batch.bytes().max(consumed));
        let Some(permit) = self.meanwhile(permit).await? else { return Ok(None) };
        self.hand_over = false;
        let native = match self.native.take() {
            Some(kept) => kept,
            None => self.copy.split(consumed),
        };
        let batch = batch.finish(native, Arc::clone(&ENCODING), Some(permit))?;
        if let Some(last) = batch.items().iter().rev().find_map(|item| item.position()) {
            self.handed = Lsn::of(last)?;
        }
        Ok(Some(batch))
    }

    /// Waits for somebody else, and goes on hearing acknowledgements and
    /// reporting; `None` if nothing is wanted any more.
    async fn meanwhile<T: Send>(&mut self, other: impl Future<Output = T> + Send) -> Result<Option<T>> {
        let (cancel, out) = (self.cancel.clone(), self.out.clone());
        tokio::pin!(other);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(None),
                () = out.closed() => return Ok(None),
                Ok(()) = self.acks.changed() => {
                    self.acknowledge()?;
                    self.clock.soon();
                }
                () = tokio::time::sleep_until(self.clock.due) => self.report(false),
                done = &mut other => {
                    // Nobody listened.
                    self.silence.heard(Instant::now());
                    return Ok(Some(done));
                }
                turn = turn(&mut self.copy, false, self.unflushed) => {
                    self.unflushed = false;
                    // A connection that broke is noticed by the next read.
                    let _ = turn;
                }
            }
        }
    }

    /// Takes the newest acknowledgement.
    fn acknowledge(&mut self) -> Result<()> {
        let Some(durable) = self.acks.borrow_and_update().as_ref().map(Lsn::of).transpose()? else {
            return Ok(());
        };
        if durable > self.handed {
            return Err(Error::new(
                ErrorKind::Other,
                "a position was acknowledged that this stream has not handed over: the server would drop \
                 changes that nobody has",
            )
            .with("acknowledged", durable)
            .with("handed_over", self.handed));
        }
        // The newest wins; a server before 18 would follow us back.
        self.acked = self.acked.max(Some(durable));
        Ok(())
    }

    /// Tells the server how far we are, with the next turn of the socket, and
    /// asks it for an answer or not.
    fn report(&mut self, answer: bool) {
        // Zero says nothing about what is durable: nothing was acknowledged yet.
        let acked = self.acked.unwrap_or_default();
        self.copy.queue_status(self.received, acked, acked, answer);
        self.unflushed = true;
        self.clock.told();
    }

    /// Ends the stream towards both sides. The consumer may still make durable
    /// what it has, so the last word is waited for.
    async fn close(mut self, last: Handed) {
        let (out, mut last) = (self.out.clone(), Some(last));
        let mut until = Instant::now() + LAST_ACK;
        let mut held = true;
        loop {
            tokio::select! {
                biased;
                changed = self.acks.changed() => {
                    if changed.is_err() || self.acknowledge().is_err() {
                        break;
                    }
                    self.report(false);
                }
                () = tokio::time::sleep_until(until) => break,
                () = out.closed(), if held => {
                    held = false;
                    last = None;
                    until = until.min(Instant::now() + ABANDONED);
                }
                slot = out.reserve(), if last.is_some() => {
                    if let (Ok(slot), Some(last)) = (slot, last.take()) {
                        slot.send(last);
                    }
                }
                () = tokio::time::sleep_until(self.clock.due) => self.report(false),
                turn = turn(&mut self.copy, false, self.unflushed) => {
                    self.unflushed = false;
                    if turn.is_err() {
                        break;
                    }
                }
            }
        }
        // What came between the last change and the drop of the last handle.
        if self.acknowledge().is_ok() && self.acked.is_some() {
            self.report(false);
        }
        if let Err(error) = self.copy.finish(GOODBYE).await {
            tracing::debug!(%error, "the replication stream did not end in good order");
        }
        // Nobody has taken it yet: it is still owed.
        if let Some(last) = last {
            let _ = out.send(last).await;
        }
    }
}

/// What the socket did.
enum Turn {
    Read,
    Wrote,
}

/// One turn of the socket: reading, which writes as well, or only writing.
/// Cancel-safe.
async fn turn(copy: &mut CopyBoth, read: bool, write: bool) -> Result<Turn> {
    if read {
        copy.fill().await.map(|_| Turn::Read)
    } else if write {
        copy.flush().await.map(|()| Turn::Wrote)
    } else {
        std::future::pending().await
    }
}
