//! The two tables: how they are made, and the statements on them.

use tokio_postgres::GenericClient;
use zdm_core::connect::{ChunkRecord, Epoch, Record, RunName, State};
use zdm_core::{Engine, Error, ErrorKind, Result};

use super::fenced;
use super::rows::{
    CHUNK_COLUMNS, RUN_COLUMNS, check_version, chunk, number, phase_word, position_text, record, to_json,
};
use crate::config::PgConfig;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal};
use crate::error::OrPg;

/// Two processes that make the tables at once take turns: `zdm` in ASCII.
const TURN: i64 = 0x7a_64_6d;

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
    pub(super) fn of(config: &PgConfig) -> Self {
        let schema = quote_ident(config.schema());
        let (run, chunk) = (format!("{schema}.run"), format!("{schema}.chunk"));
        Self {
            lock: format!("SELECT 1 FROM {run} WHERE run = $1 FOR UPDATE"),
            raise: format!("UPDATE {run} SET epoch = epoch + 1, updated_at = now() WHERE run = $1"),
            schema,
            run,
            chunk,
        }
    }

    pub(super) async fn exist(&self, session: &Control) -> Result<bool> {
        let both = format!(
            "SELECT to_regclass({}) IS NOT NULL AND to_regclass({}) IS NOT NULL",
            quote_literal(&self.run),
            quote_literal(&self.chunk)
        );
        session.query_one(&both, &[]).await.and_then(|row| row.try_get(0)).during("checkpoint.find")
    }

    /// Makes what is missing, once, however many ask for it at a time.
    pub(super) async fn make(&self, session: &mut Control) -> Result<()> {
        if self.exist(session).await? {
            return Ok(());
        }
        let make = "checkpoint.make";
        let transaction = session.transaction().await.during(make)?;
        transaction.execute("SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&TURN]).await.during(make)?;
        let there: bool = transaction
            .query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&self.schema])
            .await
            .and_then(|row| row.try_get(0))
            .during(make)?;
        // Asked first: IF NOT EXISTS needs the right to create all the same.
        if !there {
            transaction.batch_execute(&format!("CREATE SCHEMA {}", self.schema)).await.during(make)?;
        }
        transaction.batch_execute(&self.definition()).await.during(make)?;
        transaction.commit().await.during(make)
    }

    fn definition(&self) -> String {
        let Self { run, chunk, .. } = self;
        format!(
            "CREATE TABLE IF NOT EXISTS {run} (
                run text PRIMARY KEY,
                version integer NOT NULL,
                epoch bigint NOT NULL,
                phase text NOT NULL,
                engine text NOT NULL,
                facts text NOT NULL,
                tables text NOT NULL,
                start_at text,
                position text,
                goals text[] NOT NULL,
                changes_applied bigint NOT NULL,
                updated_at timestamp with time zone NOT NULL DEFAULT now()
            );
            CREATE TABLE IF NOT EXISTS {chunk} (
                run text NOT NULL,
                table_schema text NOT NULL,
                table_name text NOT NULL,
                number integer NOT NULL,
                bounds text NOT NULL,
                done boolean NOT NULL,
                rows bigint NOT NULL,
                after text,
                visibility text,
                PRIMARY KEY (run, table_schema, table_name, number)
            );
            COMMENT ON TABLE {run} IS 'Where each run of zdm stands. Change nothing here.';
            COMMENT ON TABLE {chunk} IS 'Which parts of the tables zdm has copied. Change nothing here.'"
        )
    }

    pub(super) async fn read(
        &self,
        session: &(impl GenericClient + Sync),
        run: &RunName,
    ) -> Result<Option<State>> {
        let read = "checkpoint.read";
        // The format first: a newer one may have other columns.
        let version = format!("SELECT version FROM {} WHERE run = $1", self.run);
        let Some(row) = session.query_opt(&version, &[&run.as_str()]).await.during(read)? else {
            return Ok(None);
        };
        check_version(run, row.try_get(0).during(read)?)?;
        let one = format!("SELECT {RUN_COLUMNS} FROM {} WHERE run = $1", self.run);
        let row = session.query_one(&one, &[&run.as_str()]).await.during(read)?;
        let mut record = record(run, &row)?;
        let all = format!(
            "SELECT {CHUNK_COLUMNS} FROM {} WHERE run = $1 ORDER BY table_schema COLLATE \"C\", table_name COLLATE \"C\", number",
            self.chunk
        );
        let rows = session.query(&all, &[&run.as_str()]).await.during(read)?;
        let engine = record.source.engine.clone();
        let chunks = rows.iter().map(|row| chunk(&engine, row)).collect::<Result<Vec<_>>>()?;
        record.rows_copied = chunks.iter().filter_map(|c| c.done.as_ref()).map(|done| done.rows).sum();
        Ok(Some(State { record, chunks }))
    }

    /// Whether it was inserted, rather than there.
    pub(super) async fn insert(
        &self,
        session: &(impl GenericClient + Sync),
        record: &Record,
    ) -> Result<bool> {
        let insert = format!(
            "INSERT INTO {} (run, version, epoch, phase, engine, facts, tables, start_at, position, goals, changes_applied)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
            self.run
        );
        self.write(session, &insert, record, None).await
    }

    pub(super) async fn swap(
        &self,
        session: &(impl GenericClient + Sync),
        old: &Record,
        new: &Record,
    ) -> Result<bool> {
        let swap = format!(
            "UPDATE {} SET version = $2, epoch = $3, phase = $4, engine = $5, facts = $6, tables = $7,
                start_at = $8, position = $9, goals = $10, changes_applied = $11, updated_at = now()
             WHERE run = $1 AND epoch = $12 AND phase = $13 AND position IS NOT DISTINCT FROM $14",
            self.run
        );
        self.write(session, &swap, new, Some(old)).await
    }

    async fn write(
        &self,
        session: &(impl GenericClient + Sync),
        statement: &str,
        record: &Record,
        old: Option<&Record>,
    ) -> Result<bool> {
        let engine = &record.source.engine;
        let text = |position| position_text(engine, position);
        let version = i32::try_from(Record::VERSION).unwrap_or(i32::MAX);
        let (epoch, phase) = (number(record.epoch.0)?, phase_word(record.phase)?);
        let (facts, tables) = (to_json(&record.source.facts)?, to_json(&record.tables)?);
        let start = record.start.as_ref().map(text).transpose()?;
        let position = record.position.as_ref().map(text).transpose()?;
        let goals = record.goals.iter().map(text).collect::<Result<Vec<_>>>()?;
        let changes = number(record.changes_applied)?;
        let run = record.run.as_str();
        let engine = engine.as_str();
        let mut values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![
            &run, &version, &epoch, &phase, &engine, &facts, &tables, &start, &position, &goals, &changes,
        ];
        let was;
        if let Some(old) = old {
            let engine: &Engine = &old.source.engine;
            let position = old.position.as_ref().map(|p| position_text(engine, p)).transpose()?;
            was = (number(old.epoch.0)?, phase_word(old.phase)?, position);
            values.extend([&was.0 as &(dyn tokio_postgres::types::ToSql + Sync), &was.1, &was.2]);
        }
        Ok(session.execute(statement, &values).await.during("checkpoint.write")? == 1)
    }

    pub(super) async fn plan(
        &self,
        session: &(impl GenericClient + Sync),
        run: &RunName,
        epoch: Epoch,
        chunks: &[ChunkRecord],
    ) -> Result<()> {
        let plan = "checkpoint.plan";
        // Planners take turns; chunk writers do not wait for them.
        let turn = format!("SELECT 1 FROM {} WHERE run = $1 AND epoch = $2 FOR NO KEY UPDATE", self.run);
        if session.execute(&turn, &[&run.as_str(), &number(epoch.0)?]).await.during(plan)? == 0 {
            return Err(fenced(run, epoch));
        }
        // One statement, one snapshot: `there` does not see what it inserts.
        let insert = format!(
            "INSERT INTO {chunk} (run, table_schema, table_name, number, bounds, done, rows, after, visibility)
             SELECT $1, n.* FROM unnest($2::text[], $3::text[], $4::int[], $5::text[], $6::bool[], $7::bigint[], $8::text[], $9::text[])
                AS n (table_schema, table_name, number, bounds, done, rows, after, visibility)
             WHERE NOT EXISTS (SELECT FROM {chunk} there WHERE there.run = $1
                AND there.table_schema = n.table_schema AND there.table_name = n.table_name)",
            chunk = self.chunk
        );
        let schemas: Vec<&str> = chunks.iter().map(|c| c.id.table.schema.as_str()).collect();
        let names: Vec<&str> = chunks.iter().map(|c| c.id.table.name.as_str()).collect();
        let numbers = chunks.iter().map(|c| signed(c.id.number)).collect::<Result<Vec<_>>>()?;
        let bounds: Vec<&str> = chunks.iter().map(|c| c.bounds.0.as_str()).collect();
        let done: Vec<bool> = chunks.iter().map(|c| c.done.is_some()).collect();
        let rows = chunks
            .iter()
            .map(|c| number(c.done.as_ref().map_or(0, |done| done.rows)))
            .collect::<Result<Vec<_>>>()?;
        let after: Vec<Option<&str>> =
            chunks.iter().map(|c| c.done.as_ref().map(|done| done.after.as_str())).collect();
        let seen: Vec<Option<&str>> =
            chunks.iter().map(|c| c.done.as_ref()?.visibility.as_ref().map(|v| v.0.as_str())).collect();
        session
            .execute(
                &insert,
                &[&run.as_str(), &schemas, &names, &numbers, &bounds, &done, &rows, &after, &seen],
            )
            .await
            .during(plan)?;
        Ok(())
    }

    pub(super) async fn remove(&self, session: &mut Control, run: &RunName) -> Result<()> {
        let remove = "checkpoint.remove";
        let transaction = session.transaction().await.during(remove)?;
        for table in [&self.chunk, &self.run] {
            let delete = format!("DELETE FROM {table} WHERE run = $1");
            transaction.execute(&delete, &[&run.as_str()]).await.during(remove)?;
        }
        transaction.commit().await.during(remove)?;
        // What an empty table costs is nothing: whoever is in the way keeps it.
        if let Err(error) = self.sweep(session).await {
            tracing::debug!(%error, "our empty tables stay");
        }
        Ok(())
    }

    /// Drops the tables when no run is left in them, and the schema when
    /// nothing else is.
    async fn sweep(&self, session: &mut Control) -> Result<()> {
        let sweep = "checkpoint.sweep";
        let transaction = session.transaction().await.during(sweep)?;
        transaction.batch_execute("SET LOCAL lock_timeout = '1s'").await.during(sweep)?;
        // Whoever makes them takes this turn too, and whoever inserts waits
        // for the lock and then finds no table: neither loses a row.
        transaction.execute("SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&TURN]).await.during(sweep)?;
        let lock = format!("LOCK TABLE {}, {} IN ACCESS EXCLUSIVE MODE", self.run, self.chunk);
        transaction.batch_execute(&lock).await.during(sweep)?;
        let left = format!("SELECT EXISTS (SELECT FROM {}) OR EXISTS (SELECT FROM {})", self.run, self.chunk);
        if transaction.query_one(&left, &[]).await.and_then(|row| row.try_get(0)).during(sweep)? {
            return Ok(());
        }
        let drop = format!("DROP TABLE {}, {}", self.chunk, self.run);
        transaction.batch_execute(&drop).await.during(sweep)?;
        transaction.commit().await.during(sweep)?;
        // Fails, as it must, when there is more in it.
        session.batch_execute(&format!("DROP SCHEMA {}", self.schema)).await.during(sweep)
    }
}

pub(super) fn signed(number: u32) -> Result<i32> {
    i32::try_from(number)
        .map_err(|_| Error::new(ErrorKind::Config, "a table has too many chunks: make them larger"))
}
