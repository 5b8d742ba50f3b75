//! The transaction in which some of a table is read.

use zdm_core::connect::{After, Visibility};
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use super::held::SAME_FILES;
use super::point;
use super::pool::Pool;
use super::rows::Form;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_table};
use crate::error::{OrPg, sqlstate};
use crate::schema;

/// One moment of a table: an open transaction whose snapshot is taken, on a
/// table that is as it was described and stays so until the end.
#[derive(Debug)]
pub(crate) struct Moment {
    /// By where it is in the log; and, of a table without a key, exactly what
    /// the snapshot has seen.
    pub(super) after: After,
    /// Exactly what the snapshot has seen.
    pub(super) seen: Visibility,
    /// `ONLY`, unless the rows lie in partitions.
    pub(super) only: &'static str,
}

impl Moment {
    /// Opens it on an idle connection.
    ///
    /// # Errors
    /// `SchemaChanged` when the table is not as it was described. The
    /// connection is of no use after an error.
    pub(crate) async fn open(control: &Control, table: &Table) -> Result<Self> {
        // The lock first: neither statement takes a snapshot, and to one that
        // is older than a rewrite of the table, the table would be empty.
        control
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .during("snapshot.begin")?;
        lock(control, table).await?;
        let moment = Self::take(control, table).await?;
        unchanged(control, table).await?;
        Ok(moment)
    }

    /// Opens it as the pool reads: by the pool's one snapshot, if it has one.
    ///
    /// # Errors
    /// As [`open`](Self::open); `SchemaChanged` for a table that was truncated
    /// or rewritten behind the snapshot.
    pub(crate) async fn of(pool: &Pool, control: &Control, table: &Table) -> Result<Self> {
        let Some(exported) = pool.exported() else { return Self::open(control, table).await };
        // OK to write it so: the server has made the name, of hexadecimal digits
        // and hyphens.
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
            exported.name
        );
        control.batch_execute(&begin).await.during("snapshot.begin")?;
        lock(control, table).await?;
        // Behind the lock and by a newer snapshot: this one's catalog is old.
        let newer = pool.take().await?;
        unchanged(&newer, table).await?;
        pool.give(newer);
        let row = control.query_one(SAME_FILES, &[&table.origin.id]).await.during("snapshot.begin")?;
        if !row.try_get::<_, bool>(0).during("snapshot.begin")? {
            return Err(changed("it was truncated or rewritten"));
        }
        Self::take(control, table).await
    }

    /// The first statement that needs a snapshot. The end of the log that it
    /// tells is read behind that, so all that the snapshot has seen is before
    /// it; and it is read before the table is, which may write to the log
    /// itself (pruning, hint bits) what nobody hurries to flush.
    async fn take(control: &Control, table: &Table) -> Result<Self> {
        let snapshot = match control.server_version_num() {
            130_000.. => "pg_current_snapshot",
            _ => "txid_current_snapshot",
        };
        let sql = format!(
            "SELECT c.relkind = 'p', {snapshot}()::text, {}
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.oid = $1 AND n.nspname = $2 AND c.relname = $3",
            point::END
        );
        let name = &table.origin.name;
        let row = control
            .query_opt(&sql, &[&table.origin.id, &name.schema.as_str(), &name.name.as_str()])
            .await
            .during("snapshot.begin")?
            .ok_or_else(|| changed("another table has its name"))?;
        let seen = Visibility(row.try_get(1).during("snapshot.begin")?);
        // Only a table without a key needs to know; see `Snapshot::read`.
        let visibility = (!table.has_key()).then(|| seen.clone());
        let partitioned: bool = row.try_get(0).during("snapshot.begin")?;
        Ok(Self {
            after: After { position: point::end(&row)?.into(), visibility },
            seen,
            only: only(partitioned),
        })
    }

    /// A COPY of the rows that satisfy a condition, the columns that somebody
    /// writes in their order; the table's alias is `t`.
    pub(crate) fn copy(&self, table: &Table, condition: &str, form: Form) -> String {
        let written = table.columns.iter().filter(|column| column.is_written());
        let columns: Vec<_> = written.map(|column| format!("t.{}", quote_ident(&column.name))).collect();
        format!(
            "COPY (SELECT {} FROM {}{} AS t WHERE {condition}) TO STDOUT{}",
            columns.join(", "),
            self.only,
            quote_table(&table.origin.name.schema, &table.origin.name.name),
            if form == Form::Binary { " (FORMAT binary)" } else { "" },
        )
    }

    /// Ends the transaction, and leaves the connection idle.
    pub(crate) async fn close(self, control: &Control) -> Result<After> {
        control.batch_execute("COMMIT").await.during("snapshot.end")?;
        Ok(self.after)
    }
}

/// How the rows of a table are named alone, unless they lie in partitions.
pub(super) fn only(partitioned: bool) -> &'static str {
    if partitioned { "" } else { "ONLY " }
}

/// Keeps DDL away from a table until the transaction ends.
pub(super) async fn lock(control: &Control, table: &Table) -> Result<()> {
    let name = quote_table(&table.origin.name.schema, &table.origin.name.name);
    let sql = format!("LOCK TABLE {name} IN ACCESS SHARE MODE");
    control.batch_execute(&sql).await.during("snapshot.lock").map_err(|error| {
        match sqlstate(&error) {
            // No such table, no such schema.
            Some("42P01" | "3F000") => changed("it was dropped or renamed").caused_by(error),
            _ => error,
        }
    })
}

/// Fails unless a table is as it was described.
pub(super) async fn unchanged(control: &Control, table: &Table) -> Result<()> {
    if schema::fingerprint(&**control, table.origin.id).await? != table.origin.fingerprint
        || !schema::has_its_partitions(&**control, table).await?
    {
        return Err(changed("its columns or partitions are others"));
    }
    Ok(())
}

fn changed(how: &str) -> Error {
    Error::new(
        ErrorKind::SchemaChanged,
        format!("a table changed since it was described ({how}): start the run anew"),
    )
}
