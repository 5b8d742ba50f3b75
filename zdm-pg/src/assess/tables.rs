//! The source's tables: rights, identities, and what the log does not carry.

use tokio_postgres::Row;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};
use zdm_core::schema::Key;

use super::Look;
use crate::connect::quote::quote_table;
use crate::error::OrPg;
use crate::schema::Cells;

/// The tables and their partitions.
pub(super) async fn with_partitions(look: &Look<'_>) -> Result<Vec<Oid>> {
    let roots: Vec<Oid> = look.schema.tables.iter().map(|table| table.origin.id).collect();
    let sql = "
        SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = ANY($1::oid[])
         UNION
        SELECT p.relid::oid FROM unnest($1::oid[]) r(oid), pg_catalog.pg_partition_tree(r.oid) p";
    let rows = look.control.query(sql, &[&roots]).await.during("assess.tables")?;
    rows.iter().map(|row| row.cell(0)).collect()
}

/// What each table is asked. Row security hides rows unless the user owns the
/// table and it is not forced, or may bypass it.
const TABLES: &str = "
SELECT n.nspname, c.relname, c.relpersistence = 'u',
       c.relkind = 'f' OR pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       pg_catalog.row_security_active(c.oid),
       c.relreplident = 'f' AND EXISTS (
         SELECT FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped),
       c.relispartition,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid
                WHERE (i.inhparent = c.oid OR i.inhrelid = c.oid) AND NOT k.relispartition),
       c.relkind = 'f', c.relkind = 'p',
       c.relispartition AND EXISTS (
         SELECT FROM pg_catalog.pg_constraint k
          WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x', 'f') AND k.conparentid = 0
         UNION ALL
         SELECT FROM pg_catalog.pg_trigger t
          WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgname <> $2
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = t.oid
                               AND d.classid = 'pg_catalog.pg_trigger'::regclass AND d.deptype = 'P')),
       pg_catalog.pg_get_userbyid(c.relowner)::text, current_user::text,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY($1::oid[]) ORDER BY 1, 2";

pub(super) async fn assess(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let rows = look.control.query(TABLES, &[&look.oids, &crate::schema::SEAL_TRIGGER]).await;
    for row in rows.during("assess.tables")? {
        table(&row, look.control.server_version_num(), findings)?;
    }
    keys(look, findings);
    others(look, findings).await
}

fn table(row: &Row, version: u32, findings: &mut Vec<Finding>) -> Result<()> {
    let (schema, name): (&str, &str) = (row.cell(0)?, row.cell(1)?);
    let (quoted, shown) = (quote_table(schema, name), format!("{schema}.{name}"));
    let (owner, user): (&str, &str) = (row.cell(12)?, row.cell(13)?);
    let (owner, user) = (crate::connect::quote::quote_ident(owner), crate::connect::quote::quote_ident(user));
    let mut tell = |severity, code: &str, message: &str, remedy: Option<String>| {
        let mut finding = Finding::new(severity, code, &shown, message);
        finding.remedy = remedy;
        findings.push(finding);
    };
    if row.cell(2)? {
        let message =
            "an unlogged table is not in the log: what is written to it during the run would be lost";
        let remedy = format!("ALTER TABLE {quoted} SET LOGGED; or exclude it");
        tell(Severity::Blocker, "unlogged", message, Some(remedy));
    }
    if !row.cell::<bool>(14)? {
        let remedy =
            format!("GRANT USAGE ON SCHEMA {} TO {user}", crate::connect::quote::quote_ident(schema));
        tell(Severity::Blocker, "usage", "the user may not look into the table's schema", Some(remedy));
    }
    if !row.cell::<bool>(3)? {
        let remedy = format!("GRANT SELECT ON {quoted} TO {user}");
        tell(Severity::Blocker, "select", "the user may not read the table", Some(remedy));
    }
    if !row.cell::<bool>(4)? && !row.cell::<bool>(7)? {
        let message = "the user does not own the table, so it can neither publish nor seal it";
        tell(Severity::Blocker, "owner", message, Some(format!("GRANT {owner} TO {user}")));
    }
    if row.cell(5)? {
        let message = "row security hides rows of it from the user: they would be lost";
        tell(Severity::Blocker, "row_security", message, Some(format!("ALTER ROLE {user} BYPASSRLS")));
    }
    if row.cell(6)? {
        let message = "with REPLICA IDENTITY FULL and a generated column, updates and deletes fail in the \
                       application once the table is published";
        let remedy = format!("ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT, with a primary key");
        tell(Severity::Blocker, "generated_identity", message, Some(remedy));
    }
    if row.cell(8)? {
        let message = "tables that inherit from each other, other than partitions, are not moved as such: a \
                       parent shows its children's rows too";
        tell(
            Severity::Blocker,
            "inherits",
            message,
            Some(format!("ALTER TABLE … NO INHERIT, or exclude {shown}")),
        );
    }
    if row.cell(9)? {
        let message = "a partition on a foreign server is not in the log";
        tell(Severity::Blocker, "foreign_partition", message, Some("detach it, or exclude the table".into()));
    }
    if row.cell::<bool>(10)? && version < 130_000 {
        let message = "before PostgreSQL 13 a partition that is made during the run is not published: its rows \
                       would be lost";
        tell(
            Severity::Blocker,
            "partitions_12",
            message,
            Some("upgrade the source, or exclude the table".into()),
        );
    }
    if row.cell(10)? {
        let message =
            "a TRUNCATE of one partition is not in the log of its table: truncate the table, or delete";
        tell(Severity::Warning, "partition_truncate", message, None);
    }
    if row.cell(11)? {
        let message = "what belongs to this partition alone (keys, unique constraints, triggers) is not moved: make \
                       it by hand";
        tell(Severity::Warning, "partition_only", message, None);
    }
    Ok(())
}

