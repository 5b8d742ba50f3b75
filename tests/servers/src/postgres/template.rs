//! Data folders by copy: `initdb` runs once for each version.
//!
//! `initdb` takes seconds, a copy of its result a fraction of one. The cache
//! keeps one data folder for each server binary and account.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use super::binaries::Binaries;
use crate::account::Account;
use crate::cache::Cache;
use crate::command::run;
use crate::error::Result;
use crate::folder;

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
    folder::copy(&template.join("data"), into, account)
}
