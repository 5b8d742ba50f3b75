//! The two tables: how they are made, and the statements on them.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value as Param};
use zdm_core::connect::{ChunkRecord, Epoch, Record, RunName, State};
use zdm_core::{Position, Result};

use super::fenced;
use super::rows::{CHUNK_COLUMNS, RUN_COLUMNS, check_version, chunk, phase_word, record, to_json};
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::{OrMy, code};

/// How many chunks go into one statement: some hundred bytes for each.
const CHUNKS_AT_ONCE: usize = 500;

#[derive(Debug)]
pub(super) struct Tables {
    schema: String,
    run: String,
    chunk: String,
    /// Waits for the run's row and keeps everybody else from it.
    pub(super) lock: String,
    pub(super) raise: String,
}

impl Tables {
    pub(super) fn of(schema: &str) -> Self {
        let (run, chunk) = (quote_table(schema, "run"), quote_table(schema, "chunk"));
        Self {
            lock: format!("SELECT 1 FROM {run} WHERE `run` = ? FOR UPDATE"),
            raise: format!("UPDATE {run} SET `epoch` = `epoch` + 1 WHERE `run` = ?"),
            schema: schema.to_owned(),
            run,
            chunk,
        }
    }

    pub(super) async fn exist(&self, session: &mut Control) -> Result<bool> {
        let both = format!(
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = {} AND table_name IN ('run', 'chunk')",
            quote_literal(&self.schema)
        );
        let there: Option<u64> = session.query_first(both).await.during("checkpoint.find")?;
        Ok(there == Some(2))
    }

    /// Makes what is missing, however many ask for it at a time.
    pub(super) async fn make(&self, session: &mut Control) -> Result<()> {
        if self.exist(session).await? {
            return Ok(());
        }
        let make = "checkpoint.make";
        let there = format!(
            "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = {}",
            quote_literal(&self.schema)
        );
        let there: Option<u64> = session.query_first(there).await.during(make)?;
        // Asked first: IF NOT EXISTS needs the right to create all the same.
        if there != Some(1) {
            let create = format!("CREATE DATABASE IF NOT EXISTS {}", quote_ident(&self.schema));
            session.query_drop(create).await.during(make)?;
        }
        for definition in self.definitions() {
            session.query_drop(definition).await.during(make)?;
        }
        Ok(())
    }

