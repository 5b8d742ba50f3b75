//! A session that is silent though an answer is due: does the server still
//! work on it?
//!
//! A statement may rightly take hours, so no time limit fits. But a server
//! that hangs, a host that vanished, or somebody in between who swallows what
//! is said would be waited for without end; TCP's own probes see none of that
//! where a proxy answers them. So, after
//! [`answer_timeout`](PgConfig::answer_timeout) without a byte, the server is
//! asked over a connection of its own what the session's process does. It is
//! waited for as long as it works.
//! <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW>

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::SimpleQueryMessage;
use zdm_core::{ErrorKind, Result};

use super::Control;
use super::aside::Aside;
use super::pulse::{Moved, Pulse, Turn};
use crate::config::PgConfig;
use crate::error::OrPg;

/// How many looks in a row must find a session lost: the first may have come
/// between the server's answer and its way here.
const LOOKS: u32 = 3;

/// A server's process, as it shows itself.
#[derive(Debug)]
struct Backend {
    state: String,
    waits_for: String,
}

/// Ends the session's driver, and so with a lost connection whatever waits for
/// an answer, as soon as the server no longer works on one.
pub(super) async fn watch(config: PgConfig, process: i32, pulse: Pulse, aside: Aside, driver: AbortHandle) {
    let owes = || pulse.now().turn != Turn::Idle && !aside.is_paused();
    let moved = lost(&pulse, owes, config.answer_timeout(), process, || look(&config, process)).await;
    tracing::warn!(
        server = %config, process, seconds = moved.at.elapsed().as_secs(), looks = pulse.looks(),
        "the server owes an answer and does not work on it: the connection is given up"
    );
    driver.abort();
}

/// Waits until the session is lost. `owes` tells whether the server is to speak
/// and somebody listens.
async fn lost<F>(
    pulse: &Pulse,
    owes: impl Fn() -> bool,
    patience: Duration,
    process: i32,
    look: impl Fn() -> F,
) -> Moved
where
    F: Future<Output = Result<Option<Backend>>>,
{
    let (mut asked, mut looks) = (Instant::now(), 0);
    loop {
        let wait = if looks == 0 { patience } else { patience / 4 };
        sleep_until(pulse.now().at.max(asked) + wait).await;
        let moved = pulse.now();
        if !owes() || moved.at.elapsed() < wait {
            (asked, looks) = (Instant::now(), 0);
            continue;
        }
        let lost = match look().await {
            Ok(backend) => {
                tracing::debug!(process, turn = ?moved.turn, ?backend, "the server owes an answer: what it does");
                is_lost(&moved, backend.as_ref())
            }
            Err(error) => {
                tracing::debug!(process, %error, "cannot ask what the server does, which owes an answer");
                // One that refuses a session more is there, and has not lost this one.
                matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout)
            }
        };
        asked = Instant::now();
        looks = if lost && pulse.now().at == moved.at { looks + 1 } else { 0 };
        pulse.looked();
        if looks == LOOKS {
            return moved;
        }
    }
}

/// Whether the server has answered, or was never asked, for all it knows.
fn is_lost(moved: &Moved, backend: Option<&Backend>) -> bool {
    match backend {
        None => true,
        Some(backend) if backend.state.starts_with("idle") => true,
        // It waits for us: for the next rows of a COPY, or for what was
        // swallowed.
        Some(backend) if backend.waits_for == "ClientRead" => moved.turn == Turn::Asked || moved.stuck,
        Some(_) => false,
    }
}

/// What the process does; `None` when there is none.
async fn look(config: &PgConfig, process: i32) -> Result<Option<Backend>> {
    let sql = format!("SELECT state, wait_event FROM pg_catalog.pg_stat_activity WHERE pid = {process}");
    let ask = async {
        let session = Control::open(config, "watch").await?;
        session.simple_query(&sql).await.during("connect.watch")
    };
    // Logging in has the same limit; this is for the answer.
    let limit = config.connect_timeout() * 2;
    let rows = tokio::time::timeout(limit, ask).await.map_err(|_| {
        zdm_core::Error::new(ErrorKind::Timeout, "the server did not say what a session does")
    })??;
    Ok(rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let text = |at: usize| row.get(at).unwrap_or_default().to_owned();
            Some(Backend { state: text(0), waits_for: text(1) })
        }
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use zdm_core::Error;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn backend(state: &str, waits_for: &str) -> Option<Backend> {
        Some(Backend { state: state.to_owned(), waits_for: waits_for.to_owned() })
    }

    /// How long a session in that turn is waited for, ten and a half times the
    /// patience at most, and how often it is looked at.
    async fn given_up(
        turn: Turn,
        look: impl Fn(u64) -> Result<Option<Backend>> + Send + Sync,
    ) -> (Option<Duration>, u64) {
        let (pulse, began, looks) = (Pulse::new(turn), Instant::now(), AtomicU64::new(0));
        let looked = || {
            let found = look(looks.fetch_add(1, Ordering::Relaxed));
            async { found }
        };
        let lost =
            tokio::time::timeout(PATIENCE * 21 / 2, lost(&pulse, || turn != Turn::Idle, PATIENCE, 7, looked))
                .await;
        (lost.ok().map(|_| began.elapsed()), pulse.looks())
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_waited_for_as_long_as_the_server_works_on_it() {
        let works = |_| Ok(backend("active", "DataFileRead"));
        assert_eq!(given_up(Turn::Asked, works).await, (None, 10));
        let waits_for_rows = |_| Ok(backend("active", "ClientRead"));
        assert_eq!(given_up(Turn::Asking, waits_for_rows).await, (None, 10));
        let refuses = |_| Err(Error::new(ErrorKind::Rejected, "too many clients"));
        assert_eq!(given_up(Turn::Asked, refuses).await, (None, 10));
        // Nothing is owed: it is not even looked at.
        assert_eq!(given_up(Turn::Idle, |_| Ok(None)).await, (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_three_looks_in_a_row_find_lost_is_given_up() {
        let soon = Some(PATIENCE + PATIENCE / 4 * 2);
        for state in ["idle", "idle in transaction"] {
            assert_eq!(given_up(Turn::Asked, |_| Ok(backend(state, "ClientRead"))).await, (soon, 3));
        }
        assert_eq!(given_up(Turn::Asking, |_| Ok(None)).await, (soon, 3));
        assert_eq!(given_up(Turn::Asked, |_| Ok(backend("active", "ClientRead"))).await, (soon, 3));
        let gone = |_| Err(Error::new(ErrorKind::Connection, "refused"));
        assert_eq!(given_up(Turn::Asked, gone).await, (soon, 3));
        // One that finds it at work starts the count anew.
        let again = |look| Ok(if look == 2 { backend("active", "") } else { None });
        let later = soon.map(|soon| soon + soon);
        assert_eq!(given_up(Turn::Asked, again).await, (later, 6));
    }
}
