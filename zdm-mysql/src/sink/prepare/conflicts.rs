//! What is in the way of a run's tables, in words.

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::RunName;
use zdm_core::schema::Table;

use super::state::{Existing, Indexed, State};
use super::{DURING, ddl, quoted};
use crate::connect::{Control, Server};
use crate::error::OrMy;
use crate::fence::is_trigger_of_ours;

/// What is in the way of a table that the run has not accepted yet: each of
/// it a clause whose subject is the table.
pub(super) async fn of(
    control: &mut Control,
    state: &State,
    run: &RunName,
    table: &Table,
) -> Result<Vec<String>> {
    let Some(existing) = state.table(&table.name) else { return Ok(Vec::new()) };
    let one = if existing.kind != "BASE TABLE" {
        format!("is no table but a {}", existing.kind.to_ascii_lowercase())
    } else if let Some(other) = state.other_owner(run, &table.name) {
        format!("belongs to run {other}")
    } else if let Some(difference) = difference(control.server(), table, existing) {
        format!("has another shape: {difference}")
    } else if holds_rows(control, table).await? {
        "holds rows".to_owned()
    } else {
        let standing = standing(table, existing).into_iter();
        let words = "which the source has not: drop it, and make it behind the cutover";
        return Ok(standing.map(|what| format!("has {what}, {words}")).collect());
    };
    Ok(vec![one])
}

/// Whether the table is not empty.
pub(super) async fn holds_rows(control: &mut Control, table: &Table) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(table));
    let holds: Option<bool> = control.query_first(sql).await.during(DURING)?;
    Ok(holds == Some(true))
}

/// The first thing in which the columns differ.
fn difference(server: Server, table: &Table, existing: &Existing) -> Option<String> {
    if !existing.engine.eq_ignore_ascii_case("InnoDB") {
        return Some(format!("its engine is {}, which has no transactions: make it InnoDB", existing.engine));
    }
    for column in &table.columns {
        let wanted = plain(server, &column.native.name);
        match existing.columns.iter().find(|(name, _)| *name == *column.name) {
            None => return Some(format!("it has no column {}", column.name)),
            Some((_, found)) if plain(server, found) != wanted => {
                return Some(format!("its column {} is {found}, and here {wanted}", column.name));
            }
            Some(_) => {}
        }
    }
    let extra = existing.columns.iter().find(|(name, _)| table.position(name).is_none());
    extra.map(|(name, _)| format!("its column {name} is not in the source"))
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

/// What would refuse or alter rows while they arrive, and that nobody could
/// make again since the source has it not.
fn standing(table: &Table, existing: &Existing) -> Vec<String> {
    let constraint = |name: &str| table.constraints.iter().any(|constraint| constraint.name == *name);
    let indexes = existing.indexes.iter().filter(|(name, index)| {
        let own = constraint(name) || table.indexes.iter().any(|index| index.name == **name);
        index.unique && !own && !is_own_key(table, name, index)
    });
    let keys = existing.foreign_keys.iter().filter(|name| !constraint(name));
    let triggers = existing.triggers.iter().filter(|name| {
        !is_trigger_of_ours(name) && !table.triggers.iter().any(|trigger| trigger.name == **name)
    });
    indexes
        .map(|(name, _)| format!("the unique index {name}"))
        .chain(keys.map(|name| format!("the foreign key {name}")))
        .chain(triggers.map(|name| format!("the trigger {name}")))
        .collect()
}

/// Whether an index is the one that tells rows apart.
pub(super) fn is_own_key(table: &Table, name: &str, index: &Indexed) -> bool {
    name == "PRIMARY" || table.has_key() && index.is_over(&ddl::key_names(table))
}
