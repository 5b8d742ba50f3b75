//! Where a spool lies, and how large it may grow.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where a spool lies, and how large it may grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SpoolOptions {
    /// The directory of its files, which must exist. Default: the system's
    /// for temporary files. On some systems that one is memory: name one on a
    /// disk where transactions may be large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Bytes that may lie in memory before the largest transactions go to
    /// disk; the transaction that is read back may hold as much again.
    /// Default 8 MiB.
    pub memory: usize,
    /// Bytes that all its files may take. Default 64 GiB.
    pub disk: u64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self { directory: None, memory: 8 << 20, disk: 64 << 30 }
    }
}

impl SpoolOptions {
    /// The same, in that directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The same, with so many bytes in memory.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// The same, with so many bytes on disk.
    #[must_use]
    pub fn disk(mut self, bytes: u64) -> Self {
        self.disk = bytes;
        self
    }

    pub(super) fn place(&self) -> PathBuf {
        self.directory.as_deref().map_or_else(std::env::temp_dir, Path::to_path_buf)
    }
}
