//! Indexes, constraints and counters, as MySQL's own statements.

use std::sync::Arc;

use zdm_core::schema::conversion::{Note, Outcome};
use zdm_core::schema::{
    Action, Column, Constraint, ConstraintKind, DataType, Expr, Index, IndexMethod, KeyPart, Schema,
    Sequence, SequenceRange, Table,
};

use super::types::{KEY, WIDEST};
use super::words;
use crate::connect::Server;
use crate::connect::quote::{quote_ident, quote_table};
use crate::schema::objects::made;
use crate::types::Charset;

pub(super) fn index(server: &Server, table: &Table, index: &mut Index) -> Outcome {
    let mut outcome = Outcome::Kept;
    let kind = match &index.method {
        IndexMethod::Ordered => "",
        IndexMethod::FullText => "FULLTEXT ",
        IndexMethod::Spatial => "SPATIAL ",
        IndexMethod::Other(name) if name == "hash" => {
            outcome = Outcome::Changed("is of the ordered kind".to_owned());
            index.method = IndexMethod::Ordered;
            ""
        }
        _ => return Outcome::Dropped("an index of this kind has no like in MySQL".to_owned()),
    };
    if index.filter.take().is_some() {
        if index.unique {
            return Outcome::Dropped("MySQL has no unique index over a part of the rows".to_owned());
        }
        outcome = Outcome::Changed("is over all rows".to_owned());
    }
    // OK because nobody has four thousand million keys in an index.
    let room = KEY / u32::try_from(index.keys.len()).unwrap_or(u32::MAX).max(1);
    let mut list = Vec::with_capacity(index.keys.len());
    for key in &mut index.keys {
        let text = match &key.part {
            KeyPart::Column(name) => {
                let Some(column) = table.position(name).map(|at| &table.columns[at]) else {
                    return Outcome::Dropped(format!("there is no column {name}"));
                };
                if matches!(column.data_type, DataType::Json) {
                    return Outcome::Dropped(format!("MySQL cannot index {name}, which is JSON"));
                }
                if key.prefix.is_none()
                    && kind.is_empty()
                    && let Some(most) = prefix(column, room)
                {
                    if index.unique {
                        return Outcome::Dropped(format!("{name} is too long for a unique index"));
                    }
                    key.prefix = Some(most);
                    outcome = Outcome::Changed(format!("is over the first {most} of {name}"));
                }
                let prefix = key.prefix.map_or_else(String::new, |most| format!("({most})"));
                format!("{}{prefix}", quote_ident(name))
            }
            KeyPart::Expression(of) => {
                if !server.is_mysql_since(8, 0, 13) {
                    return Outcome::Dropped(format!("{server} indexes no expression"));
                }
                if of.neutral.as_ref().is_some_and(|expr| reads_large(expr, table)) {
                    return Outcome::Dropped(
                        "an expression over a text without limit cannot be indexed".to_owned(),
                    );
                }
                format!("({})", of.native)
            }
        };
        list.push(format!("{text}{}", if key.descending { " DESC" } else { "" }));
    }
    index.definition = format!(
        "CREATE {kind}{}INDEX {} ON {} ({})",
        if index.unique { "UNIQUE " } else { "" },
        quote_ident(&index.name),
        quote_table(&table.name.schema, &table.name.name),
        list.join(", "),
    );
    outcome
}

/// How much of a column fits into so many octets of a key, where it is not
/// all of it.
fn prefix(column: &Column, room: u32) -> Option<u32> {
    match column.data_type {
        DataType::Text { length, .. } => {
            let widest = column.charset.as_deref().and_then(Charset::by_name);
            let most = room / widest.map_or(WIDEST, |charset| charset.widest().into());
            length.is_none_or(|length| length > most).then_some(most.min(255))
        }
        DataType::Bytes { length, .. } => length.is_none_or(|length| length > room).then_some(room.min(255)),
        DataType::Geometry => Some(32),
        _ => None,
    }
}

fn reads_large(expr: &Expr, table: &Table) -> bool {
    let mut large = false;
    expr.columns(&mut |name| {
        large |= table.position(name).is_none_or(|at| words::is_large(&table.columns[at].data_type));
    });
    large
}

