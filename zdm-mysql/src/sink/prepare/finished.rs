//! Unique keys and indexes; and back from [`Ready`](Step::Ready).

use zdm_core::Result;
use zdm_core::connect::Step;
use zdm_core::schema::{ConstraintKind, IndexMethod, Table};

use super::state::Existing;
use super::{Work, bare, ddl, quoted};
use crate::connect::quote::quote_ident;

pub(super) async fn make(work: &mut Work<'_>, step: Step) -> Result<()> {
    let (schema, state) = (work.schema, work.state().await?);
    let mut seen = std::collections::HashSet::new();
    for table in schema.tables.iter().filter(|table| seen.insert(&table.name)) {
        let Some(existing) = state.table(&table.name) else { continue };
        if step == Step::Finished {
            bare::quiet(work, table, existing).await?;
        }
        for change in changes(table, existing) {
            let sql = format!("ALTER TABLE {} {change}", quoted(table));
            work.run(table, "its indexes", &sql).await?;
        }
    }
    Ok(())
}

/// What is still to be made: all plain indexes of a table in one statement,
/// which reads the table once and goes on taking writes; an index of words,
/// shapes or vectors in one of its own, since the servers make one at a time.
fn changes(table: &Table, existing: &Existing) -> Vec<String> {
    let missing = |name: &str| !existing.indexes.contains_key(name);
    let uniques = table.constraints.iter().filter_map(|constraint| match &constraint.kind {
        ConstraintKind::Unique { columns } if missing(&constraint.name) && !ddl::is_key(table, columns) => {
            ddl::constraint_text(table, constraint)
        }
        _ => None,
    });
    let mut plain: Vec<String> = uniques.map(|text| format!("ADD {text}")).collect();
    let mut alone = Vec::new();
    for index in table.indexes.iter().filter(|index| missing(&index.name)) {
        match (ddl::index_text(table, index), &index.method) {
            (Some(text), IndexMethod::Ordered) => plain.push(format!("ADD {text}")),
            (Some(text), _) => alone.push(format!("ADD {text}")),
            (None, _) => {
                tracing::warn!(table = %table.name, index = index.name, "not moved: make it by hand")
            }
        }
    }
    if existing.indexes.contains_key(ddl::NUMBERED) && has_other_leader(table) {
        plain.push(format!("DROP INDEX {}", quote_ident(ddl::NUMBERED)));
    }
    let plain = (!plain.is_empty()).then(|| plain.join(", "));
    plain.into_iter().chain(alone).collect()
}

/// Whether an index of the source's own begins with the numbered column.
fn has_other_leader(table: &Table) -> bool {
    let Some(column) = table.columns.iter().find(|column| column.identity.is_some()) else { return false };
    let leads = |first: Option<&str>| first == Some(column.name.as_str());
    table.indexes.iter().any(|index| leads(index.keys.first().and_then(|key| key.as_column())))
        || table.constraints.iter().any(|constraint| match &constraint.kind {
            ConstraintKind::Primary { columns } | ConstraintKind::Unique { columns } => {
                leads(columns.first().map(String::as_str))
            }
            _ => false,
        })
}
