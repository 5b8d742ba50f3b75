//! The publication: which tables the log is decoded for.
//!
//! One that we made says so in its comment, and for which target (see
//! [`claim`](super::claim)); only such a one is altered and
//! dropped. One that somebody else made, under the name that was configured,
//! is used as it is if it gives everything that the run needs.
//!
//! A partitioned table is published under the names of its partitions
//! (`publish_via_partition_root = false`): under the root's name a TRUNCATE of
//! one partition would be lost in silence. Before 13 the partitions are listed
//! one by one.

use tokio_postgres::GenericClient;
use zdm_core::connect::RunName;
use zdm_core::schema::{Key, Schema, TableName};
use zdm_core::{Error, ErrorKind, Result};

use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::OrPg;

/// Whether [`ensure`] made the publication, so that a failure can undo it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Now,
    Before,
}

/// Makes the publication of the run's tables, or makes it fit.
///
/// # Errors
/// `Config` for a table that cannot be published without harm, and for
/// somebody else's publication that does not give what the run needs;
/// `Permission`, `Timeout` from the server.
pub(super) async fn ensure(
    control: &mut Control,
    name: &str,
    run: &RunName,
    schema: &Schema,
) -> Result<Made> {
    refuse_keyless(schema)?;
    let tables = listed(control, schema).await?;
    let list = tables
        .iter()
        .map(|t| format!("ONLY {}", quote_table(&t.schema, &t.name)))
        .collect::<Vec<_>>()
        .join(", ");
    let options = options(control);
    let ident = quote_ident(name);
    let made = match found(&**control, control.server_version_num(), name).await? {
        None => Made::Now,
        Some(found) if found.is_of(run) => Made::Before,
        Some(found) => {
            if let Some(lack) = found.lack(control, name, &tables).await? {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "the publication was not made by this run and {lack}: change it, or configure another name"
                    ),
                )
                .with("publication", name));
            }
            return Ok(Made::Before);
        }
    };
    let mut statements = match made {
        Made::Now if tables.is_empty() => format!("CREATE PUBLICATION {ident} WITH ({options});"),
        Made::Now => format!("CREATE PUBLICATION {ident} FOR TABLE {list} WITH ({options});"),
        Made::Before if tables.is_empty() => {
            return Err(Error::new(ErrorKind::Config, "the run has no table: check its selection"));
        }
        Made::Before => {
            format!("ALTER PUBLICATION {ident} SET TABLE {list}; ALTER PUBLICATION {ident} SET ({options});")
        }
    };
    if made == Made::Now {
        statements.push_str(&comment(name, &mark(run)));
    }
    // The lock on the tables lets writers through, but waits for DDL and VACUUM.
    let transaction = control.transaction().await.during("changes.publish")?;
    transaction.batch_execute("SET LOCAL lock_timeout = '30s'").await.during("changes.publish")?;
    transaction.batch_execute(&statements).await.map_err(|error| {
        let error = crate::error::from_client(error).during("changes.publish");
        if error.kind() != ErrorKind::Permission {
            return error;
        }
        Error::new(
            ErrorKind::Permission,
            "cannot publish the run's tables: GRANT CREATE ON DATABASE to the user, and let it own the tables \
             (or be a member of the role that does)",
        )
        .during("changes.publish")
        .caused_by(error)
    })?;
    transaction.commit().await.during("changes.publish")?;
    Ok(made)
}

/// Whether a run that goes on still gets every change. What was written while
/// the publication lacked something is lost, also if it was mended since, so
/// nothing is mended here.
///
/// # Errors
/// `Gap` when the publication is gone or gives less than the run needs.
pub(super) async fn check(control: &Control, name: &str, schema: &Schema) -> Result<()> {
    let lack = match found(&**control, control.server_version_num(), name).await? {
        None => Some("is gone".to_owned()),
        Some(found) => found.lack(control, name, &listed(control, schema).await?).await?,
    };
    match lack {
        None => Ok(()),
        Some(lack) => Err(Error::new(
            ErrorKind::Gap,
            format!("the run's publication {lack}, so changes may be lost: drop the run and start anew"),
        )
        .with("publication", name)),
    }
}

/// Drops the publication if a run of ours made it.
///
/// # Errors
/// `Permission` and others from the server.
pub(super) async fn drop(control: &Control, name: &str, run: &RunName) -> Result<()> {
    let Some(found) = found(&**control, control.server_version_num(), name).await? else { return Ok(()) };
    if !found.is_of(run) {
        return Ok(());
    }
    control
        .batch_execute(&format!("DROP PUBLICATION IF EXISTS {}", quote_ident(name)))
        .await
        .during("changes.unpublish")
}

/// What a publication of ours is made with.
pub(super) fn options(control: &Control) -> String {
    let root =
        if control.server_version_num() >= 130_000 { ", publish_via_partition_root = false" } else { "" };
    format!("publish = 'insert, update, delete, truncate'{root}")
}

pub(super) fn comment(name: &str, comment: &str) -> String {
    format!("COMMENT ON PUBLICATION {} IS {};", quote_ident(name), quote_literal(comment))
}

/// Begins the comment of a publication that a run of ours made.
pub(super) fn mark(run: &RunName) -> String {
    format!("made by zdm for its run {run}")
}

/// An update of a published table with no replica identity fails *in the
/// application*.
fn refuse_keyless(schema: &Schema) -> Result<()> {
    match schema.tables.iter().find(|table| table.key == Key::Nothing) {
        None => Ok(()),
        Some(table) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "the table's rows cannot be told apart in the log: add a primary key, or run ALTER TABLE {} \
                 REPLICA IDENTITY FULL, or leave it out of the run",
                quote_table(&table.origin.name.schema, &table.origin.name.name)
            ),
        )
        .with("table", &table.origin.name)),
    }
}

