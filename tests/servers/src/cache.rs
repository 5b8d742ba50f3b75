//! The folder, outside the checkout, that keeps what was fetched or prepared.
//!
//! It is the first of these that the account of the servers can reach:
//!
//! 1. `$ZDM_SERVERS_CACHE`;
//! 2. `$XDG_CACHE_HOME/zdm-servers`, else `~/.cache/zdm-servers`;
//! 3. `/var/cache/zdm-servers`, for root, whose home is closed to others;
//! 4. `zdm-servers-cache-<uid>` in the temporary folder.
//!
//! An entry appears whole or not at all: it is built under another name while
//! a file lock is held, and renamed into place. A process killed on the way
//! leaves nothing but a partial folder, which the next one removes.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

use crate::account::Account;
use crate::error::{Doing, Error, Result};

/// The cache of this machine's user.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the cache, creating its folder where there is none.
    pub(crate) fn open() -> Result<&'static Self> {
        static CACHE: OnceLock<Cache> = OnceLock::new();
        if let Some(cache) = CACHE.get() {
            return Ok(cache);
        }
        let root = choose()?;
        Ok(CACHE.get_or_init(|| Self { root }))
    }

    /// The entry called `name`, which `build` makes in the empty folder that it
    /// is given if there is none yet. Other processes that want the same entry
    /// wait.
    pub(crate) fn entry(&self, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let entry = self.root.join(name);
        if entry.exists() {
            return Ok(entry);
        }
        let lock_path = self.root.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).doing(|| format!("creating {}", lock_path.display()))?;
        // Released by the kernel when `lock` is dropped, or when we are killed.
        flock(&lock, FlockOperation::LockExclusive).doing(|| format!("locking {}", lock_path.display()))?;
        if entry.exists() {
            return Ok(entry);
        }
        let partial = self.root.join(format!("{name}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial).doing(|| format!("removing {}", partial.display()))?;
        }
        create_open_dir(&partial)?;
        if let Err(error) = build(&partial) {
            // What counts is the first error; the next try removes the rest.
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
        fs::rename(&partial, &entry).doing(|| format!("putting {} into place", entry.display()))?;
        Ok(entry)
    }
}

/// Creates a folder that everybody may read, whatever the umask.
pub(crate) fn create_open_dir(path: &Path) -> Result<()> {
    let doing = || format!("creating {}", path.display());
    DirBuilder::new().recursive(true).mode(0o755).create(path).doing(doing)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).doing(doing)
}

/// Lets everybody read what a strict umask would have closed.
pub(crate) fn open_to_all(path: &Path) -> Result<()> {
    let doing = || format!("opening {} to the account of the servers", path.display());
    let meta = fs::symlink_metadata(path).doing(doing)?;
    if meta.is_symlink() {
        return Ok(());
    }
    let mode = meta.permissions().mode();
    if meta.is_dir() {
        create_open_dir(path)?;
        for entry in fs::read_dir(path).doing(doing)? {
            open_to_all(&entry.doing(doing)?.path())?;
        }
        return Ok(());
    }
    let execute = if mode & 0o100 != 0 { 0o111 } else { 0 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o444 | execute)).doing(doing)
}

fn choose() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ZDM_SERVERS_CACHE") {
        let path = PathBuf::from(path);
        if let Err(why) = usable(&path) {
            return Err(Error::new("opening the cache of servers")
                .because(why)
                .advise("point ZDM_SERVERS_CACHE at a folder that the account of the servers can reach"));
        }
        return path.canonicalize().doing(|| format!("resolving {}", path.display()));
    }
    let home = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map(|cache| cache.join("zdm-servers"));
    let temp = env::temp_dir().join(format!("zdm-servers-cache-{}", rustix::process::geteuid().as_raw()));
    let mut refused = Vec::new();
    for path in home.into_iter().chain([PathBuf::from("/var/cache/zdm-servers"), temp]) {
        match usable(&path) {
            Ok(()) => return Ok(path),
            Err(why) => refused.push(why),
        }
    }
    Err(Error::new("finding a place for the cache of servers")
        .because(refused.join("; "))
        .advise("point ZDM_SERVERS_CACHE at a folder that can be written"))
}

/// Whether the cache can live at `path`: ours to write, theirs to read.
fn usable(path: &Path) -> Result<(), String> {
    let account = Account::of_servers();
    // Before anything is created: the nearest folder that is there already.
    if let Some(there) = path.ancestors().find(|step| step.exists())
        && !account.reaches(there)
    {
        return Err(format!("{} is closed to the account of the servers", there.display()));
    }
    if !path.exists() {
        create_open_dir(path).map_err(|error| error.to_string())?;
    }
    let meta = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // In a shared temporary folder anybody could have made it first, and put a
    // server of theirs into it.
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("{} belongs to another user", path.display()));
    }
    match account.reaches(path) {
        true => Ok(()),
        false => Err(format!("{} is closed to the account of the servers", path.display())),
    }
}
