//! A sink with prepared tables and a run, and ways to write to it.

use std::sync::Arc;

use super::events::Model;
use super::world::{World, run_name, same, table};
use super::{Broken, Database, Harness, ITEMS, PLAIN, Row, Verdict};
use crate::change::{Batch, BatchBuilder, Field, Value};
use crate::connect::{
    Checkpoint, Epoch, Progress, Purpose, Record, Reread, RunName, Sink, State, Step, Writer, WriterOptions,
};
use crate::schema::{Schema, Table};
use crate::{Engine, Error, Identity, Position};

/// The source that positions here pretend to be of.
const ENGINE: Engine = Engine::new("conformance");

pub(super) fn at(number: u64) -> Position {
    Position::new(ENGINE, number.to_string())
}

pub(super) fn record(run: &RunName) -> Record {
    let mut record = Record::new(run.clone(), Identity::new(ENGINE).with("id", 1));
    record.start = Some(at(0));
    record.position = Some(at(0));
    record
}

/// One field of a change; `Same` for a cell that the log did not carry.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Text(String),
    Same,
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// One change to write.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Insert(Row),
    /// The row of that id, with its code and body.
    Update(i64, i64, Body),
    /// From one id to another.
    Move(i64, i64, i64, Body),
    Delete(i64),
    Truncate,
}

pub(super) struct Target {
    pub(super) db: Box<dyn Database>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) run: RunName,
    pub(super) schema: Arc<Schema>,
    pub(super) checkpoint: Arc<dyn Checkpoint>,
    at: u64,
}

impl Target {
    /// A target whose tables are made up to a step, with a run that stands at
    /// position 0.
    pub(super) async fn new(harness: &dyn Harness, step: Step) -> Verdict<Self> {
        let (_, schema) = World::tables(harness, 0).await?;
        let db = harness.database().await?;
        let (sink, run) = (db.sink(), run_name()?);
        let checkpoint = sink.checkpoint();
        let checkpoint =
            checkpoint.ok_or_else(|| Broken("the sink has no checkpoint of its own".to_owned()))?;
        for step in [Step::Bare, Step::Keyed, Step::Finished, Step::Ready].into_iter().filter(|s| *s <= step)
        {
            sink.prepare(&run, &schema, step).await?;
        }
        checkpoint.create(&record(&run)).await?;
        Ok(Self { db, sink, run, schema, checkpoint, at: 0 })
    }

    pub(super) fn table(&self, name: &str) -> Verdict<&Arc<Table>> {
        table(&self.schema, name)
    }

    pub(super) async fn writer(&self, epoch: u64, purpose: Purpose) -> Verdict<Box<dyn Writer>> {
        Ok(self.sink.writer(self.options(epoch, purpose)).await?)
    }

    pub(super) fn options(&self, epoch: u64, purpose: Purpose) -> WriterOptions {
        WriterOptions::new(self.run.clone(), Epoch(epoch), purpose, Arc::clone(&self.schema))
    }

    pub(super) async fn state(&self) -> Verdict<State> {
        let state = self.checkpoint.load(&self.run).await?;
        state.ok_or_else(|| Broken("the run is not there".to_owned()))
    }

    /// The progress of the next transaction.
    pub(super) fn step(&mut self) -> Progress {
        self.at += 1;
        Progress::Stream { from: at(self.at - 1), to: at(self.at), changes: 1, goals: Vec::new() }
    }

    /// Applies each list as one source transaction, all of them as one target
    /// transaction.
    pub(super) async fn apply(&mut self, name: &str, transactions: &[Vec<Edit>]) -> Verdict {
        let batch = self.batch(name, transactions)?;
        let mut writer = self.writer(1, Purpose::Apply).await?;
        writer.write(batch).await?;
        let step = self.step();
        Ok(writer.commit(step).await?)
    }

