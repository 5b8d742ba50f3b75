//! What is in the database beside tables, and is not moved to another engine.

use tokio_postgres::Transaction;
use zdm_core::Result;
use zdm_core::schema::{TableName, Unmoved, UnmovedKind};

use crate::error::OrPg;
use crate::schema::Cells;

/// Of users' schemas and no extension's: views, routines, rules, and event
/// triggers. Aggregates have no statement that the server could show.
const UNMOVED: &str = "
SELECT * FROM (
  SELECT CASE c.relkind WHEN 'm' THEN 'm' ELSE 'v' END AS kind, n.nspname AS nsp, c.relname AS name,
         format('CREATE %s %I.%I AS %s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
                n.nspname, c.relname, pg_catalog.pg_get_viewdef(c.oid)) AS statement,
         'pg_catalog.pg_class'::pg_catalog.regclass AS class, c.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('v', 'm')
  UNION ALL
  SELECT 'f', n.nspname, p.proname, pg_catalog.pg_get_functiondef(p.oid),
         'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE p.prokind IN ('f', 'p') AND p.oid >= 16384
  UNION ALL
  SELECT 'r', n.nspname, r.rulename, pg_catalog.pg_get_ruledef(r.oid),
         'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_class c ON c.oid = r.ev_class JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE r.rulename <> '_RETURN'
  UNION ALL
  SELECT 'e', 'pg_catalog', e.evtname,
         format('CREATE EVENT TRIGGER %I ON %s EXECUTE FUNCTION %s()', e.evtname, e.evtevent,
                e.evtfoid::pg_catalog.regproc),
         'pg_catalog.pg_event_trigger'::pg_catalog.regclass, e.oid
    FROM pg_catalog.pg_event_trigger e
  ) o
 WHERE (o.kind = 'e' OR o.nsp !~ '^pg_') AND o.nsp NOT IN ('information_schema', $1)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
 ORDER BY o.kind, o.nsp, o.name, o.oid";

/// Reads what is not moved; `ours` is the schema of our own objects.
pub(super) async fn read(tx: &Transaction<'_>, ours: &str) -> Result<Vec<Unmoved>> {
    let rows = tx.query(UNMOVED, &[&ours]).await.during("schema.unmoved")?;
    rows.iter()
        .map(|row| {
            let kind = match row.cell::<&str>(0)? {
                "m" => UnmovedKind::MaterializedView,
                "v" => UnmovedKind::View,
                "f" => UnmovedKind::Routine,
                "r" => UnmovedKind::Rule,
                _ => UnmovedKind::Trigger,
            };
            let name = TableName::new(row.cell::<&str>(1)?, row.cell::<&str>(2)?);
            Ok(Unmoved { kind, name, statement: row.cell(3)? })
        })
        .collect()
}
