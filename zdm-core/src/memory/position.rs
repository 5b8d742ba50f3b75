//! Positions of the memory engine: a number that grows by one for each change
//! and one for each commit.

use crate::{Engine, Error, ErrorKind, Position, Result};

/// The engine's name.
pub const ENGINE: Engine = Engine::new("memory");

/// A point in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Lsn(pub(super) u64);

impl Lsn {
    /// Reads a position.
    pub(super) fn of(position: &Position) -> Result<Self> {
        position.of(&ENGINE)?.parse().map(Self).map_err(|error| {
            Error::new(ErrorKind::Protocol, "this is no position of the memory engine: it is a number")
                .with("position", position)
                .caused_by(error)
        })
    }
}

impl From<Lsn> for Position {
    fn from(lsn: Lsn) -> Self {
        Self::new(ENGINE, smol_str::format_smolstr!("{}", lsn.0))
    }
}