pub(super) fn constraint(server: &Server, _: &Table, constraint: &mut Constraint) -> Outcome {
    let list = |columns: &[String]| columns.iter().map(|c| quote_ident(c)).collect::<Vec<_>>().join(", ");
    let mut outcome = Outcome::Kept;
    constraint.definition = match &mut constraint.kind {
        ConstraintKind::Primary { columns } => format!("PRIMARY KEY ({})", list(columns)),
        ConstraintKind::Unique { columns } => format!("UNIQUE ({})", list(columns)),
        ConstraintKind::Check { neutral } => {
            // MySQL 5.7 reads checks and forgets them.
            if !server.is_mariadb() && !server.is_mysql_since(8, 0, 16) {
                return Outcome::Dropped(format!("{server} has no checks"));
            }
            let own = std::mem::take(&mut constraint.definition);
            match neutral.as_ref().and_then(|expr| words::write(expr, None, true)) {
                _ if !own.is_empty() => own,
                Some(text) => format!("CHECK ({text})"),
                None => return Outcome::Dropped("MySQL lacks a function that it calls".to_owned()),
            }
        }
        ConstraintKind::ForeignKey(key) => {
            for action in [&mut key.on_delete, &mut key.on_update] {
                if *action == Action::SetDefault {
                    *action = Action::NoAction;
                    outcome = Outcome::Changed(
                        "refuses where it set the default: InnoDB has no SET DEFAULT".to_owned(),
                    );
                }
            }
            key.acts = key.on_delete.acts() || key.on_update.acts();
            format!(
                "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {} ON UPDATE {}",
                list(&key.columns),
                quote_table(&key.references.schema, &key.references.name),
                list(&key.referenced),
                key.on_delete.sql(),
                key.on_update.sql(),
            )
        }
        _ => return Outcome::Dropped("it has no like in MySQL".to_owned()),
    };
    outcome
}

/// A table numbers one column at most, a whole number that leads some key.
pub(super) fn counters(server: &Server, schema: &mut Schema) -> Vec<Note> {
    let mut notes = Vec::new();
    for table in &mut schema.tables {
        let able: Vec<usize> =
            (0..table.columns.len()).filter(|at| table.columns[*at].identity.is_some()).collect();
        let kept = able.iter().copied().find(|at| {
            matches!(table.columns[*at].data_type, DataType::Integer { .. })
                && leads(table, &table.columns[*at].name)
        });
        if able.iter().all(|at| Some(*at) == kept) {
            continue;
        }
        let name = table.name.clone();
        let table = Arc::make_mut(table);
        for at in able.into_iter().filter(|at| Some(*at) != kept) {
            table.columns[at].identity = None;
            notes.push(Note {
                table: name.clone(),
                object: format!("counter of {}", table.columns[at].name),
                outcome: Outcome::Dropped(
                    "AUTO_INCREMENT is for one column of whole numbers that a key begins with".to_owned(),
                ),
            });
        }
    }
    let Schema { tables, sequences, .. } = schema;
    sequences.retain_mut(|sequence| {
        if let (None, Some(range)) = (&sequence.owner, sequence.range)
            && server.is_mariadb_since(10, 3, 0)
        {
            sequence.definition = alone(sequence, range);
            return true;
        }
        let owner = sequence.owner.as_ref().filter(|(table, column)| {
            let table = tables.iter().find(|t| t.name == *table);
            table.is_some_and(|t| t.columns.iter().any(|c| c.name == *column && c.identity.is_some()))
        });
        let Some((table, _)) = owner else {
            notes.push(Note {
                table: sequence.owner.as_ref().map_or(&sequence.name, |(table, _)| table).clone(),
                object: format!("sequence {}", sequence.name),
                outcome: Outcome::Dropped("it is no AUTO_INCREMENT of a table".to_owned()),
            });
            return false;
        };
        if sequence.increment != 1 {
            notes.push(Note {
                table: table.clone(),
                object: format!("sequence {}", sequence.name),
                outcome: Outcome::Changed(format!(
                    "adds 1 and not {}: the step is the server's, not the table's",
                    sequence.increment
                )),
            });
        }
        sequence.name = table.clone();
        sequence.identity = true;
        sequence.definition = String::new();
        true
    });
    notes
}

/// CREATE SEQUENCE of one that is no column's, as MariaDB's own.
///
/// <https://mariadb.com/kb/en/create-sequence/>: the two outermost numbers of
/// 64 bits are the server's.
fn alone(sequence: &Sequence, range: SequenceRange) -> String {
    let (least, most) = (range.least.max(i64::MIN + 2), range.most.min(i64::MAX - 1));
    let start = range.start.clamp(least, most);
    made(&sequence.name, sequence.increment, &SequenceRange { start, least, most, ..range })
}

/// Whether some key or index begins with a column.
fn leads(table: &Table, column: &str) -> bool {
    let first = |columns: &[String]| columns.first().is_some_and(|name| name == column);
    let key = table.key_columns().first().is_some_and(|at| table.columns[*at].name == column);
    key || table.constraints.iter().any(|constraint| match &constraint.kind {
        ConstraintKind::Primary { columns } | ConstraintKind::Unique { columns } => first(columns),
        _ => false,
    }) || table.indexes.iter().any(|index| {
        index.keys.first().is_some_and(|key| key.as_column() == Some(column) && key.prefix.is_none())
    })
}
