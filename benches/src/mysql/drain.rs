//! A log over a socket, to nowhere.

use std::fs;
use std::os::unix::fs::symlink;

use tokio::process::Command;
use zdm_servers::mysql::{Flavor, MySql};

use super::{Meter, Plan, ours};
use crate::Result;
use crate::log::{CHANGES, Load, server};
use crate::measure::{Cost, program};
use crate::ours::here;
use crate::report::{Line, Part, Ratio, Round};

pub(super) async fn run(plan: &Plan) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for load in [Load::Large, Load::Small] {
        parts.push(one(plan, load).await?);
    }
    Ok(parts)
}

async fn one(plan: &Plan, load: Load) -> Result<Part> {
    let server = MySql::start(server(Flavor::MariaDb, false)).await?;
    for sql in load.prepare(Flavor::MariaDb, plan.changes) {
        server.execute(&sql).await?;
    }
    server.execute("FLUSH BINARY LOGS").await?;
    let first = logs(&server).await?.len() - 1;
    let url = server.url("bench");
    let position = here(&url, &["bench.sbtest"]).await?;
    server.execute(CHANGES).await?;
    // A server begins a new one when one is full.
    let logs = logs(&server).await?.split_off(first);
    let changes = load.changes(plan.changes);
    let count = changes.to_string();
    let words = ["drain", &url, position.as_str(), &count];

    let (mut cells, mut values, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    // The first reader of a log may find it on no page of the cache.
    program(raw(&server, &logs)?).await?;
    for _ in 0..plan.rounds {
        peer.push(round(&server, raw(&server, &logs)?).await?);
        cells.push(round(&server, ours(&words)?).await?);
        values.push(round(&server, ours(&[&words[..], &["--values"]].concat())?).await?);
    }
    let lines = vec![
        Line::of("zdm", changes, &cells),
        Line::of("zdm, every value", changes, &values),
        Line::of("mariadb-binlog --raw", changes, &peer),
    ];
    let of = |at: usize, of: fn(&Line) -> Option<f64>| lines.get(at).and_then(of).unwrap_or(f64::NAN);
    let ratios = vec![
        Ratio::at_most("CPU of the client", of(0, |l| l.client) / of(2, |l| l.client), 0.7),
        Ratio::at_most("CPU of the client, every value", of(1, |l| l.client) / of(2, |l| l.client), 0.7),
        Ratio::at_most("wall time", of(0, |l| l.wall) / of(2, |l| l.wall), 1.0),
        Ratio::at_most("CPU of the source", of(0, |l| l.source) / of(2, |l| l.source), 1.0),
    ];
    server.close().await?;
    Ok(Part { name: format!("drain: {changes} changes of the log '{}'", load.name()), lines, ratios })
}

async fn round(server: &MySql, command: Command) -> Result<Round> {
    let meter = Meter::begin(server.pid()?.ok_or("the server is gone")?)?;
    let Cost { wall, cpu, peak, .. } = program(command).await?;
    Ok(Round { wall, client: Some(cpu), source: Some(meter.end()?), peak: Some(peak), ..Round::default() })
}

async fn logs(server: &MySql) -> Result<Vec<String>> {
    let names = server.query("SHOW BINARY LOGS").await?;
    let names: Option<Vec<String>> = names.iter().map(|row| row.first()?.clone()).collect();
    Ok(names.filter(|names| !names.is_empty()).ok_or("there is no log")?)
}

/// The peer writes files of the logs' own names: here they are ways to
/// nowhere.
fn raw(server: &MySql, logs: &[String]) -> Result<Command> {
    let folder = std::env::temp_dir().join(format!("zdm-benches-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    for file in logs.iter().map(|log| folder.join(log)).filter(|file| !file.is_symlink()) {
        symlink("/dev/null", file)?;
    }
    let mut command = Command::from(server.program("mariadb-binlog")?);
    command.args(["--no-defaults", "--read-from-remote-server", "--raw", "--protocol=tcp"]);
    command.arg(format!("--host={}", server.host())).arg(format!("--port={}", server.port()));
    command.arg(format!("--user={}", server.user()));
    command.arg(format!("--result-file={}/", folder.display())).args(logs);
    Ok(command)
}
