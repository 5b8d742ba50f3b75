//! A folder with unpacked packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// What would be `/` if the packages had been installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    dir: PathBuf,
    loader: PathBuf,
}

impl Root {
    /// The folder `dir`, whose packages came with a C library.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let loader = libraries(dir).into_iter().find_map(|folder| {
            // Its links may be broken: they lead to where it is not installed.
            fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux"))
                    && path.is_file()
            })
        });
        let loader = loader.ok_or_else(|| {
            Error::new(format!("looking into {}", dir.display()))
                .because("there is no loader of programs in it")
        })?;
        Ok(Self { dir: dir.into(), loader })
    }

    /// A path in it: `usr/sbin/mysqld`.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Its loader and its folders of libraries, as paths in it.
    pub(crate) fn relative_loader(&self) -> (String, [String; 2]) {
        let relative =
            |path: &Path| path.strip_prefix(&self.dir).unwrap_or(path).to_string_lossy().into_owned();
        (relative(&self.loader), libraries(&self.dir).map(|folder| relative(&folder)))
    }

    /// The command that runs a program of it, through its own loader and with
    /// its own libraries.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.loader);
        let folders: Vec<_> =
            libraries(&self.dir).iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
        command.env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
        command.arg("--library-path").arg(folders.join(":")).arg(program);
        command
    }
}

/// Debian keeps libraries in folders named for the architecture.
fn libraries(dir: &Path) -> [PathBuf; 2] {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    [dir.join("lib").join(&triplet), dir.join("usr/lib").join(&triplet)]
}
