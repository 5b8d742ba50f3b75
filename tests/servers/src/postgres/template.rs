//! Data folders by copy: `initdb` runs once for each version.
//!
//! `initdb` takes seconds, a copy of its result a fraction of one. The cache
//! keeps one data folder for each server binary and account.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::binaries::{Binaries, run};
use crate::account::Account;
use crate::cache::Cache;
use crate::error::{Doing, Result};

/// Changes when the arguments of `initdb` below do.
const EPOCH: u32 = 1;

/// Makes `into`, which must not exist, a fresh data folder.
pub(crate) fn copy_to(binaries: &Binaries, into: &Path) -> Result<()> {
    let account = Account::of_servers();
    let mut hash = DefaultHasher::new();
    (EPOCH, &binaries.version, &binaries.dir, account.uid).hash(&mut hash);
    let entry = format!("template-postgres-{}-{:016x}", binaries.major, hash.finish());
    let template = Cache::open()?.entry(&entry, |partial| {
        account.give(partial)?;
        let mut initdb = binaries.command("initdb");
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        run(initdb.arg(partial.join("data")), || format!("creating a data folder of {}", binaries.version))
            .map(drop)
    })?;
    copy(&template.join("data"), into, account)
}

fn copy(from: &Path, into: &Path, account: &Account) -> Result<()> {
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
