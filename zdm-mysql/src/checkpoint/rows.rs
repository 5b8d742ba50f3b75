//! A row of `run` or `chunk` and the record that it is.

use std::collections::BTreeMap;

use mysql_async::Row;
use mysql_async::prelude::FromValue;
use zdm_core::connect::{Bounds, ChunkDone, ChunkId, ChunkRecord, Epoch, Phase, Record, RunName, Visibility};
use zdm_core::schema::TableName;
use zdm_core::{Engine, Error, ErrorKind, Identity, Position, Result};

/// The columns of `run`, as [`record`] reads them.
pub(super) const RUN_COLUMNS: &str = "`version`, `epoch`, `phase`, `engine`, `facts`, `tables`, `start_at`, \
     `position`, `goals`, `changes_applied`";

/// The columns of `chunk`, as [`chunk`] reads them.
pub(super) const CHUNK_COLUMNS: &str =
    "`table_schema`, `table_name`, `number`, `bounds`, `done`, `row_count`, `after`, `visibility`";

/// Reads the format of a row before anything else of it.
pub(super) fn check_version(run: &RunName, version: u32) -> Result<()> {
    if version <= Record::VERSION {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        "the record of this run was written by a newer release: use that release, or a later one",
    )
    .with("run", run)
    .with("format", version)
    .with("known up to", Record::VERSION))
}

/// All of a record but the rows copied.
pub(super) fn record(run: &RunName, mut row: Row) -> Result<Record> {
    check_version(run, take(&mut row, "version")?)?;
    let engine: String = take(&mut row, "engine")?;
    let engine: Engine = json(&format!("{engine:?}"))?;
    let at = |text: String| Position::new(engine.clone(), text);
    let facts: BTreeMap<String, String> = json(&take::<String>(&mut row, "facts")?)?;
    let mut record = Record::new(run.clone(), Identity { engine: engine.clone(), facts });
    record.version = Record::VERSION;
    record.epoch = Epoch(take(&mut row, "epoch")?);
    record.phase = json::<Phase>(&format!("{:?}", take::<String>(&mut row, "phase")?))?;
    record.tables = json(&take::<String>(&mut row, "tables")?)?;
    record.start = take::<Option<String>>(&mut row, "start_at")?.map(at);
    record.position = take::<Option<String>>(&mut row, "position")?.map(at);
    let goals: Vec<String> = json(&take::<String>(&mut row, "goals")?)?;
    record.goals = goals.into_iter().map(at).collect();
    record.changes_applied = take(&mut row, "changes_applied")?;
    Ok(record)
}

pub(super) fn chunk(engine: &Engine, mut row: Row) -> Result<ChunkRecord> {
    let table =
        TableName::new(take::<String>(&mut row, "table_schema")?, take::<String>(&mut row, "table_name")?);
    let id = ChunkId { table, number: take(&mut row, "number")? };
    let done = if take::<bool>(&mut row, "done")? {
        Some(ChunkDone {
            rows: take(&mut row, "row_count")?,
            after: Position::new(engine.clone(), take::<String>(&mut row, "after")?),
            visibility: take::<Option<String>>(&mut row, "visibility")?.map(Visibility),
        })
    } else {
        None
    };
    Ok(ChunkRecord { id, bounds: Bounds(take(&mut row, "bounds")?), done })
}

/// The word of a phase, as its serde form has it.
pub(super) fn phase_word(phase: Phase) -> Result<String> {
    match serde_json::to_value(phase) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(Error::new(ErrorKind::Other, format!("a phase is not a word: {other:?}"))),
    }
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Other, "a record cannot be written as JSON").caused_by(error))
}

fn take<T: FromValue>(row: &mut Row, column: &'static str) -> Result<T> {
    match row.take_opt(column) {
        Some(Ok(value)) => Ok(value),
        _ => Err(spoiled("column", column)),
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| spoiled("text", text).caused_by(error))
}

fn spoiled(what: &'static str, got: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the record of this run was changed by hand: restore it, or start the run anew",
    )
    .with(what, got)
}
