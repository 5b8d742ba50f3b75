//! What a user cares about, and the bars that are shown until then.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zdm_core::connect::Phase;
use zdm_core::migrate::cutover::Pause;
use zdm_core::run::Status;
use zdm_core::schema::conversion::{self, Fit};

/// The result of the example.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The engine that was left.
    pub(crate) from: String,
    pub(crate) rows_copied: u64,
    pub(crate) rows_per_second: u64,
    pub(crate) changes_applied: u64,
    pub(crate) requests: u64,
    pub(crate) requests_per_second: u64,
    pub(crate) failed_requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_failure: Option<String>,
    pub(crate) longest_wait_ms: f64,
    /// What the rehearsal has measured.
    pub(crate) rehearsal: Pause,
    /// Switches in all, there and back.
    pub(crate) switches: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rollback: Option<Pause>,
    /// Of the last switch.
    pub(crate) pause: Pause,
    /// Rows that were compared under fences.
    pub(crate) touched_rows: u64,
    /// Rows that the certificate of the last switch has counted on both sides.
    pub(crate) certified_rows: u64,
    /// Whether it shows both sides equal.
    pub(crate) certificate: bool,
    pub(crate) compared_rows: u64,
    pub(crate) differences: u64,
    pub(crate) seconds: f64,
}

impl Report {
    /// Whether nothing failed and nothing differs.
    pub(crate) fn is_perfect(&self) -> bool {
        self.failed_requests == 0 && self.differences == 0 && self.certificate
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "rows copied          {:>12}  ({} a second until caught up)",
            self.rows_copied, self.rows_per_second
        )?;
        writeln!(f, "changes applied      {:>12}", self.changes_applied)?;
        writeln!(f, "requests served      {:>12}  ({} a second)", self.requests, self.requests_per_second)?;
        writeln!(f, "requests failed      {:>12}", self.failed_requests)?;
        if let Some(failure) = &self.first_failure {
            writeln!(f, "  the first one: {failure}")?;
        }
        writeln!(f, "longest wait at gate {:>12.1}  ms", self.longest_wait_ms)?;
        pause(f, "pause, rehearsed", &self.rehearsal)?;
        if let Some(rollback) = &self.rollback {
            pause(f, "pause of the rollback", rollback)?;
        }
        pause(f, "pause of the cutover", &self.pause)?;
        writeln!(
            f,
            "touched, compared    {:>12}  (rows under the fence, of {} switches)",
            self.touched_rows, self.switches
        )?;
        let certificate = if self.certificate { "both sides equal" } else { "BOTH SIDES DIFFER" };
        writeln!(f, "certified            {:>12}  ({certificate})", self.certified_rows)?;
        writeln!(f, "rows compared        {:>12}", self.compared_rows)?;
        writeln!(f, "differences          {:>12}", self.differences)?;
        write!(f, "seconds              {:>12.1}", self.seconds)
    }
}

fn pause(f: &mut fmt::Formatter<'_>, name: &str, pause: &Pause) -> fmt::Result {
    let Pause { gate_ms, fence_ms, drain_ms, verify_ms, finish_ms, switch_ms, open_ms, total_ms } = pause;
    write!(
        f,
        "{name:<20} {total_ms:>12.1}  ms (gate {gate_ms:.1}, fence {fence_ms:.1}, drain {drain_ms:.1}, verification \
         {verify_ms:.1}"
    )?;
    if *switch_ms > 0.0 {
        write!(f, ", sequences and foreign keys {finish_ms:.1}, seal {switch_ms:.1}, open {open_ms:.1}")?;
    }
    writeln!(f, ")")
}

/// What becomes of the schema at another engine, in a few lines.
pub(crate) struct Converted<'a>(pub(crate) &'a conversion::Report);

impl fmt::Display for Converted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = || self.0.tables.iter().flat_map(|table| table.columns.iter().map(move |c| (table, c)));
        let exact = columns().filter(|(_, column)| column.fit == Fit::Exact).count();
        writeln!(
            f,
            "{} tables become PostgreSQL's; {exact} of {} columns exactly, others:",
            self.0.tables.len(),
            columns().count()
        )?;
        for (table, column) in columns() {
            let name = format!("{}.{}", table.to.name, column.to);
            match &column.fit {
                Fit::Lossy(what) => {
                    writeln!(
                        f,
                        "  {name} {} -> {}; refused if it ever came: {what}",
                        column.from_type, column.to_type
                    )?;
                }
                Fit::Widened(how) => {
                    writeln!(f, "  {name} {} -> {}: {how}", column.from_type, column.to_type)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// One bar for each table, and a line for the stream.
pub(crate) struct Bars {
    all: MultiProgress,
    task: JoinHandle<()>,
}

impl Bars {
    pub(crate) fn watch(mut status: watch::Receiver<Status>) -> Self {
        let all = MultiProgress::new();
        let bars = all.clone();
        let task = tokio::spawn(async move {
            let mut tables = BTreeMap::new();
            let line = bars.add(ProgressBar::new_spinner());
            line.enable_steady_tick(Duration::from_millis(100));
            while status.changed().await.is_ok() {
                let now = status.borrow_and_update().clone();
                show(&bars, &mut tables, &line, &now);
            }
        });
        Self { all, task }
    }

    /// Says something above the bars.
    pub(crate) fn say(&self, line: &str) {
        self.all.suspend(|| println!("{line}"));
    }

    pub(crate) fn finish(self) {
        self.task.abort();
        // A terminal that is gone is no reason to fail.
        let _ = self.all.clear();
    }
}

fn show(bars: &MultiProgress, tables: &mut BTreeMap<String, ProgressBar>, line: &ProgressBar, now: &Status) {
    if now.phase == Some(Phase::Copying) {
        for (name, table) in &now.tables {
            let bar = tables.entry(name.clone()).or_insert_with(|| {
                let bar = bars.add(ProgressBar::new(table.rows_estimated.max(1)));
                let style =
                    ProgressStyle::with_template("{prefix:24} {bar:30} {human_pos:>10} of about {human_len}");
                bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                    .with_prefix(name.clone())
            });
            bar.set_length(table.rows_estimated.max(table.rows_written).max(1));
            bar.set_position(table.rows_written);
        }
    } else {
        for bar in tables.values().filter(|bar| !bar.is_finished()) {
            bar.finish();
        }
    }
    let lag = now.lag.as_millis();
    line.set_message(format!("{}: {} changes applied, {lag} ms behind", now.doing, now.changes_applied));
}
