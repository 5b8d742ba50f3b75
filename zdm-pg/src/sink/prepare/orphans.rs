//! Rows whose parent is not there, before their foreign keys are made.

use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};
use zdm_core::schema::{Constraint, ConstraintKind, ForeignKey, Schema, Table};

use super::{fit, quoted};
use crate::connect::Control;
use crate::connect::quote::quote_ident;
use crate::error::OrPg;
use crate::schema::Cells;

/// Operators of extensions lie in schemas of their own: without them a key of
/// `citext` would be compared as `text`.
const EVERY_SCHEMA: &str = "
SELECT pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', 'pg_catalog',
         (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(nspname), ', ' ORDER BY nspname)
            FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')), false)";

/// Finds them by a query for each foreign key that will be made and that the
/// source knows to hold.
///
/// # Errors
///
/// When the server cannot be asked.
pub(crate) async fn orphans(control: &Control, schema: &Schema) -> Result<Vec<Finding>> {
    let during = "assess.orphans";
    control.query(EVERY_SCHEMA, &[]).await.during(during)?;
    let mut findings = Vec::new();
    for table in &schema.tables {
        for (constraint, key) in foreign_keys(schema, table) {
            let Some(parent) = schema.table(&key.references) else { continue };
            let rows = control.query(&query(table, parent, key), &[]).await.during(during)?;
            let found: Vec<&str> = rows.iter().map(|row| row.cell(0)).collect::<Result<_>>()?;
            if !found.is_empty() {
                let message = format!(
                    "rows refer by {} to parents that are not there, and the source says that there are none such: \
                     compare both sides before you cut over: {}",
                    constraint.name,
                    found.join("; ")
                );
                findings.push(Finding::new(Severity::Blocker, "orphans", &table.name, message));
            }
        }
    }
    Ok(findings)
}

/// Those that compare by plain equality: a temporal one (18) asks whether a
/// period is covered.
fn foreign_keys<'a>(
    schema: &'a Schema,
    table: &'a Table,
) -> impl Iterator<Item = (&'a Constraint, &'a ForeignKey)> {
    table.constraints.iter().filter_map(move |constraint| {
        let ConstraintKind::ForeignKey(key) = &constraint.kind else { return None };
        let text = fit::constraint(schema, table, constraint)?;
        let checked = constraint.validated && !text.contains("PERIOD ") && !text.ends_with("NOT ENFORCED");
        checked.then_some((constraint, key))
    })
}

fn query(table: &Table, parent: &Table, key: &ForeignKey) -> String {
    let child: Vec<String> = key.columns.iter().map(|name| format!("c.{}", quote_ident(name))).collect();
    let same: Vec<String> = key
        .referenced
        .iter()
        .zip(&child)
        .map(|(name, child)| format!("p.{} = {child}", quote_ident(name)))
        .collect();
    let known: Vec<String> = child.iter().map(|child| format!("{child} IS NOT NULL")).collect();
    format!(
        "SELECT pg_catalog.concat_ws(', ', {}) FROM {} c \
          WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {}) LIMIT 5",
        child.join(", "),
        quoted(table),
        known.join(" AND "),
        quoted(parent),
        same.join(" AND ")
    )
}
