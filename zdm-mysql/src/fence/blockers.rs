//! Who is in the way of a hold, in words that help to find him.

use mysql_async::prelude::Queryable;
use zdm_core::{Error, ErrorKind, Result};

use crate::connect::Control;
use crate::connect::threads::appliers;
use crate::error::OrMy;
use crate::snapshot::prepared;

/// Transactions that are open and have written, the oldest first; XA
/// transactions that are prepared and belong to no session among them (thread
/// 0). The server shows them to users with the right PROCESS only.
const TRANSACTIONS: &str = "SELECT CONCAT('connection ', trx_mysql_thread_id, ' (transaction open for ', \
     TIMESTAMPDIFF(SECOND, trx_started, NOW()), ' s: ', \
     COALESCE(NULLIF(LEFT(REGEXP_REPLACE(trx_query, '[[:space:]]+', ' '), 80), ''), 'idle'), ')') \
     FROM information_schema.innodb_trx \
     WHERE (trx_rows_locked > 0 OR trx_rows_modified > 0) AND trx_mysql_thread_id NOT IN (CONNECTION_ID(), ?) \
     ORDER BY trx_started LIMIT 5";

/// Refuses a server that replicates from another one: the threads that apply
/// it ask no trigger and look at no row of ours, so no hold keeps them out.
///
/// # Errors
/// `Config`.
pub(super) async fn refuse_replica(session: &mut Control) -> Result<()> {
    if appliers(session, "fence.hold").await?.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        "the server replicates from another one, and what comes that way cannot be held: cut over from the primary, \
         or STOP REPLICA (STOP SLAVE) first",
    )
    .during("fence.hold"))
}

/// An XA transaction that no lock of ours waits for: MariaDB lets go of what a
/// transaction shares with others as it is prepared, the row of the seal
/// included, and its writes come at its commit.
///
/// Asked while the row is ours. Whoever had it may be about to be prepared, and
/// listed as such only then; so those that are at it are looked for first.
///
/// # Errors
/// When the server fails.
pub(super) async fn undecided(session: &mut Control) -> Result<Option<String>> {
    if !session.server().is_mariadb() {
        return Ok(None);
    }
    let preparing = "SELECT ID FROM information_schema.PROCESSLIST \
                     WHERE INFO LIKE '%XA%PREPARE%' AND ID <> CONNECTION_ID() LIMIT 1";
    if let Some(id) = session.query_first::<u64, _>(preparing).await.during("fence.hold")? {
        return Ok(Some(format!("connection {id} (XA PREPARE)")));
    }
    let prepared = prepared(session).await?.into_iter().next();
    Ok(prepared.map(|xid| format!("the prepared XA transaction {xid}")))
}

/// Names who may keep connection `id` from holding; empty where that cannot
/// be told.
pub(super) async fn find(beside: &mut Control, id: u32) -> Vec<String> {
    match beside.exec(TRANSACTIONS, (id,)).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "who is in the way is not known: the right PROCESS is missing?");
            Vec::new()
        }
    }
}
