//! Both sides are assessed again: what matters at a cutover was not there, or
//! did not matter, when the run began.

use std::fmt::Write;

use super::Cutover;
use crate::connect::{Finding, ORPHANS, Role, Severity};
use crate::{Error, ErrorKind, Result};

impl Cutover {
    /// Refuses what either side says to be in the way.
    pub(super) async fn assess(&self) -> Result<()> {
        let mut findings = Vec::new();
        if let Some(assess) = self.source.capabilities().assess {
            findings.extend(assess.assess(Role::Left, &self.run, &self.source_schema).await?);
        }
        let target = self.entered().await?;
        // The target moves while it is looked at. What is still so when it has
        // come to where the source is now does not come from that.
        let target = if target.iter().any(is_orphan) { self.still(target).await? } else { target };
        findings.extend(target);
        for finding in findings.iter().filter(|finding| finding.severity == Severity::Warning) {
            tracing::warn!(run = %self.run, code = finding.code, %finding, "found before the cutover");
        }
        refuse_blockers(&findings)
    }

    async fn entered(&self) -> Result<Vec<Finding>> {
        match self.sink.capabilities().assess {
            Some(assess) => assess.assess(Role::Entered, &self.run, &self.target_schema).await,
            None => Ok(Vec::new()),
        }
    }

    /// What the target says later, without rows that have come to lack a
    /// parent only since.
    async fn still(&self, before: Vec<Finding>) -> Result<Vec<Finding>> {
        let passes = async {
            match self.follower.head() {
                Some(head) => self.follower.applied_past(&head).await.map(drop),
                None => Ok(()),
            }
        };
        tokio::time::timeout(self.options.drain, passes).await.map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                "rows of the target lack a parent, and whether that passes is not known, since it does not come to where \
                 the source is: wait until it has caught up",
            )
            .with("budget_ms", self.options.drain.as_millis())
            .during("cutover.check")
        })??;
        let mut now = self.entered().await?;
        now.retain(|finding| {
            !is_orphan(finding)
                || before.iter().any(|was| was.code == finding.code && was.subject == finding.subject)
        });
        Ok(now)
    }
}

fn is_orphan(finding: &Finding) -> bool {
    finding.code == ORPHANS
}

/// Refuses to begin, in the words of what was found.
pub(super) fn refuse_blockers(findings: &[Finding]) -> Result<()> {
    let mut blockers = findings.iter().filter(|f| f.severity == Severity::Blocker);
    let Some(first) = blockers.next() else { return Ok(()) };
    let mut words = first.to_string();
    for more in blockers {
        // Writing to a string cannot fail.
        let _ = write!(words, "; {more}");
    }
    Err(Error::new(ErrorKind::Config, words).during("cutover.check"))
}
