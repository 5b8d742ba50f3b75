//! Progress as the last statements of a transaction, each of which fails by
//! itself when the run is not as expected.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;
use zdm_core::connect::{ChunkDone, ChunkId, Epoch, Progress, RunName};
use zdm_core::{Error, Position, Result};

use super::fenced;
use super::rows::number;
use super::tables::signed;
use crate::connect::quote::quote_ident;
use crate::error::{OrPg, sqlstate};

/// Writes progress within the caller's transaction, as its last statement
/// but COMMIT.
///
/// # Errors
/// `Fenced` when epoch, position or chunk is not as expected; the
/// transaction is then aborted, whatever is sent behind.
pub(crate) async fn advance(
    session: &(impl GenericClient + Sync),
    schema: &str,
    run: &RunName,
    epoch: Epoch,
    progress: &Progress,
) -> Result<()> {
    match progress {
        Progress::Stream { from, to, changes, goals } => {
            stream(session, schema, run, epoch, (from, to), *changes, goals).await
        }
        Progress::Chunk { id, done } => {
            chunk(session, schema, run, epoch, id, done).await?;
            check_epoch(session, schema, run, epoch).await
        }
        _ => Err(Error::new(
            zdm_core::ErrorKind::Unsupported,
            "this kind of progress is newer than the sink: use one release of all zdm crates",
        )),
    }
}

/// Fails if the epoch is not the run's, and otherwise keeps it so until the
/// transaction ends.
pub(crate) async fn check_epoch(
    session: &(impl GenericClient + Sync),
    schema: &str,
    run: &RunName,
    epoch: Epoch,
) -> Result<()> {
    let check = format!(
        "WITH held AS (SELECT 1 FROM {}.run WHERE run = $1 AND epoch = $2 FOR KEY SHARE)
         SELECT 1 / count(*) FROM held",
        quote_ident(schema)
    );
    let outcome =
        session.execute(&check, &[&run.as_str(), &number(epoch.0)?]).await.during("checkpoint.epoch");
    or_fenced(outcome, run, epoch)
}

async fn stream(
    session: &(impl GenericClient + Sync),
    schema: &str,
    run: &RunName,
    epoch: Epoch,
    (from, to): (&Position, &Position),
    changes: u64,
    goals: &[Position],
) -> Result<()> {
    let engine = from.engine();
    let goals = goals.iter().map(|goal| goal.of(engine)).collect::<Result<Vec<_>>>()?;
    // A division by none fails the statement, and with it the transaction.
    let advance = format!(
        "WITH moved AS (
            UPDATE {}.run SET position = $4, changes_applied = changes_applied + $5, goals = goals || $6::text[],
                updated_at = now()
            WHERE run = $1 AND epoch = $2 AND position = $3 AND engine = $7
            RETURNING 1)
         SELECT 1 / count(*) FROM moved",
        quote_ident(schema)
    );
    // With its types it takes one round trip.
    let outcome = session
        .execute_typed(
            &advance,
            &[
                (&run.as_str(), Type::TEXT),
                (&number(epoch.0)?, Type::INT8),
                (&from.as_str(), Type::TEXT),
                (&to.of(engine)?, Type::TEXT),
                (&number(changes)?, Type::INT8),
                (&goals, Type::TEXT_ARRAY),
                (&engine.as_str(), Type::TEXT),
            ],
        )
        .await
        .during("checkpoint.advance");
    or_fenced(outcome, run, epoch)
}

/// A chunk that is done already is refused: its rows would be there twice.
async fn chunk(
    session: &(impl GenericClient + Sync),
    schema: &str,
    run: &RunName,
    epoch: Epoch,
    id: &ChunkId,
    done: &ChunkDone,
) -> Result<()> {
    let advance = format!(
        "WITH moved AS (
            UPDATE {}.chunk SET done = true, rows = $5, after = $6, visibility = $7
            WHERE run = $1 AND table_schema = $2 AND table_name = $3 AND number = $4 AND NOT done
            RETURNING 1)
         SELECT 1 / count(*) FROM moved",
        quote_ident(schema)
    );
    let outcome = session
        .execute(
            &advance,
            &[
                &run.as_str(),
                &id.table.schema.as_str(),
                &id.table.name.as_str(),
                &signed(id.number)?,
                &number(done.rows)?,
                &done.after.as_str(),
                &done.visibility.as_ref().map(|seen| seen.0.as_str()),
            ],
        )
        .await
        .during("checkpoint.advance");
    or_fenced(outcome, run, epoch).map_err(|error| error.with("chunk", id))
}

fn or_fenced(outcome: Result<u64>, run: &RunName, epoch: Epoch) -> Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        // division_by_zero
        Err(error) if sqlstate(&error) == Some("22012") => Err(fenced(run, epoch)),
        // undefined_table: the run was removed, and everything with it.
        Err(error) if sqlstate(&error) == Some("42P01") => Err(fenced(run, epoch)),
        Err(error) => Err(error),
    }
}
