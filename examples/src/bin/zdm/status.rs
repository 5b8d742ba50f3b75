//! `zdm status`: how far a run is, from what is durable.

use std::process::ExitCode;

use crate::args::Common;
use crate::databases::Databases;
use crate::output::Output;
use serde_json::json;
use zdm_core::Result;
use zdm_core::connect::SwitchState;

pub(crate) async fn run(common: &Common, output: &Output) -> Result<ExitCode> {
    let databases = Databases::parse(common)?;
    let run = common.run()?;
    let reached = databases.reach(&run).await?;
    let (state, switch) = (reached.known(&run)?, &reached.switch);
    let done = state.chunks.iter().filter(|chunk| chunk.done.is_some()).count();
    let record = &state.record;
    let object = json!({
        "state": record.phase, "run": run, "epoch": record.epoch,
        "tables": record.tables.len(), "position": record.position.as_ref().map(ToString::to_string),
        "rows_copied": record.rows_copied, "changes_applied": record.changes_applied,
        "chunks": state.chunks.len(), "chunks_done": done, "switch": switch,
    });
    let mut line = format!(
        "{run}: {}, {done} of {} chunks copied, {} changes applied",
        record.phase,
        state.chunks.len(),
        record.changes_applied
    );
    if let Some(position) = &record.position {
        line += &format!(", at {position}");
    }
    match switch.as_ref().map(|switch| switch.state) {
        Some(SwitchState::Switched) => line += "; the source is sealed",
        Some(SwitchState::Preparing) => line += "; a cutover is under way",
        Some(SwitchState::Requested) => line += "; a cutover was asked for",
        Some(_) => {}
        None => {}
    }
    output.say("summary", object, line);
    Ok(ExitCode::SUCCESS)
}
