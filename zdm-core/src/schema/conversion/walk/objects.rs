//! Indexes and constraints, in the target's words.

use super::super::Outcome;
use super::places::Place;
use super::{Made, Walk};
use crate::Result;
use crate::schema::{
    Condition, Constraint, ConstraintKind, Expr, ForeignKey, Index, IndexKey, KeyPart, Table,
};

impl Walk<'_> {
    /// Gives a table its indexes and constraints; `shapes` are all tables as
    /// they are there.
    pub(super) fn objects_of(&mut self, made: &mut Made, shapes: &[Table]) -> Result<()> {
        let source = std::sync::Arc::clone(&made.from);
        let place = self.places.of(&source.name)?.clone();
        // The primary key first: its name is the table's own.
        let (primary, others): (Vec<_>, Vec<_>) =
            source.constraints.iter().partition(|c| matches!(c.kind, ConstraintKind::Primary { .. }));
        for constraint in primary.into_iter().chain(others) {
            let object = format!("{} {}", what(constraint), constraint.name);
            let outcome = self.constraint(made, &place, constraint, shapes);
            self.tell(made.report, object, outcome);
        }
        for index in &source.indexes {
            let outcome = self.index(made, &place, index);
            self.tell(made.report, format!("index {}", index.name), outcome);
        }
        if source.options.is_some() || !source.partitions.is_empty() {
            let why = "how its rows are kept and parted is its engine's own".to_owned();
            self.tell(made.report, "storage and partitions".to_owned(), Outcome::Dropped(why));
        }
        Ok(())
    }

    fn constraint(
        &mut self,
        made: &mut Made,
        place: &Place,
        constraint: &Constraint,
        shapes: &[Table],
    ) -> Outcome {
        let gone = || Outcome::Dropped("a column that it names stays behind".to_owned());
        let is_check = matches!(constraint.kind, ConstraintKind::Check { .. });
        let kindred =
            is_check.then(|| self.kindred(&made.from, place, &constraint.definition, None)).flatten();
        let kind = match &constraint.kind {
            ConstraintKind::Primary { columns } => match place.all(columns) {
                Some(columns) => ConstraintKind::Primary { columns },
                None => return gone(),
            },
            ConstraintKind::Unique { columns } => match place.all(columns) {
                Some(columns) => ConstraintKind::Unique { columns },
                None => return gone(),
            },
            ConstraintKind::Check { neutral } if kindred.is_some() => {
                ConstraintKind::Check { neutral: neutral.clone() }
            }
            // Rows that are there already may break it.
            ConstraintKind::Check { .. } if !constraint.validated => {
                let why = format!("the source does not hold its rows to it: {}", constraint.definition);
                return Outcome::Dropped(why);
            }
            ConstraintKind::Check { neutral } => match neutral.as_ref().map(|expr| renamed(expr, place)) {
                Some(Some(expr)) => ConstraintKind::Check { neutral: Some(expr) },
                Some(None) => return gone(),
                None => {
                    let why = format!("its text is not the same in every engine: {}", constraint.definition);
                    return Outcome::Dropped(why);
                }
            },
            ConstraintKind::ForeignKey(key) => match self.foreign_key(place, key, shapes) {
                Ok(key) => ConstraintKind::ForeignKey(key),
                Err(why) => return Outcome::Dropped(why),
            },
            ConstraintKind::Exclusion => ConstraintKind::Exclusion,
        };
        let primary = matches!(kind, ConstraintKind::Primary { .. });
        // MySQL calls every primary key PRIMARY.
        let own = if primary && constraint.name.eq_ignore_ascii_case("primary") {
            format!("{}_pkey", place.name.name)
        } else {
            constraint.name.clone()
        };
        let indexed = primary || matches!(kind, ConstraintKind::Unique { .. });
        let name = if indexed {
            self.places.index(&place.name, &own)
        } else {
            self.places.constraint(&place.name, &own)
        };
        let mut new = Constraint {
            name: name.into(),
            kind,
            definition: kindred.unwrap_or_default(),
            validated: constraint.validated,
        };
        let outcome = self.dialect.constraint(&made.table, &mut new);
        if matches!(outcome, Outcome::Dropped(_)) {
            return outcome;
        }
        if primary && made.from.key_name.as_ref() == Some(&constraint.name) {
            made.table.key_name = Some(new.name.clone());
        }
        let outcome = named(outcome, &own, &new.name);
        made.table.constraints.push(new);
        outcome
    }

    fn foreign_key(&self, place: &Place, key: &ForeignKey, shapes: &[Table]) -> Result<ForeignKey, String> {
        let parent = self.places.of(&key.references);
        let parent = parent.map_err(|_| format!("{}, to which it refers, is not moved", key.references))?;
        let behind = || "a column that it names stays behind".to_owned();
        let columns = place.all(&key.columns).ok_or_else(behind)?;
        let referenced = parent.all(&key.referenced).ok_or_else(behind)?;
        if !self.schema.table(&key.references).is_some_and(|table| is_unique(table, &key.referenced)) {
            return Err("it refers to columns that no key or unique index holds".to_owned());
        }
        let shape = |table: &crate::schema::TableName, column: &str| {
            let table = shapes.iter().find(|shape| shape.name == *table)?;
            Some(&table.columns[table.position(column)?])
        };
        for (child, referred) in columns.iter().zip(&referenced) {
            let (a, b) = (shape(&place.name, child), shape(&parent.name, referred));
            if let (Some(a), Some(b)) = (a, b)
                && std::mem::discriminant(&a.data_type) != std::mem::discriminant(&b.data_type)
            {
                return Err(format!(
                    "{child} is {} there, and what it refers to {}",
                    a.data_type, b.data_type
                ));
            }
        }
        Ok(ForeignKey { columns, references: parent.name.clone(), referenced, ..key.clone() })
    }

    fn index(&mut self, made: &mut Made, place: &Place, index: &Index) -> Outcome {
        let keys = if index.keys.is_empty() {
            let columns = index.columns.iter().flatten();
            columns.map(IndexKey::column).collect()
        } else {
            index.keys.clone()
        };
        let mut new = Index { keys: Vec::new(), columns: None, definition: String::new(), ..index.clone() };
        for key in keys {
            let part = match &key.part {
                KeyPart::Column(name) => place.column(name).map(|name| KeyPart::Column(name.into())),
                KeyPart::Expression(of) => match self.condition(&made.from, of, place) {
                    Ok(of) => Some(KeyPart::Expression(of)),
                    Err(why) => return Outcome::Dropped(why),
                },
            };
            let Some(part) = part else {
                return Outcome::Dropped("a column that it names stays behind".to_owned());
            };
            new.keys.push(IndexKey { part, ..key });
        }
        if new.keys.is_empty() {
            return Outcome::Dropped(format!("what it is over is its engine's own: {}", index.definition));
        }
        if let Some(filter) = &index.filter {
            match self.condition(&made.from, filter, place) {
                Ok(filter) => new.filter = Some(filter),
                Err(why) => return Outcome::Dropped(why),
            }
        }
        new.name = self.places.index(&place.name, &index.name).into();
        let outcome = self.dialect.index(&made.table, &mut new);
        if matches!(outcome, Outcome::Dropped(_)) {
            return outcome;
        }
        let whole = new.filter.is_none() && new.keys.iter().all(|key| key.prefix.is_none());
        new.columns = new.keys.iter().map(|key| key.as_column().map(str::to_owned)).collect();
        new.columns = new.columns.filter(|_| whole && new.method == crate::schema::IndexMethod::Ordered);
        let outcome = named(outcome, &index.name, &new.name);
        made.table.indexes.push(new);
        outcome
    }

    fn condition(&self, table: &Table, of: &Condition, place: &Place) -> Result<Condition, String> {
        if let Some(native) = self.kindred(table, place, &of.native, None) {
            return Ok(Condition { native, neutral: of.neutral.clone() });
        }
        let lost = || format!("its text is not the same in every engine: {}", of.native);
        let expr = of.neutral.as_ref().and_then(|expr| renamed(expr, place)).ok_or_else(lost)?;
        let native = self.dialect.expression(&expr, None).ok_or_else(lost)?;
        Ok(Condition { native, neutral: Some(expr) })
    }
}

