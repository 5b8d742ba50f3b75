//! What stands on a table that was there before the run, and would refuse or
//! alter rows while they arrive: rows of different chunks come from different
//! moments, and a later change may belong to a row that is not there yet.
//!
//! A unique or exclusion index that the source has too steps aside, and comes
//! back at [`Finished`](zdm_core::connect::Step::Finished) from the source's
//! own definition: nothing has to be remembered, and a kill loses nothing. So
//! do foreign keys and triggers. What the source has not, nobody could make
//! again: it is refused, by its name, before anything is changed.

use std::collections::HashMap;

use tokio_postgres::Client;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{Constraint, ConstraintKind, Index, Schema, Table};

use super::{fit, quoted};
use crate::connect::quote::quote_ident;
use crate::error::OrPg;
use crate::schema::{Cells, SEAL_TRIGGER};

/// A unique or exclusion index.
#[derive(Debug)]
struct Unique {
    name: String,
    /// The same quoted, with its schema.
    full: String,
    /// The partition that has it for itself.
    leaf: Option<String>,
    definition: String,
    /// What its constraint says, if it has one.
    constraint: Option<String>,
    /// Its key, where that is plain columns of all rows, checked at once.
    columns: Option<Vec<String>>,
}

/// What stands on the tables that are there.
#[derive(Debug, Default)]
pub(super) struct Standing {
    uniques: HashMap<Oid, Vec<Unique>>,
    /// In words: what fires, and what to do about it.
    firing: HashMap<Oid, Vec<(String, String)>>,
}

/// With those of partitions that belong to no index of the table.
const UNIQUES: &str = "
SELECT r.oid, c.relname, CASE WHEN i.indrelid <> r.oid THEN format('%I.%I', n.nspname, t.relname) END,
       pg_catalog.pg_get_indexdef(c.oid), pg_catalog.pg_get_constraintdef(k.oid),
       CASE WHEN i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL THEN
         ARRAY(SELECT a.attname::text
                 FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS m (number, at)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = m.number
                ORDER BY m.at) END,
       format('%I.%I', n.nspname, c.relname)
  FROM unnest($1::oid[]) r(oid)
  JOIN pg_catalog.pg_index i
    ON i.indrelid = r.oid OR i.indrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(r.oid) p)
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_constraint k
    ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
 WHERE (i.indisunique OR i.indisexclusion) AND (i.indrelid = r.oid OR NOT c.relispartition)
 ORDER BY c.relname";

/// Triggers that are enabled and foreign keys to and from other tables; the
/// names by which the source may have them too come first.
const FIRING: &str = "
SELECT r.oid, t.tgname, format('the trigger %I: ALTER TABLE %s DISABLE TRIGGER %I', t.tgname, r.oid::regclass, t.tgname)
  FROM unnest($1::oid[]) r(oid)
  JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid
 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgname <> $2
 UNION ALL
SELECT r.oid, k.conname,
       format('the foreign key %I: ALTER TABLE %s DROP CONSTRAINT %I', k.conname, k.conrelid::regclass, k.conname)
  FROM unnest($1::oid[]) r(oid)
  JOIN pg_catalog.pg_constraint k
    ON k.contype = 'f' AND k.conparentid = 0
   AND (k.conrelid IN (SELECT r.oid UNION ALL SELECT p.relid FROM pg_catalog.pg_partition_tree(r.oid) p)
        OR k.confrelid = r.oid AND k.conrelid NOT IN (
             SELECT o.oid FROM unnest($1::oid[]) o(oid) UNION ALL
             SELECT p.relid FROM unnest($1::oid[]) o(oid), pg_catalog.pg_partition_tree(o.oid) p))
 ORDER BY 1, 2";

