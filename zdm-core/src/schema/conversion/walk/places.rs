//! Where each table and column ends up, by which names.

use std::collections::{HashMap, HashSet};

use smol_str::SmolStr;

use super::super::names::Room;
use super::super::{Mapping, Names as Rules};
use crate::schema::{Schema, Table, TableName};
use crate::{Engine, Error, ErrorKind, Result};

/// Where a table is at the target.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: TableName,
    /// Columns that stay behind.
    pub(super) dropped: HashSet<usize>,
    /// For each column its name there.
    columns: HashMap<SmolStr, SmolStr>,
    /// The type that the user wishes for each column.
    types: HashMap<SmolStr, String>,
}

impl Place {
    /// The name of a column there, if it is there.
    pub(super) fn column(&self, name: &str) -> Option<SmolStr> {
        self.columns.get(name).cloned()
    }

    /// The type that the user wishes for that column by name.
    pub(super) fn wished(&self, name: &str) -> Option<&str> {
        self.types.get(name).map(String::as_str)
    }

    /// The names there of columns; `None` if one of them stays behind.
    pub(super) fn all(&self, names: &[String]) -> Option<Vec<String>> {
        names.iter().map(|name| self.column(name).map(Into::into)).collect()
    }
}

/// The places of all tables, and the rooms that names share.
#[derive(Debug)]
pub(super) struct Names {
    places: HashMap<TableName, Place>,
    /// Sequences that are no column's: their names share the tables' rooms.
    sequences: HashMap<TableName, TableName>,
    rules: Rules,
    /// Names of indexes: by schema, or by table.
    indexes: HashMap<String, Room>,
    constraints: HashMap<String, Room>,
}

impl Names {
    pub(super) fn new(schema: &Schema, rules: &Rules, mapping: &Mapping) -> Result<Self> {
        let mut names = Self {
            places: HashMap::new(),
            sequences: HashMap::new(),
            rules: rules.clone(),
            indexes: HashMap::new(),
            constraints: HashMap::new(),
        };
        let mut tables: HashMap<SmolStr, Room> = HashMap::new();
        let schemas: HashSet<&SmolStr> = schema.tables.iter().map(|t| &t.name.schema).collect();
        let home = rules.home.as_ref().filter(|_| schemas.len() == 1);
        // Names that the user chose come first: they are not to be changed.
        for table in &schema.tables {
            if let Some(wish) = mapping.name_of(&table.name)? {
                let room = tables.entry(wish.schema.clone()).or_insert_with(|| names.table_room());
                if !room.take(&wish.name) {
                    return Err(Error::new(
                        ErrorKind::Config,
                        "the mapping gives a table a name that is too long at the target, or that another has",
                    )
                    .with("table", &table.name)
                    .with("name", &wish));
                }
                names.place(table, wish, mapping)?;
            }
        }
        for table in &schema.tables {
            if names.places.contains_key(&table.name) {
                continue;
            }
            let wished = mapping.schemas.get(table.name.schema.as_str()).map(SmolStr::from);
            let speaks = table.written.as_ref().map_or(&table.origin.engine, |written| &written.engine);
            if wished.is_none() && rules.home.is_none() && !rules.schemas_like.contains(speaks) {
                return Err(homeless(&table.name, speaks, &rules.engine));
            }
            let schema = wished.or_else(|| home.cloned()).unwrap_or_else(|| table.name.schema.clone());
            let room = tables.entry(schema.clone()).or_insert_with(|| names.table_room());
            let name = room.fit(&table.name.name, &table.name.to_string());
            names.place(table, TableName { schema, name }, mapping)?;
        }
        for sequence in schema.sequences.iter().filter(|sequence| sequence.owner.is_none()) {
            let from = &sequence.name;
            let wished = mapping.schemas.get(from.schema.as_str()).map(SmolStr::from);
            let own = || home.cloned().unwrap_or_else(|| from.schema.clone());
            let to = wished.unwrap_or_else(own);
            let room = tables.entry(to.clone()).or_insert_with(|| names.table_room());
            let name = TableName { name: room.fit(&from.name, &from.to_string()), schema: to };
            names.sequences.insert(from.clone(), name);
        }
        if rules.indexes_share {
            for name in names.sequences.values() {
                let room = names.indexes.entry(name.schema.to_string());
                room.or_insert_with(|| Room::new(rules.limit, false)).take(&name.name);
            }
            for place in names.places.values() {
                let room = names.indexes.entry(place.name.schema.to_string());
                room.or_insert_with(|| Room::new(rules.limit, false)).take(&place.name.name);
            }
        }
        Ok(names)
    }

