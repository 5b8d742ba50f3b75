//! The replication slot: what makes the server keep its log for a run.
//!
//! A run's slot is made once, at its beginning. Later starts only check it: a
//! slot that was made anew, or that was moved past the run's progress, would
//! skip changes without a word, since the server starts at the later of the
//! two points.

use std::time::Duration;

use tokio::time::Instant;
use zdm_core::connect::RunName;
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Identity, Position, Result};

use super::publication::{self, Made};
use super::{names, waiting};
use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;
use crate::position::{ENGINE, Lsn};
use crate::wire::Connection;

/// The first version whose slots can be kept on standbys as well.
const FAILOVER: u32 = 170_000;
/// How long a slot may still be held by a reader that has just gone.
const LINGER: Duration = Duration::from_secs(5);

/// Fixes the start of a run's stream: makes publication and slot, replacing
/// what an earlier attempt of the same run left, and waits until every
/// transaction that was in progress has ended. Every later commit is in a
/// stream from the position that it gives, every earlier one is visible.
///
/// # Errors
/// `Config` when the server or a table is not set up for logical decoding;
/// `Permission`; `Conflict` when the slot is somebody else's or in use;
/// `Timeout`, naming whom it waited for, after `begin_timeout`. What it made
/// is undone then. Dropped, it may leave both; the next begin replaces them.
pub(crate) async fn begin(config: &PgConfig, run: &RunName, schema: &Schema) -> Result<Position> {
    let mut control = Control::connect(config, "begin").await?;
    let (slot, publication) = (names::slot(config, run), names::publication(config, run));
    replace(&control, &slot).await?;
    preconditions(&control).await?;
    // First the publication: decoding looks it up in the catalog as it was
    // when the change was made.
    let made = publication::ensure(&mut control, &publication, run, schema).await?;
    let deadline = Instant::now() + config.begin_timeout();
    fail::fail_point!("begin::published");
    let begun = async {
        let start = create(config, &control, &slot, deadline).await?;
        fail::fail_point!("begin::slot");
        waiting::settle(&control, deadline).await?;
        Ok(start)
    }
    .await;
    match begun {
        Ok(start) => Ok(Position::from(start)),
        Err(error) => {
            undo(config, run, &slot, &publication, made).await;
            Err(error)
        }
    }
}

/// Whether a stream can still begin at the run's progress, and is of all the
/// run's tables. Makes nothing.
///
/// # Errors
/// `Gap` when what comes next is lost, or may be; `Conflict` when another
/// reader has the slot for longer than a moment.
pub(crate) async fn check(
    config: &PgConfig,
    run: &RunName,
    schema: &Schema,
    resume: &Position,
) -> Result<()> {
    let resume = Lsn::of(resume)?;
    let name = names::slot(config, run);
    let control = Control::connect(config, "check").await?;
    publication::check(&control, &names::publication(config, run), schema).await?;
    let until = Instant::now() + LINGER;
    loop {
        let state = State::read(&control, &name).await?.ok_or_else(|| gone(&name))?;
        state.ours()?;
        state.holds(resume)?;
        let Some(pid) = state.active_pid else { return Ok(()) };
        if Instant::now() >= until {
            return Err(in_use(&name, pid));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The same for a slot that a stream has just been started on, by the server
/// process `pid`: from here on nobody else can move it.
///
/// # Errors
/// As [`check`].
pub(super) async fn check_started(control: &Control, name: &str, pid: i32, from: Lsn) -> Result<()> {
    let state = State::read(control, name).await?.ok_or_else(|| gone(name))?;
    state.ours()?;
    match state.active_pid {
        Some(active) if active == pid => state.holds(from),
        Some(other) => Err(in_use(name, other)),
        None => Err(Error::new(ErrorKind::Connection, "the server has ended the stream that it just began")),
    }
}

/// Drops slot and publication of a run; those that are not there are fine.
///
/// # Errors
/// `Conflict` while somebody reads the slot, `Permission` and others from the
/// server; calling again is safe.
pub(crate) async fn drop(config: &PgConfig, run: &RunName) -> Result<()> {
    let control = Control::connect(config, "release").await?;
    let name = names::slot(config, run);
    if State::read(&control, &name).await?.is_some_and(|state| state.ours().is_ok()) {
        drop_slot(&control, &name).await?;
    }
    publication::drop(&control, &names::publication(config, run), run).await
}

/// Whether there is a slot of that name, whatever it serves.
pub(crate) async fn is_there(config: &PgConfig, run: &RunName) -> Result<bool> {
    let control = Control::connect(config, "look").await?;
    Ok(State::read(&control, &names::slot(config, run)).await?.is_some())
}

/// Which database this is, as its positions need it.
///
/// # Errors
/// When the server cannot be reached, or the user may not replicate.
pub(crate) async fn identity(config: &PgConfig) -> Result<Identity> {
    let system = Connection::connect(config, "identity").await?.identify_system().await?;
    Ok(Identity::new(ENGINE)
        .with("system", system.system_id)
        .with("timeline", system.timeline)
        .with("database", system.dbname))
}

/// What would make the server refuse later, in words that say what to set.
async fn preconditions(control: &Control) -> Result<()> {
    let row = control
        .query_one(
            "SELECT pg_catalog.current_setting('wal_level'), pg_catalog.pg_is_in_recovery(),
                    pg_catalog.current_setting('max_replication_slots')::int
                        - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots)::int",
            &[],
        )
        .await
        .during("changes.begin")?;
    let level: &str = row.try_get(0).during("changes.begin")?;
    let recovery: bool = row.try_get(1).during("changes.begin")?;
    let free: i32 = row.try_get(2).during("changes.begin")?;
    if level != "logical" {
        return Err(Error::new(
            ErrorKind::Config,
            "the server does not log what a reader needs: set wal_level = logical and restart it",
        )
        .with("wal_level", level));
    }
    if recovery {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the server is a standby: point the run at its primary",
        ));
    }
    if free <= 0 {
        return Err(Error::new(
            ErrorKind::Config,
            "the server has no free replication slot: raise max_replication_slots and restart it, or drop a slot \
             that nobody uses",
        ));
    }
    Ok(())
}