impl Standing {
    /// Reads what stands on the tables with these oids.
    pub(super) async fn read(client: &Client, tables: &[Oid]) -> Result<Self> {
        let room = "sink.prepare";
        let mut standing = Self::default();
        for row in client.query(UNIQUES, &[&tables]).await.during(room)? {
            let unique = Unique {
                name: row.cell(1)?,
                full: row.cell(6)?,
                leaf: row.cell(2)?,
                definition: row.cell(3)?,
                constraint: row.cell(4)?,
                columns: row.cell(5)?,
            };
            standing.uniques.entry(row.cell(0)?).or_default().push(unique);
        }
        for row in client.query(FIRING, &[&tables, &SEAL_TRIGGER]).await.during(room)? {
            standing.firing.entry(row.cell(0)?).or_default().push((row.cell(1)?, row.cell(2)?));
        }
        Ok(standing)
    }

    /// What of it is in the way and not the source's, in words.
    pub(super) fn refused(&self, schema: &Schema, table: &Table, oid: Oid) -> Vec<String> {
        let ours = |name: &str| {
            table.triggers.iter().any(|trigger| trigger.name == *name)
                || table.constraints.iter().any(|constraint| constraint.name == *name)
        };
        let firing = self.firing.get(&oid).into_iter().flatten().filter(|(name, _)| !ours(name));
        let uniques = self.aside(table, oid).filter(|unique| !unique.is_in(schema, table)).map(|unique| {
            let on = unique.leaf.as_ref().map_or_else(String::new, |leaf| format!(" on {leaf}"));
            format!("the unique index {}{on}: {}", quote_ident(&unique.name), unique.drop(table))
        });
        uniques.chain(firing.map(|(_, words)| words.clone())).collect()
    }

    /// What takes the source's own unique indexes aside, if there are any.
    pub(super) fn set_aside(&self, schema: &Schema, table: &Table, oid: Oid) -> Option<String> {
        let own = self.aside(table, oid).filter(|unique| unique.is_in(schema, table));
        let all: Vec<_> = own.map(|unique| unique.drop(table)).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// All but what is over the key.
    fn aside(&self, table: &Table, oid: Oid) -> impl Iterator<Item = &Unique> {
        let mut key = fit::key_columns(table);
        key.sort_unstable();
        self.uniques.get(&oid).into_iter().flatten().filter(move |unique| {
            let columns = unique.columns.clone().map(|mut columns| {
                columns.sort_unstable();
                columns
            });
            unique.leaf.is_some() || key.is_empty() || columns.as_ref() != Some(&key)
        })
    }
}

impl Unique {
    /// Whether the source has the same under that name.
    fn is_in(&self, schema: &Schema, table: &Table) -> bool {
        match &self.constraint {
            Some(_) if self.leaf.is_some() => false,
            Some(_) => {
                table.constraints.iter().any(|constraint| self.is_constraint(schema, table, constraint))
            }
            None => table.indexes.iter().any(|index| self.is_index(table, index)),
        }
    }

    /// The statement that takes it away.
    fn drop(&self, table: &Table) -> String {
        match &self.constraint {
            Some(_) => {
                let on = self.leaf.clone().unwrap_or_else(|| quoted(table));
                format!("ALTER TABLE {on} DROP CONSTRAINT {}", quote_ident(&self.name))
            }
            None => format!("DROP INDEX {}", self.full),
        }
    }

    fn is_constraint(&self, schema: &Schema, table: &Table, constraint: &Constraint) -> bool {
        let columns = match &constraint.kind {
            ConstraintKind::Primary { columns } | ConstraintKind::Unique { columns } => Some(columns),
            _ => None,
        };
        constraint.name == self.name
            && (fit::constraint(schema, table, constraint) == self.constraint
                || columns.is_some() && columns == self.columns.as_ref())
    }

    fn is_index(&self, table: &Table, index: &Index) -> bool {
        index.name == self.name
            && index.unique
            && (fit::index(table, index).as_ref() == Some(&self.definition)
                || self.leaf.is_none() && index.columns.is_some() && index.columns == self.columns)
    }
}
