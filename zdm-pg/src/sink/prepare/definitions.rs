//! Schemas, extensions, types, functions and sequences: what tables lean on.

use zdm_core::Result;
use zdm_core::connect::Step;
use zdm_core::schema::{Definition, DefinitionKind};

use super::Work;
use crate::connect::quote::quote_table;
use crate::error::{OrPg, sqlstate};
use crate::position::ENGINE;
use crate::schema::Cells;

/// Makes what is missing. Before `Finished`, a function that names a table
/// which is not there yet may wait.
pub(super) async fn make(work: &Work<'_>, step: Step) -> Result<()> {
    if work.schema.tables.iter().any(|table| !table.speaks(&ENGINE)) {
        return schemas_of_tables(work).await;
    }
    schemas_of_tables(work).await?;
    for definition in &work.schema.definitions {
        if is_there(work, definition).await? {
            continue;
        }
        match work.control.batch_execute(&definition.statement).await.during("sink.prepare") {
            Ok(()) => {}
            Err(error)
                if definition.kind == DefinitionKind::Routine
                    && step < Step::Finished
                    && matches!(sqlstate(&error), Some("42P01" | "42704" | "42703")) =>
            {
                tracing::debug!(name = definition.name, %error, "a function waits for its tables");
            }
            Err(error) => return Err(error.with("making", &definition.name)),
        }
    }
    for sequence in work.schema.sequences.iter().filter(|sequence| !sequence.identity) {
        let name = quote_table(&sequence.name.schema, &sequence.name.name);
        let there = exists(work, "pg_catalog.to_regclass($1)", &name).await?;
        if !there {
            let made = work.control.batch_execute(&sequence.definition).await.during("sink.prepare");
            made.map_err(|error| error.with("making", name))?;
        }
    }
    Ok(())
}

/// The schemas that the tables are in under their names here.
async fn schemas_of_tables(work: &Work<'_>) -> Result<()> {
    let schemas: std::collections::BTreeSet<_> =
        work.tables().iter().map(|t| t.name.schema.clone()).collect();
    for schema in schemas {
        let name = crate::connect::quote::quote_ident(&schema);
        if !exists(work, "pg_catalog.to_regnamespace($1)", &name).await? {
            let made =
                work.control.batch_execute(&format!("CREATE SCHEMA {name}")).await.during("sink.prepare");
            made.map_err(|error| error.with("making", name))?;
        }
    }
    Ok(())
}

async fn is_there(work: &Work<'_>, definition: &Definition) -> Result<bool> {
    let test = match definition.kind {
        DefinitionKind::Schema => "pg_catalog.to_regnamespace($1)",
        DefinitionKind::Type => "pg_catalog.to_regtype($1)",
        DefinitionKind::Routine => "pg_catalog.to_regprocedure($1)",
        DefinitionKind::Extension => {
            "(SELECT e.oid FROM pg_catalog.pg_extension e WHERE quote_ident(e.extname) = $1)"
        }
        // One name may stand for several encodings.
        DefinitionKind::Collation => {
            "(SELECT min(c.oid) FROM pg_catalog.pg_collation c
                JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
               WHERE format('%I.%I', n.nspname, c.collname) = $1)"
        }
        // A kind of a later release: its statement must tell for itself.
        _ => return Ok(false),
    };
    exists(work, test, &definition.name).await
}

async fn exists(work: &Work<'_>, test: &str, name: &str) -> Result<bool> {
    let sql = format!("SELECT {test} IS NOT NULL");
    work.control.query_one(&sql, &[&name]).await.during("sink.prepare")?.cell(0)
}