    fn definitions(&self) -> [String; 2] {
        let Self { run, chunk, .. } = self;
        let table = "ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin";
        [
            format!(
                "CREATE TABLE IF NOT EXISTS {run} (
                    `run` varchar(40) NOT NULL PRIMARY KEY,
                    `version` int unsigned NOT NULL,
                    `epoch` bigint unsigned NOT NULL,
                    `phase` varchar(40) NOT NULL,
                    `engine` varchar(40) NOT NULL,
                    `facts` longtext NOT NULL,
                    `tables` longtext NOT NULL,
                    `start_at` longtext,
                    `position` longtext,
                    `goals` longtext NOT NULL,
                    `changes_applied` bigint unsigned NOT NULL,
                    `updated_at` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
                ) {table} COMMENT = 'Where each run of zdm stands. Change nothing here.'"
            ),
            // The key is 40 + 64 + 64 characters and a number: 676 bytes.
            format!(
                "CREATE TABLE IF NOT EXISTS {chunk} (
                    `run` varchar(40) NOT NULL,
                    `table_schema` varchar(64) NOT NULL,
                    `table_name` varchar(64) NOT NULL,
                    `number` int unsigned NOT NULL,
                    `bounds` longtext NOT NULL,
                    `done` tinyint(1) NOT NULL,
                    `row_count` bigint unsigned NOT NULL,
                    `after` longtext,
                    `visibility` longtext,
                    PRIMARY KEY (`run`, `table_schema`, `table_name`, `number`)
                ) {table} COMMENT = 'Which parts of the tables zdm has copied. Change nothing here.'"
            ),
        ]
    }

    pub(super) async fn read(&self, session: &mut Control, run: &RunName) -> Result<Option<State>> {
        let read = "checkpoint.read";
        // The format first: a newer one may have other columns.
        let version = format!("SELECT `version` FROM {} WHERE `run` = ?", self.run);
        let Some(version) = session.exec_first(version, (run.as_str(),)).await.during(read)? else {
            return Ok(None);
        };
        check_version(run, version)?;
        let one = format!("SELECT {RUN_COLUMNS} FROM {} WHERE `run` = ?", self.run);
        let Some(row) = session.exec_first::<Row, _, _>(one, (run.as_str(),)).await.during(read)? else {
            return Ok(None);
        };
        let mut record = record(run, row)?;
        let all = format!(
            "SELECT {CHUNK_COLUMNS} FROM {} WHERE `run` = ? ORDER BY `table_schema`, `table_name`, `number`",
            self.chunk
        );
        let rows: Vec<Row> = session.exec(all, (run.as_str(),)).await.during(read)?;
        let engine = record.source.engine.clone();
        let chunks = rows.into_iter().map(|row| chunk(&engine, row)).collect::<Result<Vec<_>>>()?;
        record.rows_copied = chunks.iter().filter_map(|c| c.done.as_ref()).map(|done| done.rows).sum();
        Ok(Some(State { record, chunks }))
    }

    /// Whether it was inserted, rather than there.
    pub(super) async fn insert(&self, session: &mut Control, record: &Record) -> Result<bool> {
        let insert = format!(
            "INSERT INTO {} (`version`, `epoch`, `phase`, `engine`, `facts`, `tables`, `start_at`, `position`, \
             `goals`, `changes_applied`, `run`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self.run
        );
        match session.exec_drop(insert, Params::Positional(values(record)?)).await.during("checkpoint.write")
        {
            Ok(()) => Ok(true),
            // ER_DUP_ENTRY
            Err(error) if code(&error) == Some(1062) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn swap(&self, session: &mut Control, old: &Record, new: &Record) -> Result<bool> {
        let swap = format!(
            "UPDATE {} SET `version` = ?, `epoch` = ?, `phase` = ?, `engine` = ?, `facts` = ?, `tables` = ?, \
             `start_at` = ?, `position` = ?, `goals` = ?, `changes_applied` = ? \
             WHERE `run` = ? AND `epoch` = ? AND `phase` = ? AND `position` <=> ?",
            self.run
        );
        let mut values = values(new)?;
        values.extend([
            Param::from(old.epoch.0),
            Param::from(phase_word(old.phase)?),
            text(old, old.position.as_ref())?,
        ]);
        session.exec_drop(swap, Params::Positional(values)).await.during("checkpoint.write")?;
        Ok(session.affected_rows() == 1)
    }

    pub(super) async fn plan(
        &self,
        session: &mut Control,
        run: &RunName,
        epoch: Epoch,
        chunks: &[ChunkRecord],
    ) -> Result<()> {
        let plan = "checkpoint.plan";
        // Planners take turns, and whoever raises the epoch waits for them.
        let turn = format!("SELECT 1 FROM {} WHERE `run` = ? AND `epoch` = ? FOR UPDATE", self.run);
        let held: Option<u8> = session.exec_first(turn, (run.as_str(), epoch.0)).await.during(plan)?;
        if held.is_none() {
            return Err(fenced(run, epoch));
        }
        let known =
            format!("SELECT DISTINCT `table_schema`, `table_name` FROM {} WHERE `run` = ?", self.chunk);
        let known: Vec<(String, String)> = session.exec(known, (run.as_str(),)).await.during(plan)?;
        let new: Vec<&ChunkRecord> = chunks
            .iter()
            .filter(|chunk| {
                let table = &chunk.id.table;
                !known.iter().any(|(schema, name)| *schema == table.schema && *name == table.name)
            })
            .collect();
        for some in new.chunks(CHUNKS_AT_ONCE) {
            let insert = format!(
                "INSERT INTO {} (`run`, {CHUNK_COLUMNS}) VALUES {}",
                self.chunk,
                vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; some.len()].join(", ")
            );
            let values = some.iter().flat_map(|chunk| row(run, chunk)).collect();
            session.exec_drop(insert, Params::Positional(values)).await.during(plan)?;
        }
        Ok(())
    }

    pub(super) async fn remove(&self, session: &mut Control, run: &RunName) -> Result<()> {
        let remove = "checkpoint.remove";
        session.query_drop("START TRANSACTION").await.during(remove)?;
        for table in [&self.chunk, &self.run] {
            let delete = format!("DELETE FROM {table} WHERE `run` = ?");
            session.exec_drop(delete, (run.as_str(),)).await.during(remove)?;
        }
        session.query_drop("COMMIT").await.during(remove)?;
        // What an empty table costs is nothing: whoever is in the way keeps it.
        if let Err(error) = self.sweep(session).await {
            tracing::debug!(%error, "our empty tables stay");
        }
        Ok(())
    }

    /// Drops the tables when no run is left in them, and the database when
    /// nothing else is.
    async fn sweep(&self, session: &mut Control) -> Result<()> {
        let sweep = "checkpoint.sweep";
        // Nobody inserts a run between the look and the drop.
        let lock = format!("LOCK TABLES {} WRITE, {} WRITE", self.run, self.chunk);
        session.query_drop(lock).await.during(sweep)?;
        let left =
            format!("SELECT EXISTS (SELECT 1 FROM {}) OR EXISTS (SELECT 1 FROM {})", self.run, self.chunk);
        let left: Result<Option<bool>> = session.query_first(left).await.during(sweep);
        let dropped = match left {
            Ok(Some(false)) => {
                let drop = format!("DROP TABLE {}, {}", self.chunk, self.run);
                session.query_drop(drop).await.during(sweep).map(|()| true)
            }
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        session.query_drop("UNLOCK TABLES").await.during(sweep)?;
        if !dropped? {
            return Ok(());
        }
        let others = format!(
            "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {name}) \
             + (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = {name})",
            name = quote_literal(&self.schema)
        );
        // DROP DATABASE takes everything with it, so what we see must be nothing.
        let others: Option<u64> = session.query_first(others).await.during(sweep)?;
        if others == Some(0) {
            let drop = format!("DROP DATABASE {}", quote_ident(&self.schema));
            session.query_drop(drop).await.during(sweep)?;
        }
        Ok(())
    }
}

/// The values of a record, its name last.
fn values(record: &Record) -> Result<Vec<Param>> {
    let goals = record.goals.iter().map(|goal| goal.of(&record.source.engine)).collect::<Result<Vec<_>>>()?;
    Ok(vec![
        Param::from(Record::VERSION),
        Param::from(record.epoch.0),
        Param::from(phase_word(record.phase)?),
        Param::from(record.source.engine.as_str()),
        Param::from(to_json(&record.source.facts)?),
        Param::from(to_json(&record.tables)?),
        text(record, record.start.as_ref())?,
        text(record, record.position.as_ref())?,
        Param::from(to_json(&goals)?),
        Param::from(record.changes_applied),
        Param::from(record.run.as_str()),
    ])
}

/// The text of a position, which must be the source's.
fn text(record: &Record, position: Option<&Position>) -> Result<Param> {
    let text = position.map(|position| position.of(&record.source.engine)).transpose()?;
    Ok(Param::from(text))
}

fn row(run: &RunName, chunk: &ChunkRecord) -> [Param; 9] {
    let done = chunk.done.as_ref();
    [
        Param::from(run.as_str()),
        Param::from(chunk.id.table.schema.as_str()),
        Param::from(chunk.id.table.name.as_str()),
        Param::from(chunk.id.number),
        Param::from(chunk.bounds.0.as_str()),
        Param::from(done.is_some()),
        Param::from(done.map_or(0, |done| done.rows)),
        Param::from(done.map(|done| done.after.as_str())),
        Param::from(done.and_then(|done| done.visibility.as_ref()).map(|seen| seen.0.as_str())),
    ]
}
