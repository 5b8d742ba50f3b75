//! The record of a cutover, one row for each run.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, Row};
use zdm_core::connect::{Epoch, RunName, SwitchRecord, SwitchState};
use zdm_core::{Error, ErrorKind, Position, Result};

use crate::connect::quote::quote_table;
use crate::error::OrPg;
use crate::position::Lsn;

/// What makes the table.
pub(super) fn definition(ours: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
            run text PRIMARY KEY,
            state text NOT NULL,
            epoch bigint NOT NULL,
            target text NOT NULL,
            position text,
            lease_until bigint NOT NULL,
            leg integer NOT NULL,
            back text,
            note text
        )",
        quote_table(ours, "switch")
    )
}

/// The server's clock, in milliseconds since 1970.
pub(super) async fn now(session: &Client) -> Result<i64> {
    let clock = "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint";
    session.query_one(clock, &[]).await.and_then(|row| row.try_get(0)).during("fence.now")
}

pub(super) async fn read<C: GenericClient + Sync>(
    session: &C,
    ours: &str,
    run: &RunName,
) -> Result<Option<SwitchRecord>> {
    let table = quote_table(ours, "switch");
    let there: bool = session
        .query_one("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[&table])
        .await
        .and_then(|row| row.try_get(0))
        .during("fence.record")?;
    if !there {
        return Ok(None);
    }
    let sql = format!(
        "SELECT run, state, epoch, target, position, lease_until, leg, back, note FROM {table} WHERE run = $1"
    );
    session.query_opt(&sql, &[&run.as_str()]).await.during("fence.record")?.map(|row| parse(&row)).transpose()
}

fn parse(row: &Row) -> Result<SwitchRecord> {
    let text = |i| row.try_get::<_, String>(i).during("fence.record");
    let number = |i| row.try_get::<_, i64>(i).during("fence.record");
    let strange = |what: &str, value: &dyn std::fmt::Display| {
        Error::new(
            ErrorKind::Unsupported,
            format!("the record of the cutover holds an unknown {what}: use the release that wrote it"),
        )
        .with("got", value)
        .during("fence.record")
    };
    let state = text(1)?;
    let place = |i| {
        let text = row.try_get::<_, Option<String>>(i).during("fence.record")?;
        text.map(|at| at.parse::<Lsn>().map(Position::from)).transpose()
    };
    let leg = row.try_get::<_, i32>(6).during("fence.record")?;
    Ok(SwitchRecord {
        run: text(0)?.parse()?,
        state: named(&state).ok_or_else(|| strange("state", &state))?,
        epoch: Epoch(number(2)?.try_into().map_err(|_| strange("epoch", &-1))?),
        target: text(3)?,
        position: place(4)?,
        lease_until: number(5)?,
        leg: leg.try_into().map_err(|_| strange("leg", &leg))?,
        back: place(7)?,
        note: row.try_get(8).during("fence.record")?,
    })
}

fn named(state: &str) -> Option<SwitchState> {
    match state {
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

/// Replaces the record if it is still `old`. A statement that meets another
/// session's change waits for its end and then looks again.
///
/// # Errors
/// `Fenced` if it is not.
pub(super) async fn swap<C: GenericClient + Sync>(
    session: &C,
    ours: &str,
    run: &RunName,
    old: Option<&SwitchRecord>,
    new: Option<&SwitchRecord>,
) -> Result<()> {
    let table = quote_table(ours, "switch");
    for record in old.iter().chain(&new) {
        if record.run != *run {
            return Err(Error::new(ErrorKind::Config, "the record is another run's").with("run", &record.run));
        }
    }
    const IS: &str = "run = $1 AND state = $2 AND epoch = $3 AND target = $4 \
                      AND position IS NOT DISTINCT FROM $5 AND lease_until = $6 \
                      AND leg = $7 AND back IS NOT DISTINCT FROM $8 AND note IS NOT DISTINCT FROM $9";
    let run = run.as_str();
    let done = match (old.map(Columns::of).transpose()?, new.map(Columns::of).transpose()?) {
        (None, None) => return Ok(()),
        (None, Some(new)) => {
            let sql = format!(
                "INSERT INTO {table} (run, state, epoch, target, position, lease_until, leg, back, note) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING"
            );
            session.execute(&sql, &new.behind(&[&run])).await
        }
        (Some(old), Some(new)) => {
            let sql = format!(
                "UPDATE {table} SET state = $10, epoch = $11, target = $12, position = $13, lease_until = $14, \
                 leg = $15, back = $16, note = $17 WHERE {IS}"
            );
            session.execute(&sql, &new.behind(&old.behind(&[&run]))).await
        }
        (Some(old), None) => {
            session.execute(&format!("DELETE FROM {table} WHERE {IS}"), &old.behind(&[&run])).await
        }
    };
    match done.during("fence.swap")? {
        0 => Err(Error::new(
            ErrorKind::Fenced,
            "the record of the cutover is not what it was: another process changed it; look which one \
             drives the run",
        )
        .with("run", run)
        .during("fence.swap")),
        _ => Ok(()),
    }
}

struct Columns<'a> {
    state: &'static str,
    epoch: i64,
    target: &'a str,
    position: Option<&'a str>,
    lease: i64,
    leg: i32,
    back: Option<&'a str>,
    note: Option<&'a str>,
}

impl<'a> Columns<'a> {
    /// These behind other parameters of a statement.
    fn behind<'p>(&'p self, others: &[&'p (dyn ToSql + Sync)]) -> Vec<&'p (dyn ToSql + Sync)> {
        let Self { state, epoch, target, position, lease, leg, back, note } = self;
        let columns: [&(dyn ToSql + Sync); 8] = [state, epoch, target, position, lease, leg, back, note];
        [others, &columns[..]].concat()
    }

    fn of(record: &'a SwitchRecord) -> Result<Self> {
        // Parsed so that nothing but an LSN is ever written.
        for place in record.position.iter().chain(&record.back) {
            Lsn::of(place)?;
        }
        Ok(Self {
            state: name(record.state)?,
            epoch: i64::try_from(record.epoch.0)
                .map_err(|_| Error::new(ErrorKind::Config, "the epoch is beyond 2^63: the run is broken"))?,
            target: &record.target,
            position: record.position.as_ref().map(Position::as_str),
            lease: record.lease_until,
            leg: i32::try_from(record.leg)
                .map_err(|_| Error::new(ErrorKind::Config, "the leg is beyond 2^31: the run is broken"))?,
            back: record.back.as_ref().map(Position::as_str),
            note: record.note.as_deref(),
        })
    }
}
