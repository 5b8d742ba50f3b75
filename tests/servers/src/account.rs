//! The operating-system account that servers run as.
//!
//! PostgreSQL refuses to run as root. A process that is root therefore starts
//! its servers as `postgres`, or as `nobody` where there is no such account;
//! any other process starts them as itself.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::error::{Doing, Result};

/// Who runs the servers.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    gid: u32,
    /// Whether it differs from the account of this process.
    switched: bool,
}

impl Account {
    /// The account for this process's servers.
    pub(crate) fn of_servers() -> &'static Self {
        static ACCOUNT: OnceLock<Account> = OnceLock::new();
        ACCOUNT.get_or_init(|| {
            let uid = rustix::process::geteuid().as_raw();
            if uid != 0 {
                return Self { uid, gid: rustix::process::getegid().as_raw(), switched: false };
            }
            let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
            let (uid, gid) =
                ["postgres", "nobody"].iter().find_map(|name| entry(&known, name)).unwrap_or((65534, 65534));
            Self { uid, gid, switched: true }
        })
    }

    /// Makes a command run as this account.
    ///
    /// std drops the supplementary groups of root by itself when it sets a uid.
    pub(crate) fn run<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if self.switched {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Gives one file or folder to this account.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        if !self.switched {
            return Ok(());
        }
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .doing(|| format!("giving {} to the server's account", path.display()))
    }

    /// Whether this account may walk down to `path` and read it. A folder is
    /// judged by its mode alone: access lists and the like are not looked at.
    pub(crate) fn reaches(&self, path: &Path) -> bool {
        if !self.switched {
            return path.exists();
        }
        let Ok(path) = path.canonicalize() else { return false };
        path.ancestors().all(|step| fs::metadata(step).is_ok_and(|meta| self.enters(&meta)))
    }

    fn enters(&self, meta: &Metadata) -> bool {
        let needed = if meta.is_dir() { 0o1 } else { 0o4 };
        let class = if meta.uid() == self.uid {
            6
        } else if meta.gid() == self.gid {
            3
        } else {
            0
        };
        meta.mode() >> class & needed != 0
    }
}

/// The uid and gid of one line of `/etc/passwd`.
fn entry(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn an_account_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib:/bin/sh\n";
        assert_eq!(entry(passwd, "postgres"), Some((101, 104)));
        assert_eq!(entry(passwd, "nobody"), None);
    }
}
