//! The session of a writer: durable, let through by the seal, and with
//! triggers and foreign-key actions off where the rights allow.

use tokio_postgres::error::SqlState;
use zdm_core::Result;
use zdm_core::connect::RunName;

use crate::checkpoint::durable;
use crate::config::PgConfig;
use crate::connect::Control;
use crate::connect::quote::quote_literal;
use crate::error::{self, OrPg};

/// What every writer's statements rely on.
///
/// A staging table has no statistics, and the planner's guess for it would
/// make it read a large target whole; so joins that do are off.
const SETTINGS: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; \
    SET enable_bitmapscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan; SET client_min_messages = warning";

pub(super) async fn open(config: &PgConfig, run: &RunName, purpose: &str) -> Result<Control> {
    let session = Control::holding(config, purpose).await?;
    durable(&session).await?;
    // The seal on the target's tables lets this run through.
    let run = format!("SET zdm.run = {}; {SETTINGS}", quote_literal(run.pair()));
    session.batch_execute(&run).await.during("sink.settle")?;
    match session.batch_execute("SET session_replication_role = replica").await {
        Ok(()) => {}
        // Without the right there is no trigger or foreign key to switch off
        // before the cutover: `prepare` makes them last.
        Err(refused) if refused.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            tracing::debug!("the user may not set session_replication_role: triggers are off by themselves");
        }
        Err(other) => return Err(error::from_client(other).during("sink.settle")),
    }
    Ok(session)
}
