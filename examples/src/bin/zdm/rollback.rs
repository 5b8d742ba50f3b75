//! `zdm rollback`: what `zdm cutover` does, in the other direction.

use std::process::ExitCode;
use std::time::Instant;

use zdm_core::migrate::Side;
use zdm_core::{Error, ErrorKind, Result};

use crate::args::{Common, Cutover};
use crate::certificate;
use crate::cutover::asked_or_alone;
use crate::databases::Databases;
use crate::output::{Output, Summary};

pub(crate) async fn run(args: &Cutover, output: &Output) -> Result<ExitCode> {
    let began = Instant::now();
    let databases = Databases::parse(&args.common)?;
    let run = args.common.run()?;
    databases.reach(&run).await?.known(&run)?;
    let migration = databases.migration(&with_way_back(&args.common))?;
    let back = migration.back().ok_or_else(|| Error::new(ErrorKind::Unsupported, "nothing leads back"))?;
    if migration.side().await? == Side::Source {
        return Err(Error::new(
            ErrorKind::Conflict,
            "there is nothing to roll back: the source is the active side",
        )
        .with("run", &run));
    }
    let switched = asked_or_alone(&back, args, *output).await?;
    let record = back.state().await?.map(|state| state.record);
    let verdict = switched.certificate.as_ref().map(certificate::verdict);
    output.summary(&Summary {
        state: "rolled_back",
        tables: record.as_ref().map_or(0, |record| record.tables.len()),
        rows_copied: 0,
        changes_applied: record.as_ref().map_or(0, |record| record.changes_applied),
        seconds: began.elapsed().as_secs_f64(),
        position: record.and_then(|record| record.position).map(|position| position.to_string()),
        pause_ms: switched.pause_ms,
        certificate: verdict,
    });
    Ok(certificate::code(verdict))
}

/// Rolling back needs no flag that says so.
fn with_way_back(common: &Common) -> Common {
    Common { way_back: true, ..common.clone() }
}
