//! A server that is already there, named by `ZDM_TEST_PG_URL`.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config};

use super::database::open;
use crate::error::{Doing, Error, Result};

/// The variable with the URL of a superuser.
pub(crate) const VARIABLE: &str = "ZDM_TEST_PG_URL";

/// A share in a server that others use too: databases of our own.
#[derive(Debug)]
pub(crate) struct External {
    config: Config,
    /// In front of the name of each database.
    prefix: String,
    made: Mutex<Vec<String>>,
}

impl External {
    /// The server of the environment, if one is named there.
    pub(crate) fn of_environment() -> Result<Option<Self>> {
        let Ok(url) = std::env::var(VARIABLE) else { return Ok(None) };
        // The URL is not repeated in the error: it may hold a password.
        let config: Config = url.parse().doing(|| format!("reading {VARIABLE}"))?;
        let prefix = format!("zdm_{:08x}_", fastrand::Rng::new().u32(..));
        Ok(Some(Self { config, prefix, made: Mutex::default() }))
    }

    /// What a database that the test calls `name` is called on the server.
    pub(crate) fn name_of(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Remembers a database, to be dropped at the end.
    pub(crate) fn made(&self, name: String) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    pub(crate) fn host(&self) -> String {
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.to_string_lossy().into_owned(),
            None => "127.0.0.1".into(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.config.get_ports().first().copied().unwrap_or(5432)
    }

    pub(crate) fn user(&self) -> String {
        self.config.get_user().unwrap_or("postgres").into()
    }

    pub(crate) fn password(&self) -> Option<String> {
        self.config.get_password().map(|password| String::from_utf8_lossy(password).into_owned())
    }

    /// The error of everything that only a server of our own can do.
    pub(crate) fn refuse<T>(doing: &str) -> Result<T> {
        Err(Error::new(doing)
            .because(format!("the server is not ours: {VARIABLE} names it"))
            .advise(format!("unset {VARIABLE}, or ask for a setting, so that a server is started")))
    }
}

impl Drop for External {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        let config = self.config.clone();
        // We may be inside a runtime, where nothing may block on another.
        let dropper = thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                let Ok(client) = open(&config).await else { return };
                for name in made {
                    // What is left is told by name: we may be unwinding, so nothing fails here.
                    if let Err(error) = remove(&client, &name).await {
                        eprintln!("the database {name} of the server at {VARIABLE} is left: {error}");
                    }
                }
            });
        });
        let _ = dropper.join();
    }
}

/// Drops a database of ours with all that holds it: sessions and slots.
async fn remove(client: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    // The name is made of our prefix and the test's name for it.
    let (literal, quoted) = (name.replace('\'', "''"), name.replace('"', "\"\""));
    // Ended sessions take a moment to let go of a slot.
    let mut tries = 0;
    loop {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{literal}';
             SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{literal}'"
        );
        let freed = client.batch_execute(&sql).await;
        match freed.and(client.batch_execute(&format!("DROP DATABASE IF EXISTS \"{quoted}\"")).await) {
            Err(_) if tries < 20 => tries += 1,
            result => return result,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