    fn table_room(&self) -> Room {
        Room::new(self.rules.limit, self.rules.fold_tables)
    }

    fn place(&mut self, table: &Table, name: TableName, mapping: &Mapping) -> Result<()> {
        let mut place =
            Place { name, dropped: HashSet::new(), columns: HashMap::new(), types: HashMap::new() };
        let mut wishes: HashMap<&str, &str> = HashMap::new();
        for wish in mapping.wishes_of(&table.name) {
            let dropped = wish.drop.iter().filter_map(|name| table.position(name));
            place.dropped.extend(dropped);
            for (column, wish) in &wish.columns {
                if let Some(name) = &wish.name {
                    wishes.insert(column, name);
                }
                if let Some(data_type) = &wish.data_type {
                    place.types.insert(column.into(), data_type.clone());
                }
            }
        }
        let mut room = Room::new(self.rules.limit, self.rules.fold_columns);
        let left = || table.columns.iter().enumerate().filter(|(at, _)| !place.dropped.contains(at));
        for (_, column) in left() {
            if let Some(wish) = wishes.get(column.name.as_str()) {
                let others = left().filter(|(_, other)| !wishes.contains_key(other.name.as_str()));
                let taken = others.map(|(_, other)| &other.name).any(|name| room.is_same(name, wish));
                if taken || !room.take(wish) {
                    return Err(Error::new(
                        ErrorKind::Config,
                        "the mapping gives a column a name that is too long at the target, or that another has",
                    )
                    .with("table", &table.name)
                    .with("column", &column.name));
                }
                place.columns.insert(column.name.clone(), SmolStr::from(*wish));
            }
        }
        for (_, column) in left() {
            if !place.columns.contains_key(&column.name) {
                let name = room.fit(&column.name, &format!("{}.{}", table.name, column.name));
                place.columns.insert(column.name.clone(), name);
            }
        }
        self.places.insert(table.name.clone(), place);
        Ok(())
    }

    /// Where the table of that name is.
    pub(super) fn of(&self, name: &TableName) -> Result<&Place> {
        self.places
            .get(name)
            .ok_or_else(|| Error::new(ErrorKind::Config, "no such table is moved").with("table", name))
    }

    /// The name there of a sequence that is no column's.
    pub(super) fn sequence(&self, name: &TableName) -> Option<&TableName> {
        self.sequences.get(name)
    }

    /// The name of an index of a table there. Where all tables of a schema
    /// share the room, a name that is taken gets its table's before it.
    pub(super) fn index(&mut self, table: &TableName, name: &str) -> SmolStr {
        fit(&mut self.indexes, self.rules.indexes_share, self.rules.limit, table, name)
    }

    /// The name of a constraint of a table there.
    pub(super) fn constraint(&mut self, table: &TableName, name: &str) -> SmolStr {
        fit(&mut self.constraints, self.rules.constraints_share, self.rules.limit, table, name)
    }
}

/// Why a table has no place.
fn homeless(table: &TableName, from: &Engine, to: &Engine) -> Error {
    let schema = &table.schema;
    Error::new(
        ErrorKind::Config,
        format!(
            "a schema of {from} is no database of {to}, and the target's URL names none: name the database at \
             its end, or where the tables of each schema go in the mapping ([schemas] {schema} = \"…\")"
        ),
    )
    .with("table", table)
}

fn fit(
    rooms: &mut HashMap<String, Room>,
    share: bool,
    limit: super::super::Limit,
    table: &TableName,
    name: &str,
) -> SmolStr {
    let key = if share { table.schema.to_string() } else { table.to_string() };
    // Folded everywhere: an index that differs in case alone helps nobody.
    let room = rooms.entry(key).or_insert_with(|| Room::new(limit, true));
    let whole = format!("{table}.{name}");
    if room.take(name) {
        return name.into();
    }
    room.fit(&format!("{}_{name}", table.name), &whole)
}
