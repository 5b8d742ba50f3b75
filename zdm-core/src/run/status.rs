//! What can be watched of a run: one value that is always true, and the
//! metrics that follow it.
//!
//! Metrics, each with the label `run`:
//!
//! | name | kind | unit |
//! |---|---|---|
//! | `zdm_rows_copied_total` | counter | rows of the initial copy |
//! | `zdm_bytes_copied_total` | counter | bytes of the initial copy, as read |
//! | `zdm_changes_applied_total` | counter | changes of the stream |
//! | `zdm_transactions_applied_total` | counter | target transactions of the stream |
//! | `zdm_chunks_done` | gauge | chunks of the initial copy |
//! | `zdm_chunks_planned` | gauge | chunks of the initial copy |
//! | `zdm_lag_bytes` | gauge | bytes of the source's log |
//! | `zdm_lag_seconds` | gauge | seconds since the last applied commit, 0 when idle |
//! | `zdm_retries_total` | counter | attempts after an error |
//! | `zdm_verified_rows` | gauge | rows that the last verification has compared |
//! | `zdm_differences` | gauge | rows that it has found to differ |

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::watch;

use crate::change::DateTime;
use crate::connect::{ChunkRecord, Head, Phase, RunName};
use crate::schema::{Schema, TableName};
use crate::{Error, Position};

/// How far a run is. A snapshot: subscribe for the next one.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The run.
    pub run: RunName,
    /// Where it stands; `None` before the first contact with its checkpoint.
    pub phase: Option<Phase>,
    /// What it is doing or waiting for, in words.
    pub doing: String,
    /// The copy of each table, by its name at the source.
    pub tables: BTreeMap<String, TableStatus>,
    /// Rows copied, by all starts of the run: those that the target has
    /// committed.
    pub rows_copied: u64,
    /// The same, with the rows of chunks under way that were handed to the
    /// target and may come again. Falls back to `rows_copied` with an attempt.
    pub rows_written: u64,
    /// Bytes copied by this start, as they were read.
    pub bytes_copied: u64,
    /// Changes applied from the stream, by all starts of the run.
    pub changes_applied: u64,
    /// Everything up to here is durable in the target.
    pub position: Option<Position>,
    /// Bytes of the source's log not yet read, as the source says it, whether
    /// anything is applied meanwhile or not.
    pub lag_bytes: u64,
    /// Age of the last applied commit while there is more to apply; zero when
    /// all that was received is applied.
    pub lag: Duration,
    /// When the copy will be done, if it goes on as it did since this start.
    /// `None` until there is something to go by.
    pub eta: Option<Duration>,
    /// Attempts of this process after errors.
    pub retries: u64,
    /// The error of the last attempt that failed.
    pub last_error: Option<String>,
    /// The last verification of this process, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyStatus>,
}

/// How far a verification is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyStatus {
    /// Parts that both sides were divided into.
    pub parts: u64,
    /// Parts that are compared, and whatever differed in them is settled.
    pub parts_done: u64,
    /// Rows of these parts.
    pub rows: u64,
    /// Rows that differ.
    pub differences: u64,
    /// Rows that never rested.
    pub unsettled: u64,
}

/// How far the copy of one table is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableStatus {
    /// Rows that the target has committed.
    pub rows_copied: u64,
    /// The same, with those of chunks under way.
    pub rows_written: u64,
    /// Rows of the table, as the source estimates them.
    pub rows_estimated: u64,
    /// Bytes of the table, as the source estimates them.
    pub bytes_estimated: u64,
    /// Chunks that are in the target.
    pub chunks_done: u32,
    /// Chunks of its plan; 0 before it is planned.
    pub chunks: u32,
}

impl TableStatus {
    /// The part that is done, from 0 to 1.
    fn done(&self) -> f64 {
        if self.chunks == 0 { 0.0 } else { f64::from(self.chunks_done) / f64::from(self.chunks) }
    }
}

/// The writing end of a [`Status`].
#[derive(Debug, Clone)]
pub(crate) struct StatusHandle {
    sender: watch::Sender<Status>,
    run: String,
}

/// Where the copy stood when this start began, to tell its speed from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CopyClock {
    began: Instant,
    done_before: f64,
}

