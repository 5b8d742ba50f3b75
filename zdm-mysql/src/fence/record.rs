//! The record of a cutover, one row for each run.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value as Param};
use zdm_core::connect::{Epoch, RunName, SwitchRecord, SwitchState};
use zdm_core::{Error, ErrorKind, Position, Result};

use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_table};
use crate::error::{OrMy, code, protocol};
use crate::position::{ENGINE, Point};

/// The table, as far as its options.
pub(super) fn definition(ours: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (`run` varchar(40) NOT NULL PRIMARY KEY, `state` varchar(20) NOT NULL, \
         `epoch` bigint unsigned NOT NULL, `target` varchar(1000) NOT NULL, `position` longtext, \
         `lease_until` bigint NOT NULL, `leg` int unsigned NOT NULL, `back` longtext, `note` longtext)",
        quote_table(ours, "switch")
    )
}

/// Reads the record; `None` also where our tables are not there.
pub(super) async fn read(session: &mut Control, ours: &str, run: &RunName) -> Result<Option<SwitchRecord>> {
    let read = "fence.record";
    let one = format!(
        "SELECT `state`, `epoch`, `target`, `position`, `lease_until`, `leg`, `back`, `note` FROM {} WHERE `run` = ?",
        quote_table(ours, "switch")
    );
    let row: Option<Row> = match session.exec_first(one, (run.as_str(),)).await.during(read) {
        Ok(row) => row,
        // ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR
        Err(error) if matches!(code(&error), Some(1146 | 1049)) => return Ok(None),
        // ER_TABLEACCESS_DENIED_ERROR, and the server does not name the database.
        Err(error) if code(&error) == Some(1142) => {
            let right = format!("GRANT ALL PRIVILEGES ON {}.* TO the run's user", quote_ident(ours));
            return Err(error.with("to mend it", right));
        }
        Err(error) => return Err(error),
    };
    let Some(row) = row else { return Ok(None) };
    let row = mysql_async::from_row_opt::<(
        String,
        u64,
        String,
        Option<String>,
        i64,
        u32,
        Option<String>,
        Option<String>,
    )>(row);
    let (state, epoch, target, position, lease_until, leg, back, note) =
        row.map_err(|_| protocol("the record of the cutover was changed by hand"))?;
    let state = state_of(&state).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            "the record of the cutover says what this release does not know: use the release that wrote it",
        )
        .with("state", &state)
    })?;
    let place = |text: Option<String>| text.map(|text| Position::new(ENGINE, text));
    Ok(Some(SwitchRecord {
        run: run.clone(),
        state,
        epoch: Epoch(epoch),
        target,
        position: place(position),
        leg,
        back: place(back),
        lease_until,
        note,
    }))
}

/// The leg of a record, which stays as it is until the transaction ends; `None`
/// where there is none.
pub(super) async fn leg(session: &mut Control, ours: &str, run: &RunName) -> Result<Option<u32>> {
    let sql = format!("SELECT `leg` FROM {} WHERE `run` = ? LOCK IN SHARE MODE", quote_table(ours, "switch"));
    session.exec_first(sql, (run.as_str(),)).await.during("fence.unseal")
}

/// Replaces the record if it is still `old`. A statement that meets another
/// session's change waits for its end and then looks again.
///
/// # Errors
/// `Fenced` if it is not.
pub(super) async fn swap(
    session: &mut Control,
    ours: &str,
    run: &RunName,
    old: Option<&SwitchRecord>,
    new: Option<&SwitchRecord>,
) -> Result<()> {
    if let Some(other) = old.iter().chain(&new).find(|record| record.run != *run) {
        return Err(Error::new(ErrorKind::Config, "the record is another run's").with("run", &other.run));
    }
    let table = quote_table(ours, "switch");
    const IS: &str = "`state` = ? AND `epoch` = ? AND `target` = ? AND `position` <=> ? AND `lease_until` = ? \
                      AND `leg` = ? AND `back` <=> ? AND `note` <=> ? AND `run` = ?";
    let (sql, values) = match (old, new) {
        (None, None) => return Ok(()),
        (None, Some(new)) => (
            format!(
                "INSERT INTO {table} (`state`, `epoch`, `target`, `position`, `lease_until`, `leg`, `back`, `note`, `run`) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            ),
            values(new)?,
        ),
        (Some(old), Some(new)) => {
            let sql = format!(
                "UPDATE {table} SET `state` = ?, `epoch` = ?, `target` = ?, `position` = ?, `lease_until` = ?, \
                 `leg` = ?, `back` = ?, `note` = ?, `run` = ? WHERE {IS}"
            );
            (sql, [values(new)?, values(old)?].concat())
        }
        (Some(old), None) => (format!("DELETE FROM {table} WHERE {IS}"), values(old)?),
    };
    let found = match session.exec_drop(sql, Params::Positional(values)).await.during("fence.swap") {
        // Rows found, not rows changed: our sessions ask for that.
        Ok(()) => session.affected_rows(),
        // ER_DUP_ENTRY: there is one already.
        Err(error) if code(&error) == Some(1062) => 0,
        Err(error) => return Err(error),
    };
    if found > 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Fenced,
        "the record of the cutover is not what it was: another process changed it; look which one drives \
         the run",
    )
    .with("run", run)
    .during("fence.swap"))
}

fn values(record: &SwitchRecord) -> Result<Vec<Param>> {
    // Parsed so that nothing but a position is ever written.
    for place in record.position.iter().chain(&record.back) {
        Point::of(place)?;
    }
    Ok(vec![
        Param::from(name(record.state)?),
        Param::from(record.epoch.0),
        Param::from(record.target.as_str()),
        Param::from(record.position.as_ref().map(Position::as_str)),
        Param::from(record.lease_until),
        Param::from(record.leg),
        Param::from(record.back.as_ref().map(Position::as_str)),
        Param::from(record.note.as_deref()),
        Param::from(record.run.as_str()),
    ])
}

fn state_of(word: &str) -> Option<SwitchState> {
    match word {
        "requested" => Some(SwitchState::Requested),
        "preparing" => Some(SwitchState::Preparing),
        "switched" => Some(SwitchState::Switched),
        "answered" => Some(SwitchState::Answered),
        _ => None,
    }
}

fn name(state: SwitchState) -> Result<&'static str> {
    match state {
        SwitchState::Requested => Ok("requested"),
        SwitchState::Preparing => Ok("preparing"),
        SwitchState::Switched => Ok("switched"),
        SwitchState::Answered => Ok("answered"),
        other => Err(Error::new(ErrorKind::Unsupported, format!("a record cannot say {other:?}"))),
    }
}
