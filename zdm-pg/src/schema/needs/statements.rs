//! The statements that make types, functions, collations and extensions.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::types::Oid;
use tokio_postgres::{Row, Transaction};
use zdm_core::Result;
use zdm_core::schema::{Definition, DefinitionKind};

use super::Object;
use crate::error::OrPg;
use crate::schema::Cells;

/// What was found for a list of objects.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) definitions: HashMap<Object, Definition>,
    pub(super) schemas: BTreeSet<String>,
    pub(super) unmade: Vec<String>,
}

/// Not a member of an extension: those come with it.
const OWN: &str = "NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
                    AND d.classid = $1 AND d.objid = o.oid)";

/// Every answer has: oid, schema, name as the engine writes it, statement
/// (null when there is none that we can write).
const EXTENSIONS: &str = "
SELECT o.oid, n.nspname, quote_ident(o.extname),
       format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I', o.extname, n.nspname)
  FROM pg_catalog.pg_extension o JOIN pg_catalog.pg_namespace n ON n.oid = o.extnamespace
 WHERE $1::oid = 'pg_catalog.pg_extension'::regclass AND o.oid = ANY($2::oid[])";

/// Arrays, multiranges and the rows of tables come with what they are of.
const TYPES: &str = "
SELECT o.oid, n.nspname, pg_catalog.format_type(o.oid, NULL), CASE o.typtype
  WHEN 'e' THEN format('CREATE TYPE %s AS ENUM (%s)', pg_catalog.format_type(o.oid, NULL),
       (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
          FROM pg_catalog.pg_enum e WHERE e.enumtypid = o.oid))
  WHEN 'd' THEN format('CREATE DOMAIN %s AS %s%s%s%s%s', pg_catalog.format_type(o.oid, NULL),
       pg_catalog.format_type(o.typbasetype, o.typtypmod),
       (SELECT format(' COLLATE %I.%I', cn.nspname, co.collname)
          FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
          JOIN pg_catalog.pg_type b ON b.oid = o.typbasetype
         WHERE co.oid = o.typcollation AND o.typcollation <> b.typcollation),
       ' DEFAULT ' || o.typdefault,
       CASE WHEN o.typnotnull THEN ' NOT NULL' END,
       (SELECT string_agg(format(' CONSTRAINT %I %s', k.conname, pg_catalog.pg_get_constraintdef(k.oid)), ''
                          ORDER BY k.conname)
          FROM pg_catalog.pg_constraint k WHERE k.contypid = o.oid AND k.contype = 'c'))
  WHEN 'c' THEN format('CREATE TYPE %s AS (%s)', pg_catalog.format_type(o.oid, NULL),
       (SELECT string_agg(format('%I %s%s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
                                 (SELECT format(' COLLATE %I.%I', cn.nspname, co.collname)
                                    FROM pg_catalog.pg_collation co
                                    JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                                    JOIN pg_catalog.pg_type b ON b.oid = a.atttypid
                                   WHERE co.oid = a.attcollation AND a.attcollation <> b.typcollation)),
                          ', ' ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = o.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
  WHEN 'r' THEN
       (SELECT format('CREATE TYPE %s AS RANGE (SUBTYPE = %s, SUBTYPE_OPCLASS = %I.%I%s%s)',
                      pg_catalog.format_type(o.oid, NULL), pg_catalog.format_type(r.rngsubtype, NULL),
                      ocn.nspname, oc.opcname,
                      (SELECT format(', COLLATION = %I.%I', cn.nspname, co.collname)
                         FROM pg_catalog.pg_collation co
                         JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                         JOIN pg_catalog.pg_type b ON b.oid = r.rngsubtype
                        WHERE co.oid = r.rngcollation AND r.rngcollation <> b.typcollation),
                      ', SUBTYPE_DIFF = ' || CASE WHEN r.rngsubdiff <> 0 THEN r.rngsubdiff::regproc::text END)
          FROM pg_catalog.pg_range r
          JOIN pg_catalog.pg_opclass oc ON oc.oid = r.rngsubopc
          JOIN pg_catalog.pg_namespace ocn ON ocn.oid = oc.opcnamespace
         WHERE r.rngtypid = o.oid AND r.rngcanonical = 0)
  END
  FROM pg_catalog.pg_type o JOIN pg_catalog.pg_namespace n ON n.oid = o.typnamespace
 WHERE o.oid = ANY($2::oid[]) AND o.oid >= 16384 AND o.typtype <> 'm'
   AND NOT (o.typcategory = 'A' AND o.typelem <> 0 AND o.typlen = -1)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = o.typrelid AND c.relkind <> 'c')";

/// An aggregate has no definition that the server would write.
const ROUTINES: &str = "
SELECT o.oid, n.nspname, o.oid::regprocedure::text,
       CASE WHEN o.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(o.oid) END
  FROM pg_catalog.pg_proc o JOIN pg_catalog.pg_namespace n ON n.oid = o.pronamespace
 WHERE o.oid = ANY($2::oid[]) AND o.oid >= 16384";

/// The ICU locale has moved from column to column; read as JSON, a column
/// that a version does not have is null.
const COLLATIONS: &str = "
SELECT o.oid, n.nspname, format('%I.%I', n.nspname, o.collname),
       format('CREATE COLLATION %I.%I (PROVIDER = %s, %s%s%s)', n.nspname, o.collname,
              CASE o.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
              CASE WHEN o.collprovider IN ('i', 'b')
                   THEN format('LOCALE = %L', coalesce(j.j->>'colllocale', j.j->>'colliculocale', j.j->>'collcollate'))
                   ELSE format('LC_COLLATE = %L, LC_CTYPE = %L', j.j->>'collcollate', j.j->>'collctype') END,
              CASE WHEN NOT o.collisdeterministic THEN ', DETERMINISTIC = false' END,
              ', RULES = ' || quote_literal(j.j->>'collicurules'))
  FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace,
  LATERAL (SELECT to_jsonb(o) AS j) j
 WHERE o.oid = ANY($2::oid[]) AND o.oid >= 16384";

/// Whatever else is needed, but for what comes with a table or a type.
const OTHERS: &str = "
SELECT o.oid, NULL::text, pg_catalog.pg_describe_object(o.classid, o.oid, 0), NULL::text
  FROM unnest($1::oid[], $2::oid[]) o(classid, oid)
 WHERE o.oid >= 16384
   AND o.classid NOT IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_attrdef'::regclass,
       'pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_trigger'::regclass,
       'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_proc'::regclass,
       'pg_catalog.pg_collation'::regclass, 'pg_catalog.pg_extension'::regclass,
       'pg_catalog.pg_language'::regclass)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.deptype = 'e' AND d.classid = o.classid AND d.objid = o.oid)
 ORDER BY 3";