impl StatusHandle {
    pub(crate) fn new(run: RunName) -> Self {
        let label = run.to_string();
        let status = Status {
            run,
            phase: None,
            doing: "starting".to_owned(),
            tables: BTreeMap::new(),
            rows_copied: 0,
            rows_written: 0,
            bytes_copied: 0,
            changes_applied: 0,
            position: None,
            lag_bytes: 0,
            lag: Duration::ZERO,
            eta: None,
            retries: 0,
            last_error: None,
            verify: None,
        };
        Self { sender: watch::Sender::new(status), run: label }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Status> {
        self.sender.subscribe()
    }

    pub(crate) fn phase(&self, phase: Phase, doing: impl Into<String>) {
        let doing = doing.into();
        tracing::info!(run = %self.run, phase = %phase, doing = %doing, "phase");
        self.sender.send_modify(|status| {
            status.phase = Some(phase);
            status.doing = doing;
        });
    }

    pub(crate) fn restored(&self, rows_copied: u64, changes_applied: u64, position: Option<Position>) {
        self.sender.send_modify(|status| {
            status.rows_copied = rows_copied;
            status.rows_written = rows_copied;
            status.changes_applied = changes_applied;
            status.position = position;
        });
    }

    /// The tables and the chunks that are planned and done.
    pub(crate) fn chunks(&self, schema: &Schema, chunks: &[ChunkRecord]) -> CopyClock {
        let mut tables: BTreeMap<String, TableStatus> = schema
            .tables
            .iter()
            .map(|table| {
                let status = TableStatus {
                    rows_estimated: table.estimated_rows,
                    bytes_estimated: table.estimated_bytes,
                    ..TableStatus::default()
                };
                (table.origin.name.to_string(), status)
            })
            .collect();
        for chunk in chunks {
            let table = tables.entry(chunk.id.table.to_string()).or_default();
            table.chunks += 1;
            if let Some(done) = &chunk.done {
                table.chunks_done += 1;
                table.rows_copied += done.rows;
                table.rows_written += done.rows;
            }
        }
        let clock = CopyClock { began: Instant::now(), done_before: weighted(&tables) };
        self.sender.send_modify(|status| {
            status.tables = tables;
            // What an attempt before had under way is not there.
            status.rows_written = status.rows_copied;
        });
        self.chunk_gauges();
        clock
    }

    /// Rows of a chunk under way were handed to the target.
    pub(crate) fn copied_batch(&self, table: &TableName, rows: u64, bytes: usize) {
        metrics::counter!("zdm_bytes_copied_total", "run" => self.run.clone()).increment(bytes as u64);
        self.sender.send_modify(|status| {
            status.bytes_copied += bytes as u64;
            status.rows_written += rows;
            if let Some(table) = status.tables.get_mut(&table.to_string()) {
                table.rows_written += rows;
            }
        });
    }

    pub(crate) fn chunk_done(&self, table: &TableName, rows: u64, clock: CopyClock) {
        metrics::counter!("zdm_rows_copied_total", "run" => self.run.clone()).increment(rows);
        self.sender.send_modify(|status| {
            status.rows_copied += rows;
            if let Some(table) = status.tables.get_mut(&table.to_string()) {
                table.chunks_done += 1;
                table.rows_copied += rows;
            }
            status.eta = clock.eta(weighted(&status.tables));
        });
        self.chunk_gauges();
    }

    pub(crate) fn applied(
        &self,
        changes: u64,
        position: Position,
        time: Option<DateTime>,
        head: &Head,
        more: bool,
    ) {
        metrics::counter!("zdm_changes_applied_total", "run" => self.run.clone()).increment(changes);
        metrics::counter!("zdm_transactions_applied_total", "run" => self.run.clone()).increment(1);
        let lag = if more { time.and_then(age).unwrap_or_default() } else { Duration::ZERO };
        self.sender.send_modify(|status| {
            status.changes_applied += changes;
            status.position = Some(position);
            status.lag = lag;
        });
        self.behind(head);
        metrics::gauge!("zdm_lag_seconds", "run" => self.run.clone()).set(lag.as_secs_f64());
    }

    /// The end of the log has moved, or what was read of it.
    pub(crate) fn behind(&self, head: &Head) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("zdm_lag_bytes", "run" => self.run.clone()).set(head.bytes_behind as f64);
        self.sender.send_if_modified(|status| {
            let moved = status.lag_bytes != head.bytes_behind;
            status.lag_bytes = head.bytes_behind;
            moved
        });
    }

    pub(crate) fn retrying(&self, error: &Error, delay: Duration) {
        metrics::counter!("zdm_retries_total", "run" => self.run.clone()).increment(1);
        tracing::warn!(run = %self.run, error = %error, delay = ?delay, "trying again");
        self.sender.send_modify(|status| {
            status.retries += 1;
            status.last_error = Some(error.to_string());
            status.doing = "waiting before the next attempt".to_owned();
        });
    }

    /// A verification has come further.
    pub(crate) fn verifying(&self, change: impl FnOnce(&mut VerifyStatus)) {
        self.sender.send_modify(|status| {
            let verify = status.verify.get_or_insert_default();
            change(verify);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            for (name, count) in [("zdm_verified_rows", verify.rows), ("zdm_differences", verify.differences)]
            {
                metrics::gauge!(name, "run" => self.run.clone()).set(count as f64);
            }
        });
    }

