//! One image of a row: a bit for each column that is null, then the cells of
//! those that are not.

use zdm_core::change::{Assembler, Cell, Format, Value};
use zdm_core::{Error, ErrorKind, Result};

use super::super::reader::{Reader, broken};
use super::super::table_map::{Place, TableMap, What, Width};
use crate::types::apply_json_diff;

/// Which columns an image has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present<'a> {
    bits: &'a [u8],
    /// How many they are.
    count: usize,
    all: bool,
}

impl<'a> Present<'a> {
    #[inline]
    pub(super) fn read(event: &mut Reader<'a>, columns: usize) -> Result<Self> {
        let bits = event.take(columns.div_ceil(8))?;
        let count = (0..columns).filter(|at| bit(bits, *at)).count();
        Ok(Self { bits, count, all: count == columns })
    }
}

/// What an image is to its row, and so what an absent cell means.
pub(super) enum After<'a> {
    /// The new row of an insert: the server has put a default in its place.
    Insert,
    /// The old row.
    Before,
    /// The new row of an update, whose old image lies at `old` of the cells:
    /// it did not change.
    Update { old: usize, partial: Option<&'a [u8]>, buffer: &'a [u8], batch: &'a mut Assembler },
}

/// Reads the bits that say which JSON columns are told as a difference: one
/// for each JSON column of the table, where there is any such.
pub(super) fn partial<'a>(event: &mut Reader<'a>, map: &TableMap) -> Result<Option<&'a [u8]>> {
    const PARTIAL_JSON: u64 = 1;
    if event.packed()? & PARTIAL_JSON == 0 {
        return Ok(None);
    }
    let json = map.places.iter().filter(|place| place.what == What::Json).count();
    event.take(json.div_ceil(8)).map(Some)
}

/// Reads an image, and appends a cell for each column of the table.
#[inline]
pub(super) fn image(
    event: &mut Reader<'_>,
    present: &Present<'_>,
    map: &TableMap,
    role: After<'_>,
    cells: &mut Vec<Cell>,
) -> Result<()> {
    let nulls = event.take(present.count.div_ceil(8))?;
    if !present.all || matches!(role, After::Update { partial: Some(_), .. }) {
        return some(event, present, nulls, map, role, cells);
    }
    cells.reserve(map.places.len());
    for (places, nulls) in map.places.chunks(8).zip(nulls) {
        for (at, place) in places.iter().enumerate() {
            let cell = if nulls >> at & 1 == 1 { Cell::Null } else { value(event, place)? };
            cells.push(cell);
        }
    }
    Ok(())
}

/// Reads an image that lacks columns, or parts of values.
fn some(
    event: &mut Reader<'_>,
    present: &Present<'_>,
    nulls: &[u8],
    map: &TableMap,
    mut role: After<'_>,
    cells: &mut Vec<Cell>,
) -> Result<()> {
    let (mut nth, mut json) = (0, 0);
    for (at, place) in map.places.iter().enumerate() {
        let cell = if bit(present.bits, at) {
            let null = bit(nulls, nth);
            nth += 1;
            match &mut role {
                _ if null => Cell::Null,
                After::Update { old, partial: Some(partial), buffer, batch }
                    if place.what == What::Json && bit(partial, json) =>
                {
                    let old = cells.get(*old + at).copied().unwrap_or(Cell::Unchanged);
                    difference(event, old, buffer, batch)?
                }
                _ => value(event, place)?,
            }
        } else {
            absent(place, at, map, &role, cells)?
        };
        json += usize::from(place.what == What::Json);
        cells.push(cell);
    }
    Ok(())
}

/// What the cell of a column is that its image leaves out.
fn absent(place: &Place, at: usize, map: &TableMap, role: &After<'_>, cells: &[Cell]) -> Result<Cell> {
    match (role, place.what) {
        (_, What::Generated) => return Ok(Cell::Unchanged),
        (After::Update { old, .. }, what) => match cells.get(old + at) {
            // It did not change, and what it was is known.
            Some(old) if *old != Cell::Unchanged => return Ok(*old),
            _ if matches!(what, What::Blob | What::Json) => return Ok(Cell::Unchanged),
            _ => {}
        },
        (After::Before, What::Blob | What::Json) => return Ok(Cell::Unchanged),
        (After::Insert, What::Blob | What::Json) => {
            let column = map.table.columns.get(at);
            if column.is_some_and(|column| column.nullable && column.default.is_none()) {
                return Ok(Cell::Null);
            }
        }
        _ => {}
    }
    let column = map.table.columns.get(at).map_or("?", |column| column.name.as_str());
    Err(Error::new(
        ErrorKind::Unsupported,
        "the log leaves out cells of a row: run SET GLOBAL binlog_row_image = 'FULL' on the source, let the \
         sessions of the application connect anew, and start the run anew",
    )
    .with("table", &map.table.origin.name)
    .with("column", column))
}

#[inline]
fn value(event: &mut Reader<'_>, place: &Place) -> Result<Cell> {
    let len = match place.width {
        Width::Fixed(len) => usize::from(len),
        Width::Prefixed(1) => event.u8()?.into(),
        Width::Prefixed(2) => event.u16()?.into(),
        Width::Prefixed(3) => {
            let [a, b, c] = event.array()?;
            // OK because a usize has at least 32 bits here: cells are that long.
            u32::from_le_bytes([a, b, c, 0]) as usize
        }
        Width::Prefixed(_) => event.u32()? as usize,
    };
    let at = event.at();
    event.take(len)?;
    match (u32::try_from(at), u32::try_from(len)) {
        (Ok(offset), Ok(len)) => Ok(Cell::Value { offset, len, format: Format::Native(place.format) }),
        _ => Err(broken("it lies beyond 4 GiB")),
    }
}

/// A JSON value that is told by what changed in the old one. The one value
/// that is copied: its text is put together anew.
fn difference(event: &mut Reader<'_>, old: Cell, buffer: &[u8], batch: &mut Assembler) -> Result<Cell> {
    let len = event.u32()?;
    let diff = event.take(len as usize)?;
    let Cell::Value { offset, len, format: Format::Native(_) } = old else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the log tells only what changed within a JSON value, and not its old image: run SET GLOBAL \
             binlog_row_value_options = '' on the source, let the sessions of the application connect anew, and \
             start the run anew",
        ));
    };
    let old = buffer.get(offset as usize..offset as usize + len as usize);
    let new = old.and_then(|old| apply_json_diff(old, diff));
    let new = new.ok_or_else(|| broken("a change of a JSON value does not fit its old image"))?;
    batch.encode(&Value::Json(new.into()))
}

#[inline]
fn bit(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}
