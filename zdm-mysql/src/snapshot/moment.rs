//! The transaction in which some of a table is read.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep};
use zdm_core::connect::After;
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use super::session::{Pool, Session};
use super::visibility::Seen;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::{self, OrMy};
use crate::position::{Coordinates, Point};
use crate::schema;
use crate::types::select;

/// The pause between two attempts at a table's lock, which lets writers by.
const PAUSE: Duration = Duration::from_millis(500);

/// An open transaction on a table that is as it was described and stays so
/// until the end: what has touched a table keeps DDL away from it.
#[derive(Debug)]
pub(crate) struct Moment {
    /// Exactly what it sees, where that is known.
    pub(super) seen: Option<Seen>,
}

impl Moment {
    /// Opens it for a chunk. That of a table without a key knows exactly what
    /// it sees.
    ///
    /// # Errors
    /// `SchemaChanged` when the table is not as it was described. The
    /// connection is of no use after an error.
    pub(crate) async fn open(pool: &Pool, session: &mut Session, table: &Table) -> Result<Self> {
        let seen = if table.has_key() {
            // The snapshot is taken by the first row that is read, behind the
            // touch: to one that is older than a TRUNCATE, nothing is there.
            session.run("START TRANSACTION READ ONLY").await?;
            touch(session, table).await?;
            None
        } else if session.server.is_mariadb() {
            let seen = consistent(session).await?;
            touch(session, table).await?;
            Some(seen)
        } else {
            Some(Seen::Place(under_a_lock(pool, session, table).await?))
        };
        unchanged(session, table).await?;
        Ok(Self { seen })
    }

    /// Opens it on whatever is committed now, with no place in the log: a
    /// target may keep none. Whoever opens it commits.
    pub(crate) async fn plain(session: &mut Session, table: &Table) -> Result<()> {
        session.run("START TRANSACTION READ ONLY").await?;
        touch(session, table).await?;
        unchanged(session, table).await
    }

    /// Opens it on whatever is committed now, for tables that are
    /// [entered](Self::enter) one after the other. Until then it locks none.
    pub(crate) async fn of_all(session: &mut Session) -> Result<()> {
        // MariaDB lets go of a savepoint's locks only where nothing is logged;
        // without the right to say so, tables stay locked to the end.
        if session.server.is_mariadb()
            && let Err(error) = session.run("SET SESSION sql_log_bin = 0").await
        {
            tracing::debug!(%error, "tables that are read stay locked until all of them are");
        }
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await
    }

    /// Opens a table in the moment of all, until [`LEAVE`](Self::LEAVE).
    ///
    /// # Errors
    /// `SchemaChanged` when the table is not as it was described. The moment is
    /// gone then.
    pub(crate) async fn enter(session: &mut Session, table: &Table) -> Result<()> {
        session.run("SAVEPOINT zdm_table").await?;
        touch(session, table).await?;
        unchanged(session, table).await
    }

    /// Lets go of a table that was entered: locks that came behind a savepoint
    /// go with it.
    /// <https://dev.mysql.com/doc/refman/en/metadata-locking.html>
    pub(crate) const LEAVE: &str = "ROLLBACK TO SAVEPOINT zdm_table";

    /// Opens it on whatever is committed now.
    pub(crate) async fn now(session: &mut Session, table: &Table) -> Result<Self> {
        let seen = if session.server.is_mariadb() {
            Some(consistent(session).await?)
        } else {
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
            None
        };
        touch(session, table).await?;
        unchanged(session, table).await?;
        Ok(Self { seen })
    }

    /// Ends the transaction, and leaves the connection idle. Whatever it saw
    /// is in the log by the end that the log has now.
    pub(crate) async fn close(self, session: &mut Session) -> Result<After> {
        let end = session.log_end().await?;
        session.run("COMMIT").await?;
        let visibility = self.seen.as_ref().map(Into::into);
        Ok(After { position: (&Point::at(end)).into(), visibility })
    }
}

/// A SELECT of the rows that satisfy a condition, the columns that somebody
/// writes in their order; the table's alias is `t`.
pub(crate) fn rows(table: &Table, condition: &str, by_key: bool) -> String {
    let written = table.columns.iter().filter(|column| column.is_written());
    let columns: Vec<_> =
        written.map(|column| select(column, &format!("t.{}", quote_ident(&column.name)))).collect();
    // Else a range of many rows might be looked for in the whole table.
    let index = match &table.key_name {
        Some(name) if by_key => format!(" FORCE INDEX ({})", quote_ident(name)),
        _ => String::new(),
    };
    format!("SELECT {} FROM {} AS t{index} WHERE {condition}", columns.join(", "), quoted(table))
}

