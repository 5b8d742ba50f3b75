//! Which target a run belongs to: a line in the comment of its publication.
//!
//! Slot and publication are named by the run. A second process with the same
//! run and another target would find them, take them for its own leftovers,
//! and make the slot anew, past the first one's progress.

use zdm_core::Result;
use zdm_core::connect::RunName;

use super::{names, publication};
use crate::config::PgConfig;
use crate::connect::Control;
use crate::connect::quote::quote_ident;
use crate::error::OrPg;

/// The target that the run was claimed for.
///
/// # Errors
/// When the server cannot be reached.
pub(crate) async fn read(config: &PgConfig, run: &RunName) -> Result<Option<String>> {
    let control = Control::connect(config, "claim").await?;
    let name = names::publication(config, run);
    let found = publication::found(&*control, control.server_version_num(), &name).await?;
    let ours = found.filter(|found| found.is_of(run));
    Ok(ours.and_then(|found| found.target().map(str::to_owned)))
}

/// Claims the run, and gives whose it is: `target`, or an earlier one. Makes
/// the run's publication, with no table yet, where there is none.
///
/// # Errors
/// When the server cannot be reached; `Permission`.
pub(crate) async fn make(config: &PgConfig, run: &RunName, target: &str) -> Result<String> {
    let during = "changes.claim";
    let mut control = Control::connect(config, "claim").await?;
    let (version, options) = (control.server_version_num(), publication::options(&control));
    let name = names::publication(config, run);
    let transaction = control.transaction().await.during(during)?;
    // Of two that claim at once the second one sees what the first has made.
    let turn = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
    transaction.execute(turn, &[&format!("zdm.claim {name}")]).await.during(during)?;
    let made = match publication::found(&transaction, version, &name).await? {
        None => format!("CREATE PUBLICATION {} WITH ({options});", quote_ident(&name)),
        Some(found) if !found.is_of(run) => return Ok(target.to_owned()),
        Some(found) => match found.target() {
            Some(target) => return Ok(target.to_owned()),
            None => String::new(),
        },
    };
    let mark = format!("{}{}{target}", publication::mark(run), publication::TARGET);
    let sql = made + &publication::comment(&name, &mark);
    transaction.batch_execute(&sql).await.during(during)?;
    transaction.commit().await.during(during)?;
    Ok(target.to_owned())
}
