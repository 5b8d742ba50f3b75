//! One server process of ours: its folder, its port, its life.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::binaries::Binaries;
use super::options::{Auth, PgOptions};
use super::{conf, find, template};
use crate::account::Account;
use crate::error::{Doing, Error, Result};
use crate::folder;
use crate::guardian::Guardian;
use crate::ports;
use crate::tls::{TlsFiles, TlsMode};

/// How often a folder is looked at for a sign that its server is ready.
const LOOK: Duration = Duration::from_millis(5);

/// A server that this process started. Ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) dir: PathBuf,
    pub(crate) binaries: Binaries,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) guardian: Guardian,
    port: AtomicU16,
    patience: Duration,
}

impl Instance {
    /// Prepares a folder, without starting the server in it. Blocks.
    pub(crate) fn prepare(options: &PgOptions) -> Result<Self> {
        let binaries = find::find(options.version, options.origin)?;
        let dir = folder::create("pg")?;
        let data = dir.join("data");
        let mut command = binaries.command("postgres");
        command.arg("-D").arg(&data);
        // First of all, since from here on the folder is removed whatever happens.
        let guardian = Guardian::spawn(&dir, "QUIT", &command)?;
        template::copy_to(&binaries, &data)?;
        let sockets = dir.join("socket");
        fs::create_dir(&sockets).doing(|| format!("creating {}", sockets.display()))?;
        Account::of_servers().give(&sockets)?;
        let tls = match options.tls == TlsMode::Off && options.auth != Auth::Cert {
            true => None,
            false => Some(TlsFiles::create(&dir.join("tls"))?),
        };
        conf::append(&data, &sockets, tls.as_ref(), options)?;
        Ok(Self { dir, binaries, tls, guardian, port: AtomicU16::new(0), patience: options.patience })
    }

    /// Starts the server for the first time, on a port that is free.
    pub(crate) async fn start_somewhere(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let port = ports::free()?;
            self.set("port", &port.to_string())?;
            self.port.store(port, Ordering::Relaxed);
            match self.start().await {
                // Between our look and its bind another process took the port.
                Err(_) if tries < 5 && self.log().contains("Address already in use") => tries += 1,
                result => return result,
            }
        }
    }

    /// Starts the server, and waits until it takes connections.
    pub(crate) async fn start(&self) -> Result<()> {
        if self.guardian.state().pid.is_some() {
            return Err(Error::new("starting a server").because("it is running"));
        }
        let begun = Instant::now();
        loop {
            let logged = self.log().len();
            let pid = self.guardian.start().await?;
            let Err(error) = self.ready(pid, begun).await else { return Ok(()) };
            // After a kill its last backends may need a moment to notice; until
            // then a new server refuses to take their place.
            let log = self.log();
            let news = log.get(logged..).unwrap_or(&log);
            let others = ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];
            if !others.iter().any(|line| news.contains(line)) || begun.elapsed() > self.patience {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the line with which the server says in its lock file that it
    /// is ready. A connection would tell as well, but costs it a process.
    async fn ready(&self, pid: u32, begun: Instant) -> Result<()> {
        let lock = self.data().join("postmaster.pid");
        loop {
            let state = self.guardian.state();
            if state.pid.is_none() {
                let status = state.status.unwrap_or_default();
                return Err(self.failure(&format!("it ended with status {status}")));
            }
            // The lock file of a killed server is still there, with its pid.
            let text = fs::read_to_string(&lock).unwrap_or_default();
            let mut lines = text.lines();
            if lines.next().is_some_and(|line| line.trim() == pid.to_string())
                && lines.nth(6).is_some_and(|line| matches!(line.trim(), "ready" | "standby"))
            {
                return Ok(());
            }
            if begun.elapsed() > self.patience {
                return Err(self.failure(&format!("it was not ready after {:?}", self.patience)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends a signal and waits for the end.
    pub(crate) async fn end(&self, signal: &str) -> Result<()> {
        self.guardian.signal(signal)?;
        tokio::time::timeout(self.patience, self.guardian.ended())
            .await
            .map_err(|_| self.failure(&format!("it still ran {:?} after SIG{signal}", self.patience)))
    }

    /// Adds a setting, for the next start or reload.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<()> {
        conf::set(&self.data(), name, value)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub(crate) fn socket_dir(&self) -> PathBuf {
        self.dir.join("socket")
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn log(&self) -> String {
        fs::read(self.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn failure(&self, why: &str) -> Error {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        Error::new(format!("running {}", self.binaries.version))
            .because(format!("{why}; its log ends with:\n{tail}"))
            .advise(
                "its folder is kept if ZDM_SERVERS_KEEP is set; settings that it refuses come from the test",
            )
    }
}
