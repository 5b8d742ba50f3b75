//! Progress in a folder, one file for each run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;

use super::memory::{gone, missing, taken};
use super::transitions::check_version;
use crate::connect::{Checkpoint, ChunkRecord, Epoch, Progress, Record, RunName, State};
use crate::{Error, ErrorKind, Result};

/// A [`Checkpoint`] in a folder of a local disk, one JSON file for each run.
///
/// A change is written to a new file, flushed, renamed over the old one, and
/// the folder flushed: after a crash the file is the old one or the new one,
/// whole. A lock on a file beside it keeps processes apart; the lock falls
/// with the process that holds it. Not for a network file system, where
/// locks and renames promise less.
///
/// It runs on Tokio's pool for blocking work. A call whose future is dropped
/// still ends there, whole.
#[derive(Debug, Clone)]
pub struct FileCheckpoint {
    folder: PathBuf,
}

impl FileCheckpoint {
    /// A checkpoint in that folder, which is made with the first run.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Runs `work` under the run's lock, away from the async threads.
    async fn locked<T: Send + 'static>(
        &self,
        run: &RunName,
        work: impl FnOnce(&Place) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Place { folder: self.folder.clone(), run: run.clone() };
        let done = tokio::task::spawn_blocking(move || {
            let _lock = place.lock()?;
            work(&place)
        });
        done.await.unwrap_or_else(|lost| {
            Err(Error::new(ErrorKind::Other, "the checkpoint's task did not end").caused_by(lost))
        })
    }

    async fn change(
        &self,
        run: &RunName,
        change: impl FnOnce(&mut State) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.locked(run, |place| {
            let mut state = place.read()?.ok_or_else(|| gone(&place.run))?;
            change(&mut state)?;
            place.write(&state)
        })
        .await
    }
}

#[async_trait]
impl Checkpoint for FileCheckpoint {
    async fn load(&self, run: &RunName) -> Result<Option<State>> {
        self.locked(run, Place::read).await
    }

    async fn create(&self, record: &Record) -> Result<()> {
        let state = State::new(record.clone());
        self.locked(&record.run, move |place| match place.read()? {
            Some(_) => Err(taken(&place.run)),
            None => place.write(&state),
        })
        .await
    }

    async fn raise(&self, run: &RunName) -> Result<State> {
        self.locked(run, |place| {
            let mut state = place.read()?.ok_or_else(|| missing(&place.run))?;
            state.raise();
            place.write(&state)?;
            Ok(state)
        })
        .await
    }

    async fn swap(&self, old: &Record, new: &Record) -> Result<()> {
        let (old, new) = (old.clone(), new.clone());
        self.change(&old.run.clone(), move |state| state.swap(&old, &new)).await
    }

    async fn plan(&self, run: &RunName, epoch: Epoch, chunks: &[ChunkRecord]) -> Result<()> {
        let chunks = chunks.to_vec();
        self.change(run, move |state| state.plan(epoch, &chunks)).await
    }

    async fn advance(&self, run: &RunName, epoch: Epoch, progress: &Progress) -> Result<()> {
        let progress = progress.clone();
        self.change(run, move |state| state.advance(epoch, &progress)).await
    }

    async fn remove(&self, run: &RunName) -> Result<()> {
        self.locked(run, Place::remove).await
    }
}

/// Where one run is kept.
struct Place {
    folder: PathBuf,
    run: RunName,
}

/// What of a file is read before its format is known.
#[derive(Deserialize)]
struct Versioned {
    record: VersionedRecord,
}

#[derive(Deserialize)]
struct VersionedRecord {
    version: u32,
}

impl Place {
    fn path(&self, suffix: &str) -> PathBuf {
        // OK because a run's name is letters, digits and `_`: never a path.
        self.folder.join(format!("{}.{suffix}", self.run))
    }

    fn lock(&self) -> Result<File> {
        let path = self.path("lock");
        fs::create_dir_all(&self.folder)
            .map_err(|e| failed("make the checkpoint's folder", &self.folder, e))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        file.and_then(|file| file.lock().map(|()| file)).map_err(|e| failed("lock the checkpoint", &path, e))
    }

    fn read(&self) -> Result<Option<State>> {
        let path = self.path("json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            Err(error) => return Err(failed("read the checkpoint", &path, error)),
        };
        let torn = |error: serde_json::Error| {
            Error::new(
                ErrorKind::Protocol,
                "the checkpoint's file is damaged: restore it from a copy, or drop the run and start anew",
            )
            .with("file", path.display())
            .caused_by(error)
            .during("checkpoint.load")
        };
        let Versioned { record } = serde_json::from_slice(&bytes).map_err(torn)?;
        check_version(record.version).map_err(|error| error.with("file", path.display()))?;
        serde_json::from_slice(&bytes).map(Some).map_err(torn)
    }

