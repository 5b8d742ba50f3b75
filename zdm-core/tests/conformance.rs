//! The memory engine and both checkpoints keep the contracts, and the suite
//! notices when a safeguard is taken out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use async_trait::async_trait;
use zdm_core::change::Value;
use zdm_core::checkpoint::{FileCheckpoint, MemoryCheckpoint};
use zdm_core::conformance::{self, Database, Harness, ITEMS, OTHERS, Open, PLAIN, Report, Row, Statement};
use zdm_core::connect::{Sink, Source};
use zdm_core::memory::{ENGINE, MemoryDatabase, MemoryTransaction, Safeguard};
use zdm_core::schema::{Column, Constraint, ConstraintKind, DataType, Key, Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

/// Memory databases, with a safeguard taken out or none.
#[derive(Default)]
struct Memory {
    without: Option<Safeguard>,
    unsupported: Vec<(&'static str, &'static str)>,
}

struct MemoryTables(MemoryDatabase);

struct MemoryOpen {
    db: MemoryDatabase,
    transaction: MemoryTransaction,
}

#[async_trait]
impl Harness for Memory {
    async fn database(&self) -> Result<Box<dyn Database>> {
        let db = MemoryDatabase::new();
        self.without.into_iter().for_each(|safeguard| db.faults().take_out(safeguard));
        Ok(Box::new(MemoryTables(db)))
    }

    fn unsupported(&self) -> Vec<(&'static str, &'static str)> {
        self.unsupported.clone()
    }
}

#[async_trait]
impl Database for MemoryTables {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.0.source())
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.0.sink())
    }

    async fn create_tables(&self) -> Result<()> {
        for (table, key) in
            [(ITEMS, Key::Columns(vec![0])), (PLAIN, Key::FullRow), (OTHERS, Key::Columns(vec![0]))]
        {
            let columns = vec![
                Column::new("id", DataType::integer(64)).not_null(),
                Column::new("code", DataType::integer(64)).not_null(),
                Column::new("body", DataType::text()).not_null(),
            ];
            let mut made = Table::new(ENGINE, name(table), columns, key);
            if table == ITEMS {
                made.constraints.push(Constraint {
                    name: "items_code".to_owned(),
                    kind: ConstraintKind::Unique { columns: vec!["code".to_owned()] },
                    definition: "UNIQUE (code)".to_owned(),
                    validated: true,
                });
            }
            self.0.create_table(made)?;
        }
        self.0.set_toasted(&name(ITEMS), &["body"])
    }

    async fn run(&self, statements: &[Statement]) -> Result<()> {
        if let [Statement::AddColumn(table)] = statements {
            let mut changed = (*self.0.table(&name(table))?).clone();
            changed.columns.push(Column::new("extra", DataType::integer(32)));
            let widen = |row: &Vec<Value<'static>>| row.iter().cloned().chain([Value::Null]).collect();
            return self.0.alter(changed, widen).await;
        }
        self.begin(statements).await?.commit().await
    }

    async fn begin(&self, statements: &[Statement]) -> Result<Box<dyn Open>> {
        let mut open = MemoryOpen { db: self.0.clone(), transaction: self.0.begin() };
        open.run(statements).await?;
        Ok(Box::new(open))
    }

    async fn rows(&self, table: &str) -> Result<Vec<Row>> {
        let rows = match self.0.rows(&name(table)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            rows => rows?,
        };
        Ok(rows.iter().map(|row| witness(row)).collect())
    }
}

