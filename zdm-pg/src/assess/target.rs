//! The target: rights, room for the tables, and what reads differently there.

use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};
use zdm_core::schema::DefinitionKind;

use super::Look;
use crate::connect::quote::{quote_ident, quote_table};
use crate::error::OrPg;
use crate::schema::Cells;

pub(super) async fn assess(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    database(look, findings).await?;
    schemas(look, findings).await?;
    tables(look, findings).await?;
    extensions(look, findings).await?;
    findings.extend(crate::sink::prepare::not_moved(look.schema));
    Ok(())
}

async fn database(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    if look.control.server_version_num() < 120_000 {
        findings.push(Finding::new(
            Severity::Blocker,
            "version",
            "server",
            "PostgreSQL 12 or later is needed",
        ));
    }
    let sql = "
        SELECT current_database()::text, current_user::text,
               pg_catalog.has_database_privilege(current_database(), 'CREATE'),
               pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text,
               pg_catalog.pg_is_in_recovery(), r.rolsuper
          FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
         WHERE d.datname = current_database() AND r.rolname = current_user";
    let row = look.control.query_one(sql, &[]).await.during("assess.target")?;
    let (database, user): (&str, &str) = (row.cell(0)?, row.cell(1)?);
    if row.cell(5)? {
        let message = "this is a standby, which takes no writes: connect to its primary";
        findings.push(Finding::new(Severity::Blocker, "standby", "server", message));
    }
    if !row.cell::<bool>(2)? {
        let grant = format!("GRANT CREATE ON DATABASE {} TO {}", quote_ident(database), quote_ident(user));
        let message = "the user may make neither schemas nor the tables for the run's progress";
        findings.push(Finding::new(Severity::Blocker, "create", database, message).remedy(grant));
    }
    let encoding: &str = row.cell(3)?;
    if encoding != "UTF8" {
        let message = format!("the encoding is {encoding}: text that it cannot hold will be refused");
        let remedy = "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0";
        findings.push(Finding::new(Severity::Warning, "encoding", database, message).remedy(remedy));
    }
    findings.push(Finding::new(
        Severity::Note,
        "collation",
        database,
        format!(
            "text sorts by {}: compare it with the source's, queries may give another order",
            row.cell::<&str>(4)?
        ),
    ));
    if !row.cell::<bool>(6)? {
        findings.push(Finding::new(
            Severity::Note,
            "replica_role",
            user,
            "not a superuser: triggers and foreign keys are made late and stand back until the cutover",
        ));
    }
    Ok(())
}

/// Those that are there; others are made, and are the user's own.
async fn schemas(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let sql = "
        SELECT DISTINCT n.nspname::text, current_user::text
          FROM unnest($1::text[]) w(name) JOIN pg_catalog.pg_namespace n ON n.nspname = w.name
         WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
            OR NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')";
    let tables = look.schema.tables.iter().map(|table| table.name.schema.as_str());
    let names: Vec<&str> =
        tables.chain(look.schema.sequences.iter().map(|s| s.name.schema.as_str())).collect();
    for row in look.control.query(sql, &[&names]).await.during("assess.target")? {
        let (name, user): (&str, &str) = (row.cell(0)?, row.cell(1)?);
        let grant = format!("GRANT USAGE, CREATE ON SCHEMA {} TO {}", quote_ident(name), quote_ident(user));
        let message = "the user may not make tables in the schema";
        findings.push(Finding::new(Severity::Blocker, "schema_create", name, message).remedy(grant));
    }
    Ok(())
}

async fn tables(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let made = quote_table(look.config.schema(), "made");
    let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    let known: bool = look.control.query_one(sql, &[&made]).await.during("assess.target")?.cell(0)?;
    for table in &look.schema.tables {
        let name = quote_table(&table.name.schema, &table.name.name);
        let sql = "SELECT c.oid, pg_catalog.has_table_privilege(c.oid, 'SELECT') FROM pg_catalog.pg_class c
                    WHERE c.oid = pg_catalog.to_regclass($1)";
        let Some(row) = look.control.query_opt(sql, &[&name]).await.during("assess.target")? else {
            continue;
        };
        if known {
            let sql = format!("SELECT EXISTS (SELECT FROM {made} WHERE run = $1 AND oid = $2)");
            let ours = look.control.query_one(&sql, &[&look.run.as_str(), &row.cell::<u32>(0)?]).await;
            if ours.during("assess.target")?.cell(0)? {
                continue;
            }
        }
        let readable: bool = row.cell(1)?;
        let sql = format!("SELECT EXISTS (SELECT FROM {name})");
        let full = !readable || look.control.query_one(&sql, &[]).await.during("assess.target")?.cell(0)?;
        let finding = if full {
            Finding::new(
                Severity::Blocker,
                "not_empty",
                &table.name,
                "the table is there already and holds rows",
            )
            .remedy(format!("DROP TABLE {name}; or exclude it"))
        } else {
            Finding::new(
                Severity::Note,
                "exists",
                &table.name,
                "the table is there already, empty: it is used",
            )
        };
        findings.push(finding);
    }
    Ok(())
}

async fn extensions(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    for definition in look.schema.definitions.iter().filter(|d| d.kind == DefinitionKind::Extension) {
        let sql = "
            SELECT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE quote_ident(name) = $1),
                   EXISTS (SELECT FROM pg_catalog.pg_extension WHERE quote_ident(extname) = $1)";
        let row = look.control.query_one(sql, &[&definition.name]).await.during("assess.target")?;
        if !row.cell::<bool>(0)? && !row.cell::<bool>(1)? {
            let message = "the source's tables need this extension, and the target's server does not have it: \
                           install its package there";
            findings.push(Finding::new(Severity::Blocker, "extension", &definition.name, message));
        }
    }
    Ok(())
}
