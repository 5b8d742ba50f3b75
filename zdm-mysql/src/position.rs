//! Points in the binary log. Nothing else reads a position of this engine.
//!
//! A place is known in two ways, and a stream's position bears both where the
//! server has both:
//!
//! ```text
//! 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77@1/binlog.000012:4711                      MySQL
//! 0-2-40,0-1-270,2-3-5@1/mariadb-bin.000012:4711                                      MariaDB
//! 1/binlog.000012:4711                                                                GTIDs are off
//! 3e11fa47-…:1-77@1/binlog.000012:4711;3e11fa47-…:70                                  XA undecided
//! ```
//!
//! * The **GTIDs** say which transactions a reader has. With them the stream
//!   goes on, on this server or another one of its topology. MariaDB's are
//!   the last one of each domain, behind the last ones of other servers that
//!   have written to it.
//! * The **coordinates**, `server id/file:offset`, say where in one server's
//!   log that is. They are what a chunk's *after* point is made of (a server
//!   tells its GTIDs only after its engine has committed, so they may lack
//!   what a SELECT has seen), and what a stream goes on by where GTIDs are
//!   off. Another server's coordinates say nothing: they bear the server's id.
//! * The **low point**, behind a `;`, says what a stream must read once more:
//!   XA transactions whose rows came with their XA PREPARE and that were not
//!   decided yet. With MySQL's GTIDs these are just those transactions; with
//!   MariaDB's, the point before the oldest of them; else its place in the
//!   files.
//!
//! All three are functions of the place in the log, so one place has one text.

mod coordinates;
mod domains;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod sets;

use std::fmt;
use std::str::FromStr;

use zdm_core::{Engine, Error, ErrorKind, Position, Result};

pub(crate) use self::coordinates::{Coordinates, FilePoint};
#[allow(unused_imports, reason = "the rooms that use them are being built")]
pub(crate) use self::domains::{Domains, MariaGtid};
#[allow(unused_imports, reason = "as above")]
pub(crate) use self::sets::{GtidSet, Tag, Uuid};

/// The name that is written into checkpoints. Both servers have it: they
/// differ in a fact of their identity.
pub(crate) const ENGINE: Engine = Engine::new("mysql");

/// The longest text that is read as a position. A server whose GTID set is
/// larger has hundreds of thousands of gaps.
const LONGEST: usize = 16 << 20;

/// A point in the log, between two transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    /// Which transactions a reader has, where the server says it by GTIDs.
    pub(crate) gtids: Option<Gtids>,
    /// Where that is in one server's files.
    pub(crate) at: Option<Coordinates>,
    /// What must be read once more, since it is prepared and not yet decided.
    pub(crate) low: Option<Low>,
}

/// What a stream must read once more, beside all that comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Low {
    /// MySQL: these transactions.
    Set(GtidSet),
    /// MariaDB: all behind these.
    Domains(Domains),
    /// Either: all from that place on, in the files of the point's server.
    File(FilePoint),
}

/// The GTIDs that a reader has, in either server's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gtids {
    /// MySQL's: a set.
    Set(GtidSet),
    /// MariaDB's: the last ones of each domain.
    Domains(Domains),
}

impl Point {
    /// A point known by its place in the files alone.
    pub(crate) fn at(at: Coordinates) -> Self {
        Self { gtids: None, at: Some(at), low: None }
    }

    /// Reads a position of this engine.
    ///
    /// # Errors
    /// `Config` for another engine's, `Protocol` for what is none of ours.
    pub(crate) fn of(position: &Position) -> Result<Self> {
        position.of(&ENGINE)?.parse()
    }