/// Drops what an earlier begin of the same run left.
async fn replace(control: &Control, name: &str) -> Result<()> {
    let Some(state) = State::read(control, name).await? else { return Ok(()) };
    state.ours()?;
    tracing::info!(slot = name, "replacing the slot that an earlier start of this run has left");
    drop_slot(control, name).await
}

/// Drops an inactive slot, waiting a moment for its last reader to go.
async fn drop_slot(control: &Control, name: &str) -> Result<()> {
    let until = Instant::now() + LINGER;
    loop {
        match State::read(control, name).await? {
            None => return Ok(()),
            Some(State { active_pid: Some(pid), .. }) if Instant::now() >= until => {
                return Err(in_use(name, pid));
            }
            Some(State { active_pid: Some(_), .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Some(_) => {
                let dropped =
                    control.execute("SELECT pg_catalog.pg_drop_replication_slot($1)", &[&name]).await;
                match dropped.during("changes.drop_slot") {
                    // Taken or gone since we looked: look again.
                    Err(error)
                        if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound)
                            && Instant::now() < until => {}
                    dropped => return dropped.map(|_| ()),
                }
            }
        }
    }
}

/// Makes the slot, and gives its first position. The server waits for every
/// transaction in progress, so who that is gets named meanwhile.
async fn create(config: &PgConfig, control: &Control, name: &str, deadline: Instant) -> Result<Lsn> {
    let maker = Control::connect(config, "slot").await?;
    let pid = maker.process_id();
    let options = match (config.failover(), maker.server_version_num()) {
        (false, _) => "",
        (true, FAILOVER..) => ", failover => true",
        (true, _) => {
            return Err(Error::new(
                ErrorKind::Config,
                "the server knows no failover slots, which came with PostgreSQL 17: leave `failover` out",
            ));
        }
    };
    let create = format!(
        "SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput'{options})"
    );
    let making = async {
        let row = maker.query_one(&create, &[&name]).await.during("changes.create_slot")?;
        row.try_get::<_, &str>(0).during("changes.create_slot")?.parse()
    };
    tokio::pin!(making);
    let mut watch = waiting::Watch::new();
    loop {
        tokio::select! {
            made = &mut making => return made,
            () = watch.tick() => watch.report(control, pid).await?,
            () = tokio::time::sleep_until(deadline) => {
                // Else the server would go on, and make it when we are gone.
                let _ = maker.cancel().await;
                let error = waiting::timed_out(control, pid).await;
                // What cancelling it has led to: the slot may be there yet.
                let _ = tokio::time::timeout(LINGER, making).await;
                return Err(error);
            }
        }
    }
}

/// Takes back what a failed begin has made, as far as that goes.
async fn undo(config: &PgConfig, run: &RunName, slot: &str, publication: &str, made: Made) {
    let undone = async {
        let control = Control::connect(config, "undo").await?;
        drop_slot(&control, slot).await?;
        if made == Made::Now {
            publication::drop(&control, publication, run).await?;
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = undone.await {
        tracing::warn!(%error, slot, publication, "could not take back a start that failed");
    }
}

/// A slot as the server shows it.
#[derive(Debug)]
struct State {
    name: String,
    plugin: Option<String>,
    database: Option<String>,
    this_database: String,
    active_pid: Option<i32>,
    confirmed: Option<Lsn>,
    /// Why its log is gone, if it is.
    lost: Option<String>,
}

impl State {
    async fn read(control: &Control, name: &str) -> Result<Option<Self>> {
        // What tells of a loss came with 13, 16 and 17.
        let lost = match control.server_version_num() {
            170_000.. => {
                "coalesce(s.invalidation_reason, CASE WHEN s.wal_status = 'lost' THEN 'wal_removed' END)"
            }
            160_000.. => {
                "CASE WHEN s.conflicting THEN 'conflicting' WHEN s.wal_status = 'lost' THEN 'wal_removed' END"
            }
            130_000.. => "CASE WHEN s.wal_status = 'lost' THEN 'wal_removed' END",
            _ => "CASE WHEN s.restart_lsn IS NULL THEN 'wal_removed' END",
        };
        let statement = format!(
            "SELECT s.plugin::text, s.database::text, pg_catalog.current_database()::text, s.active_pid,
                    s.confirmed_flush_lsn::text, {lost}
             FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1"
        );
        let row = control.query_opt(&statement, &[&name]).await.during("changes.check_slot")?;
        let Some(row) = row else { return Ok(None) };
        let confirmed: Option<&str> = row.try_get(4).during("changes.check_slot")?;
        Ok(Some(Self {
            name: name.to_owned(),
            plugin: row.try_get(0).during("changes.check_slot")?,
            database: row.try_get(1).during("changes.check_slot")?,
            this_database: row.try_get(2).during("changes.check_slot")?,
            active_pid: row.try_get(3).during("changes.check_slot")?,
            confirmed: confirmed.map(str::parse).transpose()?,
            lost: row.try_get(5).during("changes.check_slot")?,
        }))
    }

    /// Refuses a slot that cannot have been made by this run.
    fn ours(&self) -> Result<()> {
        if self.plugin.as_deref() == Some("pgoutput") && self.database.as_ref() == Some(&self.this_database) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "a replication slot of this name serves something else: configure another name for the run's slot",
        )
        .with("slot", &self.name)
        .with("plugin", self.plugin.as_deref().unwrap_or("none"))
        .with("database", self.database.as_deref().unwrap_or("none")))
    }

    /// Refuses a slot that no longer gives everything behind `from`.
    fn holds(&self, from: Lsn) -> Result<()> {
        if let Some(reason) = &self.lost {
            return Err(Error::new(
                ErrorKind::Gap,
                format!(
                    "the server has given up the run's replication slot, so changes are lost: {}, drop the run \
                     and start anew",
                    mend(reason)
                ),
            )
            .with("slot", &self.name)
            .with("reason", reason));
        }
        match self.confirmed {
            Some(confirmed) if confirmed <= from => Ok(()),
            Some(confirmed) => Err(Error::new(
                ErrorKind::Gap,
                "the replication slot is ahead of the run's progress, so changes would be skipped: it was made \
                 anew, or another reader has moved it; drop the run and start anew",
            )
            .with("slot", &self.name)
            .with("slot_is_at", confirmed)
            .with("run_is_at", from)),
            None => Err(gone(&self.name)),
        }
    }
}

/// What keeps it from happening again, by `invalidation_reason`.
fn mend(reason: &str) -> &'static str {
    match reason {
        "idle_timeout" => {
            "raise idle_replication_slot_timeout above the time for which a run may stand still"
        }
        "rows_removed" | "conflicting" => {
            "let the primary keep what the standby reads (hot_standby_feedback)"
        }
        "wal_level_insufficient" => "leave wal_level at logical",
        _ => "raise max_slot_wal_keep_size",
    }
}

fn gone(name: &str) -> Error {
    Error::new(
        ErrorKind::Gap,
        "the run's replication slot is gone, so changes may be lost: drop the run and start anew",
    )
    .with("slot", name)
}

fn in_use(name: &str, pid: i32) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "the run's replication slot is in use: stop the other process of this run, or end its session",
    )
    .retryable(true)
    .with("slot", name)
    .with("pid", pid)
}