    pub(super) fn batch(&self, name: &str, transactions: &[Vec<Edit>]) -> Verdict<Batch> {
        let table = self.table(name)?;
        let mut batch = BatchBuilder::new();
        for (number, transaction) in (0..).zip(transactions) {
            batch.begin(number);
            transaction.iter().try_for_each(|edit| add(&mut batch, table, edit))?;
            batch.commit(at(self.at + 1), None);
        }
        Ok(batch.finish())
    }

    /// Appends rows as a chunk does.
    pub(super) fn rows(&self, name: &str, rows: impl IntoIterator<Item = Row>) -> Verdict<Batch> {
        let table = self.table(name)?;
        let mut batch = BatchBuilder::new();
        rows.into_iter().try_for_each(|row| add(&mut batch, table, &Edit::Insert(row)))?;
        Ok(batch.finish())
    }

    pub(super) async fn holds(&self, items: Vec<Row>) -> Verdict {
        let mut model = Model::default();
        model.load(ITEMS, items);
        same(&*self.db, &model).await
    }

    pub(super) async fn holds_plain(&self, rows: Vec<Row>) -> Verdict {
        let mut model = Model::default();
        model.load(PLAIN, rows);
        same(&*self.db, &model).await
    }
}

fn add(batch: &mut BatchBuilder, table: &Arc<Table>, edit: &Edit) -> Verdict {
    let whole = |row: &Row| fields(table, Some(row.id), Some(row.code), Some(row.body.clone()));
    let text = |body: &Body| match body {
        Body::Text(text) => Some(text.clone()),
        Body::Same => None,
    };
    match edit {
        Edit::Insert(row) => batch.insert(table, whole(row))?,
        Edit::Update(id, code, body) if table.has_key() => {
            let none: Option<Vec<Field<'static>>> = None;
            batch.update(table, none, fields(table, Some(*id), Some(*code), text(body)))?;
        }
        Edit::Update(id, code, body) => {
            // The suite's rows with no key all have the body `equal`.
            let old = whole(&Row { id: *id, code: *code, body: "equal".to_owned() });
            batch.update(table, Some(old), fields(table, Some(*id), Some(*code), text(body)))?;
        }
        Edit::Move(from, to, code, body) => {
            let old = fields(table, Some(*from), None, None);
            batch.update(table, Some(old), fields(table, Some(*to), Some(*code), text(body)))?;
        }
        Edit::Delete(id) if table.has_key() => batch.delete(table, fields(table, Some(*id), None, None))?,
        Edit::Delete(id) => batch.delete(table, whole(&Row::new(*id, "equal")))?,
        Edit::Truncate => batch.truncate(vec![Arc::clone(table)]),
    }
    Ok(())
}

fn fields(table: &Table, id: Option<i64>, code: Option<i64>, body: Option<String>) -> Vec<Field<'static>> {
    let given = |value: Option<Value<'static>>| value.map_or(Field::Unchanged, Field::Value);
    let columns = table.columns.iter();
    columns
        .map(|column| match column.name.as_str() {
            "id" => given(id.map(Value::Int)),
            "code" => given(code.map(Value::Int)),
            _ => given(body.clone().map(Value::from)),
        })
        .collect()
}

/// A source that has these rows.
pub(super) struct Rows(pub(super) Vec<Row>);

#[async_trait::async_trait]
impl Reread for Rows {
    async fn reread(&self, table: &Arc<Table>, keys: Batch) -> Result<Batch, Error> {
        let mut batch = BatchBuilder::new();
        for key in keys.rows() {
            let id = key.before().and_then(|old| Some(old.cell(table.position("id")?)));
            let id = id.map(|cell| cell.value()).transpose()?.and_then(|value| value.as_i64());
            if let Some(row) = self.0.iter().find(|row| Some(row.id) == id) {
                batch.insert(table, fields(table, Some(row.id), Some(row.code), Some(row.body.clone())))?;
            }
        }
        Ok(batch.finish())
    }
}
