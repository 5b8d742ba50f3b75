//! Indexes, constraints and triggers: what may be built when the target shows
//! true past states of the source, while changes go on being applied.

use zdm_core::Result;
use zdm_core::connect::Step;
use zdm_core::schema::{ConstraintKind, Sequence, Table};

use super::state::Existing;
use super::{Work, bare, definitions, fit, quoted};
use crate::connect::quote::{quote_ident, quote_literal, quote_table};

/// Builds what is missing, and takes back what a cutover that was given up
/// has made ready.
pub(super) async fn make(work: &mut Work<'_>, step: Step) -> Result<()> {
    definitions::make(work, Step::Finished).await?;
    let state = work.state().await?;
    for table in work.tables() {
        let Some(existing) = state.table(&table.name) else { continue };
        if step == Step::Finished
            && let Some(quiet) = bare::quiet(table, existing)
        {
            work.run(table, "the table quiet", &quiet).await?;
        }
        indexes(work, table, existing).await?;
        constraints(work, table, existing).await?;
        triggers(work, table, existing).await?;
        if let Some(sql) = comments(table) {
            work.run(table, "comments", &sql).await?;
        }
    }
    for sequence in work.schema.sequences.iter().filter(|sequence| !sequence.identity) {
        own(work, sequence).await?;
    }
    for finding in fit::not_moved(work.schema) {
        tracing::warn!(
            code = finding.code,
            subject = finding.subject,
            message = finding.message,
            "not moved"
        );
    }
    Ok(())
}

async fn indexes(work: &Work<'_>, table: &Table, existing: &Existing) -> Result<()> {
    for index in table.indexes.iter().filter(|index| !existing.indexes.contains(&index.name)) {
        if let Some(sql) = fit::index(table, index) {
            work.run(table, &index.name, &sql).await?;
        }
    }
    Ok(())
}

/// All but foreign keys. Unique ones first: a check costs less than an index.
async fn constraints(work: &Work<'_>, table: &Table, existing: &Existing) -> Result<()> {
    for constraint in &table.constraints {
        let foreign = matches!(constraint.kind, ConstraintKind::ForeignKey(_));
        if foreign || existing.constraints.contains_key(&constraint.name) {
            continue;
        }
        // The key may have been made under another name.
        let primary = matches!(constraint.kind, ConstraintKind::Primary { .. });
        if primary && existing.constraints.values().any(|present| present.kind == "p") {
            continue;
        }
        if let Some(text) = fit::constraint(work.schema, table, constraint) {
            let name = quote_ident(&constraint.name);
            let sql = format!("ALTER TABLE {} ADD CONSTRAINT {name} {text}", quoted(table));
            work.run(table, &constraint.name, &sql).await?;
        }
    }
    Ok(())
}

/// A trigger is never there and enabled before the cutover.
async fn triggers(work: &Work<'_>, table: &Table, existing: &Existing) -> Result<()> {
    if !fit::keeps_name(table) {
        return Ok(());
    }
    for trigger in table.triggers.iter().filter(|trigger| !existing.triggers.contains(&trigger.name)) {
        let sql = format!(
            "{}; ALTER TABLE {} DISABLE TRIGGER {}",
            trigger.definition,
            quoted(table),
            quote_ident(&trigger.name)
        );
        work.run(table, &trigger.name, &sql).await?;
    }
    Ok(())
}

fn comments(table: &Table) -> Option<String> {
    let of_table = table
        .comment
        .as_ref()
        .map(|comment| format!("COMMENT ON TABLE {} IS {}", quoted(table), quote_literal(comment)));
    let of_columns = table.columns.iter().filter_map(|column| {
        let comment = quote_literal(column.comment.as_ref()?);
        Some(format!("COMMENT ON COLUMN {}.{} IS {comment}", quoted(table), quote_ident(&column.name)))
    });
    let all: Vec<_> = of_table.into_iter().chain(of_columns).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// A serial column's sequence belongs to it, and is dropped with it.
async fn own(work: &Work<'_>, sequence: &Sequence) -> Result<()> {
    let Some((owner, column)) = &sequence.owner else { return Ok(()) };
    let table = work.schema.table(owner).or_else(|| work.schema.by_origin(owner));
    // PostgreSQL wants a sequence in the schema of its table.
    let Some(table) = table.filter(|t| t.name.schema == sequence.name.schema && t.position(column).is_some())
    else {
        return Ok(());
    };
    let sql = format!(
        "ALTER SEQUENCE {} OWNED BY {}.{}",
        quote_table(&sequence.name.schema, &sequence.name.name),
        quoted(table),
        quote_ident(column)
    );
    work.run(table, "the owner of a sequence", &sql).await
}
