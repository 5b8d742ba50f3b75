//! Where a stream may begin: whether the server still has, and ever had, what
//! comes behind a position.
//!
//! The server checks some of it when the dump begins, and some it does not: an
//! unknown domain of MariaDB's is accepted in silence, and everything replays
//! from the start; a server that was restored or reset has other transactions
//! under the same names.

mod domains;

use mysql_async::prelude::Queryable;
use zdm_core::connect::RunName;
use zdm_core::{Error, ErrorKind, Identity, Position, Result};

use self::domains::Asked;
use crate::config::MySqlConfig;
use crate::connect::quote::quote_literal;
use crate::connect::{Control, Flavor};
use crate::error::OrMy;
use crate::position::{Coordinates, Domains, ENGINE, FilePoint, GtidSet, Gtids, Low, Point};
use crate::wire::{From, Request};

/// How long a server may take, in seconds, to count what it has committed.
const CATCH_UP: u32 = 10;

/// A start that was checked.
#[derive(Debug)]
pub(super) struct Start {
    /// The server's own id, which its coordinates bear.
    pub(super) server: u32,
    /// Whether its events end with a checksum, as it is set now.
    pub(super) checksums: bool,
    pub(super) request: Request,
}

/// Checks that a stream can begin behind `from`.
///
/// # Errors
/// `Gap` when what comes next is lost or was never there; `Config` when the
/// server has no binary log, or another `gtid_mode` than the run began with.
pub(super) async fn check(
    control: &mut Control,
    config: &MySqlConfig,
    run: &RunName,
    from: &Point,
) -> Result<Start> {
    let (server, log_bin, checksum) = server(control).await?;
    if !log_bin {
        return Err(Error::new(
            ErrorKind::Config,
            "the server writes no binary log: set log_bin there and restart it",
        ));
    }
    let checksums = checksum != "NONE";
    let moved = from.at.as_ref().is_some_and(|at| at.server != server);
    let begin = match (&from.gtids, control.server().flavor) {
        (Some(Gtids::Set(set)), Flavor::MySql) => From::Set(set_of(control, set, from, moved).await?),
        (Some(Gtids::Domains(domains)), Flavor::MariaDb) => {
            let begin = match &from.low {
                Some(Low::Domains(low)) => low,
                _ => domains,
            };
            let id = server_id(config, run);
            domains::check(control, config, Asked { server, checksums, from, domains, begin, id }).await?;
            From::Domains(begin.clone())
        }
        (Some(_), flavor) => {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "this position is not one of a {flavor}: point the run at the server that it began with"
                ),
            )
            .with("position", from));
        }
        (None, _) => From::File(file_of(control, from, server).await?),
    };
    let request = Request { server_id: server_id(config, run), heartbeat: config.heartbeat(), from: begin };
    Ok(Start { server, checksums, request })
}

/// Whether a run can still begin behind `from`, for who resumes it.
///
/// # Errors
/// As [`check`]; those of connecting.
pub(crate) async fn can_resume(config: &MySqlConfig, run: &RunName, from: &Position) -> Result<()> {
    let mut control = Control::connect(config, "resume").await?;
    check(&mut control, config, run, &Point::of(from)?).await.map(drop)
}

/// Which database a server is, as far as its log is concerned.
///
/// Where a log has GTIDs, another server of its topology may take over: that
/// it has the run's transactions is seen by [`check`]. Elsewhere coordinates
/// count, and they are one server's.
///
/// # Errors
/// When the server cannot be reached.
pub(crate) async fn identity(config: &MySqlConfig) -> Result<Identity> {
    let mut control = Control::connect(config, "identity").await?;
    let flavor = control.server().flavor;
    let identity = Identity::new(ENGINE).with("flavor", flavor.name());
    if flavor == Flavor::MariaDb {
        return Ok(identity);
    }
    let row: Option<(String, String)> = control
        .query_first("SELECT @@global.gtid_mode, @@global.server_uuid")
        .await
        .during("source.identity")?;
    let (mode, uuid) = row.unwrap_or_default();
    let identity = identity.with("gtid_mode", &mode);
    Ok(if mode == "ON" { identity } else { identity.with("server_uuid", uuid) })
}

/// Which server a run writes to: no other one takes over from it.
///
/// # Errors
/// When the server cannot be reached.
pub(crate) async fn target_identity(config: &MySqlConfig) -> Result<Identity> {
    let mut control = Control::connect(config, "identity").await?;
    let identity = identity(config).await?;
    if !control.server().is_mariadb() {
        return Ok(identity);
    }
    let (server, ..) = server(&mut control).await?;
    Ok(identity.with("server_id", server))
}

/// Where the log ends now: behind each commit that was acknowledged.
///
/// # Errors
/// As [`here`].
pub(crate) async fn log_end(config: &MySqlConfig) -> Result<Position> {
    let mut control = Control::connect(config, "log_end").await?;
    Ok((&here(&mut control).await?).into())
}

/// The place behind everything that is in the log now: its coordinates, and
/// the GTIDs that the server counts as committed, where it does.
///
/// A transaction that a SELECT sees is before these coordinates, and maybe not
/// yet among these GTIDs; one among these GTIDs is seen by every later SELECT.
///
/// # Errors
/// `Config` when there is no binary log, `Permission`.
pub(crate) async fn here(control: &mut Control) -> Result<Point> {
    let (server, ..) = server(control).await?;
    // First the coordinates: what is counted meanwhile lies behind them.
    let point = end_of_log(control).await?;
    let gtids = match control.server().flavor {
        Flavor::MariaDb => {
            let text = text(control, "SELECT @@global.gtid_binlog_state").await?;
            Some(if text.is_empty() { Gtids::Domains(Domains::default()) } else { text.parse()? })
        }
        Flavor::MySql if text(control, "SELECT @@global.gtid_mode").await? == "ON" => {
            let text = text(control, "SELECT @@global.gtid_executed").await?;
            Some(Gtids::Set(text.parse()?))
        }
        Flavor::MySql => None,
    };
    Ok(Point { gtids, at: Some(Coordinates { server, point }), low: None })
}