fn keys(look: &Look<'_>, findings: &mut Vec<Finding>) {
    for table in &look.schema.tables {
        let name = quote_table(&table.origin.name.schema, &table.origin.name.name);
        let full = format!("ALTER TABLE {name} REPLICA IDENTITY FULL");
        match table.key {
            Key::Columns(_) => {}
            Key::FullRow => findings.push(
                Finding::new(
                    Severity::Warning,
                    "full_row",
                    &table.origin.name,
                    "no key: it is copied in one piece, and each update and delete looks for one equal row",
                )
                .remedy(format!("ALTER TABLE {name} ADD PRIMARY KEY (…)")),
            ),
            Key::Nothing => findings.push(
                Finding::new(
                    Severity::Blocker,
                    "no_key",
                    &table.origin.name,
                    "no replica identity: once it is published, updates and deletes fail in the application",
                )
                .remedy(full),
            ),
        }
    }
}

/// Rules rewrite what the application says, and stay behind.
async fn rules(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let sql = "
        SELECT format('%s.%s', n.nspname, c.relname), string_agg(r.rulename, ', ' ORDER BY r.rulename)
          FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE r.ev_class = ANY($1::oid[]) GROUP BY n.nspname, c.relname ORDER BY 1";
    for row in look.control.query(sql, &[&look.oids]).await.during("assess.rules")? {
        let (table, names): (&str, &str) = (row.cell(0)?, row.cell(1)?);
        let message =
            format!("rules ({names}) are not moved: make them by hand after the cutover, or drop them");
        findings.push(Finding::new(Severity::Warning, "rule", table, message));
    }
    Ok(())
}

/// What is beside the tables, in the schemas of those that are moved.
const OTHERS: &str = "
SELECT 'not_moved', format('%s.%s', n.nspname, c.relname),
       format('a %s is not moved', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
              WHEN 'f' THEN 'foreign table' ELSE 'sequence that no column uses' END)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY($1::text[]) AND NOT c.relispartition
   AND (c.relkind IN ('v', 'm', 'f') OR c.relkind = 'S'
        AND format('%s.%s', n.nspname, c.relname) <> ALL($2::text[]))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'a', 'i')
                      AND d.classid = 'pg_catalog.pg_class'::regclass)
 UNION ALL
SELECT 'event_trigger', e.evtname::text, 'an event trigger is not moved' FROM pg_catalog.pg_event_trigger e
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = e.oid AND d.deptype = 'e'
                      AND d.classid = 'pg_catalog.pg_event_trigger'::regclass)
 ORDER BY 1, 2";

async fn others(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let schemas: Vec<&str> = look.schema.tables.iter().map(|t| t.origin.name.schema.as_str()).collect();
    let sequences: Vec<String> = look.schema.sequences.iter().map(|s| s.name.to_string()).collect();
    for row in look.control.query(OTHERS, &[&schemas, &sequences]).await.during("assess.others")? {
        let (code, subject, message): (&str, &str, &str) = (row.cell(0)?, row.cell(1)?, row.cell(2)?);
        findings.push(Finding::new(Severity::Note, code, subject, message));
    }
    rules(look, findings).await?;
    if look.schema.tables.iter().any(|table| !table.triggers.is_empty()) {
        findings.push(Finding::new(
            Severity::Note,
            "function_bodies",
            "triggers",
            "functions that a trigger's function calls by name are not known to the catalog: move them by hand",
        ));
    }
    let sql = "
        SELECT format('%I.%I', n.nspname, c.relname), current_user::text
          FROM unnest($1::text[], $2::text[]) w(nsp, rel)
          JOIN pg_catalog.pg_namespace n ON n.nspname = w.nsp
          JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.rel AND c.relkind = 'S'
         WHERE CASE WHEN c.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT') END";
    let (spaces, names): (Vec<&str>, Vec<&str>) =
        look.schema.sequences.iter().map(|s| (s.name.schema.as_str(), s.name.name.as_str())).unzip();
    for row in look.control.query(sql, &[&spaces, &names]).await.during("assess.others")? {
        let (name, user): (&str, &str) = (row.cell(0)?, row.cell(1)?);
        let user = crate::connect::quote::quote_ident(user);
        findings.push(
            Finding::new(Severity::Blocker, "sequence_select", name, "the user may not read the sequence")
                .remedy(format!("GRANT SELECT ON SEQUENCE {name} TO {user}")),
        );
    }
    Ok(())
}
