//! Finds the program of a MySQL or a MariaDB: installed here, or fetched.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::fetch;
use super::options::{Flavor, MySqlOptions, Origin};
use super::programs::Programs;
use super::user::ED25519;
use crate::error::{Error, Result};

/// Where programs for the machine are, beside the `PATH`, which often leaves
/// those of servers out.
const PLACES: [&str; 5] =
    ["/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/mysql/bin", "/usr/bin"];

/// Finds or fetches what was asked for. Blocks, for as long as a download takes.
pub(crate) fn find(options: &MySqlOptions) -> Result<Programs> {
    type Found = HashMap<(Flavor, Option<String>, Origin, bool), Programs>;
    static FOUND: LazyLock<Mutex<Found>> = LazyLock::new(Mutex::default);
    let found = || FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (options.flavor, options.version.clone(), options.origin, options.needs_ed25519());
    if let Some(programs) = found().get(&key) {
        return Ok(programs.clone());
    }
    // Not locked meanwhile: who looks for another version need not wait, and
    // the cache sees to it that one version is fetched once.
    let programs = look(options)?;
    found().insert(key, programs.clone());
    Ok(programs)
}

fn look(options: &MySqlOptions) -> Result<Programs> {
    let mut refusals = String::new();
    if options.origin != Origin::Packages {
        match installed(options) {
            Some(programs) => return Ok(programs),
            None => refusals
                .push_str("\n- none that has it all is installed in the PATH, /usr/sbin or /usr/local/mysql"),
        }
    }
    if options.origin != Origin::Installed {
        match fetch::fetch(options.flavor, options.version.as_deref()) {
            Ok(programs) => return Ok(programs),
            Err(error) => refusals.push_str(&format!("\n- {error}")),
        }
    }
    let variable = super::external::variable(options.flavor);
    Err(Error::new(format!("no {} server for the tests", options.wanted())).because(refusals).advise(format!(
        "install one (Debian: apt-get install mariadb-server), or set {variable} to the URL of a superuser on \
         a server with a binlog, or give this machine an apt that reaches a mirror",
    )))
}

fn installed(options: &MySqlOptions) -> Option<Programs> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(PLACES.map(PathBuf::from));
    let servers = folders.flat_map(|dir| ["mariadbd", "mysqld"].map(|name| dir.join(name)));
    // A link is followed, since what belongs to a server is near where it leads.
    servers
        .filter_map(|server| server.canonicalize().ok())
        .filter_map(|server| Programs::installed(&server).ok())
        .filter(|programs| programs.flavor == options.flavor && programs.is(options.version.as_deref()))
        // Debian's core package comes without plugins.
        .find(|programs| !options.needs_ed25519() || programs.has_plugin(ED25519))
}
