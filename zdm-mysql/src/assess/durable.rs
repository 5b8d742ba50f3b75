//! Settings by which a crash takes back what was committed.

use zdm_core::connect::{Finding, Severity};

use super::Look;
use crate::connect::durable::lacking;

/// What a crash would take: by the setting that lets it.
pub(super) fn assess(
    look: &Look<'_>,
    severity: Severity,
    takes: impl Fn(&str) -> &'static str,
    findings: &mut Vec<Finding>,
) {
    for (name, value) in lacking(|name| look.setting(name)) {
        let message = format!("{name} is {value}: {}", takes(name));
        let remedy = format!("SET GLOBAL {name} = 1, until the run is complete");
        findings.push(Finding::new(severity, name, "server", message).remedy(remedy));
    }
}
