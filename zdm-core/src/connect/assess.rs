//! What stands in the way of a run, said before it starts.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::RunName;
use crate::Result;
use crate::schema::Schema;

/// The part that a database will play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Changes are captured from it.
    Source,
    /// Rows are written to it.
    Target,
    /// The source of a run that follows, at its cutover: what would keep
    /// writers from being held and the seal from being put.
    Left,
    /// The target of a run that follows, at its cutover: what would keep it
    /// from being made whole and opened.
    Entered,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The run can start; something will be slower, missing or riskier.
    Warning,
    /// The run cannot start.
    Blocker,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Blocker => "blocker",
        })
    }
}

/// The code of the finding that rows have no parent under a foreign key.
pub const ORPHANS: &str = "orphans";

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A short stable name of the rule: `wal_level`, `no_key`.
    pub code: String,
    /// What it is about: a table, a setting.
    pub subject: String,
    /// What was found, and what it means.
    pub message: String,
    /// What mends it, as a statement or a setting where there is one.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding with no remedy.
    pub fn new(
        severity: Severity,
        code: &str,
        subject: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code: code.to_owned(),
            subject: subject.to_string(),
            message: message.into(),
            remedy: None,
        }
    }

    /// The same, with what mends it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.subject, self.message)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "; mend it with: {remedy}"))
    }
}

/// Looks at settings, rights, tables and room, and changes nothing.
#[async_trait]
pub trait Assess: Send + Sync {
    /// What stands in the way of a run over these tables, the worst first.
    ///
    /// For [`Role::Left`] and [`Role::Entered`] the run itself is at work: what
    /// it does and keeps there is no finding. Rows of the target whose foreign
    /// key has no parent are one with the code [`ORPHANS`], for each key that
    /// the source knows to hold.
    ///
    /// # Errors
    /// When the database cannot be asked; a finding is never an error.
    async fn assess(&self, role: Role, run: &RunName, schema: &Schema) -> Result<Vec<Finding>>;
}
