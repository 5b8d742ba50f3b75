//! The migrating process, from outside: started, listened to, killed.

use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{PATIENCE, within};

/// How a migrating process is started.
#[derive(Debug, Clone)]
pub struct Plan {
    args: Vec<String>,
}

/// How a migrating process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, with this outcome (`stopped`, `caught_up`, `switched`).
    Done(String),
    /// With an error: its kind, and its words.
    Failed(String, String),
    /// By a signal.
    Killed,
}

impl End {
    /// The kind and the words of the error.
    pub fn error(&self) -> (&str, &str) {
        match self {
            Self::Failed(kind, message) => (kind, message),
            other => panic!("expected an error, got {other:?}"),
        }
    }
}

impl Plan {
    /// A migration between two URLs, in many small chunks.
    pub fn new(from: &str, to: &str) -> Self {
        let args = ["--from", from, "--to", to, "--chunk", "65536"].map(str::to_owned);
        Self { args: args.into() }
    }

    /// Adds an argument with its value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.args.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// Ends when the target has caught up.
    #[must_use]
    pub fn until_caught_up(self) -> Self {
        self.with("until", "caught_up")
    }

    /// Starts it.
    pub fn start(&self) -> Migrator {
        let mut child = Command::new(program())
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let orders = child.stdin.take().unwrap();
        Migrator { child, orders, out, status: Value::Null, last: Value::Null, follows: false }
    }

    /// Starts it and waits for its end.
    pub async fn run(&self) -> End {
        self.start().end().await
    }
}

/// A migrating process.
#[derive(Debug)]
pub struct Migrator {
    child: Child,
    orders: ChildStdin,
    out: Lines<BufReader<ChildStdout>>,
    status: Value,
    last: Value,
    /// Whether it has said that it follows.
    follows: bool,
}

impl Migrator {
    /// Waits for an event of that name, or `None` when the process has ended before.
    pub async fn event(&mut self, name: &str) -> Option<Value> {
        self.until(|event, _| event["event"] == name).await
    }

    /// Waits until its status is as wanted; `false` when the process has ended before.
    pub async fn status(&mut self, wanted: impl Fn(&Value) -> bool + Send + Sync) -> bool {
        self.until(|event, _| event["event"] == "status" && wanted(&event["status"])).await.is_some()
    }

    /// Waits until the target shows true states of the source; at once when
    /// the process has said so before, while something else was waited for.
    pub async fn following(&mut self) {
        if self.follows {
            return;
        }
        assert!(self.event("following").await.is_some(), "the process ended: {}", self.last);
    }

    /// Waits until it has applied everything up to a position of the source.
    pub async fn applied(&mut self, goal: &str) {
        let goal = lsn(goal);
        let reached = |status: &Value| {
            status["phase"] == "following"
                && status["position"]["at"].as_str().is_some_and(|at| lsn(at) >= goal)
        };
        if reached(&self.status) {
            return;
        }
        assert!(self.status(reached).await, "the process ended: {}", self.last);
    }

    /// Waits until it is held at a failpoint.
    pub async fn held(&mut self) {
        assert!(self.event("held").await.is_some(), "the process ended: {}", self.last);
    }

    /// Lets it go on from where it is held.
    pub async fn go(&mut self) {
        self.order("go").await;
    }

    /// Gives it a line.
    pub async fn order(&mut self, line: &str) {
        // A process that is gone says so by its end.
        let _ = self.orders.write_all(format!("{line}\n").as_bytes()).await;
    }

    /// Kills it as `kill -9` does, and waits for its end.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends it at a durable position.
    pub async fn stop(mut self) -> End {
        self.order("stop").await;
        self.end().await
    }

    /// Waits for its end.
    pub async fn end(mut self) -> End {
        self.until(|_, _| false).await;
        let status = within("the end of the process", self.child.wait()).await.unwrap();
        if status.code().is_none() {
            return End::Killed;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match self.last["event"].as_str() {
            Some("end") => End::Done(text(&self.last["outcome"]["state"])),
            Some("error") => End::Failed(text(&self.last["kind"]), text(&self.last["message"])),
            other => panic!("the process ended with {status} and {other:?}"),
        }
    }

    /// The most memory that it has held so far, in MiB.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// The last status that was heard.
    pub fn last_status(&self) -> &Value {
        &self.status
    }

    /// Bounded as a whole too: a process that only says its status over and
    /// over has come to nothing.
    async fn until(&mut self, wanted: impl Fn(&Value, &Self) -> bool + Send) -> Option<Value> {
        let started = Instant::now();
        loop {
            let line =
                within(&format!("an event behind {}", self.status), self.out.next_line()).await.unwrap()?;
            assert!(started.elapsed() < 3 * PATIENCE, "nothing came but {}", self.status);
            // A line that is cut off is the last one of a process that was killed.
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            if event["event"] == "status" {
                self.status = event["status"].clone();
            } else {
                self.follows |= event["event"] == "following";
                self.last = event.clone();
            }
            if wanted(&event, self) {
                return Some(event);
            }
        }
    }
}

/// The binary beside the folder of the tests' own, where Cargo puts it.
fn program() -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(std::path::Path::parent).unwrap();
    folder.join("migrator")
}

/// A position of PostgreSQL's log as a number.
pub fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}
