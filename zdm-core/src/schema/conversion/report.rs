//! What a conversion comes to, said before anything runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fit, Outcome};
use crate::Engine;
use crate::connect::{Finding, Severity};
use crate::schema::{TableName, Unmoved};

/// What a conversion keeps, changes and leaves behind: for people by
/// `Display`, for programs as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The engine of the source.
    pub from: Engine,
    /// The engine of the target.
    pub to: Engine,
    /// Each table, by the order of their names at the source.
    pub tables: Vec<TableReport>,
    /// What is not moved: views, routines, triggers, events, with the
    /// statements that make them at the source.
    pub unmoved: Vec<Unmoved>,
    /// Whether texts arrive where no text can have a character U+0000: a row
    /// with one is refused, or loses it by a
    /// [policy](super::Policies::nul_character).
    #[serde(default)]
    pub no_nul: bool,
    /// Why a row of the target could not be carried back as it was; empty
    /// where the plan can be reversed.
    pub one_way: Vec<String>,
}

/// One table of a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableReport {
    /// Its name at the source, after the stages.
    pub from: TableName,
    /// Its name at the target.
    pub to: TableName,
    /// Its columns, in their order.
    pub columns: Vec<ColumnReport>,
    /// Columns that stay behind, as the user wishes.
    pub dropped: Vec<String>,
    /// Its indexes, constraints, counters and the like.
    pub objects: Vec<ObjectReport>,
}

/// One column of a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ColumnReport {
    /// Its name at the source.
    pub from: String,
    /// Its name at the target.
    pub to: String,
    /// Its type at the source.
    pub from_type: String,
    /// Its type at the target.
    pub to_type: String,
    /// How well the one holds the other's values.
    #[serde(flatten)]
    pub fit: Fit,
    /// Whether the user chose the type.
    pub wished: bool,
    /// What else is to be known of it: its default, its collation.
    pub notes: Vec<String>,
}

/// An index, constraint or the like of a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectReport {
    /// What it is, by its name at the source: `index orders_email`.
    pub object: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What becomes of a text with U+0000.
const NUL: &str = "a row with one is refused, or loses it where the policy nul_character is \"remove\"";

impl Report {
    pub(super) fn new(from: Engine, to: Engine) -> Self {
        Self { from, to, tables: Vec::new(), unmoved: Vec::new(), no_nul: false, one_way: Vec::new() }
    }

    /// Whether rows of the target can be carried back as they were.
    pub fn is_reversible(&self) -> bool {
        self.one_way.is_empty()
    }

    /// The same as findings of an assessment: what is impossible is a
    /// blocker, what is lost a warning, and what changes a note.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |severity, code: &str, subject: String, message: String, remedy: Option<&str>| {
            let finding = Finding::new(severity, code, subject, message);
            findings.push(match remedy {
                Some(remedy) => finding.remedy(remedy),
                None => finding,
            });
        };
        for table in &self.tables {
            for column in &table.columns {
                let subject = format!("{}.{}", table.from, column.from);
                let becomes = format!("{} becomes {}", column.from_type, column.to_type);
                match &column.fit {
                    Fit::Impossible(why) => add(
                        Severity::Blocker,
                        "type_impossible",
                        subject,
                        why.clone(),
                        Some("give the column another type, or leave it behind, in the mapping"),
                    ),
                    Fit::Lossy(what) => {
                        let message = format!("{becomes}, which cannot hold: {what}");
                        add(Severity::Warning, "type_lossy", subject, message, None);
                    }
                    Fit::Exact | Fit::Widened(_) => {}
                }
                for note in &column.notes {
                    let subject = format!("{}.{}", table.from, column.from);
                    add(Severity::Warning, "column_differs", subject, note.clone(), None);
                }
            }
            for object in &table.objects {
                let (severity, code, message) = match &object.outcome {
                    Outcome::Kept => continue,
                    Outcome::Changed(how) => (Severity::Note, "object_changed", how),
                    Outcome::Dropped(why) => (Severity::Warning, "object_not_moved", why),
                };
                let message = format!("{}: {message}", object.object);
                add(severity, code, table.from.to_string(), message, None);
            }
        }
        if self.no_nul {
            let message = format!("{} holds no character U+0000 in a text: {NUL}", self.to);
            add(Severity::Note, "no_nul", "texts".to_owned(), message, None);
        }
        for object in &self.unmoved {
            let subject = format!("{} {}", object.kind, object.name);
            let message = "is not moved: read its statement in the report, and make what is its like by hand";
            add(Severity::Note, "not_moved", subject, message.to_owned(), None);
        }
        findings
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "from {} to {}", self.from, self.to)?;
        for table in &self.tables {
            write!(f, "{table}")?;
        }
        if !self.unmoved.is_empty() {
            writeln!(f, "\nnot moved; their statements at the source:")?;
            for object in &self.unmoved {
                writeln!(f, "  {} {}", object.kind, object.name)?;
                for line in object.statement.lines() {
                    writeln!(f, "    {line}")?;
                }
            }
        }
        if self.no_nul {
            writeln!(f, "\nin every text: {} holds no character U+0000; {NUL}", self.to)?;
        }
        if self.is_reversible() {
            return writeln!(f, "\nthe way back: every value can be carried back as it was");
        }
        writeln!(f, "\nthe way back is not whole:")?;
        self.one_way.iter().try_for_each(|why| writeln!(f, "  {why}"))
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            writeln!(f, "\n{}", self.from)?;
        } else {
            writeln!(f, "\n{} -> {}", self.from, self.to)?;
        }
        for column in &self.columns {
            write!(f, "  {} {}", column.from, column.from_type)?;
            f.write_str(" -> ")?;
            if column.to != column.from {
                write!(f, "{} ", column.to)?;
            }
            f.write_str(&column.to_type)?;
            match &column.fit {
                Fit::Exact => {}
                Fit::Widened(how) => write!(f, "; widened: {how}")?,
                Fit::Lossy(what) => write!(f, "; LOSSY: {what}")?,
                Fit::Impossible(why) => write!(f, "; IMPOSSIBLE: {why}")?,
            }
            writeln!(f)?;
            column.notes.iter().try_for_each(|note| writeln!(f, "    {note}"))?;
        }
        for column in &self.dropped {
            writeln!(f, "  {column} stays behind")?;
        }
        for object in &self.objects {
            match &object.outcome {
                Outcome::Kept => {}
                Outcome::Changed(how) => writeln!(f, "  {}: {how}", object.object)?,
                Outcome::Dropped(why) => writeln!(f, "  {}: NOT MOVED: {why}", object.object)?,
            }
        }
        Ok(())
    }
}
