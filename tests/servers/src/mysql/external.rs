//! A server that is already there, named by `ZDM_TEST_MYSQL_URL` or
//! `ZDM_TEST_MARIADB_URL`.

use std::sync::{Mutex, PoisonError};
use std::thread;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};

use super::database::quote;
use super::options::Flavor;
use crate::error::{Doing, Error, Result};

/// The variable with the URL of a superuser.
pub(crate) fn variable(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => "ZDM_TEST_MYSQL_URL",
        Flavor::MariaDb => "ZDM_TEST_MARIADB_URL",
    }
}

/// A share in a server that others use too: databases of our own.
#[derive(Debug)]
pub(crate) struct External {
    opts: Opts,
    variable: &'static str,
    /// In front of the name of each database.
    prefix: String,
    made: Mutex<Vec<String>>,
}

impl External {
    /// The server of the environment, if one is named there.
    pub(crate) fn of_environment(flavor: Flavor) -> Result<Option<Self>> {
        let variable = variable(flavor);
        let Ok(url) = std::env::var(variable) else { return Ok(None) };
        let url = url.strip_prefix("mariadb://").map_or(url.clone(), |rest| format!("mysql://{rest}"));
        // The URL is not repeated in the error: it may hold a password.
        let opts = Opts::from_url(&url).doing(|| format!("reading {variable}"))?;
        let prefix = format!("zdm_{:08x}_", fastrand::Rng::new().u32(..));
        Ok(Some(Self { opts, variable, prefix, made: Mutex::default() }))
    }

    /// What a database that the test calls `name` is called on the server.
    pub(crate) fn name_of(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Remembers a database, to be dropped at the end.
    pub(crate) fn made(&self, name: String) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    pub(crate) fn opts(&self) -> Opts {
        self.opts.clone()
    }

    /// The error of everything that only a server of our own can do.
    pub(crate) fn refuse<T>(&self, doing: &str) -> Result<T> {
        let variable = self.variable;
        Err(Error::new(doing)
            .because(format!("the server is not ours: {variable} names it"))
            .advise(format!("unset {variable}, or ask for a setting, so that a server is started")))
    }
}

impl Drop for External {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        let (opts, variable) = (self.opts.clone(), self.variable);
        // We may be inside a runtime, where nothing may block on another.
        let dropper = thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                let Ok(mut connection) = Conn::new(opts).await else { return };
                for name in made {
                    let sql = format!("DROP DATABASE IF EXISTS {}", quote(&name));
                    // What is left is told by name: we may be unwinding, so nothing fails here.
                    if let Err(error) = connection.query_drop(sql).await {
                        eprintln!("the database {name} of the server at {variable} is left: {error}");
                    }
                }
                let _ = connection.disconnect().await;
            });
        });
        let _ = dropper.join();
    }
}
