//! `zdm cutover`: asks the process that follows to cut over, or does it
//! itself where none does.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use zdm_core::connect::{
    Epoch, Fence, HoldOptions, Phase, RunName, Source, State, SwitchRecord, SwitchState,
};
use zdm_core::gate::NoGate;
use zdm_core::migrate::Until;
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::{Error, ErrorKind, Result};
use zdm_pg::PgSource;

use crate::args::Cutover;
use crate::databases::Databases;
use crate::migrate::until_following;
use crate::output::{Output, Summary};
use crate::signals;

/// How long a follower has to take a request; each looks twice a second.
const TAKEN: Duration = Duration::from_secs(4);

/// How long no record of a cutover may be there, once it was taken, before it
/// counts as given up: its checks come before its record.
const GIVEN_UP: Duration = Duration::from_secs(15);

/// The budgets of a cutover that must be done within that time.
pub(crate) fn options(deadline: Duration) -> CutoverOptions {
    let hold = HoldOptions { deadline, ..HoldOptions::default() };
    CutoverOptions::default().pause(deadline).hold(hold).drain(deadline)
}

/// Requests for a cutover, as the following process sees them: a record in
/// the source that says `requested`.
pub(crate) struct Requests {
    source: PgSource,
    run: RunName,
}

impl Requests {
    pub(crate) fn new(databases: &Databases, run: RunName) -> Self {
        Self { source: databases.source(), run }
    }

    fn fence(&self) -> Result<&dyn Fence> {
        let unable = || Error::new(ErrorKind::Unsupported, "this source cannot keep writers out");
        self.source.capabilities().fence.ok_or_else(unable)
    }

    async fn record(&self) -> Result<Option<SwitchRecord>> {
        self.fence()?.record(&self.run).await
    }

    /// Takes a request, if there is one; one that has expired is removed.
    pub(crate) async fn take(&mut self) -> Result<bool> {
        let Some(record) = self.record().await?.filter(|r| r.state == SwitchState::Requested) else {
            return Ok(false);
        };
        let fence = self.fence()?;
        let live = record.lease_until > fence.now().await?;
        fence.swap(&self.run, Some(&record), None).await?;
        Ok(live)
    }

    async fn ask(&self) -> Result<SwitchRecord> {
        let fence = self.fence()?;
        let millis = i64::try_from((TAKEN * 2).as_millis()).unwrap_or(i64::MAX);
        let record = SwitchRecord {
            run: self.run.clone(),
            state: SwitchState::Requested,
            epoch: Epoch(0),
            target: String::new(),
            position: None,
            lease_until: fence.now().await?.saturating_add(millis),
        };
        fence.swap(&self.run, None, Some(&record)).await?;
        Ok(record)
    }
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
    let requests = Requests::new(&databases, run);
    if let Some(record) = reached.switch {
        if record.state == SwitchState::Switched {
            // Finishes what is left behind the switch, if it was interrupted there.
            let migration = databases.migration(args.common.options()?)?;
            migration.run_until(Until::CaughtUp, signals::token()?).await?;
            let reached = databases.reach(&requests.run).await?;
            return Ok(switched(&record, reached.known(&requests.run)?, began, None, *output));
        }
        // A request or a cutover of somebody else: `ask` would refuse it too,
        // but only a dead one's lease is over.
        if record.lease_until > requests.fence()?.now().await? {
            return Err(Error::new(
                ErrorKind::Conflict,
                "a cutover of this run is under way already: wait for it",
            ));
        }
        if record.state == SwitchState::Requested {
            requests.fence()?.swap(&requests.run, Some(&record), None).await?;
        }
    }
    let asked = if requests.record().await?.is_none() { Some(requests.ask().await?) } else { None };
    if let Some(asked) = asked {
        output.say("cutover", json!({ "state": "asked" }), "asking the following process to cut over");
        if is_taken(&requests, &asked).await? {
            let record = outcome(&requests, args).await?;
            let reached = databases.reach(&requests.run).await?;
            return Ok(switched(&record, reached.known(&requests.run)?, began, None, *output));
        }
    }
    output.say("cutover", json!({ "state": "alone" }), "no process follows this run: cutting over from here");
    let migration = databases.migration(args.common.options()?)?;
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
    let record =
        requests.record().await?.ok_or_else(|| Error::new(ErrorKind::NotFound, "the record is gone"))?;
    let reached = databases.reach(&requests.run).await?;
    let state = reached.known(&requests.run)?;
    Ok(switched(&record, state, began, Some(switch.pause.total_ms), *output))
}

/// Whether a following process has taken the request; if not, it is withdrawn.
async fn is_taken(requests: &Requests, asked: &SwitchRecord) -> Result<bool> {
    let until = Instant::now() + TAKEN;
    while Instant::now() < until {
        if requests.record().await?.as_ref() != Some(asked) {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    match requests.fence()?.swap(&requests.run, Some(asked), None).await {
        Ok(()) => Ok(false),
        // Taken at the last moment.
        Err(error) if error.kind() == ErrorKind::Fenced => Ok(true),
        Err(error) => Err(error),
    }
}

async fn outcome(requests: &Requests, args: &Cutover) -> Result<SwitchRecord> {
    let mut last_seen = Instant::now();
    let until = Instant::now() + args.limits.deadline() + GIVEN_UP + Duration::from_secs(60);
    while last_seen.elapsed() < GIVEN_UP && Instant::now() < until {
        match requests.record().await? {
            Some(record) if record.state == SwitchState::Switched => return Ok(record),
            Some(_) => last_seen = Instant::now(),
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Error::new(
        ErrorKind::Timeout,
        "the following process has given the cutover up, and its output says why; the source is still the active side",
    ))
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
