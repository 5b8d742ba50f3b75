//! One server process of ours: its folder, its port, its life.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use mysql_async::{Conn, Opts, OptsBuilder};

use super::options::MySqlOptions;
use super::programs::Programs;
use super::{conf, find, template};
use crate::error::{Error, Result};
use crate::folder;
use crate::guardian::Guardian;
use crate::ports;
use crate::tls::{TlsFiles, TlsMode};

/// How often a server that starts is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(10);

/// A server that this process started. Ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) dir: PathBuf,
    pub(crate) programs: Programs,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) guardian: Guardian,
    port: AtomicU16,
    patience: Duration,
}

impl Instance {
    /// Prepares a folder, without starting the server in it. Blocks.
    pub(crate) fn prepare(options: &MySqlOptions) -> Result<Self> {
        let programs = find::find(options)?;
        let dir = folder::create("my")?;
        let mut command = programs.command();
        command.arg(format!("--defaults-file={}", conf::path(&dir).display()));
        // First of all, since from here on the folder is removed whatever
        // happens. Nothing of the data is wanted then, so it need not end well.
        let guardian = Guardian::spawn(&dir, "KILL", &command)?;
        template::copy_to(&programs, &dir.join("data"))?;
        let tls = match options.tls {
            TlsMode::Off => None,
            TlsMode::Offered | TlsMode::Required => Some(TlsFiles::create(&dir.join("tls"))?),
        };
        conf::write(&programs, &dir, tls.as_ref(), options)?;
        Ok(Self { dir, programs, tls, guardian, port: AtomicU16::new(0), patience: options.patience })
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
        self.guardian.start().await?;
        loop {
            // It answers on its socket only when it has recovered. What it says
            // before it is ready (nothing, or that it is not) does not matter.
            let left = self.patience.saturating_sub(begun.elapsed());
            if let Ok(Ok(connection)) = tokio::time::timeout(left, Conn::new(self.opts())).await {
                let _ = connection.disconnect().await;
                return Ok(());
            }
            let state = self.guardian.state();
            if state.pid.is_none() {
                let status = state.status.unwrap_or_default();
                return Err(self.failure(&format!("it ended with status {status}")));
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

    /// Adds a setting, for the next start.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<()> {
        conf::set(&self.dir, name, value)
    }

    /// How this crate itself connects: over the socket, as `root`.
    pub(crate) fn opts(&self) -> Opts {
        let socket = self.socket().to_string_lossy().into_owned();
        OptsBuilder::default().socket(Some(socket)).prefer_socket(true).user(Some("root")).into()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub(crate) fn socket(&self) -> PathBuf {
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
        Error::new(format!("running {}", self.programs.version))
            .because(format!("{why}; its log ends with:\n{tail}"))
            .advise(
                "its folder is kept if ZDM_SERVERS_KEEP is set; settings that it refuses come from the test",
            )
    }
}