    fn chunk_gauges(&self) {
        let status = self.sender.borrow();
        let (mut done, mut planned) = (0.0, 0.0);
        for table in status.tables.values() {
            done += f64::from(table.chunks_done);
            planned += f64::from(table.chunks);
        }
        metrics::gauge!("zdm_chunks_done", "run" => self.run.clone()).set(done);
        metrics::gauge!("zdm_chunks_planned", "run" => self.run.clone()).set(planned);
    }
}

impl CopyClock {
    /// The rest at this start's own speed, once a fiftieth was done by it.
    fn eta(self, done: f64) -> Option<Duration> {
        rest(self.began.elapsed(), self.done_before, done)
    }
}

/// What is left, if `took` went from the part `before` to the part `done`.
fn rest(took: Duration, before: f64, done: f64) -> Option<Duration> {
    let by_us = done - before;
    if by_us < 0.02 || done > 1.0 {
        return None;
    }
    Duration::try_from_secs_f64(took.as_secs_f64() * (1.0 - done) / by_us).ok()
}

/// The part of the copy that is done, each table by its bytes.
fn weighted(tables: &BTreeMap<String, TableStatus>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no last digit")]
    let weight = |table: &TableStatus| table.bytes_estimated.max(1) as f64;
    let whole: f64 = tables.values().map(weight).sum();
    if whole == 0.0 {
        return 1.0;
    }
    tables.values().map(|table| table.done() * weight(table)).sum::<f64>() / whole
}

/// How long ago a commit was, by this machine's clock; the two clocks differ,
/// so it is for people and never decides anything.
fn age(time: DateTime) -> Option<Duration> {
    let since_epoch = Duration::new(u64::try_from(time.seconds).ok()?, time.nanos);
    SystemTime::now().duration_since(UNIX_EPOCH + since_epoch).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{Bounds, ChunkDone, ChunkId};

    /// A chunk shows while it is on its way; one that an attempt before had
    /// under way, or wrote in part, is not counted twice.
    #[test]
    fn rows_show_as_they_are_written_and_count_when_their_chunk_is_done() {
        let name = TableName::new("public", "t");
        let chunk = |number, done: Option<u64>| ChunkRecord {
            id: ChunkId { table: name.clone(), number },
            bounds: Bounds(String::new()),
            done: done.map(|rows| ChunkDone {
                rows,
                after: Position::new(crate::Engine::new("e"), "1"),
                visibility: None,
            }),
        };
        let handle = StatusHandle::new(RunName::default());
        let counts = || {
            let status = handle.subscribe().borrow().clone();
            let table = &status.tables["public.t"];
            let of_table = (table.rows_copied, table.rows_written, table.chunks_done);
            ((status.rows_copied, status.rows_written), of_table)
        };
        handle.restored(100, 0, None);
        handle.chunks(&Schema::default(), &[chunk(0, Some(100)), chunk(1, None)]);
        handle.copied_batch(&name, 30, 1);
        assert_eq!(counts(), ((100, 130), (100, 130, 1)));
        // Another attempt reads it again from its beginning.
        handle.restored(100, 0, None);
        let clock = handle.chunks(&Schema::default(), &[chunk(0, Some(100)), chunk(1, None)]);
        assert_eq!(counts(), ((100, 100), (100, 100, 1)));
        handle.copied_batch(&name, 50, 1);
        handle.chunk_done(&name, 50, clock);
        assert_eq!(counts(), ((150, 150), (150, 150, 2)));
    }

    /// At its own speed: what an earlier start has done took this one no time.
    #[test]
    fn the_rest_takes_as_long_as_this_start_has_shown() {
        for (took, before, done, left) in [
            (60, 0.0, 0.25, Some(180)),
            (60, 0.5, 0.75, Some(60)),
            (60, 0.5, 0.51, None),
            (60, 0.0, 1.0, Some(0)),
            (60, 0.0, 1.01, None),
        ] {
            let told = rest(Duration::from_secs(took), before, done).map(|left| left.as_secs_f64().round());
            assert_eq!(told, left.map(f64::from), "from {before} to {done}");
        }
    }

    #[test]
    fn a_table_weighs_by_its_bytes() {
        let table = |bytes_estimated, chunks_done, chunks| TableStatus {
            bytes_estimated,
            chunks_done,
            chunks,
            ..TableStatus::default()
        };
        let tables = BTreeMap::from([("a".to_owned(), table(900, 1, 2)), ("b".to_owned(), table(100, 1, 1))]);
        assert!((weighted(&tables) - 0.55).abs() < 1e-9);
        assert!((weighted(&BTreeMap::new()) - 1.0).abs() < 1e-9);
    }
}
