//! One column, in the target's words.

use std::collections::HashSet;
use std::sync::Arc;

use smol_str::SmolStr;

use super::super::report::ColumnReport;
use super::super::{Bounds, Cast, Fit, Mapped, Policies, Used};
use super::places::Place;
use super::{Made, Walk};
use crate::schema::{
    Column, ConstraintKind, DataType, Generated, IdentityColumn, Schema, Sequence, Table, TableName,
};
use crate::{Error, ErrorKind, Result};

impl Walk<'_> {
    /// Adds a column of the source's table to the target's.
    pub(super) fn column(&mut self, made: &mut Made, place: &Place, at: usize) -> Result<()> {
        let source = Arc::clone(&made.from);
        let from = &source.columns[at];
        let name = place.column(&from.name).unwrap_or_else(|| from.name.clone());
        let used = Used {
            table: &source,
            name: &place.name,
            column: &name,
            key_parts: key_parts(&source, &from.name),
            counted: self.counted.contains(&(source.name.clone(), from.name.clone())),
        };
        let (mapped, wished) = self.mapped(from, place, used)?;
        let cast = Cast::between(from, &mapped.data_type, &mapped.bounds, &self.mapping.policies);
        let mut column = Column::new(name.clone(), mapped.data_type.clone());
        column.native = mapped.native.clone();
        column.origin = Some(Arc::new(from.decoded_by().clone()));
        (column.collation, column.charset) = (mapped.collation.clone(), mapped.charset.clone());
        column.equality = mapped.equality;
        column.comment.clone_from(&from.comment);
        self.report.no_nul |= mapped.bounds.no_nul && matches!(from.data_type, DataType::Text { .. });
        let nulled = cast.as_ref().is_some_and(|cast| cast.may_give_null(&from.data_type));
        column.nullable = from.nullable || (nulled && used.key_parts == 0);

        let mut notes = Vec::new();
        let mut fit = mapped.fit;
        if nulled && !from.nullable && column.nullable {
            notes.push("it can be null there, since a policy makes values null".to_owned());
        }
        if from.generated.is_some() {
            if let Err(why) = self.computed(&source, from, place, &mut column) {
                fit = Fit::Impossible(why);
            }
        } else if is_counted(self.schema, &source, from) {
            column.identity = Some(from.identity.unwrap_or(IdentityColumn::ByDefault));
        } else if let Err(why) = self.default(&source, from, place, cast.as_ref(), &mut column) {
            notes.push(why);
        }
        if let Some(on_update) = &from.on_update {
            column.on_update = self.kindred(&source, place, on_update, Some(&column));
            if column.on_update.is_none() {
                notes.push(format!("what sets it when a row changes is not there: ON UPDATE {on_update}"));
            }
        }
        if from.invisible {
            // A row that leaves it out must have something for it.
            let filled = column.nullable
                || column.default.is_some()
                || column.identity.is_some()
                || column.generated.is_some();
            column.invisible = self.rules.hidden_columns && filled;
            if !column.invisible {
                notes.push("SELECT * shows it there".to_owned());
            }
        }
        equality(from, &column, used.key_parts > 0, &mut fit, &mut notes);
        if let Some(needs) = mapped.needs
            && !self.out.definitions.contains(&needs)
        {
            self.out.definitions.push(needs);
        }
        self.report.tables[made.report].columns.push(ColumnReport {
            from: from.name.to_string(),
            to: column.name.to_string(),
            from_type: shown(from),
            to_type: shown(&column),
            fit,
            wished,
            notes,
        });
        let back = Cast::between(&column, &from.data_type, &Bounds::default(), &Policies::default());
        made.table.columns.push(column);
        made.cells.push((at, cast));
        made.back.push(back);
        Ok(())
    }

    /// The type that a column gets: the user's, or the dialect's choice.
    fn mapped(&self, from: &Column, place: &Place, used: Used<'_>) -> Result<(Mapped, bool)> {
        let own = self.dialect.column_type(from, used);
        let wish = place.wished(&from.name).or_else(|| self.by_type(from));
        let Some(wish) = wish else { return Ok((own, false)) };
        let mut mapped = self.dialect.parse_type(wish, used).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("the mapping wishes a type that {} does not have", self.engine),
            )
            .with("table", &used.table.name)
            .with("column", &from.name)
            .with("type", wish)
        })?;
        mapped.fit = if mapped.data_type == own.data_type { own.fit } else { fit_of(from, &mapped) };
        Ok((mapped, true))
    }

    /// The wish for all columns of a type: `tinyint(1)` before `tinyint`.
    fn by_type(&self, from: &Column) -> Option<&str> {
        let whole = from.native.name.to_lowercase();
        let bare = whole.split(['(', '/']).next().unwrap_or(&whole).trim();
        let find = |name: &str| {
            self.mapping.types.iter().find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, to)| to.as_str())
        };
        // `bigint(20) unsigned`: MariaDB's widths are of no account.
        let tail = whole.split_once(')').map_or("", |(_, tail)| tail.trim_end());
        find(&whole).or_else(|| find(&format!("{bare}{tail}"))).or_else(|| find(bare))
    }

    fn computed(
        &self,
        table: &Table,
        from: &Column,
        place: &Place,
        column: &mut Column,
    ) -> Result<(), String> {
        let Some(generated) = &from.generated else { return Ok(()) };
        let stored = generated.stored || !self.rules.virtual_columns;
        if let Some(expression) = self.kindred(table, place, &generated.expression, None) {
            column.neutral.clone_from(&from.neutral);
            column.generated = Some(Generated { expression, stored });
            return Ok(());
        }
        let written = from.neutral.as_ref().and_then(|expr| {
            let mut stays = true;
            expr.columns(&mut |name| stays &= place.column(name).is_some());
            let expr = expr.renamed(&|name| place.column(name));
            stays.then(|| self.dialect.expression(&expr, None).map(|text| (expr, text)))?
        });
        let Some((expr, expression)) = written else {
            return Err(format!(
                "it is computed by what {} does not say in the same way: {}",
                self.engine, generated.expression,
            ));
        };
        column.neutral = Some(expr);
        column.generated = Some(Generated { expression, stored });
        Ok(())
    }
}

