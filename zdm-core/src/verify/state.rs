//! How far a verification has come, in a file.
//!
//! Written to a new file, flushed and renamed over the old one: it is the old
//! one or the new one, whole. A part is done when whatever differed in it has
//! been settled and told; what was under way at a kill is done again, and
//! differences of it may be told twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TableReport;
use super::plan::Division;
use crate::connect::RunName;
use crate::{Error, ErrorKind, Identity, Result};

/// The format that this release writes.
const VERSION: u32 = 1;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    run: RunName,
    source: Identity,
    target: Identity,
    /// By the tables' names at the target.
    pub(super) tables: BTreeMap<String, TableState>,
}

/// How far one table is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableState {
    /// Of both tables, when they were divided.
    pub(super) shapes: String,
    pub(super) division: Division,
    pub(super) done: BTreeSet<usize>,
    pub(super) report: TableReport,
}

/// Where it is kept, if anywhere.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) state: State,
    path: Option<PathBuf>,
}

impl Kept {
    /// What the file has of this run, or nothing yet.
    ///
    /// # Errors
    /// `Conflict` when it is of another run or of other databases;
    /// `Unsupported` when it is of a newer release.
    pub(super) fn open(
        path: Option<PathBuf>,
        run: &RunName,
        source: Identity,
        target: Identity,
    ) -> Result<Self> {
        let fresh = State { version: VERSION, run: run.clone(), source, target, tables: BTreeMap::new() };
        let known = match &path {
            Some(path) => read(path)?,
            None => None,
        };
        let Some(known) = known else { return Ok(Self { state: fresh, path }) };
        if (&known.run, &known.source, &known.target) != (&fresh.run, &fresh.source, &fresh.target) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the file tells of another run, or of other databases: give another file, or remove this one",
            ));
        }
        Ok(Self { state: known, path })
    }

    /// Makes it durable, where it has a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn save(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        write(path, &self.state).map_err(|error| {
            Error::new(ErrorKind::Other, "the file that tells how far the verification is cannot be written")
                .with("file", path.display())
                .caused_by(error)
        })
    }

    /// All is done: the next one begins anew.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(super) fn finish(&self) -> Result<()> {
        match self.path.as_deref().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::Other, "the file of a verification that is done cannot be removed")
                    .caused_by(error))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Option<State>> {
    let broken = |why: &str| Error::new(ErrorKind::Config, format!("{why}: give another file, or remove it"));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(broken("the file that tells how far the verification is cannot be read")
                .with("file", path.display())
                .caused_by(error));
        }
    };
    let version: Option<u64> = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|state| state.get("version")?.as_u64());
    match version {
        Some(version) if version > u64::from(VERSION) => {
            Err(Error::new(ErrorKind::Unsupported, "the file was written by a newer release")
                .with("file", path.display()))
        }
        _ => serde_json::from_str(&text).map(Some).map_err(|error| {
            broken("the file does not tell how far a verification is")
                .with("file", path.display())
                .caused_by(error)
        }),
    }
}

fn write(path: &Path, state: &State) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
