//! Logs captured from real servers, with what a SELECT then gave: replayed,
//! the log must come to the same rows, value by value.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use zdm_core::change::{Batch, Encoding as _, Image, Value};
use zdm_core::schema::{Column, Generated, Key};

use super::event::{Gtid, MariaTransaction, XaId};
use super::*;
use crate::position::ENGINE;
use crate::types::{ENCODING, MySqlEncoding, TEXT, column_type};

/// What a server said, all values as hexadecimal octets.
#[derive(Deserialize)]
pub(super) struct Capture {
    server: String,
    tables: Vec<CapturedTable>,
    log: String,
}

#[derive(Deserialize)]
struct CapturedTable {
    name: String,
    columns: Vec<CapturedColumn>,
    /// As the text protocol gave them.
    rows: Vec<Vec<Option<String>>>,
    /// Text columns as the server itself converts them to UTF-8.
    text: Vec<Vec<Option<String>>>,
}

#[derive(Deserialize)]
struct CapturedColumn {
    name: String,
    #[serde(rename = "type")]
    native: String,
    charset: Option<String>,
    nullable: bool,
    default: Option<String>,
    generated: bool,
}

fn capture(json: &str) -> Capture {
    serde_json::from_str(json).unwrap()
}

fn captures() -> Vec<Capture> {
    vec![
        capture(include_str!("../fixtures/mariadb-10.11.json")),
        capture(include_str!("../fixtures/mariadb-11.8.json")),
        // Updates whose new image has only what changed.
        capture(include_str!("../fixtures/full-nodup-image.json")),
        capture(include_str!("../fixtures/mysql-9.7.json")),
    ]
}