/// Whether its engine numbers a column: an identity, or a sequence of its own
/// that its default draws from.
fn is_counted(schema: &Schema, table: &Table, column: &Column) -> bool {
    let owns = |sequence: &Sequence| {
        sequence.owner.as_ref().is_some_and(|(of, name)| *of == table.name && *name == *column.name)
    };
    let draws = column.default.is_some() && column.neutral.is_none();
    column.identity.is_some() || (draws && schema.sequences.iter().any(owns))
}

/// The columns that are numbered, and those from which foreign keys lead to
/// them.
pub(super) fn counted(schema: &Schema) -> HashSet<(TableName, SmolStr)> {
    let mut counted = HashSet::new();
    for table in &schema.tables {
        let own = table.columns.iter().filter(|column| is_counted(schema, table, column));
        counted.extend(own.map(|column| (table.name.clone(), column.name.clone())));
    }
    loop {
        let before = counted.len();
        for table in &schema.tables {
            for constraint in &table.constraints {
                let ConstraintKind::ForeignKey(key) = &constraint.kind else { continue };
                for (child, parent) in key.columns.iter().zip(&key.referenced) {
                    if counted.contains(&(key.references.clone(), parent.as_str().into())) {
                        counted.insert((table.name.clone(), child.as_str().into()));
                    }
                }
            }
        }
        if counted.len() == before {
            return counted;
        }
    }
}

/// What a person calls a column's type.
fn shown(column: &Column) -> String {
    if column.native.name.is_empty() { column.data_type.to_string() } else { column.native.name.to_string() }
}

/// How many columns the widest key has that a column is part of.
fn key_parts(table: &Table, column: &str) -> usize {
    let named = |columns: &[String]| if columns.iter().any(|c| c == column) { columns.len() } else { 0 };
    let key = table.key_columns();
    let own = if key.iter().any(|at| table.columns[*at].name == column) { key.len() } else { 0 };
    let constraints = table.constraints.iter().map(|constraint| match &constraint.kind {
        ConstraintKind::Primary { columns } | ConstraintKind::Unique { columns } => named(columns),
        ConstraintKind::ForeignKey(key) => named(&key.columns),
        ConstraintKind::Check { .. } | ConstraintKind::Exclusion => 0,
    });
    let indexes = table.indexes.iter().filter(|index| index.unique);
    let indexes = indexes.map(|index| {
        if index.keys.iter().any(|key| key.as_column() == Some(column) && key.prefix.is_none()) {
            index.keys.len()
        } else {
            index.columns.as_deref().map_or(0, named)
        }
    });
    constraints.chain(indexes).fold(own, usize::max)
}

/// Two texts that are one to the target's key would be one row there.
fn equality(from: &Column, to: &Column, keyed: bool, fit: &mut Fit, notes: &mut Vec<String>) {
    if !matches!(from.data_type, DataType::Text { .. } | DataType::Enum { .. } | DataType::Set { .. }) {
        return;
    }
    if to.equality.is_coarser_than(from.equality) {
        let what = "texts that the source tells apart are equal there";
        if keyed {
            *fit = Fit::Impossible(format!("{what}, so that two keys would be one"));
        } else {
            notes.push(what.to_owned());
        }
    } else if from.equality.is_coarser_than(to.equality) {
        notes.push(
            "texts that are equal at the source (by case, accents or blanks at the end) are told apart there: \
             queries and unique keys go by the letter"
                .to_owned(),
        );
    }
}

/// How well a type that the user wishes holds a column's values.
fn fit_of(from: &Column, mapped: &Mapped) -> Fit {
    use DataType as T;
    // Of U+0000 the report tells by itself, once for all texts.
    let bounds = &Bounds { no_nul: false, ..mapped.bounds.clone() };
    if Cast::between(from, &mapped.data_type, bounds, &Policies::default()).is_none() {
        return if from.data_type == mapped.data_type { Fit::Exact } else { Fit::widened("as you chose") };
    }
    let whole = match (&from.data_type, &mapped.data_type) {
        (T::Bool, T::Integer { .. } | T::Decimal { .. })
        | (
            T::Uuid | T::Interval | T::Date | T::Time { .. } | T::Timestamp { .. },
            T::Text { length: None, .. },
        )
        | (T::Uuid, T::Bytes { length: None, .. })
        | (T::Integer { .. } | T::Decimal { .. } | T::Bits { .. }, T::Text { length: None, .. })
        | (T::Time { zone: false, .. }, T::Interval)
        | (T::Enum { .. } | T::Set { .. } | T::Json | T::Native, T::Text { length: None, .. }) => true,
        (T::Uuid, T::Text { length: Some(length), .. }) => *length >= 36,
        (T::Uuid, T::Bytes { length: Some(length), .. }) => *length >= 16,
        (T::Integer { bits, .. }, T::Decimal { precision: Some(p), scale }) => {
            // 64 bits have 20 digits.
            i64::from(*p) - i64::from(scale.unwrap_or(0)) > i64::from(*bits) * 3 / 10
        }
        _ => false,
    };
    if whole && *bounds == Bounds::default() {
        return Fit::widened("as you chose");
    }
    Fit::lossy(format!("what is no {}", mapped.data_type))
}
