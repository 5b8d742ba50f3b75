//! What is in the way of a run's tables, in words.

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::RunName;
use zdm_core::schema::{Column, ConstraintKind, Index, Table};

use super::state::{Existing, Indexed, State};
use super::{DURING, ddl, quoted};
use crate::connect::{Control, Server};
use crate::error::OrMy;
use crate::fence::is_trigger_of_ours;
use crate::schema::described;

/// What is in the way of a table that the run has not accepted yet: each of
/// it a clause whose subject is the table.
pub(super) async fn of(
    control: &mut Control,
    state: &State,
    run: &RunName,
    table: &Table,
) -> Result<Vec<String>> {
    let Some(existing) = state.table(&table.name) else { return Ok(Vec::new()) };
    let server = control.server();
    let one = if existing.kind != "BASE TABLE" {
        format!("is no table but a {}", existing.kind.to_ascii_lowercase())
    } else if let Some(other) = state.other_owner(run, &table.name) {
        format!("belongs to run {other}")
    } else if !existing.engine.eq_ignore_ascii_case("InnoDB") {
        format!("is {}'s, which has no transactions: make it InnoDB's", existing.engine)
    } else if holds_rows(control, table).await? {
        "holds rows".to_owned()
    } else {
        let found = described(control, &table.name).await?;
        if let Some(difference) = difference(server, table, &found) {
            format!("has another shape: {difference}")
        } else {
            let standing = standing(table, &found, existing).into_iter();
            let words = "which the source has not: drop it, and make it behind the cutover";
            return Ok(standing.map(|what| format!("has {what}, {words}")).collect());
        }
    };
    Ok(vec![one])
}

/// Whether the table is not empty.
pub(super) async fn holds_rows(control: &mut Control, table: &Table) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(table));
    let holds: Option<bool> = control.query_first(sql).await.during(DURING)?;
    Ok(holds == Some(true))
}

/// The first thing in which the columns differ that matters to the rows.
fn difference(server: Server, table: &Table, found: &Table) -> Option<String> {
    for column in &table.columns {
        let Some(there) = found.columns.iter().find(|there| there.name == column.name) else {
            return Some(format!("it has no column {}", column.name));
        };
        if let Some(difference) = differs(server, column, there) {
            return Some(format!("its column {} {difference}", column.name));
        }
    }
    let extra = found.columns.iter().find(|there| table.position(&there.name).is_none());
    extra.map(|there| format!("its column {} is not in the source", there.name))
}

fn differs(server: Server, column: &Column, there: &Column) -> Option<String> {
    let (wanted, found) = (plain(server, &column.native.name), plain(server, &there.native.name));
    // The old name of what has three octets.
    let charset = |column: &Column| column.charset.as_ref().map(|name| name.replace("utf8mb3", "utf8"));
    if wanted != found {
        Some(format!("is {found}, and here {wanted}"))
    } else if column.charset.is_some() && there.charset.is_some() && charset(column) != charset(there) {
        Some("has another character set".to_owned())
    } else if column.nullable && !there.nullable {
        Some("takes no null".to_owned())
    } else if column.is_written() && !there.is_written() {
        Some("is computed".to_owned())
    } else if !column.is_written() && there.is_written() {
        Some("is not computed".to_owned())
    } else if column.on_update.is_none() && there.on_update.is_some() {
        Some("changes by itself".to_owned())
    } else {
        None
    }
}

/// A type without what versions show differently: the width in which whole
/// numbers are shown, MariaDB's name for JSON, and a geometry's reference
/// system.
fn plain(server: Server, column_type: &str) -> String {
    let column_type = column_type.split(" /*!").next().unwrap_or(column_type);
    let end = column_type.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(column_type.len());
    let (word, rest) = column_type.split_at(end);
    let word = word.to_ascii_lowercase();
    match word.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => {
            let rest = rest.split_once(')').map_or(rest, |(_, rest)| rest);
            format!("{word}{rest}").trim_end().to_owned()
        }
        "json" if server.is_mariadb() => "longtext".to_owned(),
        _ => format!("{word}{rest}"),
    }
}

/// What would refuse or alter rows while they arrive: rows of different chunks
/// come from different moments, and a later change may belong to a row that is
/// not there yet. A unique index that the source has too steps aside, and comes
/// back from the source's own definition; so do foreign keys and triggers. What
/// the source has not, nobody could make again.
fn standing(table: &Table, found: &Table, existing: &Existing) -> Vec<String> {
    let mut standing = Vec::new();
    for constraint in &found.constraints {
        let name = &constraint.name;
        let same = table.constraints.iter().find(|own| own.name == *name).map(|own| &own.kind);
        match (&constraint.kind, same) {
            (ConstraintKind::Primary { columns }, _) if ddl::is_key(table, columns) => {}
            (ConstraintKind::Primary { columns }, _) => {
                standing.push(format!("the primary key ({})", columns.join(", ")));
            }
            (ConstraintKind::Unique { columns }, _) if ddl::is_key(table, columns) => {}
            (ConstraintKind::Unique { columns }, Some(ConstraintKind::Unique { columns: own }))
                if own == columns => {}
            (ConstraintKind::Unique { .. }, _) => standing.push(format!("the unique index {name}")),
            (ConstraintKind::ForeignKey(_), Some(ConstraintKind::ForeignKey(_))) => {}
            (ConstraintKind::ForeignKey(_), _) => standing.push(format!("the foreign key {name}")),
            (ConstraintKind::Check { .. }, Some(ConstraintKind::Check { .. })) => {}
            // What MariaDB makes of JSON.
            (ConstraintKind::Check { .. }, None)
                if constraint.definition.starts_with("CHECK (json_valid(") => {}
            (ConstraintKind::Check { .. }, _) => standing.push(format!("the check {name}")),
            _ => {}
        }
    }
    for index in found.indexes.iter().filter(|index| index.unique) {
        let same = |own: &&Index| own.name == index.name && own.unique && own.keys == index.keys;
        if !table.indexes.iter().any(|own| same(&own)) {
            standing.push(format!("the unique index {}", index.name));
        }
    }
    let foreign = |name: &&String| {
        !is_trigger_of_ours(name) && !table.triggers.iter().any(|trigger| trigger.name == ***name)
    };
    let mut triggers: Vec<&String> = existing.triggers.iter().filter(foreign).collect();
    triggers.sort_unstable();
    standing.extend(triggers.into_iter().map(|name| format!("the trigger {name}")));
    standing
}

/// Whether an index is the one that tells rows apart.
pub(super) fn is_own_key(table: &Table, name: &str, index: &Indexed) -> bool {
    name == "PRIMARY" || table.has_key() && index.is_over(&ddl::key_names(table))
}