fn octets(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

impl Capture {
    fn schema(&self) -> Schema {
        let tables = self.tables.iter().map(|table| Arc::new(table.described())).collect();
        Schema { tables, ..Schema::default() }
    }

    fn log(&self) -> Vec<u8> {
        octets(&self.log)
    }
}

impl CapturedTable {
    fn described(&self) -> Table {
        let columns = self.columns.iter().map(|captured| {
            let (native, neutral) = column_type(&captured.native, captured.charset.as_deref()).unwrap();
            let mut column = Column::new(captured.name.as_str(), neutral).native(native.name, native.id);
            column.nullable = captured.nullable;
            column.default.clone_from(&captured.default);
            let generated = Generated { expression: String::new(), stored: true };
            column.generated = captured.generated.then_some(generated);
            column
        });
        Table::new(ENGINE, TableName::new("zt", &self.name), columns.collect(), Key::Columns(vec![0]))
    }
}

/// What a log comes to.
#[derive(Debug, Default)]
struct Replay {
    /// For each table its rows by the first column.
    tables: BTreeMap<String, BTreeMap<String, Vec<Value<'static>>>>,
    events: Vec<Event>,
    batches: Vec<Batch>,
}

impl Replay {
    fn apply(&mut self, batch: Batch) -> Result<()> {
        for row in batch.rows() {
            let rows = self.tables.entry(row.table().name.name.to_string()).or_default();
            let old = match row.before() {
                Some(before) => Some(rows.remove(&key(before)?).unwrap_or_default()),
                None => None,
            };
            let Some(after) = row.after() else { continue };
            let mut new = Vec::new();
            for (at, cell) in after.cells().enumerate() {
                new.push(match cell.is_unchanged() {
                    true => old.as_ref().and_then(|old| old.get(at)).cloned().unwrap_or(Value::Null),
                    false => cell.value()?.into_owned(),
                });
            }
            rows.insert(key(after)?, new);
        }
        self.batches.push(batch);
        Ok(())
    }
}

fn key(image: Image<'_>) -> Result<String> {
    image.cell(0).value().map(|key| key.to_string())
}

/// Decodes a log as it lies in files, and gives what came of it so far with
/// the error that ended it.
fn replay(schema: &Schema, log: &[u8]) -> (Replay, Option<Error>) {
    let mut replay = Replay::default();
    let error = decode_all(schema, log, &mut replay).err();
    (replay, error)
}

fn decode_all(schema: &Schema, log: &[u8], replay: &mut Replay) -> Result<()> {
    let mut decoder = Decoder::new(schema, false);
    let native = Bytes::copy_from_slice(log);
    let mut at = 0;
    while at < log.len() {
        let mut batch = Assembler::new();
        let range = event_at(log, at).ok_or_else(|| broken("the log ends within an event"))?;
        at = range.end;
        let (_, step) = decoder.decode(log, range, &mut batch)?;
        replay.apply(batch.finish(native.clone(), Arc::clone(&ENCODING), None)?)?;
        match step {
            Step::Done => {}
            Step::Event(event) => replay.events.push(event),
            Step::Payload(mut payload) => loop {
                let (mut piece, mut batch) = (BytesMut::new(), Assembler::new());
                let Some(range) = payload.next(&mut piece)? else { break };
                let (_, step) = decoder.decode_unpacked(&piece, range, &mut batch)?;
                replay.apply(batch.finish(piece.freeze(), Arc::clone(&ENCODING), None)?)?;
                match step {
                    Step::Event(event) => replay.events.push(event),
                    Step::Done => {}
                    Step::Payload(_) => return Err(broken("compressed twice")),
                }
            },
        }
    }
    Ok(())
}

fn event_at(log: &[u8], at: usize) -> Option<Range<usize>> {
    let size = u32::from_le_bytes(log.get(at + 9..at + 13)?.try_into().ok()?) as usize;
    (size >= HEADER && log.len() - at >= size).then_some(at..at + size)
}

#[test]
fn a_log_comes_to_the_rows_that_a_select_gives() {
    for capture in captures() {
        let schema = capture.schema();
        let (replay, error) = replay(&schema, &capture.log());
        assert!(error.is_none(), "{}: {error:?}", capture.server);
        for (captured, table) in capture.tables.iter().zip(&schema.tables) {
            let found = replay.tables.get(&captured.name);
            assert_eq!(
                found.map_or(0, BTreeMap::len),
                captured.rows.len(),
                "{} {}",
                capture.server,
                captured.name
            );
            for (row, text) in captured.rows.iter().zip(&captured.text) {
                let id = String::from_utf8(octets(row[0].as_ref().unwrap())).unwrap();
                let found = found.unwrap().get(&id).unwrap_or_else(|| panic!("no row {id}"));
                for (at, column) in table.columns.iter().enumerate() {
                    let bytes = row[at].as_deref().map(octets);
                    let selected = match &bytes {
                        Some(bytes) => MySqlEncoding.decode(column, TEXT, bytes).unwrap(),
                        None => Value::Null,
                    };
                    let context = format!("{} {}.{} of row {id}", capture.server, captured.name, column.name);
                    if column.generated.is_some() && found[at] == Value::Null {
                        continue;
                    }
                    assert_eq!(found[at], selected, "{context}");
                    if let Some(text) = text[at].as_deref().map(octets) {
                        assert_eq!(
                            found[at].to_string().as_bytes(),
                            text,
                            "{context}, as the server converts it"
                        );
                    }
                }
            }
        }
    }
}

/// The log as a server with `binlog_checksum = NONE` would have written it.
fn without_checksums(log: &[u8]) -> Vec<u8> {
    let mut bare = Vec::new();
    let mut at = 0;
    while let Some(range) = event_at(log, at) {
        at = range.end;
        let mut event = log[range].to_vec();
        if event[4] == kind::FORMAT_DESCRIPTION {
            let algorithm = event.len() - CHECKSUM - 1;
            event[algorithm] = 0;
        } else {
            event.truncate(event.len() - CHECKSUM);
            let size = u32::try_from(event.len()).unwrap();
            event[9..13].copy_from_slice(&size.to_le_bytes());
        }
        bare.extend(event);
    }
    bare
}

#[test]
fn a_log_without_checksums_is_the_same_log() {
    for capture in captures() {
        let schema = capture.schema();
        let (with, _) = replay(&schema, &capture.log());
        let (without, error) = replay(&schema, &without_checksums(&capture.log()));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(with.tables, without.tables);
        assert_eq!(with.events, without.events);
    }
}

#[test]
fn a_bit_that_flipped_on_its_way_is_noticed() {
    for capture in captures() {
        let mut log = capture.log();
        let last = event_at(&log, 0).unwrap().end + HEADER + 2;
        log[last] ^= 1;
        let error = replay(&capture.schema(), &log).1.unwrap();
        assert!(error.to_string().contains("checksum"), "{error}");
    }
}

/// Whatever the bytes are, there is no panic, every cell lies within its
/// buffer, and what is decoded is not larger than what was there.
#[test]
fn damaged_logs_are_survived() {
    for (nth, capture) in captures().into_iter().enumerate() {
        let schema = capture.schema();
        let log = without_checksums(&capture.log());
        let mut random = fastrand::Rng::with_seed(nth as u64);
        for _ in 0..60 {
            damage(&schema, &log, &mut random);
        }
    }
}

fn damage(schema: &Schema, log: &[u8], random: &mut fastrand::Rng) {
    let mut decoder = Decoder::new(schema, false);
    let mut at = 0;
    while let Some(range) = event_at(log, at) {
        at = range.end;
        let mut event = log[range].to_vec();
        if event[4] != kind::FORMAT_DESCRIPTION && random.u8(..4) == 0 {
            for _ in 0..random.usize(1..4) {
                let place = random.usize(13..event.len());
                event[place] = if random.bool() { random.u8(..) } else { event[place] ^ 1 << random.u8(..8) };
            }
        }
        let mut batch = Assembler::new();
        let step = decoder.decode(&event, 0..event.len(), &mut batch).map(|(_, step)| step);
        survive(batch, &event);
        if let Ok(Step::Payload(mut payload)) = step {
            let mut piece = BytesMut::new();
            while let Ok(Some(range)) = payload.next(&mut piece) {
                let mut batch = Assembler::new();
                let _ = decoder.decode_unpacked(&piece, range, &mut batch);
                survive(batch, &piece);
            }
            assert!(piece.len() < 64 << 20);
        }
    }
}

/// Decodes every cell of what was decoded before an error, if any.
fn survive(batch: Assembler, native: &[u8]) {
    let batch = batch.finish(Bytes::copy_from_slice(native), Arc::clone(&ENCODING), None).unwrap();
    for row in batch.rows() {
        for image in [row.before(), row.after()].into_iter().flatten() {
            for cell in image.cells() {
                if let Ok(value) = cell.value() {
                    assert!(value.to_string().len() < 1 << 20);
                }
            }
        }
    }
}

#[test]
fn boundaries_are_told() {
    for capture in captures() {
        let (replay, _) = replay(&capture.schema(), &capture.log());
        let has = |wanted: &dyn Fn(&Event) -> bool| replay.events.iter().any(wanted);
        let server = &capture.server;
        if capture.tables.len() == 1 {
            continue;
        }
        assert!(has(&|event| matches!(event, Event::Format { .. })), "{server}");
        assert!(has(
            &|event| matches!(event, Event::Rotate { file, offset: 4 } if file.starts_with("mydec."))
        ));
        assert!(has(&|event| *event == Event::Xid), "{server}");
        let created = |event: &Event| match event {
            Event::Query(query) => {
                query.text.starts_with("CREATE TABLE moves") && query.database == "zt" && query.exact
            }
            _ => false,
        };
        assert!(has(&created), "{server}");
        if server.contains("MariaDB") {
            let standalone = |event: &Event| {
                matches!(event, Event::Maria(MariaTransaction { standalone: true, ddl: true, .. }))
            };
            let prepares = |event: &Event| matches!(event, Event::Maria(maria) if maria.prepares.is_some());
            let completes = |event: &Event| match event {
                Event::Maria(maria) => maria.completes.as_ref().is_some_and(|xa| xa.global == b"x"),
                _ => false,
            };
            assert!(has(&standalone) && has(&prepares) && has(&completes), "{server}");
            assert!(has(&|event| matches!(event, Event::GtidList(_))), "{server}");
        } else {
            let tagged = |event: &Event| match event {
                Event::Gtid(Gtid { id: Some((_, tag, number)), committed: Some(at) }) => {
                    *tag == "mytag".parse().unwrap() && *number == 1 && *at > 1_700_000_000_000_000
                }
                _ => false,
            };
            let prepared = |event: &Event| match event {
                Event::XaPrepare { id, one_phase: false } => {
                    *id == XaId { format: 7, global: b"x".to_vec(), branch: b"br".to_vec() }
                }
                _ => false,
            };
            assert!(has(&tagged) && has(&prepared), "{server}");
        }
    }
}

#[test]
fn a_table_of_another_shape_stops_the_log() {
    let mysql = captures().pop().unwrap();
    type Change = fn(&mut Column);
    let changes: [(&str, Change); 6] = [
        ("no longer", |column| column.native = column_type("bigint(20)", None).unwrap().0),
        ("NOT NULL", |column| column.nullable = !column.nullable),
        ("is signed now", |column| column.native = column_type("int(11) unsigned", None).unwrap().0),
        ("is id now", |column| column.name = "renamed".into()),
        ("other labels", |column| column.native.name = "enum('other')".into()),
        ("columns now", |_| {}),
    ];
    for (what, change) in changes {
        let (table, at) = match what {
            "is id now" => ("ints", 0),
            "other labels" => ("sets", 6),
            _ => ("many", 0),
        };
        let mut schema = mysql.schema();
        let found = schema.tables.iter_mut().find(|known| known.name.name == table).unwrap();
        let described = Arc::make_mut(found);
        change(&mut described.columns[at]);
        if what == "columns now" {
            described.columns.pop();
        }
        let error = replay(&schema, &mysql.log()).1.unwrap();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn rows_that_lack_cells_are_refused_with_the_statement_that_mends_it() {
    for (json, statement) in [
        (include_str!("../fixtures/minimal-image.json"), "SET GLOBAL binlog_row_image = 'FULL'"),
        (
            include_str!("../fixtures/partial-json-without-old.json"),
            "SET GLOBAL binlog_row_value_options = ''",
        ),
    ] {
        let capture = capture(json);
        let error = replay(&capture.schema(), &capture.log()).1.unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(statement), "{error}");
    }
}
