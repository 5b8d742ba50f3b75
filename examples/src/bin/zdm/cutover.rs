//! `zdm cutover`: asks the process that follows to cut over, or does it
//! itself where none does.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use zdm_core::connect::{Phase, RunName, State, SwitchRecord};
use zdm_core::gate::NoGate;
use zdm_core::migrate::certificate::Certificate;
use zdm_core::migrate::{Ask, Migration, Requested, Running, Side, Until};
use zdm_core::{Error, ErrorKind, Result};

use crate::args::Cutover;
use crate::certificate;
use crate::databases::Databases;
use crate::migrate::until_following;
use crate::output::{Output, Summary};
use crate::signals;

/// How often the certificate of another process is looked for.
const LOOK: Duration = Duration::from_millis(500);

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
        let kept = match &args.certificate {
            Some(file) => Some(kept(&migration, file).await?),
            None => None,
        };
        return summary(&databases, &run, began, Switched { pause_ms: None, certificate: kept }, *output)
            .await;
    }
    let switched = asked_or_alone(&migration, args, *output).await?;
    summary(&databases, &run, began, switched, *output).await
}

/// What is known of a switch that has happened.
pub(crate) struct Switched {
    /// Where it was ours.
    pub(crate) pause_ms: Option<f64>,
    pub(crate) certificate: Option<Certificate>,
}

/// Has a direction cut over: by the process that follows it, or from here.
pub(crate) async fn asked_or_alone(
    direction: &Migration,
    args: &Cutover,
    output: Output,
) -> Result<Switched> {
    if let Some(file) = &args.certificate {
        certificate::can_write(file)?;
    }
    let certified = args.certificate.is_some();
    let ask =
        Ask::cutover().deadline(args.limits.deadline()).verify(args.limits.verify).certificate(certified);
    output.say("cutover", json!({ "state": "asked" }), "asking the following process to cut over");
    let token = signals::token()?;
    if let Requested::Switched(_) = direction.request(ask).await? {
        let certificate = match &args.certificate {
            Some(file) => Some(fetched(direction, file, &token, output).await?),
            None => None,
        };
        return Ok(Switched { pause_ms: None, certificate });
    }
    let (mut running, watcher) = follow_alone(direction, token, "cutting over", output).await?;
    let options = args.limits.options().certificate(certified);
    let switch = running.cutover(Arc::new(NoGate), options).await?;
    if let (Some(file), Some(certificate)) = (&args.certificate, &switch.certificate) {
        certificate::write(file, certificate)?;
    }
    direction.complete().await?;
    watcher.finish();
    Ok(Switched { pause_ms: Some(switch.pause.total_ms), certificate: switch.certificate })
}

/// Follows a run that no process follows.
pub(crate) async fn follow_alone(
    direction: &Migration,
    token: CancellationToken,
    what: &str,
    output: Output,
) -> Result<(Running, crate::output::Watcher)> {
    output.say(
        "cutover",
        json!({ "state": "alone" }),
        format!("no process follows this run: {what} from here"),
    );
    let watcher = output.watch(direction.status());
    let mut running = direction.start(token);
    if until_following(&mut running).await?.is_some() {
        watcher.finish();
        return Err(Error::new(ErrorKind::Cancelled, "stopped before the cutover: nothing was switched"));
    }
    Ok((running, watcher))
}

/// The certificate that the following process makes behind its switch.
async fn fetched(
    direction: &Migration,
    file: &Path,
    token: &CancellationToken,
    output: Output,
) -> Result<Certificate> {
    let line =
        "switched; the following process counts all rows for the certificate, and this one waits for it";
    output.say("certificate", json!({ "state": "awaited" }), line);
    loop {
        if let Some(certificate) = direction.certificate().await? {
            certificate::write(file, &certificate)?;
            return Ok(certificate);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = token.cancelled() => {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    "switched, but the certificate was not waited for: the same command fetches it later",
                ));
            }
        }
    }
}

/// The one that was made at a switch long ago.
async fn kept(migration: &Migration, file: &Path) -> Result<Certificate> {
    let certificate = migration.certificate().await?.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            "the run has switched already, and no certificate is kept of that: it is made with the switch, or is \
             still being made",
        )
    })?;
    certificate::write(file, &certificate)?;
    Ok(certificate)
}

/// Tells of a run that has switched, by what both sides keep.
async fn summary(
    databases: &Databases,
    run: &RunName,
    began: Instant,
    switched: Switched,
    output: Output,
) -> Result<ExitCode> {
    let reached = databases.reach(run).await?;
    let gone = || Error::new(ErrorKind::NotFound, "the record of the cutover is gone from the source");
    let record = reached.switch.as_ref().ok_or_else(gone)?;
    Ok(tell(record, reached.known(run)?, began, &switched, output))
}

fn tell(
    record: &SwitchRecord,
    state: &State,
    began: Instant,
    switched: &Switched,
    output: Output,
) -> ExitCode {
    let verdict = switched.certificate.as_ref().map(certificate::verdict);
    output.summary(&Summary {
        state: "switched",
        tables: state.record.tables.len(),
        rows_copied: state.record.rows_copied,
        changes_applied: state.record.changes_applied,
        seconds: began.elapsed().as_secs_f64(),
        position: record.position.as_ref().map(ToString::to_string),
        pause_ms: switched.pause_ms,
        certificate: verdict,
    });
    certificate::code(verdict)
}
