//! `zdm migrate`: copy, catch up, follow, and cut over on demand.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use zdm_core::Result;
use zdm_core::connect::{Phase, Severity};
use zdm_core::gate::NoGate;
use zdm_core::migrate::{Ask, Migration, Outcome, Running, Side, Until};

use crate::args::Migrate;
use crate::databases::Databases;
use crate::output::{Output, Summary};
use crate::{assess, certificate, map, signals};

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
    if let Some(file) = &args.certificate {
        certificate::can_write(file)?;
    }
    let token = signals::token()?;
    let watcher = output.watch(migration.status());
    let Ended { state, position, pause_ms, certificate } = if args.follow && args.common.way_back {
        to_and_fro(&migration, &token, *output, args).await?
    } else if args.follow {
        let mut running = migration.start(token);
        follow(&mut running, *output, args).await?
    } else if args.cutover {
        let mut running = migration.start(token);
        match until_following(&mut running).await? {
            None => cut_over(&mut running, &Ask::default(), args, *output).await?,
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
        certificate,
    });
    Ok(certificate::code(certificate))
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

/// How a run has ended.
pub(crate) struct Ended {
    pub(crate) state: &'static str,
    pub(crate) position: Option<String>,
    pub(crate) pause_ms: Option<f64>,
    /// What its certificate says.
    pub(crate) certificate: Option<&'static str>,
}

fn ended(outcome: Outcome) -> Ended {
    let (state, position) = match outcome {
        Outcome::CaughtUp { position } => ("caught_up", Some(position)),
        Outcome::Switched { position } => ("switched", position),
        Outcome::Stopped { position } => ("stopped", position),
        _ => ("stopped", None),
    };
    let position = position.map(|position| position.to_string());
    Ended { state, position, pause_ms: None, certificate: None }
}

/// As it was asked for, and else as this process was told.
async fn cut_over(running: &mut Running, ask: &Ask, args: &Migrate, output: Output) -> Result<Ended> {
    let own = args.limits.options().certificate(args.certificate.is_some());
    let switch = running.cutover(Arc::new(NoGate), ask.options(own)).await?;
    if let Some(certified) = &switch.certificate {
        let verdict = certificate::verdict(certified);
        let object = json!({ "state": verdict, "certificate": certified });
        output.say("certificate", object, format!("the certificate says: {}", verdict.replace('_', " ")));
        // It has switched, whether that can be written or not.
        if let Some(Err(error)) = args.certificate.as_ref().map(|file| certificate::write(file, certified)) {
            output.error(&error);
        }
    }
    Ok(Ended {
        state: "switched",
        position: Some(switch.position.to_string()),
        pause_ms: Some(switch.pause.total_ms),
        certificate: switch.certificate.as_ref().map(certificate::verdict),
    })
}

/// Follows until a signal, or until somebody asks for the cutover.
async fn follow(running: &mut Running, output: Output, args: &Migrate) -> Result<Ended> {
    let requests = running.requests();
    loop {
        let ask = tokio::select! {
            outcome = running.ended() => return Ok(ended(outcome?)),
            ask = requests.next() => ask,
        };
        // The source has been given back where it fails; following goes on.
        if ask.rehearse {
            output.say("rehearsal", json!({ "state": "asked" }), "a rehearsal was asked for");
            match running.rehearse(Arc::new(NoGate), ask.options(args.limits.options())).await {
                Ok(rehearsal) => {
                    let line = format!("rehearsed: writers waited {:.0} ms", rehearsal.pause.total_ms);
                    output.say("rehearsal", json!({ "state": "done", "pause": rehearsal.pause }), line);
                }
                Err(error) => output.error(&error),
            }
            continue;
        }
        output.say("cutover", json!({ "state": "asked" }), "a cutover was asked for");
        match cut_over(running, &ask, args, output).await {
            Ok(ended) => return Ok(ended),
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
    args: &Migrate,
) -> Result<Ended> {
    let back = migration.back().unwrap_or_else(|| migration.clone());
    let mut away = migration.side().await? == Side::Source;
    loop {
        let direction = if away { migration } else { &back };
        let mut running = direction.start(token.clone());
        let ended = follow(&mut running, output, args).await?;
        if ended.state != "switched" || token.is_cancelled() {
            return Ok(ended);
        }
        direction.complete().await?;
        let (active, line) = match away {
            true => ("target", "switched: the target is active, and the source follows it"),
            false => ("source", "rolled back: the source is active, and the target follows it"),
        };
        output.say(
            "switched",
            json!({ "active": active, "position": ended.position, "pause_ms": ended.pause_ms }),
            line,
        );
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