#[async_trait]
impl Open for MemoryOpen {
    async fn run(&mut self, statements: &[Statement]) -> Result<()> {
        for statement in statements {
            self.statement(statement).await?;
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.transaction.commit().await
    }

    async fn rollback(self: Box<Self>) -> Result<()> {
        self.transaction.rollback();
        Ok(())
    }
}

impl MemoryOpen {
    async fn statement(&mut self, statement: &Statement) -> Result<()> {
        let transaction = &mut self.transaction;
        match statement.clone() {
            Statement::Insert(table, row) => {
                let values = vec![Value::Int(row.id), Value::Int(row.code), Value::from(row.body)];
                transaction.insert(&name(table), values).await
            }
            Statement::Body(table, id, body) => {
                let key = key(&self.db, table, id)?;
                transaction.update(&name(table), &key, |row| row[2] = Value::from(body)).await.map(drop)
            }
            Statement::Move(table, from, to) => {
                let key = key(&self.db, table, from)?;
                let change = |row: &mut Vec<Value<'static>>| {
                    row[0] = Value::Int(to);
                    row[1] = Value::Int(to);
                };
                transaction.update(&name(table), &key, change).await.map(drop)
            }
            Statement::Delete(table, id) => {
                let key = key(&self.db, table, id)?;
                transaction.delete(&name(table), &key).await.map(drop)
            }
            Statement::Truncate(table) => transaction.truncate(&[name(table)]).await,
            other => Err(Error::new(ErrorKind::Unsupported, format!("not inside a transaction: {other}"))),
        }
    }
}

/// The key of a row, or all of it where there is no key.
fn key(db: &MemoryDatabase, table: &str, id: i64) -> Result<Vec<Value<'static>>> {
    if table != PLAIN {
        return Ok(vec![Value::Int(id)]);
    }
    let row = db.rows(&name(table))?.into_iter().find(|row| row[0] == Value::Int(id));
    row.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such row"))
}

fn name(table: &str) -> TableName {
    TableName::new("public", table)
}

fn witness(row: &[Value<'static>]) -> Row {
    Row {
        id: row[0].as_i64().unwrap(),
        code: row[1].as_i64().unwrap(),
        body: row[2].as_str().unwrap().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_engine_keeps_the_contracts() {
    conformance::all(&Memory::default()).await.assert();
}

#[tokio::test]
async fn checkpoints_without_a_database_keep_the_contract() {
    conformance::checkpoint(Arc::new(MemoryCheckpoint::new())).await.assert();
    let folder = std::env::temp_dir().join(format!("zdm-conformance-{}", std::process::id()));
    conformance::checkpoint(Arc::new(FileCheckpoint::new(&folder))).await.assert();
    std::fs::remove_dir_all(folder).unwrap();
}

async fn without(safeguard: Safeguard, clause: &str) -> Report {
    conformance::matching(&Memory { without: Some(safeguard), ..Memory::default() }, clause).await
}

/// By a clock that jumps: a clause that waits in vain gives up at once.
#[tokio::test(start_paused = true)]
async fn each_safeguard_has_a_clause_that_notices_its_absence() {
    for (safeguard, clause) in [
        (Safeguard::WaitForInProgress, "snapshot::what_was_in_progress_at_the_start_is_waited_for"),
        (Safeguard::Gap, "changes::released_changes_are_refused"),
        (Safeguard::Idle, "changes::changes_of_other_tables_move_the_position_on"),
        (Safeguard::Visibility, "snapshot::a_table_with_no_key_is_one_chunk_that_knows_what_it_saw"),
        (Safeguard::OneTransaction, "sink::a_refused_row_leaves_nothing"),
        (Safeguard::Epoch, "sink::an_old_epoch_is_fenced"),
        (Safeguard::From, "sink::a_wrong_position_is_refused"),
        (Safeguard::KeyMoves, "sink::a_moved_row_leaves_nothing_behind"),
        (Safeguard::Unchanged, "sink::cells_that_did_not_change_stay"),
    ] {
        assert_eq!(without(safeguard, clause).await.broken(), [clause], "without {safeguard:?}");
    }
}

#[tokio::test]
async fn an_exception_that_no_clause_has_fails_the_suite() {
    let unsupported = vec![("sink::of_no_such_name", "a typing error")];
    let report = conformance::matching(&Memory { unsupported, without: None }, "sink::every_step").await;
    assert_eq!(report.broken(), ["sink::of_no_such_name"]);
}
