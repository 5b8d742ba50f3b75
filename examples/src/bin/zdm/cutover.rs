//! `zdm cutover`: asks the process that follows to cut over, or does it
//! itself where none does.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use zdm_core::connect::{HoldOptions, Phase, RunName, State, SwitchRecord};
use zdm_core::gate::NoGate;
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Migration, Requested, Side, Until};
use zdm_core::{Error, ErrorKind, Result};

use crate::args::Cutover;
use crate::databases::Databases;
use crate::migrate::until_following;
use crate::output::{Output, Summary};
use crate::signals;

/// The budgets of a cutover that must be done within that time.
pub(crate) fn options(deadline: Duration) -> CutoverOptions {
    let hold = HoldOptions { deadline, ..HoldOptions::default() };
    CutoverOptions::default().pause(deadline).hold(hold).drain(deadline)
}

pub(crate) async fn run(args: &Cutover, output: &Output) -> Result<ExitCode> {
    let began = Instant::now();
    let databases = Databases::parse(&args.common)?;
    let run = args.common.run()?;
    let reached = databases.reach(&run).await?;
    let phase = reached.known(&run)?.record.phase;
    if phase < Phase::Following {
        let message = "the target is not a whole copy yet: wait until `zdm status` says following, or use \
                       `zdm migrate --cutover`";
        return Err(Error::new(ErrorKind::Config, message).with("run", &run).with("phase", phase));
    }
    let migration = databases.migration(&args.common)?;
    if migration.side().await? == Side::Target {
        // Finishes what is left behind the switch, if it was interrupted there.
        migration.run_until(Until::CaughtUp, signals::token()?).await?;
        return summary(&databases, &run, began, None, *output).await;
    }
    let pause_ms = asked_or_alone(&migration, args.limits.deadline(), *output).await?;
    summary(&databases, &run, began, pause_ms, *output).await
}

/// Has a direction cut over: by the process that follows it, or from here. The
/// pause, where it was ours.
pub(crate) async fn asked_or_alone(
    direction: &Migration,
    deadline: Duration,
    output: Output,
) -> Result<Option<f64>> {
    output.say("cutover", json!({ "state": "asked" }), "asking the following process to cut over");
    if let Requested::Switched(_) = direction.request_cutover().await? {
        return Ok(None);
    }
    output.say("cutover", json!({ "state": "alone" }), "no process follows this run: cutting over from here");
    let watcher = output.watch(direction.status());
    let mut running = direction.start(signals::token()?);
    if until_following(&mut running).await?.is_some() {
        watcher.finish();
        return Err(Error::new(ErrorKind::Cancelled, "stopped before the cutover: nothing was switched"));
    }
    let switch = running.cutover(Arc::new(NoGate), options(deadline)).await?;
    direction.complete().await?;
    watcher.finish();
    Ok(Some(switch.pause.total_ms))
}

/// Tells of a run that has switched, by what both sides keep.
async fn summary(
    databases: &Databases,
    run: &RunName,
    began: Instant,
    pause_ms: Option<f64>,
    output: Output,
) -> Result<ExitCode> {
    let reached = databases.reach(run).await?;
    let gone = || Error::new(ErrorKind::NotFound, "the record of the cutover is gone from the source");
    let record = reached.switch.as_ref().ok_or_else(gone)?;
    Ok(switched(record, reached.known(run)?, began, pause_ms, output))
}

fn switched(
    record: &SwitchRecord,
    state: &State,
    began: Instant,
    pause_ms: Option<f64>,
    output: Output,
) -> ExitCode {
    output.summary(&Summary {
        state: "switched",
        tables: state.record.tables.len(),
        rows_copied: state.record.rows_copied,
        changes_applied: state.record.changes_applied,
        seconds: began.elapsed().as_secs_f64(),
        position: record.position.as_ref().map(ToString::to_string),
        pause_ms,
    });
    ExitCode::SUCCESS
}