/// MariaDB's consistent snapshot tells its own place in the log, with no lock.
/// <https://mariadb.com/docs/server/reference/sql-statements/transactions/start-transaction#with-consistent-snapshot>
async fn consistent(session: &mut Session) -> Result<Seen> {
    session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    let rows = session.wire.query("SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let value = |name: &str| {
        rows.iter()
            .find(|row| row.get(0).is_some_and(|key| key.eq_ignore_ascii_case(name)))
            .and_then(|row| row.get(1))
            .filter(|value| !value.is_empty())
            .ok_or_else(|| error::protocol("the server did not tell where its snapshot is in the log"))
    };
    let sql = format!(
        "SELECT BINLOG_GTID_POS({}, {})",
        quote_literal(value("Binlog_snapshot_file")?),
        value("Binlog_snapshot_position")?
            .parse::<u64>()
            .map_err(|_| error::protocol("a place is no number"))?
    );
    match session.value(&sql).await? {
        Some(domains) => domains.parse().map(Seen::Domains),
        None => Err(error::protocol("the server did not find its snapshot in its log").retryable(true)),
    }
}

/// MySQL: nobody writes to the table while the snapshot is opened and the end
/// of the log is read. The lock waits for the transactions that have written
/// to it, until they are committed in the engine too; and since writers queue
/// behind who waits for it, it is not waited for longer than a second at once.
async fn under_a_lock(pool: &Pool, session: &mut Session, table: &Table) -> Result<Coordinates> {
    let mut locker = Control::connect(pool.config(), "lock").await?;
    locker.query_drop("SET SESSION lock_wait_timeout = 1").await.during("snapshot.lock")?;
    let lock = format!("LOCK TABLES {} READ", quoted(table));
    let deadline = Instant::now() + pool.config().begin_timeout();
    while let Err(error) = locker.query_drop(&lock).await.during("snapshot.lock") {
        if error.kind() != ErrorKind::Timeout {
            return Err(if is_gone(&error) {
                changed("it was dropped or renamed").caused_by(error)
            } else {
                error
            });
        }
        if Instant::now() > deadline {
            return Err(Error::new(
                ErrorKind::Timeout,
                "a table without a key could not be locked for the moment that its copy needs: end the \
                 transactions that write to it, or give it a primary key",
            )
            .caused_by(error));
        }
        sleep(PAUSE).await;
    }
    session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    touch(session, table).await?;
    let end = session.log_end().await?;
    locker.query_drop("UNLOCK TABLES").await.during("snapshot.lock")?;
    Ok(end)
}

/// Keeps DDL away from a table until the transaction ends, and reads nothing.
async fn touch(session: &mut Session, table: &Table) -> Result<()> {
    let sql = format!("SELECT 1 FROM {} LIMIT 0", quoted(table));
    session.run(&sql).await.map_err(|error| {
        if is_gone(&error) { changed("it was dropped or renamed").caused_by(error) } else { error }
    })
}

/// Fails unless a table is as it was described.
async fn unchanged(session: &mut Session, table: &Table) -> Result<()> {
    let print = session.value(&schema::fingerprint_statement(&table.origin.name)).await?;
    if print.as_deref() != Some(table.origin.fingerprint.as_str()) {
        return Err(changed("its columns or its key are others"));
    }
    Ok(())
}

/// What a read fails with. A table that was made anew behind the snapshot (by
/// a TRUNCATE) is read again; a definition that changed shows at once then.
pub(crate) fn failed(error: Error) -> Error {
    // ER_TABLE_DEF_CHANGED
    if error::code(&error) == Some(1412) { error.retryable(true) } else { error }
}

/// No such table or database.
fn is_gone(error: &Error) -> bool {
    matches!(error::code(error), Some(1049 | 1051 | 1146))
}

fn changed(how: &str) -> Error {
    Error::new(
        ErrorKind::SchemaChanged,
        format!("a table changed since it was described ({how}): start the run anew"),
    )
}

fn quoted(table: &Table) -> String {
    quote_table(&table.origin.name.schema, &table.origin.name.name)
}
