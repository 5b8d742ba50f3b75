//! The folder that one server lives in.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder};
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::error::{Doing, Result};

/// Creates the folder of a server, which is the account's from the start, so
/// that a guardian under that account can remove it.
pub(crate) fn create(kind: &str) -> Result<PathBuf> {
    let account = Account::of_servers();
    let temp = std::env::temp_dir();
    // The path of a unix socket may have 107 bytes, and ours adds some 50.
    let parent = match account.reaches(&temp) && temp.as_os_str().len() < 55 {
        true => temp,
        false => PathBuf::from("/tmp"),
    };
    loop {
        // Not from a generator that a test may have seeded.
        let dir = parent.join(format!("zdm-{kind}-{:08x}", RandomState::new().hash_one(0) >> 32));
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).doing(|| format!("creating {}", dir.display())),
            Ok(()) => return account.give(&dir).map(|()| dir),
        }
    }
}

/// Copies a data folder and gives it to the account.
pub(crate) fn copy(from: &Path, into: &Path, account: &Account) -> Result<()> {
    let doing = || format!("copying {} to {}", from.display(), into.display());
    fs::create_dir(into).doing(doing)?;
    // Before anything is in it: who may remove it must own it.
    account.give(into)?;
    for entry in fs::read_dir(from).doing(doing)? {
        let entry = entry.doing(doing)?;
        let target = into.join(entry.file_name());
        // A fresh data folder has folders and files, no links.
        if entry.file_type().doing(doing)?.is_dir() {
            copy(&entry.path(), &target, account)?;
        } else {
            fs::copy(entry.path(), &target).doing(doing)?;
            account.give(&target)?;
        }
    }
    fs::set_permissions(into, fs::Permissions::from_mode(0o700)).doing(doing)
}
