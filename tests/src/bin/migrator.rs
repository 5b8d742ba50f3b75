//! The process that is killed: one migration, told what to do by its
//! arguments and by lines on its standard input, saying what happens as one
//! JSON object a line.
//!
//! ```text
//! migrator --from URL --to URL [--run NAME] [--tables PATTERN]... [--map JSON] [--chunk BYTES] [--jobs N]
//!          [--budget BYTES] [--group BYTES] [--spool-memory BYTES] [--attempts N] [--shapes MILLIS] [--until caught_up|cancelled]
//!          [--cutover following] [--evidence yes] [--kill-at POINT:N] [--hold-at POINT:N] [--fail POINT=ACTIONS]
//! ```
//!
//! A URL is `postgresql://…`, `mysql://…` or `mariadb://…`, on either side.
//! `--kill-at` ends the process by SIGKILL as a failpoint is passed for the
//! Nth time. `--hold-at` says `{"event":"held"}` there and waits for the line
//! `go`. `--fail` gives a failpoint the actions of the crate `fail`. The line
//! `stop` ends the run at a durable position, `cutover` cuts over when it
//! follows, as `--cutover following` does without being told, and the end of the
//! input ends the process. With `--evidence yes` a cutover verifies and
//! certifies.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use zdm_core::connect::{Sink, Source};
use zdm_core::gate::NoGate;
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Migration, Options, Outcome, Until};
use zdm_core::schema::Selection;
use zdm_core::schema::conversion::Mapping;
use zdm_core::{Error, ErrorKind, Result};
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_pg::{PgConfig, PgSink, PgSource};

#[tokio::main(flavor = "multi_thread", worker_threads = 3)]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(end) => {
            say(&end);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&json!({
                "event": "error", "kind": format!("{:?}", error.kind()), "message": error.to_string(),
                "retryable": error.is_retryable(),
            }));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<Value> {
    let (go, gone) = mpsc::channel();
    let args = Args::read(std::env::args().skip(1), &Arc::new(Mutex::new(gone)))?;
    let (source, sink) = (source(&args.from)?, sink(&args.to)?);
    let migration =
        Migration::between_shared(source, sink).options(args.options).mapping(args.mapping).build()?;
    let cancel = CancellationToken::new();
    let (orders, mut ordered) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn({
        let cancel = cancel.clone();
        move || obey(&cancel, &go, &orders)
    });
    let mut status = migration.status();
    tokio::spawn(async move {
        loop {
            let now = status.borrow_and_update().clone();
            say(&json!({"event": "status", "status": now}));
            if status.changed().await.is_err() {
                return;
            }
        }
    });
    if args.until == Until::CaughtUp {
        let outcome = migration.run_until(Until::CaughtUp, cancel).await?;
        return Ok(json!({"event": "end", "outcome": outcome}));
    }
    let mut running = migration.start(cancel);
    tokio::select! {
        ended = running.followed() => ended?,
        Some(()) = ordered.recv() => return Err(Error::new(ErrorKind::Config, "a cutover was asked for too early")),
    }
    say(&json!({"event": "following"}));
    if !args.cutover {
        tokio::select! {
            ended = running.ended() => return Ok(json!({"event": "end", "outcome": ended?})),
            Some(()) = ordered.recv() => {}
        }
    }
    // A start behind a killed cutover waits until this has run out.
    let options = CutoverOptions::default().lease(std::time::Duration::from_secs(2));
    let options = options.verify(args.evidence).certificate(args.evidence);
    let switch = running.cutover(Arc::new(NoGate), options).await?;
    // Both sides as they were at the switch, by other eyes than the test's.
    if let Some((table, rows)) =
        switch.certificate.iter().flat_map(|certificate| certificate.differing()).next()
    {
        let differ = format!("the certificate shows a difference: {rows:?}");
        return Err(Error::new(ErrorKind::Other, differ).with("table", table));
    }
    say(&json!({"event": "switched", "switch": switch}));
    Ok(json!({"event": "end", "outcome": Outcome::Switched { position: Some(switch.position) }}))
}

fn source(url: &str) -> Result<Arc<dyn Source>> {
    Ok(if is_mysql(url) {
        Arc::new(MySqlSource::new(MySqlConfig::parse(url)?))
    } else {
        Arc::new(PgSource::new(PgConfig::parse(url)?))
    })
}

