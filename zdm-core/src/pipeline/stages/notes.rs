//! What the planning of stages has found.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::connect::{Finding, Severity};

/// Findings, gathered while stages plan their work on the tables.
#[derive(Debug, Default)]
pub struct Notes {
    /// What stands in the way, or should be known.
    pub(super) findings: Vec<Finding>,
    /// Why there is no way back.
    pub(super) one_way: Vec<Finding>,
    /// Patterns that have matched some table.
    pub(super) matched: BTreeSet<String>,
}

impl Notes {
    pub(super) fn warning(&mut self, code: &str, subject: impl Display, message: impl Into<String>) {
        self.findings.push(Finding::new(Severity::Warning, code, subject, message));
    }

    pub(super) fn blocker(&mut self, code: &str, subject: impl Display, message: impl Into<String>) {
        self.findings.push(Finding::new(Severity::Blocker, code, subject, message));
    }

    /// A blocker that a full old image mends.
    pub(super) fn needs_full(
        &mut self,
        severity: Severity,
        code: &str,
        subject: impl Display,
        message: impl Into<String>,
    ) {
        let remedy = "make the source log whole old rows of this table (PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL)";
        self.findings.push(Finding::new(severity, code, subject, message).remedy(remedy));
    }

    /// Something of a table that the target will not have.
    pub(super) fn dropped(&mut self, table: &str, what: &str, why: &str) {
        self.warning("stage_drops_object", table, format!("{what} is not made at the target, since {why}"));
    }

    /// A reason why there is no way back.
    pub(super) fn one_way(&mut self, code: &str, subject: impl Display, message: impl Into<String>) {
        self.one_way.push(Finding::new(Severity::Blocker, code, subject, message));
    }
}