    /// Whether a reader that is here has everything up to `goal`.
    ///
    /// A goal's GTIDs decide where it has some, else its coordinates.
    ///
    /// # Errors
    /// `Gap` when coordinates of two servers meet, `Config` when the points
    /// are of different kinds: neither can be answered.
    pub(crate) fn reached(&self, goal: &Self) -> Result<bool> {
        match (&self.gtids, &goal.gtids) {
            (Some(Gtids::Set(have)), Some(Gtids::Set(want))) => return Ok(have.contains(want)),
            (Some(Gtids::Domains(have)), Some(Gtids::Domains(want))) => return Ok(have.reached(want)),
            (Some(_), Some(_)) => return Err(unlike(self, goal)),
            (None, Some(_)) if self.at.is_none() || goal.at.is_none() => return Err(unlike(self, goal)),
            _ => {}
        }
        match (&self.at, &goal.at) {
            (Some(here), Some(goal)) => here.reached(goal),
            _ => Err(unlike(self, goal)),
        }
    }
}

fn unlike(here: &Point, goal: &Point) -> Error {
    Error::new(
        ErrorKind::Config,
        "these two positions cannot be compared: was the server's gtid mode changed during the run? start anew",
    )
    .with("position", here)
    .with("goal", goal)
}

impl FromStr for Point {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > LONGEST {
            return Err(strange("it is too long"));
        }
        let (text, low) = match text.split_once(';') {
            Some((text, low)) => (text, Some(low.parse()?)),
            None => (text, None),
        };
        let (gtids, at) = match text.split_once('@') {
            Some((gtids, at)) => (Some(gtids), Some(at)),
            // Only coordinates have a slash.
            None if text.contains('/') => (None, Some(text)),
            None => (Some(text), None),
        };
        let point =
            Self { gtids: gtids.map(str::parse).transpose()?, at: at.map(str::parse).transpose()?, low };
        match (&point.low, &point.gtids) {
            (None, _) | (Some(Low::Set(_)), Some(Gtids::Set(_))) => Ok(point),
            (Some(Low::Domains(_)), Some(Gtids::Domains(_))) => Ok(point),
            (Some(Low::File(_)), _) if point.at.is_some() => Ok(point),
            _ => Err(strange("its low point is of another kind")),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gtids) = &self.gtids {
            fmt::Display::fmt(gtids, f)?;
        }
        if let Some(at) = &self.at {
            let mark = if self.gtids.is_some() { "@" } else { "" };
            write!(f, "{mark}{at}")?;
        }
        self.low.iter().try_for_each(|low| write!(f, ";{low}"))
    }
}

impl From<&Point> for Position {
    fn from(point: &Point) -> Self {
        Self::new(ENGINE, point.to_string())
    }
}

impl FromStr for Gtids {
    type Err = Error;

    /// MySQL's sets have colons, MariaDB's positions have none. The empty text
    /// is the empty set.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() || text.contains(':') {
            return text.parse().map(Self::Set);
        }
        // `-` alone stands for MariaDB's empty position.
        if text == "-" { Ok(Self::Domains(Domains::default())) } else { text.parse().map(Self::Domains) }
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(set) => fmt::Display::fmt(set, f),
            Self::Domains(domains) if domains.is_empty() => f.write_str("-"),
            Self::Domains(domains) => fmt::Display::fmt(domains, f),
        }
    }
}

impl FromStr for Low {
    type Err = Error;

    /// Only a file's name has a dot.
    fn from_str(text: &str) -> Result<Self> {
        if text.contains('.') {
            return text.parse().map(Self::File);
        }
        match text.parse()? {
            Gtids::Set(set) if set.is_empty() => Err(strange("its low point is empty")),
            Gtids::Set(set) => Ok(Self::Set(set)),
            Gtids::Domains(domains) => Ok(Self::Domains(domains)),
        }
    }
}

impl fmt::Display for Low {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(set) => fmt::Display::fmt(set, f),
            Self::Domains(domains) if domains.is_empty() => f.write_str("-"),
            Self::Domains(domains) => fmt::Display::fmt(domains, f),
            Self::File(point) => fmt::Display::fmt(point, f),
        }
    }
}

/// A text that is no position, and why.
pub(crate) fn strange(why: &str) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!(
            "not a point in a binary log ({why}): one looks like \
             3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77@1/binlog.000012:4711"
        ),
    )
}

#[cfg(test)]
mod tests;