    fn write(&self, state: &State) -> Result<()> {
        let (path, next) = (self.path("json"), self.path("json.new"));
        let mut bytes = serde_json::to_vec_pretty(state)
            .map_err(|e| Error::new(ErrorKind::Other, "a state could not be written as JSON").caused_by(e))?;
        bytes.push(b'\n');
        // The lock is ours, so nobody else writes `next`; what a kill left
        // there is overwritten.
        let mut written = File::create(&next).map_err(|e| failed("write the checkpoint", &next, e))?;
        written
            .write_all(&bytes)
            .and_then(|()| written.sync_all())
            .and_then(|()| fs::rename(&next, &path))
            .and_then(|()| self.sync_folder())
            .map_err(|e| failed("write the checkpoint", &path, e))
    }

    /// Leaves the lock's file: a process that waits for it must not be let
    /// in together with one that makes it anew.
    fn remove(&self) -> Result<()> {
        let path = self.path("json");
        match fs::remove_file(&path) {
            Ok(()) => self.sync_folder().map_err(|e| failed("remove the checkpoint", &path, e)),
            Err(error) if error.kind() == Io::NotFound => Ok(()),
            Err(error) => Err(failed("remove the checkpoint", &path, error)),
        }
    }

    /// A rename is durable only when its folder is.
    #[cfg(unix)]
    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// Folders cannot be opened as files here; the rename is journalled.
    #[cfg(not(unix))]
    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        Io::PermissionDenied => ErrorKind::Permission,
        _ => ErrorKind::Other,
    };
    Error::new(kind, format!("cannot {what}: check the folder's rights and room"))
        .with("path", path.display())
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, Identity};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("zdm-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            Self(folder)
        }

        fn checkpoint(&self) -> FileCheckpoint {
            FileCheckpoint::new(&self.0)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn record() -> Record {
        Record::new(RunName::default(), Identity::new(Engine::new("memory")))
    }

    #[tokio::test]
    async fn a_run_outlives_its_handle() {
        let folder = Folder::new("outlives");
        folder.checkpoint().create(&record()).await.unwrap();
        let again = folder.checkpoint();
        assert_eq!(again.raise(&RunName::default()).await.unwrap().record.epoch, Epoch(2));
        assert_eq!(again.load(&RunName::default()).await.unwrap().unwrap().record.epoch, Epoch(2));
        assert_eq!(again.create(&record()).await.unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[tokio::test]
    async fn what_a_kill_left_beside_the_file_is_no_harm() {
        let folder = Folder::new("torn-new");
        folder.checkpoint().create(&record()).await.unwrap();
        fs::write(folder.0.join("main.json.new"), b"{\"rec").unwrap();
        assert!(folder.checkpoint().raise(&RunName::default()).await.is_ok());
    }

    #[tokio::test]
    async fn a_damaged_file_is_never_taken_for_no_run() {
        let folder = Folder::new("damaged");
        folder.checkpoint().create(&record()).await.unwrap();
        let whole = fs::read(folder.0.join("main.json")).unwrap();
        for bytes in [&whole[..whole.len() / 2], b"", b"rubbish\xff"] {
            fs::write(folder.0.join("main.json"), bytes).unwrap();
            for error in [
                folder.checkpoint().load(&RunName::default()).await.unwrap_err(),
                folder.checkpoint().create(&record()).await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Protocol);
                assert!(error.message().contains("damaged"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_newer_format_is_refused() {
        let folder = Folder::new("newer");
        folder.checkpoint().create(&record()).await.unwrap();
        let text = r#"{"record": {"version": 2, "unheard": "of"}}"#;
        fs::write(folder.0.join("main.json"), text).unwrap();
        let error = folder.checkpoint().load(&RunName::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn who_waits_for_the_lock_sees_what_its_holder_wrote() {
        let folder = Folder::new("lock");
        let checkpoint = folder.checkpoint();
        checkpoint.create(&record()).await.unwrap();
        let raises = (0..16).map(|_| {
            let other = folder.checkpoint();
            tokio::spawn(async move { other.raise(&RunName::default()).await.unwrap().record.epoch.0 })
        });
        let mut seen =
            futures::future::join_all(raises).await.into_iter().map(|e| e.unwrap()).collect::<Vec<_>>();
        seen.sort_unstable();
        assert_eq!(seen, (2..18).collect::<Vec<_>>());
    }
}
