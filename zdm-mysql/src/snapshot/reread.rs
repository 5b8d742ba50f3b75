//! Some rows, by key.
//!
//! A new moment each time. Rows are read again where the log has left cells
//! out, which a full row image does not do, so this is rare.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, sleep};
use zdm_core::change::{Batch, Xid};
use zdm_core::connect::After;
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use super::begin;
use super::key::key_columns;
use super::moment::{self, Moment};
use super::rows::Rows;
use super::session::{Pool, Session};
use crate::connect::Control;
use crate::types::write_literal;

/// How long a commit that is in the log may take to be visible: one that waits
/// for a replica takes as long as that does.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for. There is nothing to wait for.
const POLL: Duration = Duration::from_millis(5);

/// Reads the rows that are there of those that the deletes in `keys` name, in
/// a moment that has seen all of `behind`.
pub(crate) async fn reread(
    pool: &Pool,
    table: &Arc<Table>,
    keys: &Batch,
    behind: &[Xid],
) -> Result<(Batch, After)> {
    let mut session = pool.take().await?;
    let moment = behind_all(pool, &mut session, table, behind).await?;
    let mut rows = Rows::new(Arc::clone(table));
    if keys.row_count() > 0 {
        let sql = moment::rows(table, &condition(table, keys)?, false);
        session.wire.select(&sql).await.map_err(moment::failed)?;
        while let Some(row) = session.wire.next_row().await.map_err(moment::failed)? {
            rows.push(&row)?;
        }
    }
    let after = moment.close(&mut session).await?;
    pool.give(session);
    Ok((rows.finish(None)?, after))
}

/// A moment that has seen all of these, which are in the log already.
async fn behind_all(pool: &Pool, session: &mut Session, table: &Table, behind: &[Xid]) -> Result<Moment> {
    let deadline = Instant::now() + PATIENCE;
    if !session.server.is_mariadb() && !behind.is_empty() {
        committed(pool, session, deadline).await?;
    }
    loop {
        let moment = Moment::now(session, table).await?;
        if moment.seen.as_ref().is_none_or(|seen| behind.iter().all(|xid| seen.has(*xid))) {
            return Ok(moment);
        }
        session.run("COMMIT").await?;
        if Instant::now() > deadline {
            return Err(late());
        }
        sleep(POLL).await;
    }
}

/// MySQL: waits until whatever is in the log now is committed in the engine. A
/// transaction owns its GTID from before it is in the log until it is
/// committed; without GTIDs, those in progress are waited for as at the start.
/// <https://dev.mysql.com/doc/refman/en/replication-options-gtids.html#sysvar_gtid_owned>
async fn committed(pool: &Pool, session: &mut Session, deadline: Instant) -> Result<()> {
    if session.value("SELECT @@global.gtid_mode").await?.as_deref() != Some("ON") {
        let mut control = Control::connect(pool.config(), "reread").await?;
        return begin::wait(&mut control, deadline).await;
    }
    let first = owned(session).await?;
    let mut left = first.clone();
    while !left.is_empty() {
        if Instant::now() > deadline {
            return Err(late());
        }
        sleep(POLL).await;
        left = owned(session).await?.intersection(&first).cloned().collect();
    }
    Ok(())
}

/// The GTIDs that transactions under way own: `uuid:5#12:6#13,uuid:tag:1#14`,
/// each with the number of its thread.
async fn owned(session: &mut Session) -> Result<BTreeSet<String>> {
    let text = session.value("SELECT @@global.gtid_owned").await?.unwrap_or_default();
    Ok(gtids(&text))
}

fn gtids(text: &str) -> BTreeSet<String> {
    let mut gtids = BTreeSet::new();
    for list in text.split(',') {
        let mut of = String::new();
        for part in list.trim().split(':') {
            if part.contains('#') {
                gtids.insert(format!("{of}{part}"));
            } else {
                of += part;
                of.push(':');
            }
        }
    }
    gtids
}

/// The key is one of these. A key that is named twice gives its row once.
pub(crate) fn condition(table: &Table, keys: &Batch) -> Result<String> {
    let columns = key_columns(table)?.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "rows of a table without a key cannot be read again")
    })?;
    let mut any = Vec::with_capacity(keys.row_count());
    for row in keys.rows() {
        if row.table().columns.len() != table.columns.len() {
            return Err(Error::new(ErrorKind::Config, "the keys to read again are of another table"));
        }
        let image = row.key_image();
        let mut all = Vec::with_capacity(columns.len());
        for at in table.key_columns() {
            // OK to index because the key was made from these columns.
            let column = &table.columns[*at];
            let mut literal = BytesMut::new();
            write_literal(image.cell(*at), column, &mut literal)?;
            let literal = String::from_utf8_lossy(&literal).into_owned();
            all.push(format!("t.{} = {literal}", crate::connect::quote::quote_ident(&column.name)));
        }
        any.push(format!("({})", all.join(" AND ")));
    }
    Ok(any.join(" OR "))
}

fn late() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "a commit that is in the log does not become visible at the source: does it wait for a replica that is away?",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_gtids_are_told_apart() {
        assert!(gtids("").is_empty());
        let found = gtids("u:5#12:6#13,v:tag:1#14");
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["u:5#12", "u:6#13", "v:tag:1#14"]);
    }
}
