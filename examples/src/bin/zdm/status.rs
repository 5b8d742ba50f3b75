//! `zdm status`: how far a run is, from what is durable.

use std::process::ExitCode;

use serde_json::json;
use zdm_core::Result;
use zdm_core::connect::{Sink, Source};

use crate::args::Common;
use crate::databases::Databases;
use crate::output::Output;

pub(crate) async fn run(common: &Common, output: &Output) -> Result<ExitCode> {
    let databases = Databases::parse(common)?;
    let run = common.run()?;
    let (source, sink) = (databases.source(), databases.sink());
    let state = match sink.checkpoint() {
        Some(checkpoint) => checkpoint.load(&run).await?,
        None => None,
    };
    let switch = match source.capabilities().fence {
        Some(fence) => fence.record(&run).await?,
        None => None,
    };
    let Some(state) = state else {
        output.say(
            "summary",
            json!({ "state": "none", "run": run }),
            format!("there is no run named {run} at the target"),
        );
        return Ok(ExitCode::SUCCESS);
    };
    let done = state.chunks.iter().filter(|chunk| chunk.done.is_some()).count();
    let record = &state.record;
    let object = json!({
        "state": record.phase, "run": run, "epoch": record.epoch, "position": record.position,
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
    if let Some(switch) = &switch {
        line += &format!("; the source's record of the cutover says {:?}", switch.state);
    }
    output.say("summary", object, line);
    Ok(ExitCode::SUCCESS)
}
