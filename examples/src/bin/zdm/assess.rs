//! `zdm assess`: what stands in the way.

use std::process::ExitCode;

use serde_json::json;
use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};

use crate::args::Common;
use crate::databases::Databases;
use crate::map;
use crate::output::Output;

pub(crate) async fn run(common: &Common, output: &Output) -> Result<ExitCode> {
    let databases = Databases::parse(common)?;
    let run = common.run()?;
    let reached = databases.reach(&run).await?;
    databases.refuse_taken(&run, &reached).await?;
    let migration = databases.migration(common)?;
    let findings = migration.assess().await?;
    map::show(migration.conversion().await?.as_ref(), *output);
    show(&findings, *output);
    let blockers = findings.iter().filter(|f| f.severity == Severity::Blocker).count();
    let object = json!({ "state": if blockers == 0 { "ready" } else { "blocked" }, "blockers": blockers,
                         "findings": findings.len() });
    let line = match (blockers, findings.len()) {
        (0, 0) => "nothing stands in the way".to_owned(),
        (0, all) => format!("the run can start; {all} findings to know of"),
        (blockers, _) => format!("the run cannot start: {blockers} blockers"),
    };
    output.say("summary", object, line);
    Ok(if blockers == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

pub(crate) fn show(findings: &[Finding], output: Output) {
    for finding in findings {
        output.say("finding", serde_json::to_value(finding).unwrap_or_default(), finding.to_string());
    }
}
