//! A row of `run` or `chunk` and the record that it is.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use zdm_core::connect::{Bounds, ChunkDone, ChunkId, ChunkRecord, Epoch, Phase, Record, RunName, Visibility};
use zdm_core::schema::TableName;
use zdm_core::{Engine, Error, ErrorKind, Identity, Position, Result};

use crate::error::OrPg;

/// The columns of `run`, as [`record`] reads them.
pub(super) const RUN_COLUMNS: &str =
    "version, epoch, phase, engine, facts, tables, start_at, position, goals, changes_applied";

/// The columns of `chunk`, as [`chunk`] reads them.
pub(super) const CHUNK_COLUMNS: &str =
    "table_schema, table_name, number, bounds, done, rows, after, visibility";

/// Reads the format of a row before anything else of it.
pub(super) fn check_version(run: &RunName, version: i32) -> Result<()> {
    match u32::try_from(version) {
        Ok(version) if version <= Record::VERSION => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Unsupported,
            "the record of this run was written by a newer release: use that release, or a later one",
        )
        .with("run", run)
        .with("format", version)
        .with("known up to", Record::VERSION)),
    }
}

/// All of a record but the rows copied.
pub(super) fn record(run: &RunName, row: &Row) -> Result<Record> {
    let read = "checkpoint.read";
    check_version(run, row.try_get("version").during(read)?)?;
    let engine: String = row.try_get("engine").during(read)?;
    let engine: Engine = json(&format!("{engine:?}"))?;
    let at = |text: String| Position::new(engine.clone(), text);
    let facts: BTreeMap<String, String> = json(row.try_get("facts").during(read)?)?;
    let mut record = Record::new(run.clone(), Identity { engine: engine.clone(), facts });
    record.version = Record::VERSION;
    record.epoch = Epoch(unsigned(row.try_get("epoch").during(read)?)?);
    record.phase = json::<Phase>(&format!("{:?}", row.try_get::<_, &str>("phase").during(read)?))?;
    record.tables = json(row.try_get("tables").during(read)?)?;
    record.start = row.try_get::<_, Option<String>>("start_at").during(read)?.map(at);
    record.position = row.try_get::<_, Option<String>>("position").during(read)?.map(at);
    record.goals = row.try_get::<_, Vec<String>>("goals").during(read)?.into_iter().map(at).collect();
    record.changes_applied = unsigned(row.try_get("changes_applied").during(read)?)?;
    Ok(record)
}

pub(super) fn chunk(engine: &Engine, row: &Row) -> Result<ChunkRecord> {
    let read = "checkpoint.read";
    let schema: String = row.try_get("table_schema").during(read)?;
    let name: String = row.try_get("table_name").during(read)?;
    let number: i32 = row.try_get("number").during(read)?;
    let done = if row.try_get("done").during(read)? {
        let after: String = row.try_get("after").during(read)?;
        Some(ChunkDone {
            rows: unsigned(row.try_get("rows").during(read)?)?,
            after: Position::new(engine.clone(), after),
            visibility: row.try_get::<_, Option<String>>("visibility").during(read)?.map(Visibility),
        })
    } else {
        None
    };
    Ok(ChunkRecord {
        id: ChunkId {
            table: TableName::new(schema, name),
            number: u32::try_from(number).map_err(|_| spoiled("number", number))?,
        },
        bounds: Bounds(row.try_get("bounds").during(read)?),
        done,
    })
}

/// The text of a position, which must be the source's.
pub(super) fn position_text<'a>(engine: &Engine, position: &'a Position) -> Result<&'a str> {
    position.of(engine)
}

/// A count as the server keeps it.
pub(super) fn number(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| {
        Error::new(ErrorKind::Config, "a count is beyond what the checkpoint holds").with("count", count)
    })
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

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| spoiled("text", text).caused_by(error))
}

fn unsigned(count: i64) -> Result<u64> {
    u64::try_from(count).map_err(|_| spoiled("count", count))
}

fn spoiled(what: &'static str, got: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the record of this run was changed by hand: restore it, or start the run anew",
    )
    .with(what, got)
}