/// Where the log ends.
pub(crate) async fn end_of_log(control: &mut Control) -> Result<FilePoint> {
    let statement = control.server().show_log_end();
    let row: Option<mysql_async::Row> = control.query_first(statement).await.during("changes.head")?;
    let end = row.and_then(|row| row.get::<String, _>(0).zip(row.get::<u64, _>(1)));
    let (file, offset) = end.ok_or_else(|| {
        Error::new(ErrorKind::Config, "the server writes no binary log: set log_bin there and restart it")
    })?;
    FilePoint::new(&file, offset)
}

/// The files of the log and their sizes, oldest first.
pub(super) async fn files(control: &mut Control) -> Result<Vec<FilePoint>> {
    let rows: Vec<mysql_async::Row> = control.query("SHOW BINARY LOGS").await.during("changes.files")?;
    rows.iter()
        .filter_map(|row| row.get::<String, _>(0).zip(row.get::<u64, _>(1)))
        .map(|(file, size)| FilePoint::new(&file, size))
        .collect()
}

/// Id of the server, whether it has a binary log, and its checksums.
async fn server(control: &mut Control) -> Result<(u32, bool, String)> {
    let row: Option<(u32, bool, String)> = control
        .query_first("SELECT @@global.server_id, @@global.log_bin, @@global.binlog_checksum")
        .await
        .during("changes.start")?;
    row.ok_or_else(|| crate::error::protocol("the server did not tell its id"))
}

async fn text(control: &mut Control, statement: &str) -> Result<String> {
    let value: Option<Option<String>> = control.query_first(statement).await.during("changes.start")?;
    Ok(value.flatten().unwrap_or_default())
}

/// MySQL: what the reader has, but for what it must read again.
async fn set_of(control: &mut Control, set: &GtidSet, from: &Point, moved: bool) -> Result<GtidSet> {
    if text(control, "SELECT @@global.gtid_mode").await? != "ON" {
        return Err(Error::new(
            ErrorKind::Config,
            "the run goes by GTIDs, which are off on this server: set gtid_mode=ON again",
        ));
    }
    if moved && set.is_empty() {
        return Err(Error::new(
            ErrorKind::Gap,
            "this is another server than the one the run began with, and nothing shows that it has the same rows: \
             point the run at the first one, or start it anew",
        ));
    }
    let executed: GtidSet = text(control, "SELECT @@global.gtid_executed").await?.parse()?;
    // The log shows a transaction before the server counts it.
    if !executed.contains(set) {
        let wait =
            format!("SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {CATCH_UP})", quote_literal(&set.to_string()));
        if text(control, &wait).await? != "0" {
            return Err(Error::new(
                ErrorKind::Gap,
                "the server lacks transactions that the run has read: it is another server, or was restored or \
                 reset; point the run at the first one, or start it anew",
            )
            .with("lacks", set.without(&executed)));
        }
    }
    let begin = match &from.low {
        Some(Low::Set(low)) => set.without(low),
        _ => set.clone(),
    };
    let purged: GtidSet = text(control, "SELECT @@global.gtid_purged").await?.parse()?;
    if !begin.contains(&purged) {
        return Err(purged_away().with("lacks", purged.without(&begin)));
    }
    Ok(begin)
}

/// By place: the file must be there, and as long as it was.
async fn file_of(control: &mut Control, from: &Point, server: u32) -> Result<FilePoint> {
    let at = from.at.as_ref().ok_or_else(|| crate::error::protocol("the position names no place"))?;
    if at.server != server {
        return Err(Error::new(
            ErrorKind::Gap,
            "this position is a place in another server's log: point the run at that one, or start it anew",
        )
        .with("position", at)
        .with("server_id", server));
    }
    let begin = match &from.low {
        Some(Low::File(low)) => low,
        _ => &at.point,
    };
    let files = files(control).await?;
    let size =
        |wanted: &FilePoint| files.iter().find(|file| file.file() == wanted.file()).map(|file| file.offset);
    for wanted in [begin, &at.point] {
        match size(wanted) {
            Some(size) if size >= wanted.offset => {}
            Some(_) => {
                return Err(Error::new(
                    ErrorKind::Gap,
                    "the server's log is shorter than what the run has read: it was reset, or lost its end in a \
                     crash (sync_binlog=1 prevents that); start the run anew",
                )
                .with("position", wanted));
            }
            None => return Err(purged_away().with("position", wanted)),
        }
    }
    Ok(begin.clone())
}

fn purged_away() -> Error {
    Error::new(
        ErrorKind::Gap,
        "the log that comes next was purged: start the run anew, and let the server keep its binary log for longer \
         than a run may pause (binlog_expire_logs_seconds)",
    )
}

/// The id that we read under: chosen, or derived from the run's name, in the
/// upper half, where people do not number their servers.
fn server_id(config: &MySqlConfig, run: &RunName) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(run.as_str().as_bytes());
    config.server_id().unwrap_or(sum.sum() | 1 << 31)
}
