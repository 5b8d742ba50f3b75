//! `zdm cutover`: asks the process that follows to cut over, or does it
//! itself where none does.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use zdm_core::connect::{HoldOptions, Phase, RunName, State, SwitchRecord, SwitchState};
use zdm_core::gate::NoGate;
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Requested, Until};
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
    if reached.switch.is_some_and(|record| record.state == SwitchState::Switched) {
        // Finishes what is left behind the switch, if it was interrupted there.
        migration.run_until(Until::CaughtUp, signals::token()?).await?;
        return summary(&databases, &run, began, None, *output).await;
    }
    output.say("cutover", json!({ "state": "asked" }), "asking the following process to cut over");
    match migration.request_cutover().await? {
        Requested::Switched(_) => return summary(&databases, &run, began, None, *output).await,
        _ => {
            output.say(
                "cutover",
                json!({ "state": "alone" }),
                "no process follows this run: cutting over from here",
            );
        }
    }
    let watcher = output.watch(migration.status());
    let mut running = migration.start(signals::token()?);
    if until_following(&mut running).await?.is_some() {
        watcher.finish();
        return Err(Error::new(
            ErrorKind::Cancelled,
            "stopped before the cutover: the source is the active side",
        ));
    }
    let switch = running.cutover(Arc::new(NoGate), options(args.limits.deadline())).await?;
    migration.complete().await?;
    watcher.finish();
    summary(&databases, &run, began, Some(switch.pause.total_ms), *output).await
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
