//! Indexes, constraints and counters, as PostgreSQL's own statements.

use std::sync::Arc;

use zdm_core::schema::conversion::{Dialect as _, Note, Outcome};
use zdm_core::schema::{
    Column, Condition, Constraint, ConstraintKind, DataType, Index, IndexMethod, KeyPart, Schema,
    SequenceRange, Table, TableName,
};

use super::{NAME, PgDialect};
use crate::connect::quote::{quote_ident, quote_table};
use crate::schema::sequences::options;

/// A key of an index is at most a third of a page; a text of so many
/// characters stays below it whatever they are.
const CHARACTERS: u32 = 600;

pub(super) fn index(table: &Table, index: &mut Index) -> Outcome {
    let method = match &index.method {
        IndexMethod::Ordered => "",
        IndexMethod::FullText => {
            return Outcome::Dropped(
                "PostgreSQL searches words in another way: to_tsvector and GIN".to_owned(),
            );
        }
        _ => return Outcome::Dropped("an index of this kind has no like in PostgreSQL".to_owned()),
    };
    let mut outcome = Outcome::Kept;
    let mut list = Vec::with_capacity(index.keys.len());
    for key in &mut index.keys {
        let prefix = key.prefix.take();
        let text = match &mut key.part {
            KeyPart::Column(name) => {
                let Some(column) = table.position(name).map(|at| &table.columns[at]) else {
                    return Outcome::Dropped(format!("there is no column {name}"));
                };
                if has_no_order(&column.data_type) {
                    return Outcome::Dropped(format!("{} of {name} has no order", column.native.name));
                }
                let quoted = quote_ident(name);
                let short =
                    matches!(column.data_type, DataType::Text { length: Some(n), .. } if n <= CHARACTERS);
                match (prefix, &column.data_type) {
                    (Some(_), _) if short && !index.unique => {
                        outcome = Outcome::Changed(format!("is over the whole of {name}"));
                        quoted
                    }
                    (Some(n), DataType::Bytes { .. }) => {
                        outcome = Outcome::Changed(format!(
                            "is over the first {n} octets of {name} by an expression"
                        ));
                        format!("(substring({quoted} from 1 for {n}))")
                    }
                    (Some(n), _) => {
                        outcome = Outcome::Changed(format!(
                            "is over the first {n} characters of {name}, by left({name}, {n})"
                        ));
                        format!("(left({quoted}, {n}))")
                    }
                    (None, _) => quoted,
                }
            }
            KeyPart::Expression(of) => format!("({})", of.native),
        };
        if text.starts_with('(')
            && let KeyPart::Column(_) = &key.part
        {
            key.part = KeyPart::Expression(Condition { native: text.clone(), neutral: None });
        }
        list.push(format!("{text}{}", if key.descending { " DESC" } else { "" }));
    }
    let filter = index.filter.as_ref().map_or_else(String::new, |filter| format!(" WHERE {}", filter.native));
    index.definition = format!(
        "CREATE {}INDEX {} ON {}{method} ({}){filter}",
        if index.unique { "UNIQUE " } else { "" },
        quote_ident(&index.name),
        quote_table(&table.name.schema, &table.name.name),
        list.join(", "),
    );
    outcome
}

fn has_no_order(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Json | DataType::Native)
}

pub(super) fn constraint(dialect: &PgDialect, table: &Table, constraint: &mut Constraint) -> Outcome {
    let list = |columns: &[String]| columns.iter().map(|c| quote_ident(c)).collect::<Vec<_>>().join(", ");
    let orderless = |columns: &[String]| {
        columns
            .iter()
            .any(|name| table.position(name).is_none_or(|at| has_no_order(&table.columns[at].data_type)))
    };
    constraint.definition = match &constraint.kind {
        ConstraintKind::Primary { columns } | ConstraintKind::Unique { columns } if orderless(columns) => {
            return Outcome::Dropped("a column of it has no order in PostgreSQL".to_owned());
        }
        ConstraintKind::Primary { columns } => format!("PRIMARY KEY ({})", list(columns)),
        ConstraintKind::Unique { columns } => format!("UNIQUE ({})", list(columns)),
        ConstraintKind::Check { neutral } => {
            match neutral.as_ref().and_then(|expr| dialect.expression(expr, None)) {
                Some(text) => format!("CHECK ({text})"),
                None => return Outcome::Dropped("PostgreSQL lacks a function that it calls".to_owned()),
            }
        }
        ConstraintKind::ForeignKey(key) => format!(
            "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {} ON UPDATE {}",
            list(&key.columns),
            quote_table(&key.references.schema, &key.references.name),
            list(&key.referenced),
            key.on_delete.sql(),
            key.on_update.sql(),
        ),
        _ => return Outcome::Dropped("it has no like in PostgreSQL".to_owned()),
    };
    Outcome::Kept
}

/// A numbered column is an identity, with a sequence of its own.
pub(super) fn counters(schema: &mut Schema) -> Vec<Note> {
    let mut notes = uncountable(schema);
    let Schema { tables, sequences, .. } = schema;
    sequences.retain_mut(|sequence| {
        if let (None, Some(range)) = (&sequence.owner, &sequence.range) {
            // MariaDB's cache of 0 is PostgreSQL's of 1: none.
            let range = SequenceRange { cache: range.cache.max(1), ..*range };
            sequence.definition = format!(
                "CREATE SEQUENCE {} AS bigint {}",
                quote_table(&sequence.name.schema, &sequence.name.name),
                options(sequence.increment, &range)
            );
            return true;
        }
        let owner = sequence.owner.clone().and_then(|(table, column)| {
            let found = tables.iter().find(|t| t.name == table)?;
            let column = found.columns.iter().find(|c| c.name == column && c.identity.is_some())?;
            let most = match column.data_type {
                DataType::Integer { bits: 16, .. } => i64::from(i16::MAX),
                DataType::Integer { bits: 32, .. } => i64::from(i32::MAX),
                DataType::Integer { .. } => i64::MAX,
                _ => return None,
            };
            Some((table, column.name.clone(), most))
        });
        let Some((table, column, most)) = owner else {
            notes.push(Note {
                table: sequence.owner.as_ref().map_or(&sequence.name, |(table, _)| table).clone(),
                object: format!("sequence {}", sequence.name),
                outcome: Outcome::Dropped("it numbers no column of whole numbers".to_owned()),
            });
            return false;
        };
        sequence.name =
            TableName::new(table.schema.clone(), NAME.joined(&format!("{}_{column}", table.name), "_seq"));
        sequence.identity = true;
        let step = sequence.increment.max(1);
        sequence.definition = format!(
            "SEQUENCE NAME {} START WITH 1 INCREMENT BY {step} MINVALUE 1 MAXVALUE {most} CACHE 1",
            quote_table(&sequence.name.schema, &sequence.name.name),
        );
        true
    });
    notes
}

/// An identity is of whole numbers: other columns are not numbered here.
fn uncountable(schema: &mut Schema) -> Vec<Note> {
    let mut notes = Vec::new();
    for table in &mut schema.tables {
        let name = table.name.clone();
        let wrong = |column: &&mut Column| {
            column.identity.is_some() && !matches!(column.data_type, DataType::Integer { .. })
        };
        for column in Arc::make_mut(table).columns.iter_mut().filter(wrong) {
            column.identity = None;
            notes.push(Note {
                table: name.clone(),
                object: format!("counter of {}", column.name),
                outcome: Outcome::Dropped(format!("{} cannot be an identity", column.native.name)),
            });
        }
    }
    notes
}
