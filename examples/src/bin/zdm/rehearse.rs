//! `zdm rehearse`: what a cutover would cost, and what is in its way.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use zdm_core::gate::NoGate;
use zdm_core::migrate::cutover::{Rehearsal, Verification};
use zdm_core::migrate::{Ask, Migration, Requested, Side};
use zdm_core::{Error, ErrorKind, Result};

use crate::args::Rehearse;
use crate::cutover::follow_alone;
use crate::databases::Databases;
use crate::output::Output;
use crate::signals;

pub(crate) async fn run(args: &Rehearse, output: &Output) -> Result<ExitCode> {
    let began = Instant::now();
    let databases = Databases::parse(&args.common)?;
    let run = args.common.run()?;
    databases.reach(&run).await?.known(&run)?;
    let migration = databases.migration(&args.common)?;
    let direction = match migration.side().await? {
        Side::Source => migration,
        Side::Target => migration.back().ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                "the run has switched already: with --way-back its rollback can be rehearsed, if it was cut over \
                 with a way back",
            )
            .with("run", &run)
        })?,
    };
    let rehearsal = asked_or_alone(&direction, args, *output).await?;
    let seconds = began.elapsed().as_secs_f64();
    let pause = rehearsal.pause;
    let object = json!({
        "state": "rehearsed", "run": rehearsal.run, "leg": rehearsal.leg, "position": rehearsal.position.to_string(),
        "pause_ms": pause.total_ms, "pause": pause, "predicted_ms": rehearsal.predicted_ms,
        "bytes_behind": rehearsal.bytes_behind, "verification": rehearsal.verification, "seconds": seconds,
    });
    let mut line = format!(
        "rehearsed: writers waited {:.0} ms (gate {:.1}, fence {:.1}, drain {:.1}, verification {:.1}), and go on at \
         the side they were at",
        pause.total_ms, pause.gate_ms, pause.fence_ms, pause.drain_ms, pause.verify_ms
    );
    if let Verification::Touched(tables) = &rehearsal.verification {
        let rows: u64 = tables.values().filter_map(|table| table.touched).sum();
        line += &format!("; {rows} rows compared under the fence, all equal");
    }
    output.say("summary", object, line);
    Ok(ExitCode::SUCCESS)
}

async fn asked_or_alone(direction: &Migration, args: &Rehearse, output: Output) -> Result<Rehearsal> {
    let ask = Ask::rehearsal().deadline(args.limits.deadline()).verify(args.limits.verify);
    output.say(
        "rehearsal",
        json!({ "state": "asked" }),
        "asking the following process to rehearse the cutover",
    );
    match direction.request(ask).await? {
        Requested::Rehearsed(rehearsal) => return Ok(*rehearsal),
        Requested::Switched(_) => {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the run has switched: there is nothing to rehearse",
            ));
        }
        _ => {}
    }
    let (mut running, watcher) = follow_alone(direction, signals::token()?, "rehearsing", output).await?;
    let rehearsal = running.rehearse(Arc::new(NoGate), args.limits.options()).await;
    let stopped = running.stop().await;
    watcher.finish();
    // What it failed with says more.
    let rehearsal = rehearsal?;
    stopped.map(|_| rehearsal)
}
