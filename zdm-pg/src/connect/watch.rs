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

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::SimpleQueryMessage;
use zdm_core::{ErrorKind, Result};

use super::Control;
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
pub(super) async fn watch(config: PgConfig, process: i32, pulse: Pulse, driver: AbortHandle) {
    let patience = config.answer_timeout();
    let (mut asked, mut looks) = (Instant::now(), 0);
    loop {
        let wait = if looks == 0 { patience } else { patience / 4 };
        sleep_until(pulse.now().at.max(asked) + wait).await;
        let moved = pulse.now();
        if moved.turn == Turn::Idle || moved.at.elapsed() < wait {
            (asked, looks) = (Instant::now(), 0);
            continue;
        }
        let lost = match look(&config, process).await {
            Ok(backend) => is_lost(&moved, backend.as_ref()),
            // One that refuses a session more is there, and has not lost this one.
            Err(error) => matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout),
        };
        asked = Instant::now();
        looks = if lost && pulse.now().at == moved.at { looks + 1 } else { 0 };
        if looks == LOOKS {
            tracing::warn!(
                server = %config, process, seconds = moved.at.elapsed().as_secs(),
                "the server owes an answer and does not work on it: the connection is given up"
            );
            driver.abort();
            return;
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