/// Reads the statements of those of the objects that have one.
pub(super) async fn read(tx: &Transaction<'_>, objects: &[Object]) -> Result<Found> {
    let mut found = Found::default();
    for (catalog, kind, query) in [
        ("pg_extension", DefinitionKind::Extension, EXTENSIONS),
        ("pg_type", DefinitionKind::Type, TYPES),
        ("pg_proc", DefinitionKind::Routine, ROUTINES),
        ("pg_collation", DefinitionKind::Collation, COLLATIONS),
    ] {
        let class = tx
            .query_one(
                "SELECT oid FROM pg_catalog.pg_class WHERE relname = $1 AND relnamespace = 11",
                &[&catalog],
            )
            .await
            .during("schema.needs")?
            .cell::<Oid>(0)?;
        let ids: Vec<Oid> = objects.iter().filter(|o| o.0 == class).map(|o| o.1).collect();
        if ids.is_empty() {
            continue;
        }
        let query =
            if kind == DefinitionKind::Extension { query.to_owned() } else { format!("{query} AND {OWN}") };
        for row in tx.query(&query, &[&class, &ids]).await.during("schema.needs")? {
            found.take(class, kind, &row)?;
        }
    }
    let (classes, ids): (Vec<Oid>, Vec<Oid>) = objects.iter().copied().unzip();
    let others = tx.query(OTHERS, &[&classes, &ids]).await.during("schema.needs")?;
    for row in &others {
        found.unmade.extend(row.cell::<Option<String>>(2)?);
    }
    Ok(found)
}

impl Found {
    fn take(&mut self, class: Oid, kind: DefinitionKind, row: &Row) -> Result<()> {
        let name: String = row.cell(2)?;
        match row.cell::<Option<String>>(3)? {
            Some(statement) => {
                self.schemas.insert(row.cell(1)?);
                self.definitions.insert((class, row.cell(0)?), Definition { kind, name, statement });
            }
            None => self.unmade.push(name),
        }
        Ok(())
    }
}
