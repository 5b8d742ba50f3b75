//! What is already there of what a run makes.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Client;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::connect::RunName;
use zdm_core::schema::{Table, TableName};

use crate::connect::quote::quote_table;
use crate::error::OrPg;
use crate::schema::Cells;

/// A constraint that is there.
#[derive(Debug)]
pub(super) struct Present {
    /// `pg_constraint.contype`.
    pub(super) kind: String,
    pub(super) validated: bool,
}

/// A table that is there.
#[derive(Debug, Default)]
pub(super) struct Existing {
    pub(super) oid: Oid,
    pub(super) partitioned: bool,
    /// Name and type of each column, sorted.
    pub(super) columns: Vec<(String, String)>,
    pub(super) constraints: HashMap<String, Present>,
    pub(super) indexes: HashSet<String>,
    pub(super) triggers: HashSet<String>,
    /// The partitions that hold rows, with their foreign keys' names and
    /// whether those are validated.
    pub(super) leaves: Vec<(TableName, HashMap<String, bool>)>,
}

/// The tables of a run, as the target has them.
#[derive(Debug, Default)]
pub(super) struct State {
    tables: HashMap<TableName, Existing>,
    /// Tables that a run has made or accepted: whose, and as which oid.
    made: HashMap<TableName, Vec<(String, Oid)>>,
}

const TABLES: &str = "
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p',
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname::text COLLATE \"C\"),
       ARRAY(SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname::text COLLATE \"C\"),
       ARRAY(SELECT t.tgname::text FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
  FROM unnest($1::text[], $2::text[]) w(nsp, rel)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.nsp
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.rel
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";

const CONSTRAINTS: &str = "
SELECT k.conrelid, k.conname, k.contype::text, k.convalidated
  FROM pg_catalog.pg_constraint k WHERE k.conrelid = ANY($1::oid[]) AND k.contype <> 'n'";

/// With the indexes of partitions, where they are not attached.
const INDEXES: &str = "
SELECT r.oid, c.relname
  FROM unnest($1::oid[]) r(oid)
  JOIN pg_catalog.pg_index i
    ON i.indrelid = r.oid OR i.indrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(r.oid) p)
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 WHERE i.indisvalid AND (i.indrelid = r.oid OR NOT c.relispartition)";

const LEAVES: &str = "
SELECT r.oid, n.nspname, c.relname,
       ARRAY(SELECT k.conname::text FROM pg_catalog.pg_constraint k
              WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conname),
       ARRAY(SELECT k.convalidated FROM pg_catalog.pg_constraint k
              WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conname)
  FROM unnest($1::oid[]) r(oid), pg_catalog.pg_partition_tree(r.oid) p
  JOIN pg_catalog.pg_class c ON c.oid = p.relid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.isleaf AND p.level > 0";

impl State {
    pub(super) async fn read(client: &Client, ours: &str, run: &RunName, tables: &[&Table]) -> Result<Self> {
        let room = "sink.prepare";
        let schemas: Vec<&str> = tables.iter().map(|t| t.name.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|t| t.name.name.as_str()).collect();
        let mut state = Self::default();
        let mut at: HashMap<Oid, TableName> = HashMap::new();
        for row in client.query(TABLES, &[&schemas, &names]).await.during(room)? {
            let name = TableName::new(row.cell::<&str>(1)?, row.cell::<&str>(2)?);
            let (columns, types): (Vec<String>, Vec<String>) = (row.cell(4)?, row.cell(5)?);
            let existing = Existing {
                oid: row.cell(0)?,
                partitioned: row.cell(3)?,
                columns: columns.into_iter().zip(types).collect(),
                triggers: row.cell::<Vec<String>>(6)?.into_iter().collect(),
                ..Existing::default()
            };
            at.insert(existing.oid, name.clone());
            state.tables.insert(name, existing);
        }
        let oids: Vec<Oid> = at.keys().copied().collect();
        let parted: Vec<Oid> = state.tables.values().filter(|e| e.partitioned).map(|e| e.oid).collect();
        let mut of = |oid: Oid, add: &mut dyn FnMut(&mut Existing)| {
            if let Some(existing) = at.get(&oid).and_then(|name| state.tables.get_mut(name)) {
                add(existing);
            }
        };
        for row in client.query(CONSTRAINTS, &[&oids]).await.during(room)? {
            let (name, present): (String, _) =
                (row.cell(1)?, Present { kind: row.cell(2)?, validated: row.cell(3)? });
            let mut present = Some(present);
            of(row.cell(0)?, &mut |e| e.constraints.extend(present.take().map(|p| (name.clone(), p))));
        }
        for row in client.query(INDEXES, &[&oids]).await.during(room)? {
            let name: String = row.cell(1)?;
            of(row.cell(0)?, &mut |e| e.indexes.extend([name.clone()]));
        }
        for row in client.query(LEAVES, &[&parted]).await.during(room)? {
            let leaf = TableName::new(row.cell::<&str>(1)?, row.cell::<&str>(2)?);
            let (names, validated): (Vec<String>, Vec<bool>) = (row.cell(3)?, row.cell(4)?);
            let keys: HashMap<_, _> = names.into_iter().zip(validated).collect();
            of(row.cell(0)?, &mut |e| e.leaves.push((leaf.clone(), keys.clone())));
        }
        state.made = made(client, ours).await?;
        tracing::trace!(%run, tables = state.tables.len(), "read what is there");
        Ok(state)
    }

    /// The table of that name, if it is there.
    pub(super) fn table(&self, name: &TableName) -> Option<&Existing> {
        self.tables.get(name)
    }

    /// Whether the run has made or accepted the table that is there.
    pub(super) fn is_made(&self, run: &RunName, name: &TableName) -> bool {
        let Some(existing) = self.tables.get(name) else { return false };
        self.owners(name).any(|(owner, oid)| owner == run.as_str() && *oid == existing.oid)
    }

    /// Whether the run once made a table of that name, there or not.
    pub(super) fn was_made(&self, run: &RunName, name: &TableName) -> bool {
        self.owners(name).any(|(owner, _)| owner == run.as_str())
    }

    /// Another run that has made the table.
    pub(super) fn other_owner(&self, run: &RunName, name: &TableName) -> Option<&str> {
        let oid = self.tables.get(name)?.oid;
        self.owners(name).find(|(owner, at)| owner != run.as_str() && *at == oid).map(|(o, _)| o.as_str())
    }

    fn owners(&self, name: &TableName) -> impl Iterator<Item = &(String, Oid)> {
        self.made.get(name).into_iter().flatten()
    }
}

/// Reads `zdm.made`, if it is there.
async fn made(client: &Client, ours: &str) -> Result<HashMap<TableName, Vec<(String, Oid)>>> {
    let mut made: HashMap<TableName, Vec<(String, Oid)>> = HashMap::new();
    let table = quote_table(ours, "made");
    let there = client
        .query_one("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[&table])
        .await
        .during("sink.prepare")?
        .cell::<bool>(0)?;
    if there {
        let sql = format!("SELECT run, schema_name, table_name, oid FROM {table}");
        for row in client.query(&sql, &[]).await.during("sink.prepare")? {
            let name = TableName::new(row.cell::<&str>(1)?, row.cell::<&str>(2)?);
            made.entry(name).or_default().push((row.cell(0)?, row.cell(3)?));
        }
    }
    Ok(made)
}
