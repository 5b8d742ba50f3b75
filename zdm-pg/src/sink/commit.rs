//! The end of a writer's transaction.

use zdm_core::Result;

use crate::connect::Control;
use crate::error::OrPg;

/// Makes durable what the session's transaction has done. Its progress must
/// have been written as its last statement.
///
/// # Errors
/// `Connection` when no answer came: whether it happened is settled by who
/// raises the run's epoch.
pub(super) async fn commit(session: &Control) -> Result<()> {
    fail::fail_point!("sink::advanced");
    let (done, ()) = futures::join!(session.batch_execute("COMMIT"), unanswered());
    done.during("sink.commit")
}

/// Stands between a statement that was just sent and its answer.
async fn unanswered() {
    // Meanwhile the session's driver writes what it was handed.
    #[cfg(feature = "failpoints")]
    tokio::task::yield_now().await;
    fail::fail_point!("sink::committing");
}
