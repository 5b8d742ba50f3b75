//! `zdm drop`: removes what a run keeps on both servers.

use std::process::ExitCode;

use serde_json::json;
use zdm_core::connect::SwitchState;
use zdm_core::{Error, ErrorKind, Result};

use crate::args::Drop;
use crate::databases::Databases;
use crate::output::Output;

pub(crate) async fn run(args: &Drop, output: &Output) -> Result<ExitCode> {
    let databases = Databases::parse(&args.common)?;
    let run = args.common.run()?;
    // Both sides answer before anything is removed from one.
    let reached = databases.reach(&run).await?;
    let switched = reached.switch.is_some_and(|record| record.state == SwitchState::Switched);
    if switched && !args.force {
        return Err(Error::new(
            ErrorKind::Conflict,
            "this run was cut over: without its seal the old source takes writes again that nobody moves; \
             if that is what you want, say --force",
        ));
    }
    databases.from.source().release(&run).await?;
    databases.to.source().release(&run.other()).await?;
    for database in [&databases.from, &databases.to] {
        database.drop_run(&run).await?;
        database.drop_run(&run.other()).await?;
    }
    output.say(
        "summary",
        json!({ "state": "dropped", "run": run }),
        format!(
            "the run {run} is dropped: what it kept on both servers, seal and records, is gone; the moved tables stay"
        ),
    );
    Ok(ExitCode::SUCCESS)
}
