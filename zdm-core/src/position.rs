//! Where a source's log has been read to, and which source that is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{Error, ErrorKind, Result};

/// The name of a kind of database: `postgresql`, `mysql`, `memory`.
///
/// Lower case, stable for ever: it is written into checkpoints. Cloning a
/// name that is known at compile time costs nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Engine(Cow<'static, str>);

impl Engine {
    /// The engine of that name.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A point in a source's log, between two transactions.
///
/// Opaque to the core: it is kept as the text in which people of that engine
/// write it (`16/B374D848`, a GTID set, an LSN), and only the engine's own
/// `position` room reads it. There is no `Ord`, since GTID sets are only
/// partly ordered: ask the source whether one position has
/// [reached](crate::connect::Source::reached) another. Equality is of the
/// text, so a connector always writes one position in one way.
///
/// Texts of up to 23 bytes are stored inline: an LSN costs no allocation.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    engine: Engine,
    at: SmolStr,
}

impl Position {
    /// A position of that engine, in the engine's usual writing.
    pub fn new(engine: Engine, at: impl Into<SmolStr>) -> Self {
        Self { engine, at: at.into() }
    }

    /// The engine whose log this is a point in.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The text, for the connector that wrote it.
    pub fn as_str(&self) -> &str {
        &self.at
    }

    /// The text, if this is a position of `engine`.
    ///
    /// # Errors
    /// `Config` when it belongs to another engine: a checkpoint of another
    /// run, most likely.
    pub fn of(&self, engine: &Engine) -> Result<&str> {
        if self.engine == *engine {
            return Ok(&self.at);
        }
        Err(Error::new(
            ErrorKind::Config,
            format!(
                "this is a position of {}, but the source is {engine}: use the checkpoint of this run",
                self.engine
            ),
        )
        .with("position", &self.at))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.engine, self.at)
    }
}

/// Which database this is: facts that never change while it is the same one.
///
/// Kept with the progress of every run. A PostgreSQL source gives its system
/// identifier, timeline and database; a MySQL source its server uuid; SQL
/// Server its database id and recovery fork. A run that finds another
/// identity than the one it has recorded is refused: its positions mean
/// nothing there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The kind of database.
    pub engine: Engine,
    /// The facts by name, each compared as text.
    pub facts: BTreeMap<String, String>,
}

impl Identity {
    /// An identity with no facts yet.
    pub fn new(engine: Engine) -> Self {
        Self { engine, facts: BTreeMap::new() }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.facts.insert(name.to_owned(), value.to_string());
        self
    }

    /// Refuses `found` if it is not the same database as this one.
    ///
    /// # Errors
    /// `Gap`, naming the first fact that differs.
    pub fn expect(&self, found: &Self) -> Result<()> {
        let differs = |name: &str, was: &str, is: &str| {
            Err(Error::new(
                ErrorKind::Gap,
                format!(
                    "this is another database than the one the run began with ({name} was {was}, is {is}): \
                     its log cannot continue ours; point the run at the first one, or drop it and start anew"
                ),
            ))
        };
        if self.engine != found.engine {
            return differs("engine", self.engine.as_str(), found.engine.as_str());
        }
        for (name, was) in &self.facts {
            match found.facts.get(name) {
                Some(is) if is == was => {}
                Some(is) => return differs(name, was, is),
                None => return differs(name, was, "not given"),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.engine)?;
        self.facts.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: Engine = Engine::new("memory");

    #[test]
    fn identity_names_the_fact_that_differs() {
        let was = Identity::new(ENGINE).with("system", 7).with("timeline", 1);
        assert!(was.expect(&was).is_ok());
        let error = was.expect(&Identity::new(ENGINE).with("system", 7).with("timeline", 2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gap);
        assert!(error.message().contains("timeline was 1, is 2"));
    }

    #[test]
    fn position_of_another_engine_is_refused() {
        let position = Position::new(Engine::new("mysql"), "x:1-5");
        assert_eq!(position.of(&ENGINE).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(serde_json::to_string(&position).unwrap(), r#"{"engine":"mysql","at":"x:1-5"}"#);
    }
}
