//! `zdm migrate`: copy, catch up, follow, and cut over on demand.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use zdm_core::Result;
use zdm_core::connect::{Phase, Severity};
use zdm_core::gate::NoGate;
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Migration, Outcome, Running, Side, Until};

use crate::args::{Limits, Migrate};
use crate::cutover::options;
use crate::databases::Databases;
use crate::output::{Output, Summary};
use crate::{assess, map, signals};

pub(crate) async fn run(args: &Migrate, output: &Output) -> Result<ExitCode> {
    let began = Instant::now();
    let databases = Databases::parse(&args.common)?;
    let migration = databases.migration_with(&args.common, |options| {
        options.jobs = args.jobs;
        options.max_rate = args.max_rate.unwrap_or(0);
        options.spool.directory.clone_from(&args.spool);
        options.spool.disk = args.spool_limit.unwrap_or(options.spool.disk);
    })?;
    let run = args.common.run()?;
    let reached = databases.reach(&run).await?;
    databases.refuse_taken(&run, &reached).await?;
    if args.dry_run {
        return dry_run(&migration, args, *output).await;
    }
    let token = signals::token()?;
    let watcher = output.watch(migration.status());
    let (state, position, pause_ms) = if args.follow && args.common.way_back {
        to_and_fro(&migration, &token, *output, &args.limits).await?
    } else if args.follow {
        let mut running = migration.start(token);
        follow(&mut running, *output, &args.limits).await?
    } else if args.cutover {
        let mut running = migration.start(token);
        match until_following(&mut running).await? {
            None => cut_over(&mut running, options_of(&args.limits)).await?,
            // By a signal, or switched long ago.
            Some(ended) => ended,
        }
    } else {
        ended(migration.run_until(Until::CaughtUp, token).await?)
    };
    if state == "switched" && !(args.follow && args.common.way_back) {
        migration.complete().await?;
    }
    watcher.finish();
    let status = migration.status().borrow().clone();
    let record = migration.state().await?.map(|state| state.record);
    // Stopped in its copy, it stands where the stream will begin.
    let durable = record.as_ref().and_then(|record| record.position.as_ref().map(ToString::to_string));
    output.summary(&Summary {
        state,
        tables: record.map_or(0, |record| record.tables.len()),
        rows_copied: status.rows_copied,
        changes_applied: status.changes_applied,
        seconds: began.elapsed().as_secs_f64(),
        position: position.or(durable),
        pause_ms,
    });
    Ok(ExitCode::SUCCESS)
}

/// Waits until the run follows; how it ended, if it did before.
pub(crate) async fn until_following(running: &mut Running) -> Result<Option<Ended>> {
    let mut status = running.watch();
    tokio::select! {
        biased;
        outcome = running.ended() => Ok(Some(ended(outcome?))),
        _ = status.wait_for(|status| status.phase == Some(Phase::Following)) => Ok(None),
    }
}

pub(crate) type Ended = (&'static str, Option<String>, Option<f64>);

fn ended(outcome: Outcome) -> Ended {
    let (state, position) = match outcome {
        Outcome::CaughtUp { position } => ("caught_up", Some(position)),
        Outcome::Switched { position } => ("switched", position),
        Outcome::Stopped { position } => ("stopped", position),
        _ => ("stopped", None),
    };
    (state, position.map(|position| position.to_string()), None)
}

fn options_of(limits: &Limits) -> CutoverOptions {
    options(limits.deadline())
}

async fn cut_over(running: &mut Running, options: CutoverOptions) -> Result<Ended> {
    let switch = running.cutover(Arc::new(NoGate), options).await?;
    Ok(("switched", Some(switch.position.to_string()), Some(switch.pause.total_ms)))
}

/// Follows until a signal, or until somebody asks for the cutover.
async fn follow(running: &mut Running, output: Output, limits: &Limits) -> Result<Ended> {
    let requests = running.requests();
    loop {
        tokio::select! {
            outcome = running.ended() => return Ok(ended(outcome?)),
            () = requests.next() => {}
        }
        output.say("cutover", json!({ "state": "asked" }), "a cutover was asked for");
        match cut_over(running, options_of(limits)).await {
            Ok(ended) => return Ok(ended),
            // The source has been given back; following goes on.
            Err(error) => output.error(&error),
        }
    }
}

/// The same in the direction that is due, and behind each cutover in the other
/// one, until a signal.
async fn to_and_fro(
    migration: &Migration,
    token: &CancellationToken,
    output: Output,
    limits: &Limits,
) -> Result<Ended> {
    let back = migration.back().unwrap_or_else(|| migration.clone());
    let mut away = migration.side().await? == Side::Source;
    loop {
        let direction = if away { migration } else { &back };
        let mut running = direction.start(token.clone());
        let ended = follow(&mut running, output, limits).await?;
        if ended.0 != "switched" || token.is_cancelled() {
            return Ok(ended);
        }
        direction.complete().await?;
        let (active, line) = match away {
            true => ("target", "switched: the target is active, and the source follows it"),
            false => ("source", "rolled back: the source is active, and the target follows it"),
        };
        output.say("switched", json!({ "active": active, "position": ended.1, "pause_ms": ended.2 }), line);
        away = !away;
    }
}

async fn dry_run(migration: &Migration, args: &Migrate, output: Output) -> Result<ExitCode> {
    let findings = migration.assess().await?;
    map::show(migration.conversion().await?.as_ref(), output);
    assess::show(&findings, output);
    let blockers = findings.iter().filter(|finding| finding.severity == Severity::Blocker).count();
    if blockers > 0 {
        let object = json!({ "state": "blocked", "blockers": blockers });
        output.say("summary", object, format!("the run cannot start: {blockers} blockers; nothing was done"));
        return Ok(ExitCode::from(3));
    }
    let schema = migration.schema().await?;
    for table in &schema.tables {
        let object =
            json!({ "table": table.name, "rows": table.estimated_rows, "bytes": table.estimated_bytes });
        let line = format!(
            "would copy {}: about {} rows, {} bytes",
            table.name, table.estimated_rows, table.estimated_bytes
        );
        output.say("plan", object, line);
    }
    let then = match (args.follow, args.cutover) {
        (true, _) => "follow",
        (_, true) => "cut over",
        _ => "end when caught up",
    };
    let object = json!({ "state": "planned", "tables": schema.tables.len(), "then": then });
    output.say(
        "summary",
        object,
        format!("would move {} tables, then {then}; nothing was done", schema.tables.len()),
    );
    Ok(ExitCode::SUCCESS)
}
