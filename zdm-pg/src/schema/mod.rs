//! Reads the catalog: tables, and all that they lean on.
//!
//! Everything is read in one transaction with an empty `search_path`, so that
//! the server writes every name with its schema, and its own statements
//! (`pg_get_indexdef` and the like) can be run elsewhere as they are.
//!
//! A partitioned table is *one* table: its partitions are read, streamed and
//! written through the root, and made again with it.

mod cells;
mod columns;
pub(crate) mod dialect;
mod fingerprint;
mod made;
mod needs;
mod objects;
mod relations;
mod sequences;
mod shapes;
mod unmoved;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::types::Oid;
use tokio_postgres::{IsolationLevel, Transaction};
use zdm_core::Result;
use zdm_core::schema::{Column, Constraint, Key, Schema, Selection, Table};

pub(crate) use self::cells::Cells;
use self::fingerprint::fingerprints;
pub(crate) use self::fingerprint::{fingerprint, has_its_partitions};
use self::objects::RawIndex;
use self::relations::Relation;
pub(crate) use self::shapes::shapes;
use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;
use crate::position::ENGINE;

/// The name of the trigger that seals a table; never part of what is moved.
pub(crate) const SEAL_TRIGGER: &str = "zdm_seal";

/// Reads the selected tables and what they lean on.
///
/// # Errors
///
/// When the server cannot be reached or asked.
pub async fn describe(config: &PgConfig, selection: &Selection) -> Result<Schema> {
    let mut control = Control::connect(config, "describe").await?;
    let tx = control
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .during("schema.describe")?;
    let schema = read(&tx, config.schema(), selection).await?;
    tx.commit().await.during("schema.describe")?;
    Ok(schema)
}

async fn read(tx: &Transaction<'_>, ours: &str, selection: &Selection) -> Result<Schema> {
    tx.batch_execute("SET LOCAL search_path = ''").await.during("schema.describe")?;
    let relations = relations::read(tx, ours, selection).await?;
    let roots: Vec<Oid> = relations.iter().map(|r| r.oid).collect();
    let mut parts = relations::partitions(tx, &roots).await?;
    let all: Vec<Oid> = roots.iter().copied().chain(parts.values().flatten().map(|(oid, _)| *oid)).collect();

    let types = made::Types::read(tx).await?;
    let mut columns = columns::read(tx, &roots, &types).await?;
    let mut indexes = objects::indexes(tx, &all).await?;
    let mut constraints = objects::constraints(tx, &roots).await?;
    let mut triggers = objects::triggers(tx, &roots, SEAL_TRIGGER).await?;
    let mut prints = fingerprints(tx, &roots).await?;
    let sequences = sequences::read(tx, &all, ours, selection).await?;

    let mut schemas: BTreeSet<String> = sequences.iter().map(|s| s.name.schema.to_string()).collect();
    let mut tables = Vec::with_capacity(relations.len());
    for relation in relations {
        let oid = relation.oid;
        let own = indexes.remove(&oid).unwrap_or_default();
        let mut table = table(
            relation,
            columns.remove(&oid).unwrap_or_default(),
            own,
            constraints.remove(&oid).unwrap_or_default(),
        );
        table.triggers = triggers.remove(&oid).unwrap_or_default();
        table.origin.fingerprint = prints.remove(&oid).unwrap_or_default();
        schemas.insert(table.name.schema.to_string());
        for (part, partition) in parts.remove(&oid).unwrap_or_default() {
            // An index of one partition alone; what a constraint made there is
            // told in the assessment.
            let alone = indexes.remove(&part).unwrap_or_default();
            table.indexes.extend(alone.into_iter().filter(|raw| !raw.constrained).map(|mut raw| {
                raw.index.columns = None;
                raw.index
            }));
            schemas.insert(partition.name.schema.to_string());
            table.partitions.push(partition);
        }
        tables.push(Arc::new(table));
    }
    let unmoved = unmoved::read(tx, ours).await?;
    let needs = needs::read(tx, &all, SEAL_TRIGGER, schemas).await?;
    for object in &needs.unmade {
        tracing::warn!(%object, "needed by a table, and not moved");
    }
    Ok(Schema { tables, definitions: needs.definitions, sequences, unmoved })
}

fn table(
    relation: Relation,
    columns: Vec<Column>,
    indexes: Vec<RawIndex>,
    constraints: Vec<Constraint>,
) -> Table {
    let (key, key_name) = key(&relation.identity, &columns, &indexes);
    let mut table = Table::new(ENGINE, relation.name, columns, key);
    table.full_old_image = relation.identity == "f";
    table.key_name = key_name;
    table.origin.id = relation.oid;
    table.constraints = constraints;
    table.indexes = indexes.into_iter().filter(|raw| !raw.constrained).map(|raw| raw.index).collect();
    table.options = relation.options;
    table.comment = relation.comment;
    table.estimated_rows = relation.rows;
    table.estimated_bytes = relation.bytes;
    table
}

/// The key is what the log carries of an old row, so the replica identity.
///
/// `DEFAULT` without a primary key, or with a deferrable one, logs nothing:
/// an update or delete of such a table would fail in the application as soon
/// as it is published. `FULL` logs every cell, also those of a primary key.
fn key(identity: &str, columns: &[Column], indexes: &[RawIndex]) -> (Key, Option<String>) {
    let by = |raw: &RawIndex| {
        let key = raw.key.as_ref()?;
        let positions: Option<Vec<_>> =
            key.iter().map(|name| columns.iter().position(|c| c.name == *name)).collect();
        Some((Key::Columns(positions?), raw.primary.then(|| raw.index.name.clone())))
    };
    let primary = || indexes.iter().filter(|raw| raw.primary).find_map(by);
    let found = match identity {
        "d" => primary(),
        "i" => indexes.iter().filter(|raw| raw.identity).find_map(by),
        "f" => Some(primary().unwrap_or((Key::FullRow, None))),
        _ => None,
    };
    found.unwrap_or((Key::Nothing, None))
}

#[cfg(test)]
mod tests {
    use zdm_core::schema::{DataType, Index};

    use super::*;

    fn index(name: &str, columns: &[&str], primary: bool, identity: bool) -> RawIndex {
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        RawIndex {
            index: Index::new(name, true, columns.clone()),
            key: Some(columns),
            primary,
            identity,
            constrained: primary,
        }
    }

    #[test]
    fn key_is_the_replica_identity() {
        let columns: Vec<_> = ["a", "b", "c"].map(|name| Column::new(name, DataType::text())).into();
        let both = || [index("pk", &["c", "a"], true, false), index("u", &["b"], false, true)];
        let pk = (Key::Columns(vec![2, 0]), Some("pk".to_owned()));
        assert_eq!(key("d", &columns, &both()), pk);
        assert_eq!(key("f", &columns, &both()), pk);
        assert_eq!(key("i", &columns, &both()), (Key::Columns(vec![1]), None));
        assert_eq!(key("n", &columns, &both()), (Key::Nothing, None));
        assert_eq!(key("d", &columns, &[]), (Key::Nothing, None));
        assert_eq!(key("f", &columns, &[]), (Key::FullRow, None));
        // The index that the identity named was dropped.
        assert_eq!(key("i", &columns, &both()[..1]), (Key::Nothing, None));
        let mut deferrable = both();
        deferrable[0].key = None;
        assert_eq!(key("d", &columns, &deferrable), (Key::Nothing, None));
        assert_eq!(key("f", &columns, &deferrable), (Key::FullRow, None));
    }
}
