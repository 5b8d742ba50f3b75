//! `zdm verify`: whether both sides hold the same, row by row, while both
//! change.

use std::process::ExitCode;
use std::time::Instant;

use indicatif::HumanCount;
use serde_json::json;
use zdm_core::connect::Phase;
use zdm_core::migrate::{Migration, Running};
use zdm_core::schema::Selection;
use zdm_core::verify::{Difference, Report, VerifyOptions};
use zdm_core::{Error, ErrorKind, Result};

use crate::args::Verify;
use crate::databases::Databases;
use crate::migrate::until_following;
use crate::output::Output;
use crate::signals;

/// It could not be found out: an error, or rows that never rested.
pub(crate) const UNKNOWN: u8 = 4;

pub(crate) async fn run(args: &Verify, output: &Output) -> Result<ExitCode> {
    let began = Instant::now();
    let databases = Databases::parse(&args.common)?;
    let run = args.common.run()?;
    let reached = databases.reach(&run).await?;
    let known = reached.state.as_ref().map(|state| &state.record);
    // Stages and conversion see the whole run, however few tables are chosen.
    let whole = match known.map(|record| record.tables.keys().cloned().collect::<Vec<_>>()) {
        Some(tables) if !tables.is_empty() => Some(Selection::new(tables)?),
        _ => None,
    };
    let chosen = databases.selection(&args.common)?;
    let migration = databases.migration_with(&args.common, |options| {
        options.max_rate = args.max_rate.unwrap_or(0);
        options.tables = whole.unwrap_or_else(|| options.tables.clone());
    })?;
    let follows = args.follow || args.repair;
    match known.map(|record| record.phase) {
        Some(Phase::Following) => {}
        Some(Phase::Switched) if !args.repair => {}
        Some(Phase::Switched) => {
            return Err(refused(
                "the run was cut over: its target is the application's, and is not repaired",
            ));
        }
        Some(_) if !follows => {
            return Err(refused(
                "the target is not a whole copy yet: wait until `zdm status` says following",
            ));
        }
        None if follows => {
            return Err(refused("there is no run of that name to follow: begin with `zdm migrate`"));
        }
        _ => {}
    }
    let token = signals::token()?;
    let watcher = output.watch(migration.status());
    let mut running = None;
    if follows && known.is_some_and(|record| record.phase != Phase::Switched) {
        let mut started = migration.start(token.clone());
        if until_following(&mut started).await?.is_some() {
            watcher.finish();
            return Err(Error::cancelled().during("verify"));
        }
        running = Some(started);
    }
    let options =
        VerifyOptions::default().tables(chosen).jobs(args.jobs).repair(args.repair).state(args.state.clone());
    let told = *output;
    let mut tell = |difference: &Difference| {
        let object = serde_json::to_value(difference).unwrap_or_default();
        told.say("difference", object, difference.to_string());
    };
    let report = match &mut running {
        Some(running) => while_following(running, &migration, options, token, &mut tell).await?,
        None => migration.verify(options, token, &mut tell).await?,
    };
    if let Some(running) = running {
        running.stop().await?;
    }
    watcher.finish();
    Ok(summary(&report, began, *output))
}

/// The run may end first, and says why.
async fn while_following(
    running: &mut Running,
    migration: &Migration,
    options: VerifyOptions,
    token: tokio_util::sync::CancellationToken,
    tell: &mut (dyn FnMut(&Difference) + Send),
) -> Result<Report> {
    tokio::select! {
        report = migration.verify(options, token, tell) => report,
        ended = running.ended() => {
            ended?;
            Err(Error::cancelled().during("verify"))
        }
    }
}

fn summary(report: &Report, began: Instant, output: Output) -> ExitCode {
    let (differences, unsettled, repaired) = (report.differences(), report.unsettled(), report.repaired());
    let state = match (report.is_equal(), differences > repaired) {
        (true, _) => "equal",
        (false, true) => "different",
        (false, false) => "unsettled",
    };
    let seconds = began.elapsed().as_secs_f64();
    let object = json!({
        "state": state, "run": report.run, "phase": report.phase, "tables": report.tables,
        "rows": report.rows(), "differences": differences, "unsettled": unsettled, "repaired": repaired,
        "seconds": seconds,
    });
    let mut line = format!(
        "{state}: {} tables, {} rows compared in {seconds:.1} s, {} differences",
        report.tables.len(),
        HumanCount(report.rows()),
        HumanCount(differences),
    );
    if repaired > 0 {
        line += &format!(", {} repaired", HumanCount(repaired));
    }
    if unsettled > 0 {
        line += &format!(
            ", {} rows never rested: does anybody follow the run? If so, verify once more",
            HumanCount(unsettled)
        );
    }
    output.say("summary", object, line);
    match state {
        "equal" => ExitCode::SUCCESS,
        "different" => ExitCode::from(1),
        _ => ExitCode::from(UNKNOWN),
    }
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Config, message)
}