/// The tables to list: the run's, and before 13 the partitions of those that
/// have some.
async fn listed(control: &Control, schema: &Schema) -> Result<Vec<TableName>> {
    let ids: Vec<u32> = schema.tables.iter().map(|table| table.origin.id).collect();
    let statement = if control.server_version_num() >= 130_000 {
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = ANY ($1) ORDER BY 1, 2"
    } else {
        "SELECT DISTINCT n.nspname, c.relname FROM pg_catalog.unnest($1::oid[]) AS r (id)
         CROSS JOIN LATERAL (SELECT r.id UNION SELECT p.relid::oid
             FROM pg_catalog.pg_partition_tree(r.id::regclass) p) AS t (id)
         JOIN pg_catalog.pg_class c ON c.oid = t.id AND c.relkind = 'r'
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2"
    };
    let rows = control.query(statement, &[&ids]).await.during("changes.publish")?;
    rows.iter()
        .map(|row| {
            let (schema, name): (&str, &str) =
                (row.try_get(0).during("changes.publish")?, row.try_get(1).during("changes.publish")?);
            Ok(TableName::new(schema, name))
        })
        .collect()
}

/// Stands between the mark and the target of the run.
pub(super) const TARGET: &str = ", for ";

/// A publication that is there.
pub(super) struct Found {
    /// Publishes inserts, updates, deletes and truncates.
    whole: bool,
    via_root: bool,
    /// Publishes only some rows or columns of a table.
    partial: bool,
    comment: Option<String>,
}

pub(super) async fn found(
    control: &(impl GenericClient + Sync),
    version: u32,
    name: &str,
) -> Result<Option<Found>> {
    let via_root = if version >= 130_000 { "p.pubviaroot" } else { "false" };
    let partial = if version >= 150_000 {
        "EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid
                 AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL))"
    } else {
        "false"
    };
    let statement = format!(
        "SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, {via_root}, {partial},
                pg_catalog.obj_description(p.oid, 'pg_publication')
         FROM pg_catalog.pg_publication p WHERE p.pubname = $1"
    );
    let row = control.query_opt(&statement, &[&name]).await.during("changes.publish")?;
    row.map(|row| {
        Ok(Found {
            whole: row.try_get(0).during("changes.publish")?,
            via_root: row.try_get(1).during("changes.publish")?,
            partial: row.try_get(2).during("changes.publish")?,
            comment: row.try_get(3).during("changes.publish")?,
        })
    })
    .transpose()
}

impl Found {
    /// Whether a run of that name made it.
    pub(super) fn is_of(&self, run: &RunName) -> bool {
        let rest = self.comment.as_deref().and_then(|comment| comment.strip_prefix(&mark(run)));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(TARGET))
    }

    /// The target that the run was claimed for.
    pub(super) fn target(&self) -> Option<&str> {
        self.comment.as_deref()?.split_once(TARGET).map(|(_, target)| target)
    }

    /// What it lacks of what the run needs, as a predicate.
    async fn lack(&self, control: &Control, name: &str, tables: &[TableName]) -> Result<Option<String>> {
        let lacks = |what: &str| Ok(Some(what.to_owned()));
        if !self.whole {
            return lacks("does not publish insert, update, delete and truncate");
        }
        if self.partial {
            return lacks("publishes only some rows or columns of a table");
        }
        let rows = control
            .query(
                "SELECT t.schemaname, t.tablename FROM pg_catalog.pg_publication_tables t WHERE t.pubname = $1",
                &[&name],
            )
            .await
            .during("changes.publish")?;
        let mut published = std::collections::BTreeSet::new();
        for row in &rows {
            let schema: &str = row.try_get(0).during("changes.publish")?;
            let table: &str = row.try_get(1).during("changes.publish")?;
            published.insert(TableName::new(schema, table));
        }
        // Shown are a partitioned table's partitions, or with `via_root` itself.
        let missing = control
            .query(
                "SELECT n.nspname, c.relname FROM unnest($1::text[], $2::text[]) AS w (s, t)
                 JOIN pg_catalog.pg_namespace wn ON wn.nspname = w.s
                 JOIN pg_catalog.pg_class wc ON wc.relnamespace = wn.oid AND wc.relname = w.t
                 CROSS JOIN LATERAL (SELECT wc.oid WHERE wc.relkind = 'r' UNION
                     SELECT p.relid::oid FROM pg_catalog.pg_partition_tree(wc.oid::regclass) p WHERE p.isleaf)
                     AS l (id)
                 JOIN pg_catalog.pg_class c ON c.oid = l.id AND c.relkind = 'r'
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
                &[
                    &tables.iter().map(|t| t.schema.as_str()).collect::<Vec<_>>(),
                    &tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
                ],
            )
            .await
            .during("changes.publish")?;
        for row in &missing {
            let schema: &str = row.try_get(0).during("changes.publish")?;
            let table: &str = row.try_get(1).during("changes.publish")?;
            if published.contains(&TableName::new(schema, table)) {
                continue;
            }
            if self.via_root {
                return lacks(
                    "has publish_via_partition_root, under which the TRUNCATE of one partition is lost, or lacks \
                     a table",
                );
            }
            return lacks(&format!("lacks the table {schema}.{table}"));
        }
        Ok(None)
    }
}
