//! Progress as the last statements of a transaction. Each must find its row,
//! or the caller has no right to COMMIT.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value as Param};
use zdm_core::connect::{ChunkDone, ChunkId, Epoch, Progress, RunName};
use zdm_core::{Error, Position, Result};

use super::fenced;
use super::rows::to_json;
use crate::connect::Control;
use crate::connect::quote::quote_table;
use crate::error::{OrMy, code};

/// Writes progress within the caller's transaction, as its last statement
/// but COMMIT.
///
/// # Errors
/// `Fenced` when epoch, position or chunk is not as expected; the caller must
/// roll back then.
pub(crate) async fn advance(
    session: &mut Control,
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
    session: &mut Control,
    schema: &str,
    run: &RunName,
    epoch: Epoch,
) -> Result<()> {
    // The words that both servers know; MariaDB has no `FOR SHARE`.
    let check = format!(
        "SELECT 1 FROM {} WHERE `run` = ? AND `epoch` = ? LOCK IN SHARE MODE",
        quote_table(schema, "run")
    );
    let held: Result<Option<u8>> =
        session.exec_first(check, (run.as_str(), epoch.0)).await.during("checkpoint.epoch");
    found(held.map(|held| u64::from(held.is_some())), run, epoch)
}

async fn stream(
    session: &mut Control,
    schema: &str,
    run: &RunName,
    epoch: Epoch,
    (from, to): (&Position, &Position),
    changes: u64,
    goals: &[Position],
) -> Result<()> {
    let engine = from.engine();
    let goals = goals.iter().map(|goal| goal.of(engine)).collect::<Result<Vec<_>>>()?;
    let mut values = vec![Param::from(to.of(engine)?), Param::from(changes)];
    let mut more = "";
    if !goals.is_empty() {
        more = ", `goals` = JSON_MERGE_PRESERVE(`goals`, ?)";
        values.push(Param::from(to_json(&goals)?));
    }
    values.extend([
        Param::from(run.as_str()),
        Param::from(epoch.0),
        Param::from(from.as_str()),
        Param::from(engine.as_str()),
    ]);
    let advance = format!(
        "UPDATE {} SET `position` = ?, `changes_applied` = `changes_applied` + ?{more} \
         WHERE `run` = ? AND `epoch` = ? AND `position` = ? AND `engine` = ?",
        quote_table(schema, "run")
    );
    update(session, &advance, values, run, epoch).await
}

/// A chunk that is done already is refused: its rows would be there twice.
async fn chunk(
    session: &mut Control,
    schema: &str,
    run: &RunName,
    epoch: Epoch,
    id: &ChunkId,
    done: &ChunkDone,
) -> Result<()> {
    let advance = format!(
        "UPDATE {} SET `done` = 1, `row_count` = ?, `after` = ?, `visibility` = ? \
         WHERE `run` = ? AND `table_schema` = ? AND `table_name` = ? AND `number` = ? AND NOT `done`",
        quote_table(schema, "chunk")
    );
    let values = vec![
        Param::from(done.rows),
        Param::from(done.after.as_str()),
        Param::from(done.visibility.as_ref().map(|seen| seen.0.as_str())),
        Param::from(run.as_str()),
        Param::from(id.table.schema.as_str()),
        Param::from(id.table.name.as_str()),
        Param::from(id.number),
    ];
    update(session, &advance, values, run, epoch).await.map_err(|error| error.with("chunk", id))
}

async fn update(
    session: &mut Control,
    statement: &str,
    values: Vec<Param>,
    run: &RunName,
    epoch: Epoch,
) -> Result<()> {
    let outcome = session
        .exec_drop(statement, Params::Positional(values))
        .await
        .during("checkpoint.advance")
        // Rows found, not rows changed: our sessions ask for that.
        .map(|()| session.affected_rows());
    found(outcome, run, epoch)
}

fn found(rows: Result<u64>, run: &RunName, epoch: Epoch) -> Result<()> {
    match rows {
        Ok(0) => Err(fenced(run, epoch)),
        Ok(_) => Ok(()),
        // ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR: the run was removed, and
        // everything with it.
        Err(error) if matches!(code(&error), Some(1146 | 1049)) => Err(fenced(run, epoch)),
        Err(error) => Err(error),
    }
}
