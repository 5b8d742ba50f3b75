//! How far the stream is behind the end of the log.
//!
//! What the log itself tells of its end is only how far the server has
//! *decoded*. So the server is asked, over a connection of its own: nobody
//! waits for the answer. Until it has come once, [`Head::position`] is unknown:
//! how far we have read says nothing of how much there is, and who goes by the
//! end of the log would stop at the first commit of a backlog.
//!
//! The same session looks after the slot: how much more the log may grow until
//! the server gives the slot up is the metric `zdm_slot_runway_bytes`, where
//! there is such a bound, and that it may do so at any time is a warning.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use zdm_core::Result;
use zdm_core::connect::Head;

use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;
use crate::position::Lsn;
use crate::snapshot::point;

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long to leave a server alone that did not answer.
const PAUSE: Duration = Duration::from_secs(10);

/// Keeps the stream's [`Head`].
#[derive(Debug)]
pub(super) struct Gauge {
    head: watch::Sender<Head>,
    /// Zero until the server was asked.
    end: AtomicU64,
    /// Where the stream began.
    from: Lsn,
    handed: AtomicU64,
}

impl Gauge {
    pub(super) fn new(from: Lsn) -> (Arc<Self>, watch::Receiver<Head>) {
        let (head, receiver) = watch::channel(Head::default());
        (Arc::new(Self { head, end: AtomicU64::new(0), from, handed: AtomicU64::new(from.0) }), receiver)
    }

    /// The log is known to reach up to here.
    pub(super) fn log_ends(&self, end: Lsn) {
        if self.end.fetch_max(end.0, Ordering::Relaxed) < end.0 {
            self.publish();
        }
    }

    /// Everything up to here was handed over.
    pub(super) fn handed_over(&self, position: Lsn) {
        self.handed.store(position.0, Ordering::Relaxed);
        self.publish();
    }

    fn publish(&self) {
        let (end, handed) = (self.end.load(Ordering::Relaxed), self.handed.load(Ordering::Relaxed));
        if end == 0 {
            return;
        }
        let end = end.max(handed);
        let now = Head {
            position: Some(Lsn(end).into()),
            bytes_behind: end.saturating_sub(handed),
            bytes_read: Some(handed.saturating_sub(self.from.0)),
        };
        self.head.send_if_modified(|head| {
            let modified = *head != now;
            *head = now;
            modified
        });
    }
}

/// Asks the server for the end of its log until it is dropped.
#[derive(Debug)]
pub(super) struct Poller(JoinHandle<()>);

impl Poller {
    pub(super) fn start(config: Arc<PgConfig>, control: Control, gauge: Arc<Gauge>, slot: String) -> Self {
        Self(tokio::spawn(async move {
            let mut control = Some(control);
            let mut known = false;
            let mut runway = Runway { slot, warned: false };
            loop {
                let session = match control.take() {
                    Some(session) => session,
                    None => match Control::connect(&config, "head").await {
                        Ok(session) => session,
                        Err(error) => {
                            tracing::debug!(%error, "cannot ask for the end of the log");
                            tokio::time::sleep(if known { PAUSE } else { INTERVAL }).await;
                            continue;
                        }
                    },
                };
                let asked = async {
                    let end = ask(&session, known).await?;
                    runway.look(&session).await.map(|()| end)
                };
                match asked.await {
                    Ok(end) => {
                        gauge.log_ends(end);
                        known = true;
                        control = Some(session);
                        tokio::time::sleep(INTERVAL).await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot ask for the end of the log");
                        // Somebody may wait for the first answer.
                        tokio::time::sleep(if known { PAUSE } else { INTERVAL }).await;
                    }
                }
            }
        }))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The end of the log. The first one may be somebody's goal: it is seen to that
/// it is flushed, so that the stream reaches it though nothing more is written.
async fn ask(control: &Control, known: bool) -> Result<Lsn> {
    let row = control.query_one(&format!("SELECT {}", point::END), &[]).await.during("changes.head")?;
    let end = point::end(&row)?;
    if !known {
        point::flushed(control, end).await?;
    }
    Ok(end)
}

/// How long the server will keep the slot.
#[derive(Debug)]
struct Runway {
    slot: String,
    warned: bool,
}

impl Runway {
    async fn look(&mut self, control: &Control) -> Result<()> {
        // What tells came with 13.
        if control.server_version_num() < 130_000 {
            return Ok(());
        }
        let sql =
            "SELECT wal_status, safe_wal_size FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        let Some(row) = control.query_opt(sql, &[&self.slot]).await.during("changes.runway")? else {
            return Ok(());
        };
        let status: Option<&str> = row.try_get(0).during("changes.runway")?;
        let safe: Option<i64> = row.try_get(1).during("changes.runway")?;
        if let Some(safe) = safe {
            metrics::gauge!("zdm_slot_runway_bytes", "slot" => self.slot.clone()).set(safe as f64);
        }
        let endangered = status == Some("unreserved");
        if endangered && !self.warned {
            tracing::warn!(
                slot = self.slot,
                "the server keeps more log for the slot than max_slot_wal_keep_size, and may give it up at the next \
                 checkpoint: raise that, or let the target be faster"
            );
        }
        self.warned = endangered;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_unknown_until_the_server_was_asked() {
        let (gauge, head) = Gauge::new(Lsn(10));
        gauge.handed_over(Lsn(20));
        assert_eq!(*head.borrow(), Head::default(), "a commit is not the end of the log");
        gauge.log_ends(Lsn(100));
        let told = |end, bytes_behind, read| Head {
            position: Some(Lsn(end).into()),
            bytes_behind,
            bytes_read: Some(read),
        };
        assert_eq!(*head.borrow(), told(100, 80, 10));
        gauge.handed_over(Lsn(120));
        assert_eq!(*head.borrow(), told(120, 0, 110));
    }
}
