//! The target at its cutover: the rights that its last step needs, and rows
//! whose foreign key has no parent.

use zdm_core::Result;
use zdm_core::connect::{Finding, ORPHANS, Severity};
use zdm_core::schema::{Constraint, ConstraintKind, ForeignKey, Table};

use super::Look;
use crate::connect::quote::{quote_ident, quote_table};
use crate::error::OrPg;
use crate::schema::Cells;

/// Tables that get foreign keys and triggers and lose a seal; and sequences.
const TABLES: &str = "
SELECT w.name, pg_catalog.pg_get_userbyid(c.relowner)::text, current_user::text
  FROM unnest($1::text[]) w(name)
  JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(w.name)
 WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1";

const SEQUENCES: &str = "
SELECT w.name, current_user::text
  FROM unnest($1::text[]) w(name)
  JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(w.name) AND c.relkind = 'S'
 WHERE NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
    OR NOT pg_catalog.has_sequence_privilege(c.oid, 'UPDATE') ORDER BY 1";

/// Operators of extensions lie in schemas of their own: without them keys of
/// `citext` would be compared as text.
const EVERY_SCHEMA: &str = "
SELECT pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', 'pg_catalog',
         (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(nspname), ', ' ORDER BY nspname)
            FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')), false)";

pub(super) async fn assess(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let recovers = "SELECT pg_catalog.pg_is_in_recovery()";
    if look.control.query_one(recovers, &[]).await.during("assess.entered")?.cell(0)? {
        let message = "this is a standby, which takes no writes: connect to its primary";
        findings.push(Finding::new(Severity::Blocker, "standby", "server", message));
    }
    rights(look, findings).await?;
    look.control.batch_execute(EVERY_SCHEMA).await.during("assess.orphans")?;
    for table in &look.schema.tables {
        for constraint in table.constraints.iter().filter(|constraint| constraint.validated) {
            if let ConstraintKind::ForeignKey(key) = &constraint.kind {
                orphans(look, table, constraint, key, findings).await?;
            }
        }
    }
    Ok(())
}

async fn rights(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let tables: Vec<String> = look.schema.tables.iter().map(|table| quoted(table)).collect();
    for row in look.control.query(TABLES, &[&tables]).await.during("assess.entered")? {
        let (name, owner, user): (&str, &str, &str) = (row.cell(0)?, row.cell(1)?, row.cell(2)?);
        let message =
            "the user does not own the table, so it can add no foreign key to it and enable no trigger";
        let remedy = format!("GRANT {} TO {}", quote_ident(owner), quote_ident(user));
        findings.push(Finding::new(Severity::Blocker, "owner", name, message).remedy(remedy));
    }
    let sequences = look.schema.sequences.iter();
    let sequences: Vec<String> = sequences.map(|s| quote_table(&s.name.schema, &s.name.name)).collect();
    for row in look.control.query(SEQUENCES, &[&sequences]).await.during("assess.entered")? {
        let (name, user): (&str, &str) = (row.cell(0)?, row.cell(1)?);
        let remedy = format!("GRANT SELECT, UPDATE ON SEQUENCE {name} TO {}", quote_ident(user));
        findings.push(
            Finding::new(Severity::Blocker, "sequence_update", name, "the user may not set the sequence")
                .remedy(remedy),
        );
    }
    Ok(())
}

/// A foreign key that the source does not know to hold is not looked at: it is
/// not validated here either. A temporal key is left to its validation, since
/// a parent need not be one row.
async fn orphans(
    look: &Look<'_>,
    table: &Table,
    constraint: &Constraint,
    key: &ForeignKey,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let definition = constraint.definition.as_str();
    let (Some(parent), false) = (look.schema.table(&key.references), definition.contains(", PERIOD ")) else {
        return Ok(());
    };
    if definition.ends_with("NOT ENFORCED") {
        return Ok(());
    }
    // MATCH FULL refuses a key that is null in part as well.
    let any = if definition.contains(" MATCH FULL") { " OR " } else { " AND " };
    let child = |name: &String| format!("c.{}", quote_ident(name));
    let known: Vec<String> = key.columns.iter().map(|n| format!("{} IS NOT NULL", child(n))).collect();
    let same: Vec<String> = (key.referenced.iter().zip(&key.columns))
        .map(|(parent, name)| format!("p.{} = {}", quote_ident(parent), child(name)))
        .collect();
    let cells: Vec<String> = key.columns.iter().map(child).collect();
    let sql = format!(
        "SELECT pg_catalog.concat_ws(', ', {}) FROM {} c WHERE ({}) AND NOT EXISTS (SELECT FROM {} p WHERE {}) LIMIT 1",
        cells.join(", "),
        quoted(table),
        known.join(any),
        quoted(parent),
        same.join(" AND ")
    );
    let Some(row) = look.control.query_opt(&sql, &[]).await.during("assess.orphans")? else { return Ok(()) };
    let message = format!(
        "rows refer by ({}) to rows of {} that are not there, such as ({}): the foreign key would not hold; if the \
         source has them too, they were let in while it was not enforced: mend them there, and they follow",
        key.columns.join(", "),
        parent.name,
        row.cell::<&str>(0)?
    );
    let subject = format!("{} ({})", table.name, constraint.name);
    findings.push(Finding::new(Severity::Blocker, ORPHANS, subject, message));
    Ok(())
}

fn quoted(table: &Table) -> String {
    quote_table(&table.name.schema, &table.name.name)
}