/// Whether some key or unique index of a table is over these columns, in any
/// order.
fn is_unique(table: &Table, columns: &[String]) -> bool {
    let same = |own: &[String]| own.len() == columns.len() && own.iter().all(|c| columns.contains(c));
    let constraints = table.constraints.iter().any(|constraint| match &constraint.kind {
        ConstraintKind::Primary { columns } | ConstraintKind::Unique { columns } => same(columns),
        _ => false,
    });
    let key: Vec<String> = table.key_columns().iter().map(|at| table.columns[*at].name.to_string()).collect();
    constraints
        || same(&key)
        || table.indexes.iter().any(|index| index.unique && index.columns.as_deref().is_some_and(same))
}

/// An expression over the columns as they are named there; `None` if one of
/// them stays behind.
fn renamed(expr: &Expr, place: &Place) -> Option<Expr> {
    let mut stays = true;
    expr.columns(&mut |name| stays &= place.column(name).is_some());
    stays.then(|| expr.renamed(&|name| place.column(name)))
}

fn what(constraint: &Constraint) -> &'static str {
    match constraint.kind {
        ConstraintKind::Primary { .. } => "primary key",
        ConstraintKind::Unique { .. } => "unique constraint",
        ConstraintKind::Check { .. } => "check",
        ConstraintKind::Exclusion => "exclusion constraint",
        ConstraintKind::ForeignKey(_) => "foreign key",
    }
}

/// Tells of another name, where nothing else is told.
fn named(outcome: Outcome, from: &str, to: &str) -> Outcome {
    match outcome {
        Outcome::Kept if from != to => Outcome::Changed(format!("is named {to}")),
        other => other,
    }
}
