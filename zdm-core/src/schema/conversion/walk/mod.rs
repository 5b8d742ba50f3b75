//! The walk through a schema: each part is put into a target's words.

mod columns;
mod defaults;
mod domains;
mod objects;
mod places;

use std::collections::HashSet;
use std::sync::Arc;

use smol_str::SmolStr;

use self::places::{Names, Place};
use super::report::ObjectReport;
use super::{Cast, Dialect, Fit, Mapping, Outcome, Report, TableReport};
use crate::schema::{
    Column, DataType, Definition, DefinitionKind, Key, Schema, Sequence, Table, TableName, Unmoved,
    UnmovedKind, Written,
};
use crate::{Engine, Error, ErrorKind, Result};

/// What a conversion comes to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Conversion {
    /// The schema in the target's words.
    pub schema: Schema,
    /// What becomes of the rows of each table of the given schema, in its
    /// order.
    pub rows: Vec<Rows>,
    /// What is kept, changed and left behind.
    pub report: Report,
}

/// What becomes of the rows of one table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rows {
    /// The table as it was.
    pub from: Arc<Table>,
    /// The table as it is at the target.
    pub to: Arc<Table>,
    /// For each column of `to` its place in `from`, and how its cells change;
    /// `None` where they stay as they lie there.
    pub cells: Vec<(usize, Option<Cast>)>,
    /// For each column of `to` how its values go back.
    pub back: Vec<Option<Cast>>,
}

/// Puts a schema into the words of another engine.
///
/// Pure: the same schema and wishes always come to the same, names included,
/// so that a restart finds what an earlier start has made.
///
/// # Errors
/// `Config` when the mapping names what is not there or wishes what cannot
/// be. What the target cannot hold is no error but in the report, as
/// [`Fit::Impossible`].
pub fn convert(schema: &Schema, dialect: &dyn Dialect, mapping: &Mapping) -> Result<Conversion> {
    mapping.check()?;
    let names = dialect.names();
    let given = schema;
    let schema = &domains::unfolded(given);
    let from = schema.tables.first().map_or_else(|| names.engine.clone(), |t| t.origin.engine.clone());
    let mut walk = Walk {
        schema,
        dialect,
        mapping,
        places: Names::new(schema, &names, mapping)?,
        out: Schema::default(),
        report: Report::new(from, names.engine.clone()),
        engine: names.engine.clone(),
        rules: names,
        counted: columns::counted(schema),
    };
    let mut made = Vec::with_capacity(schema.tables.len());
    for table in &schema.tables {
        made.push(walk.columns_of(table)?);
    }
    mapping.refuse_strangers(schema)?;
    // Foreign keys look at their parents' columns as those are there.
    let shapes: Vec<Table> = made.iter().map(|made| made.table.clone()).collect();
    for made in &mut made {
        walk.objects_of(made, &shapes)?;
    }
    walk.out.tables = made.iter().map(|made| Arc::new(made.table.clone())).collect();
    walk.counters();
    walk.uncounted();
    walk.unmoved();
    let tables = std::mem::take(&mut walk.out.tables);
    // Rows are of the tables as they were given.
    let rows = made.into_iter().zip(&tables).zip(&given.tables).map(|((made, to), from)| Rows {
        from: Arc::clone(from),
        to: Arc::clone(to),
        cells: made.cells,
        back: made.back,
    });
    let rows = rows.collect();
    walk.out.tables = tables;
    walk.out.tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Conversion { schema: walk.out, rows, report: walk.report })
}

/// The walk under way.
struct Walk<'a> {
    schema: &'a Schema,
    dialect: &'a dyn Dialect,
    mapping: &'a Mapping,
    places: Names,
    out: Schema,
    report: Report,
    engine: Engine,
    /// What the target's names and columns can be like.
    rules: super::Names,
    /// Columns that are numbered, or refer to such.
    counted: HashSet<(TableName, SmolStr)>,
}