fn sink(url: &str) -> Result<Arc<dyn Sink>> {
    Ok(if is_mysql(url) {
        Arc::new(MySqlSink::new(MySqlConfig::parse(url)?))
    } else {
        Arc::new(PgSink::new(PgConfig::parse(url)?))
    })
}

fn is_mysql(url: &str) -> bool {
    url.starts_with("mysql://") || url.starts_with("mariadb://")
}

/// What comes on the standard input.
fn obey(cancel: &CancellationToken, go: &mpsc::Sender<()>, cutover: &tokio::sync::mpsc::UnboundedSender<()>) {
    for line in std::io::stdin().lock().lines() {
        match line.as_deref() {
            Ok("stop") => cancel.cancel(),
            Ok("go") => drop(go.send(())),
            Ok("cutover") => drop(cutover.send(())),
            _ => break,
        }
    }
    // Whoever started us is gone, and with it whoever would end us.
    std::process::exit(3);
}

fn say(event: &Value) {
    let mut out = std::io::stdout().lock();
    // OK to ignore: nobody listens any more, and `obey` ends us.
    let _ = writeln!(out, "{event}").and_then(|()| out.flush());
}

struct Args {
    from: String,
    to: String,
    until: Until,
    cutover: bool,
    evidence: bool,
    options: Options,
    mapping: Mapping,
}

impl Args {
    fn read(mut args: impl Iterator<Item = String>, gone: &Arc<Mutex<mpsc::Receiver<()>>>) -> Result<Self> {
        let (mut from, mut to, mut until) = (String::new(), String::new(), Until::Cancelled);
        let (mut cutover, mut evidence, mut mapping) = (false, false, Mapping::new());
        let mut options = Options::default();
        options.idle_interval = std::time::Duration::from_millis(100);
        options.linger = std::time::Duration::from_millis(50);
        options.retry.longest = std::time::Duration::from_secs(1);
        let mut tables = Vec::new();
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| wrong(&name))?;
            match name.as_str() {
                "--from" => from = value,
                "--to" => to = value,
                "--run" => options.run = value.parse()?,
                "--tables" => tables.push(value),
                "--map" => {
                    mapping = serde_json::from_str(&value).map_err(|error| wrong(&value).caused_by(error))?;
                }
                "--chunk" => options.chunk.bytes = number(&value)?,
                "--jobs" => options.jobs = number(&value)?,
                "--budget" => options.budget = number(&value)?,
                "--group" => options.group = number(&value)?,
                "--spool-memory" => options.spool.memory = number(&value)?,
                "--shapes" => options.shape_interval = std::time::Duration::from_millis(number(&value)?),
                "--attempts" => options.retry.attempts = number(&value)?,
                "--until" if value == "caught_up" => until = Until::CaughtUp,
                "--until" if value == "cancelled" => until = Until::Cancelled,
                "--cutover" if value == "following" => cutover = true,
                "--evidence" if value == "yes" => evidence = true,
                "--kill-at" => at(&value, kill)?,
                "--hold-at" => {
                    let (point, gone) = (value.clone(), Arc::clone(gone));
                    at(&value, move || {
                        say(&json!({"event": "held", "at": point}));
                        // An end of the channel is the end of the process.
                        let _ = gone.lock().map(|gone| gone.recv());
                    })?;
                }
                "--fail" => {
                    let (point, actions) = value.split_once('=').ok_or_else(|| wrong(&value))?;
                    fail::cfg(point, actions).map_err(|error| wrong(&value).caused_by(error))?;
                }
                _ => return Err(wrong(&name)),
            }
        }
        if !tables.is_empty() {
            options.tables = Selection::new(tables)?;
        }
        Ok(Self { from, to, until, cutover, evidence, options, mapping })
    }
}

/// Does something as a failpoint is passed for the Nth time.
fn at(value: &str, action: impl Fn() + Send + Sync + 'static) -> Result<()> {
    let (point, nth) = value.rsplit_once(':').ok_or_else(|| wrong(value))?;
    let (nth, passed) = (number::<u64>(nth)?, AtomicU64::new(0));
    let callback = move || {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            action();
        }
    };
    fail::cfg_callback(point, callback).map_err(|error| wrong(value).caused_by(error))
}

/// As `kill -9` does: nothing more of this process runs.
fn kill() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| wrong(text))
}

fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::Config, "this argument is not known or lacks its value").with("argument", text)
}
