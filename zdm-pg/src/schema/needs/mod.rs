//! What tables lean on: types, functions, collations, extensions, schemas;
//! found along `pg_depend`, in an order in which they can be made.
//!
//! `pg_depend` knows what a default, a check, an index or a trigger calls. It
//! does not know what the body of a function calls; that is found missing when
//! the function runs.

mod order;
mod statements;

use std::collections::BTreeSet;

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{Definition, DefinitionKind};

use self::order::Order;
use crate::connect::quote::quote_ident;
use crate::error::OrPg;
use crate::schema::Cells;

/// An object of the catalog: the oid of its catalog, and its own.
type Object = (Oid, Oid);

/// What tables lean on.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// What can be made, in order, schemas first.
    pub(super) definitions: Vec<Definition>,
    /// What cannot be made by us, as the engine describes it.
    pub(super) unmade: Vec<String>,
}

/// The edges of the graph of needs that starts at the tables (`$1`), each from
/// an object to one that it needs. Members of an extension need only that.
/// Tables need no tables; below 16384 everything is built in. A generated column
/// hangs on a function automatically (`a`).
const EDGES: &str = "
WITH RECURSIVE edge(classid, objid, refclassid, refobjid) AS (
  SELECT 0::oid, 0::oid, root.classid, root.objid
    FROM (SELECT 'pg_catalog.pg_class'::regclass::oid, unnest($1::oid[])
           UNION ALL
          SELECT 'pg_catalog.pg_attrdef'::regclass, oid FROM pg_catalog.pg_attrdef WHERE adrelid = ANY($1)
           UNION ALL
          SELECT 'pg_catalog.pg_constraint'::regclass, oid FROM pg_catalog.pg_constraint WHERE conrelid = ANY($1)
           UNION ALL
          SELECT 'pg_catalog.pg_class'::regclass, indexrelid FROM pg_catalog.pg_index WHERE indrelid = ANY($1)
           UNION ALL
          SELECT 'pg_catalog.pg_trigger'::regclass, oid FROM pg_catalog.pg_trigger
           WHERE tgrelid = ANY($1) AND NOT tgisinternal AND tgname <> $2) root(classid, objid)
  UNION
  SELECT edge.refclassid, edge.refobjid, next.classid, next.objid
    FROM edge, LATERAL (
         SELECT d.refclassid, d.refobjid
           FROM pg_catalog.pg_depend d
          WHERE d.classid = edge.refclassid AND d.objid = edge.refobjid AND (d.deptype IN ('n', 'i', 'e')
             OR d.deptype = 'a' AND d.refclassid = 'pg_catalog.pg_proc'::regclass)
            AND (d.deptype = 'e' OR NOT EXISTS (
                 SELECT FROM pg_catalog.pg_depend x
                  WHERE x.classid = d.classid AND x.objid = d.objid AND x.deptype = 'e'))
            AND d.refclassid NOT IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_namespace'::regclass)
         UNION ALL
         SELECT 'pg_catalog.pg_type'::regclass, a.atttypid
           FROM pg_catalog.pg_type t
           JOIN pg_catalog.pg_class c ON c.oid = t.typrelid AND c.relkind = 'c'
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          WHERE edge.refclassid = 'pg_catalog.pg_type'::regclass AND t.oid = edge.refobjid
            AND a.atttypid >= 16384
         UNION ALL
         SELECT 'pg_catalog.pg_constraint'::regclass, k.oid
           FROM pg_catalog.pg_constraint k
          WHERE edge.refclassid = 'pg_catalog.pg_type'::regclass AND k.contypid = edge.refobjid
         ) next(classid, objid)
)
SELECT classid, objid, refclassid, refobjid FROM edge
 ORDER BY classid, objid, refclassid, refobjid";

/// Reads what the tables need; `schemas` are those that they are in.
pub(super) async fn read(
    tx: &Transaction<'_>,
    tables: &[Oid],
    seal: &str,
    mut schemas: BTreeSet<String>,
) -> Result<Needs> {
    let mut order = Order::default();
    for row in tx.query(EDGES, &[&tables, &seal]).await.during("schema.needs")? {
        let (from, to): (Object, Object) = ((row.cell(0)?, row.cell(1)?), (row.cell(2)?, row.cell(3)?));
        order.needs(from, to);
    }
    let found = statements::read(tx, &order.objects()).await?;
    schemas.extend(found.schemas);
    let mut needs = Needs { unmade: found.unmade, ..Needs::default() };
    needs.definitions.extend(schemas.into_iter().filter(|name| !name.starts_with("pg_")).map(|name| {
        let name = quote_ident(&name);
        Definition { kind: DefinitionKind::Schema, statement: format!("CREATE SCHEMA {name}"), name }
    }));
    let mut definitions = found.definitions;
    needs.definitions.extend(order.sorted().iter().filter_map(|object| definitions.remove(object)));
    Ok(needs)
}