/// A table on its way.
struct Made {
    from: Arc<Table>,
    table: Table,
    cells: Vec<(usize, Option<Cast>)>,
    back: Vec<Option<Cast>>,
    /// Its place in the report.
    report: usize,
}

impl Walk<'_> {
    fn columns_of(&mut self, from: &Arc<Table>) -> Result<Made> {
        let place = self.places.of(&from.name)?.clone();
        let mut table = Table::new(self.engine.clone(), place.name.clone(), Vec::new(), Key::Nothing);
        table.origin = from.origin.clone();
        table.written = Some(Written { engine: self.engine.clone(), name: place.name.clone() });
        table.full_old_image = from.full_old_image;
        table.comment = from.comment.clone();
        (table.estimated_rows, table.estimated_bytes) = (from.estimated_rows, from.estimated_bytes);
        let report = self.report.tables.len();
        self.report.tables.push(TableReport {
            from: from.name.clone(),
            to: place.name.clone(),
            columns: Vec::new(),
            dropped: place.dropped.iter().map(|at| from.columns[*at].name.to_string()).collect(),
            objects: Vec::new(),
        });
        let mut made = Made { from: Arc::clone(from), table, cells: Vec::new(), back: Vec::new(), report };
        for at in (0..from.columns.len()).filter(|at| !place.dropped.contains(at)) {
            self.column(&mut made, &place, at)?;
        }
        made.table.key = key(from, &place)?;
        Ok(made)
    }

    /// What a text of the source's own says there, where the target shares its
    /// language. Such a text names columns as they are at the source.
    fn kindred(
        &self,
        from: &Table,
        place: &Place,
        text: &str,
        default: Option<&crate::schema::Column>,
    ) -> Option<String> {
        let same = |column: &crate::schema::Column| place.column(&column.name).as_ref() == Some(&column.name);
        if !from.columns.iter().all(same) {
            return None;
        }
        let engine = from.written.as_ref().map_or(&from.origin.engine, |written| &written.engine);
        self.dialect.kindred(engine, text, default)
    }

    /// Notes what became of an object of a table.
    fn tell(&mut self, made: usize, object: String, outcome: Outcome) {
        self.report.tables[made].objects.push(ObjectReport { object, outcome });
    }

    /// The counters, in the target's words.
    fn counters(&mut self) {
        self.out.sequences = self.schema.sequences.iter().filter_map(|s| self.owned(s)).collect();
        for note in self.dialect.counters(&mut self.out) {
            let at = self.report.tables.iter().position(|table| table.to == note.table);
            match (at, note.outcome) {
                (Some(at), outcome) => self.tell(at, note.object, outcome),
                (None, Outcome::Dropped(why)) => self.leave_sequence(&note.table, why),
                (None, _) => {}
            }
        }
    }

    /// Notes that a sequence which is no table's stays behind, with its
    /// statement, as others do; `there` is its name at the target.
    fn leave_sequence(&mut self, there: &TableName, why: String) {
        let named = |s: &&Sequence| self.places.sequence(&s.name).unwrap_or(&s.name) == there;
        let from = self.schema.sequences.iter().find(named);
        let statement = from.map(|from| from.definition.clone()).filter(|definition| !definition.is_empty());
        self.report.unmoved.push(Unmoved {
            kind: UnmovedKind::Sequence,
            name: from.map_or(there, |from| &from.name).clone(),
            statement: statement.unwrap_or(why),
        });
    }

    /// A numbered column whose counter the source does not tell would begin
    /// anew at the cutover, and give numbers twice.
    fn uncounted(&mut self) {
        let mut lost = Vec::new();
        for table in &self.out.tables {
            for column in table.columns.iter().filter(|column| column.identity.is_some()) {
                let counts = |sequence: &Sequence| {
                    sequence
                        .owner
                        .as_ref()
                        .is_some_and(|(of, name)| *of == table.name && *name == *column.name)
                };
                if !self.out.sequences.iter().any(counts) {
                    lost.push((table.name.clone(), column.name.clone()));
                }
            }
        }
        for (table, column) in lost {
            if let Some(at) = self.report.tables.iter().position(|report| report.to == table) {
                let why =
                    "the source does not tell it: set it by hand before the application writes".to_owned();
                self.tell(at, format!("counter of {column}"), Outcome::Dropped(why));
            }
        }
    }

    /// A sequence with its owner here.
    fn owned(&self, sequence: &Sequence) -> Option<Sequence> {
        let owner = match &sequence.owner {
            Some((table, column)) => {
                let place = self.places.of(table).ok()?;
                Some((place.name.clone(), place.column(column)?.to_string()))
            }
            None => None,
        };
        let name = match owner {
            None => self.places.sequence(&sequence.name).unwrap_or(&sequence.name).clone(),
            Some(_) => sequence.name.clone(),
        };
        let origin = sequence.origin.clone().unwrap_or_else(|| sequence.name.clone());
        Some(Sequence { name, owner, origin: Some(origin), ..sequence.clone() })
    }

    /// What stays behind, with its statements.
    fn unmoved(&mut self) {
        self.report.unmoved.extend(self.schema.unmoved.iter().cloned());
        for table in &self.schema.tables {
            self.report.unmoved.extend(table.triggers.iter().map(|trigger| Unmoved {
                kind: UnmovedKind::Trigger,
                name: TableName::new(table.name.schema.clone(), trigger.name.as_str()),
                statement: trigger.definition.clone(),
            }));
        }
        // What triggers call is a part of the schema, and told once.
        for definition in &self.schema.definitions {
            let kind = match definition.kind {
                DefinitionKind::Routine => UnmovedKind::Routine,
                DefinitionKind::Type if !self.is_of_a_column(definition) => UnmovedKind::Type,
                DefinitionKind::Collation => UnmovedKind::Collation,
                DefinitionKind::Type | DefinitionKind::Schema | DefinitionKind::Extension => continue,
            };
            if !self.report.unmoved.iter().any(|told| told.statement == definition.statement) {
                self.report.unmoved.push(Unmoved {
                    kind,
                    name: TableName::new("", definition.name.as_str()),
                    statement: definition.statement.clone(),
                });
            }
        }
        self.report.unmoved.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        self.report.unmoved.dedup();
        for table in &self.report.tables {
            for column in &table.columns {
                if let Fit::Lossy(what) = &column.fit {
                    let name = format!("{}.{}", table.from, column.from);
                    self.report.one_way.push(format!("{name}: {} does not hold {what}", column.to_type));
                }
            }
            for column in &table.dropped {
                self.report.one_way.push(format!("{}.{column}: it stays behind", table.from));
            }
        }
    }

    /// Whether a type is an enumeration whose labels are those of a column
    /// there.
    fn is_of_a_column(&self, definition: &Definition) -> bool {
        let labels = |column: &Column| {
            column.native.name == definition.name && matches!(column.data_type, DataType::Enum { .. })
        };
        self.schema.tables.iter().any(|table| table.columns.iter().any(labels))
    }
}

/// The key, over the columns that are left.
fn key(from: &Table, place: &Place) -> Result<Key> {
    let Key::Columns(columns) = &from.key else {
        if from.key == Key::FullRow && !place.dropped.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "the mapping may not drop columns of a table with no key: each is part of what tells rows apart",
            )
            .with("table", &from.name));
        }
        return Ok(from.key.clone());
    };
    columns
        .iter()
        .map(|at| {
            let before = place.dropped.iter().filter(|dropped| *dropped < at).count();
            if place.dropped.contains(at) {
                return Err(Error::new(
                    ErrorKind::Config,
                    "the mapping may not drop a key column: rows could no longer be told apart",
                )
                .with("table", &from.name)
                .with("column", &from.columns[*at].name));
            }
            Ok(at - before)
        })
        .collect::<Result<_>>()
        .map(Key::Columns)
}
