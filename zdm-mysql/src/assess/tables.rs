//! The source's tables: engines, keys, and what the log does not carry.

use std::collections::HashMap;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};
use zdm_core::schema::{ConstraintKind, Key, Table, TableName};

use super::Look;
use crate::connect::quote::{quote_ident, quote_table};
use crate::error::OrMy;
use crate::schema::Cells;

pub(super) async fn assess(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_TYPE FROM information_schema.TABLES \
                WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')";
    let rows: Vec<Row> = look.control.query(sql).await.during("assess.tables")?;
    let mut engines = HashMap::new();
    for row in &rows {
        let name = TableName::new(row.cell::<String>(0)?, row.cell::<String>(1)?);
        let engine = row.cell::<Option<String>>(2)?.unwrap_or_default();
        engines.insert(name, (engine, row.cell::<String>(3)? == "SYSTEM VERSIONED"));
    }
    for table in &look.schema.tables {
        if let Some((engine, versioned)) = engines.get(&table.origin.name) {
            storage(table, engine, *versioned, findings);
        }
        key(table, findings);
        cascades(look, table, findings);
        unshown(table, look.control.server().is_mariadb(), findings);
    }
    for object in &look.schema.unmoved {
        findings.push(Finding::new(
            Severity::Note,
            "not_moved",
            &object.name,
            format!("a {} is not moved", object.kind),
        ));
    }
    Ok(())
}

fn storage(table: &Table, engine: &str, versioned: bool, findings: &mut Vec<Finding>) {
    let name = &table.origin.name;
    if !engine.eq_ignore_ascii_case("InnoDB") {
        findings.push(
            Finding::new(
                Severity::Blocker,
                "engine",
                name,
                format!(
                    "its engine is {engine}: only of InnoDB is it known what a read has seen, and that all of a \
                     transaction is there or nothing"
                ),
            )
            .remedy(format!("ALTER TABLE {} ENGINE = InnoDB; or exclude it", quote_table(&name.schema, &name.name))),
        );
    }
    if versioned {
        findings.push(
            Finding::new(
                Severity::Blocker,
                "system_versioned",
                name,
                "its rows have hidden columns of their history in the log, which are not read",
            )
            .remedy(format!(
                "ALTER TABLE {} DROP SYSTEM VERSIONING; or exclude it",
                quote_table(&name.schema, &name.name)
            )),
        );
    }
}

fn key(table: &Table, findings: &mut Vec<Finding>) {
    let name = &table.origin.name;
    let add = format!("ALTER TABLE {} ADD PRIMARY KEY (…)", quote_table(&name.schema, &name.name));
    match &table.key {
        Key::Columns(key) => {
            // OK to index because the key was made from these columns.
            if let Some(at) = key.iter().find(|at| !table.columns[**at].is_written()) {
                let message = format!(
                    "its key has the computed column {}, which is neither copied nor in every log",
                    table.columns[*at].name
                );
                findings.push(Finding::new(Severity::Blocker, "computed_key", name, message).remedy(add));
            }
        }
        Key::FullRow => findings.push(
            Finding::new(
                Severity::Warning,
                "full_row",
                name,
                "no key: it is copied in one piece, and each update and delete looks for one equal row",
            )
            .remedy(add),
        ),
        Key::Nothing => findings.push(
            Finding::new(
                Severity::Blocker,
                "no_key",
                name,
                "no key, and the log does not carry the whole old row: nothing tells which row was changed",
            )
            .remedy(format!("{add}; or SET GLOBAL binlog_row_image = 'FULL', and reconnect writers")),
        ),
    }
}

/// Texts in which the catalog, which is in `utf8mb3`, may have put a `?` for a
/// character beyond U+FFFF. MySQL shows such a default in octets.
fn unshown(table: &Table, mariadb: bool, findings: &mut Vec<Finding>) {
    let name = &table.origin.name;
    let columns = table.columns.iter().flat_map(|column| {
        let computed = column.generated.as_ref().map(|generated| generated.expression.as_str());
        let default = column.default.as_deref().filter(|_| mariadb);
        computed.or(default).map(|text| (column.name.to_string(), text))
    });
    let checks = table.constraints.iter().filter(|c| matches!(c.kind, ConstraintKind::Check { .. }));
    let checks = checks.map(|check| (check.name.clone(), check.definition.as_str()));
    for (of, text) in columns.chain(checks).filter(|(_, text)| text.contains('?')) {
        findings.push(
            Finding::new(
                Severity::Warning,
                "unshown_characters",
                format!("{name}.{of}"),
                format!("the catalog says ? for characters beyond U+FFFF, and this has one: {text}"),
            )
            .remedy("compare it with how it was written; if it has such a character, make it by hand at the target"),
        );
    }
}

/// Foreign keys by which the engine changes rows of a table and logs nothing,
/// whether the parent is in the run or not. MySQL logs what a cascade does since
/// 9.7; but no trigger of the table is asked, so a parent outside the run is a
/// door that a cutover cannot close.
fn cascades(look: &Look<'_>, table: &Table, findings: &mut Vec<Finding>) {
    let name = &table.origin.name;
    for constraint in &table.constraints {
        let ConstraintKind::ForeignKey(key) = &constraint.kind else { continue };
        if !key.acts {
            continue;
        }
        let inside = look.schema.by_origin(&key.references).is_some();
        let logged = look.control.server().is_mysql_since(9, 7, 0);
        if logged && inside {
            continue;
        }
        let why = if logged {
            "a cutover could not keep those writes out".to_owned()
        } else {
            format!("{} does not log that: those changes would be lost", look.control.server())
        };
        let outside = if inside { "" } else { ", which is outside the run" };
        findings.push(
            Finding::new(
                Severity::Blocker,
                "cascade",
                name,
                format!(
                    "{} changes rows of this table when {} changes{outside}, and {why}",
                    constraint.name, key.references
                ),
            )
            .remedy(format!(
                "ALTER TABLE {} DROP FOREIGN KEY {}, and add it again without CASCADE and SET NULL",
                quote_table(&name.schema, &name.name),
                quote_ident(&constraint.name)
            )),
        );
    }
}
