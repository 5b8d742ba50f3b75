//! Where the write-ahead log ends, and until where it is flushed.

use std::time::Duration;

use tokio_postgres::Row;
use zdm_core::Result;

use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::{OrPg, protocol};
use crate::position::Lsn;

/// How often the server is asked whether it has flushed.
const POLL: Duration = Duration::from_millis(10);
/// How long it is given to flush by itself: more than `wal_writer_delay`,
/// which is 200 ms unless somebody has set it.
const PATIENCE: Duration = Duration::from_millis(300);

/// Columns to select for [`end`]: where the log ends, and its geometry.
pub(crate) const END: &str = "pg_catalog.pg_current_wal_insert_lsn()::text AS wal_end, \
     pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS wal_segment, \
     pg_catalog.current_setting('wal_block_size')::int8 AS wal_block";

/// Reads the columns of [`END`]: a point by which everything that was in the
/// log is behind us, and that a reader of the log will reach though nothing
/// more is written.
///
/// Where a record ends exactly with its page, the server says the place where
/// the *next* record will begin, behind the header of a page that is not
/// there yet; a reader stops at the page, for ever if the source is idle. So
/// that header is taken back.
pub(crate) fn end(row: &Row) -> Result<Lsn> {
    let text: &str = row.try_get("wal_end").during("snapshot.point")?;
    let segment: i64 = row.try_get("wal_segment").during("snapshot.point")?;
    let block: i64 = row.try_get("wal_block").during("snapshot.point")?;
    match (u64::try_from(segment), u64::try_from(block)) {
        (Ok(segment @ 1..), Ok(block @ 1..)) => Ok(before_header(text.parse()?, segment, block)),
        _ => Err(protocol("the server told a log without segments")),
    }
}

/// `SizeOfXLogLongPHD` on the first page of a segment, else
/// `SizeOfXLogShortPHD`. A record takes more room than eight bytes, and one
/// that goes on from the page before at least that: nothing else ends there.
fn before_header(lsn: Lsn, segment: u64, block: u64) -> Lsn {
    let header = if lsn.0 % segment < block { 40 } else { 24 };
    if lsn.0 % block == header { Lsn(lsn.0 - header) } else { lsn }
}

/// Where the log ends durably. Each commit that was acknowledged to somebody
/// who asked for a durable one has been flushed, and what comes later is
/// inserted behind. Not where it is inserted: a crash takes back what lies
/// between, and other commits would come before the place.
pub(crate) async fn log_end(config: &PgConfig) -> Result<Lsn> {
    let control = Control::connect(config, "log_end").await?;
    let sql = "SELECT pg_catalog.pg_current_wal_flush_lsn()::text";
    let row = control.query_one(sql, &[]).await.during("source.log_end")?;
    row.try_get::<_, &str>(0).during("source.log_end")?.parse()
}

/// Waits until the log is flushed past a point.
///
/// A commit flushes it, and the WAL writer does soon after an asynchronous
/// one. Where neither comes (what is unflushed is of a transaction that is
/// still open), a transaction of ours that has a number and nothing else is
/// committed, and takes the rest with it.
pub(crate) async fn flushed(control: &Control, goal: Lsn) -> Result<()> {
    let goal = goal.to_string();
    let started = tokio::time::Instant::now();
    loop {
        let sql = "SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn";
        let row = control.query_one(sql, &[&goal]).await.during("snapshot.flushed")?;
        if row.try_get(0).during("snapshot.flushed")? {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            // Locally: a standby that does not answer is not waited for.
            let sql = "BEGIN READ WRITE; SET LOCAL synchronous_commit = local; SELECT txid_current(); COMMIT";
            control.batch_execute(sql).await.during("snapshot.flushed")?;
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_a_page_to_come_is_taken_back() {
        let (segment, block) = (16 << 20, 8_192);
        for (lsn, expected) in [
            (3 * segment + 40, 3 * segment),
            (3 * segment + 24, 3 * segment + 24),
            (3 * segment + 5 * block + 24, 3 * segment + 5 * block),
            (3 * segment + 5 * block + 40, 3 * segment + 5 * block + 40),
            (3 * segment + 5 * block, 3 * segment + 5 * block),
            (3 * segment + 5 * block + 100, 3 * segment + 5 * block + 100),
        ] {
            assert_eq!(before_header(Lsn(lsn), segment, block), Lsn(expected));
        }
    }
}
