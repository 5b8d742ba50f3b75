//! Foreign keys and triggers: what must not be there while changes are applied
//! without the right to switch it off, and must hold when the application comes.

use zdm_core::Result;
use zdm_core::schema::{Constraint, ConstraintKind, Table};

use super::state::Existing;
use super::{Work, fit, quoted};
use crate::connect::quote::{quote_ident, quote_table};

/// Before 18 a partitioned table takes no key that is not valid yet: its
/// partitions take it, and the table takes them over when they are validated.
const KEYS_OF_PARTITIONED_TABLES: u32 = 180_000;

/// Adds foreign keys for new rows, and sets triggers as they are at the
/// source. Quick: nothing reads a row.
pub(super) async fn make(work: &mut Work<'_>) -> Result<()> {
    let state = work.state().await?;
    for table in work.tables() {
        let Some(existing) = state.table(&table.name) else { continue };
        let mut sql = Vec::new();
        for (key, text) in foreign_keys(work, table) {
            if existing.constraints.contains_key(&key.name) {
                continue;
            }
            let text = not_valid(&text);
            let name = quote_ident(&key.name);
            if by_leaves(work, existing) {
                for (leaf, keys) in existing.leaves.iter().filter(|(_, keys)| !keys.contains_key(&key.name)) {
                    debug_assert!(!keys.contains_key(&key.name));
                    let leaf = quote_table(&leaf.schema, &leaf.name);
                    sql.push(format!("ALTER TABLE {leaf} ADD CONSTRAINT {name} {text}"));
                }
            } else {
                sql.push(format!("ALTER TABLE {} ADD CONSTRAINT {name} {text}", quoted(table)));
            }
        }
        if fit::keeps_name(table) {
            for trigger in &table.triggers {
                sql.push(trigger.mode.clone().unwrap_or_else(|| {
                    format!("ALTER TABLE {} ENABLE TRIGGER {}", quoted(table), quote_ident(&trigger.name))
                }));
            }
        }
        if !sql.is_empty() {
            work.run(table, "foreign keys and triggers", &sql.join("; ")).await?;
        }
    }
    Ok(())
}

/// Validates the foreign keys that the source knows to hold. Writers go on.
pub(super) async fn validate(work: &mut Work<'_>) -> Result<()> {
    let state = work.state().await?;
    for table in work.tables() {
        let Some(existing) = state.table(&table.name) else { continue };
        for (key, text) in foreign_keys(work, table).into_iter().filter(|(key, _)| key.validated) {
            let name = quote_ident(&key.name);
            let check = |table: &str| format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}");
            if existing.constraints.get(&key.name).is_some_and(|present| !present.validated) {
                work.run(table, &key.name, &check(&quoted(table))).await?;
            }
            if by_leaves(work, existing) && !existing.constraints.contains_key(&key.name) {
                for (leaf, keys) in &existing.leaves {
                    if keys.get(&key.name) == Some(&false) {
                        work.run(table, &key.name, &check(&quote_table(&leaf.schema, &leaf.name))).await?;
                    }
                }
                let sql = format!("ALTER TABLE {} ADD CONSTRAINT {name} {text}", quoted(table));
                work.run(table, &key.name, &sql).await?;
            }
        }
    }
    Ok(())
}

/// The foreign keys that fit, by their text.
fn foreign_keys<'a>(work: &Work<'_>, table: &'a Table) -> Vec<(&'a Constraint, String)> {
    table
        .constraints
        .iter()
        .filter(|constraint| matches!(constraint.kind, ConstraintKind::ForeignKey(_)))
        .filter_map(|constraint| Some((constraint, fit::constraint(work.schema, table, constraint)?)))
        .collect()
}

fn by_leaves(work: &Work<'_>, existing: &Existing) -> bool {
    existing.partitioned && work.control.server_version_num() < KEYS_OF_PARTITIONED_TABLES
}

/// One that the source does not know to hold says so itself; one that is not
/// enforced (18) has nothing to validate.
fn not_valid(text: &str) -> String {
    if text.ends_with("NOT VALID") || text.ends_with("NOT ENFORCED") {
        return text.to_owned();
    }
    format!("{text} NOT VALID")
}
