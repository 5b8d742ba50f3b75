//! How far the stream is behind the end of the log.
//!
//! What the log itself tells of its end is only how far the server has
//! *decoded*. So the server is asked, over a connection of its own: nobody
//! waits for the answer, and nothing but the display depends on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use zdm_core::connect::Head;

use crate::config::PgConfig;
use crate::connect::Control;
use crate::position::Lsn;

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long to leave a server alone that did not answer.
const PAUSE: Duration = Duration::from_secs(10);

/// Keeps the stream's [`Head`].
#[derive(Debug)]
pub(super) struct Gauge {
    head: watch::Sender<Head>,
    end: AtomicU64,
    handed: AtomicU64,
}

impl Gauge {
    pub(super) fn new(from: Lsn) -> (Arc<Self>, watch::Receiver<Head>) {
        let (head, receiver) = watch::channel(Head::default());
        (Arc::new(Self { head, end: AtomicU64::new(0), handed: AtomicU64::new(from.0) }), receiver)
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
        self.end.fetch_max(position.0, Ordering::Relaxed);
        self.publish();
    }

    fn publish(&self) {
        let (end, handed) = (self.end.load(Ordering::Relaxed), self.handed.load(Ordering::Relaxed));
        let now = Head { position: Some(Lsn(end).into()), bytes_behind: end.saturating_sub(handed) };
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
    pub(super) fn start(config: Arc<PgConfig>, control: Control, gauge: Arc<Gauge>) -> Self {
        Self(tokio::spawn(async move {
            let mut control = Some(control);
            loop {
                let session = match control.take() {
                    Some(session) => session,
                    None => match Control::connect(&config, "head").await {
                        Ok(session) => session,
                        Err(error) => {
                            tracing::debug!(%error, "cannot ask for the end of the log");
                            tokio::time::sleep(PAUSE).await;
                            continue;
                        }
                    },
                };
                if let Some(end) = ask(&session).await {
                    gauge.log_ends(end);
                    control = Some(session);
                    tokio::time::sleep(INTERVAL).await;
                } else {
                    tokio::time::sleep(PAUSE).await;
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

async fn ask(control: &Control) -> Option<Lsn> {
    let statement = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                                 ELSE pg_catalog.pg_current_wal_flush_lsn() END::text";
    let row = control.query_one(statement, &[]).await.ok()?;
    row.try_get::<_, Option<&str>>(0).ok()??.parse().ok()
}
