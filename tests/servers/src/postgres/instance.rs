//! One server process of ours: its folder, its port, its life.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder};
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::binaries::Binaries;
use super::options::{Auth, PgOptions, TlsMode};
use super::tls::TlsFiles;
use super::{conf, find, template};
use crate::account::Account;
use crate::error::{Doing, Error, Result};
use crate::guardian::Guardian;
use crate::ports;

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
        let dir = create_folder()?;
        let data = dir.join("data");
        let mut command = binaries.command("postgres");
        command.arg("-D").arg(&data);
        let keep = std::env::var_os("ZDM_SERVERS_KEEP").is_some();
        // First of all, since from here on the folder is removed whatever happens.
        let guardian = Guardian::spawn(&dir, keep, &command)?;
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

/// Creates the folder of a server, which is the account's from the start, so
/// that a guardian under that account can remove it.
fn create_folder() -> Result<PathBuf> {
    let account = Account::of_servers();
    let temp = std::env::temp_dir();
    // The path of a unix socket may have 107 bytes, and ours adds some 50.
    let parent = match account.reaches(&temp) && temp.as_os_str().len() < 55 {
        true => temp,
        false => PathBuf::from("/tmp"),
    };
    loop {
        // Not from a generator that a test may have seeded.
        let dir = parent.join(format!("zdm-pg-{:08x}", RandomState::new().hash_one(0) >> 32));
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).doing(|| format!("creating {}", dir.display())),
            Ok(()) => return account.give(&dir).map(|()| dir),
        }
    }
}
