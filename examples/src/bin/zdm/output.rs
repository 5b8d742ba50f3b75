//! What is shown: bars on a terminal, plain lines otherwise, JSON on demand.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zdm_core::Error;
use zdm_core::connect::Phase;
use zdm_core::run::Status;

/// How often a line is written where there are no bars.
const INTERVAL: Duration = Duration::from_secs(2);

/// Where all output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Bars, on a terminal.
    Bars,
    /// Lines for people.
    Lines,
    /// A JSON object a line.
    Json,
}

/// The last thing that a run says.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) state: &'static str,
    pub(crate) tables: usize,
    pub(crate) rows_copied: u64,
    pub(crate) changes_applied: u64,
    pub(crate) seconds: f64,
    pub(crate) position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pause_ms: Option<f64>,
    /// Whether both sides were equal at the switch, by its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<&'static str>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Json,
            (false, true) => Self::Bars,
            (false, false) => Self::Lines,
        }
    }

    /// One event: an object with `event`, or the line for people.
    pub(crate) fn say(self, event: &str, object: Value, line: impl AsRef<str>) {
        let mut out = std::io::stdout().lock();
        // A reader that has gone away is no reason to end a migration.
        let _ = match self {
            Self::Json => {
                let mut whole = json!({ "event": event });
                if let (Some(whole), Value::Object(object)) = (whole.as_object_mut(), object) {
                    whole.extend(object);
                }
                writeln!(out, "{whole}")
            }
            Self::Bars | Self::Lines => writeln!(out, "{}", line.as_ref()),
        };
        let _ = out.flush();
    }

    pub(crate) fn error(self, error: &Error) {
        if self == Self::Json {
            let object = json!({ "kind": error.kind().to_string(), "message": error.to_string() });
            self.say("error", object, "");
        } else {
            eprintln!("error: {error}");
        }
    }

    pub(crate) fn summary(self, summary: &Summary) {
        let mut line = format!(
            "{}: {} tables, {} rows copied, {} changes applied in {:.1} s",
            summary.state.replace('_', " "),
            summary.tables,
            HumanCount(summary.rows_copied),
            HumanCount(summary.changes_applied),
            summary.seconds,
        );
        if let Some(position) = &summary.position {
            line += &format!(", at {position}");
        }
        if let Some(pause) = summary.pause_ms {
            line += &format!("; writers waited {pause:.0} ms");
        }
        match summary.certificate {
            Some("equal") => line += "; the certificate says that both sides were equal",
            Some("different") => {
                line += "; the certificate says that BOTH SIDES DIFFERED: see `zdm certificate check`";
            }
            Some(_) => line += "; the certificate says why rows could not be counted",
            None => {}
        }
        self.say("summary", serde_json::to_value(summary).unwrap_or_default(), line);
    }

    /// Shows a run's status until the watcher is finished.
    pub(crate) fn watch(self, status: watch::Receiver<Status>) -> Watcher {
        let bars = MultiProgress::new();
        let task = match self {
            Self::Bars => tokio::spawn(draw(bars.clone(), status)),
            Self::Lines | Self::Json => tokio::spawn(tell(self, status)),
        };
        Watcher { bars, task }
    }
}

/// Shows a status until it is finished.
pub(crate) struct Watcher {
    bars: MultiProgress,
    task: JoinHandle<()>,
}

impl Watcher {
    pub(crate) fn finish(self) {
        self.task.abort();
        let _ = self.bars.clear();
    }
}

async fn tell(output: Output, mut status: watch::Receiver<Status>) {
    let mut told: Option<(Option<Phase>, String)> = None;
    loop {
        let now = status.borrow_and_update().clone();
        let doing = (now.phase, now.doing.clone());
        let event = if told.as_ref() == Some(&doing) { "progress" } else { "phase" };
        told = Some(doing);
        output.say(event, object(&now), line(&now));
        // A new phase is told at once, anything else from time to time.
        let until = Instant::now() + INTERVAL;
        let changed = async {
            while let Ok(()) = status.changed().await {
                let next = status.borrow();
                if told.as_ref() != Some(&(next.phase, next.doing.clone())) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout_at(until.into(), changed).await;
    }
}

/// The status with plain numbers and words, as whoever reads lines expects.
fn object(now: &Status) -> Value {
    json!({
        "run": now.run, "phase": now.phase, "doing": now.doing, "tables": now.tables,
        "rows_copied": now.rows_copied, "rows_written": now.rows_written, "bytes_copied": now.bytes_copied,
        "changes_applied": now.changes_applied,
        "position": now.position.as_ref().map(ToString::to_string),
        "lag_bytes": now.lag_bytes, "lag_seconds": now.lag.as_secs_f64(),
        "eta_seconds": now.eta.map(|eta| eta.as_secs_f64()),
        "retries": now.retries, "last_error": now.last_error, "verify": now.verify,
    })
}

fn line(now: &Status) -> String {
    if let Some(verify) = &now.verify {
        return format!(
            "verifying: {} of {} parts, {} rows, {} differences",
            verify.parts_done,
            verify.parts,
            HumanCount(verify.rows),
            HumanCount(verify.differences)
        );
    }
    // Before the first contact there is nothing to count.
    if now.phase <= Some(Phase::Preparing) && now.last_error.is_none() {
        return now.doing.clone();
    }
    let mut line = format!("{}: {} rows copied", now.doing, HumanCount(now.rows_written));
    if now.phase == Some(Phase::Copying) {
        line += &format!(", {} read", HumanBytes(now.bytes_copied));
        if let Some(eta) = now.eta {
            line += &format!(", {} to go", HumanDuration(eta));
        }
    } else {
        line += &format!(
            ", {} changes applied, {} behind",
            HumanCount(now.changes_applied),
            HumanBytes(now.lag_bytes)
        );
    }
    if let Some(error) = now.last_error.as_ref().filter(|_| now.doing.starts_with("waiting")) {
        line += &format!(" ({error})");
    }
    line
}

async fn draw(bars: MultiProgress, mut status: watch::Receiver<Status>) {
    let foot = bars.add(ProgressBar::new_spinner());
    foot.enable_steady_tick(Duration::from_millis(120));
    let style = ProgressStyle::with_template("{prefix:32!} [{bar:30}] {human_pos:>13} of about {human_len}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    let mut tables: BTreeMap<String, ProgressBar> = BTreeMap::new();
    loop {
        let now = status.borrow_and_update().clone();
        // The largest tables that are not done; the others are in the foot.
        let mut open: Vec<_> = now.tables.iter().filter(|(_, t)| t.chunks_done < t.chunks).collect();
        open.sort_by_key(|(_, table)| std::cmp::Reverse(table.bytes_estimated));
        open.truncate(12);
        tables.retain(|name, bar| {
            let keep = now.phase == Some(Phase::Copying) && open.iter().any(|(open, _)| *open == name);
            if !keep {
                bars.remove(bar);
            }
            keep
        });
        if now.phase == Some(Phase::Copying) {
            for (name, table) in open {
                let bar = tables.entry(name.clone()).or_insert_with(|| {
                    bars.insert_before(
                        &foot,
                        ProgressBar::new(1).with_style(style.clone()).with_prefix(name.clone()),
                    )
                });
                bar.set_length(table.rows_estimated.max(table.rows_written));
                bar.set_position(table.rows_written);
            }
        }
        foot.set_message(line(&now));
        if status.changed().await.is_err() {
            return;
        }
    }
}
