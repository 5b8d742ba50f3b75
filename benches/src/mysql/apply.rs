//! A backlog applied to a MariaDB: ours beside the server's own replica.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Blocking;
use std::time::Instant;

use zdm_servers::mysql::{MySql, MySqlOptions};

use super::{Meter, Plan, ours};
use crate::Result;
use crate::log::{Load, seed, server};
use crate::measure::{Cost, program};
use crate::report::{Line, Part, Ratio, Round};

/// Order does not matter to it.
const SUM: &str = "SELECT CONCAT(COUNT(*), ' ', SUM(CAST(CONV(LEFT(MD5(CONCAT_WS('/', id, k, c, pad)), 15), 16, 10) AS UNSIGNED))) \
                   FROM bench.sbtest";
const RUN: &str = "backlog";

pub(super) async fn run(plan: &Plan) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for load in [Load::Large, Load::Small] {
        parts.push(one(plan, load).await?);
    }
    Ok(parts)
}

async fn one(plan: &Plan, load: Load) -> Result<Part> {
    let source = MySql::start(server(false)).await?;
    for sql in seed(load.seed(plan.changes)) {
        source.execute(&sql).await?;
    }
    let url = source.url("bench");
    let (replica, target) = (MySql::start(workers(server(true))).await?, MySql::start(server(true)).await?);
    follow(&replica, &source, load, plan.changes).await?;
    // The first run copies the table, and fixes where the backlog begins.
    program(ours(&["copy", &url, &target.url(""), RUN])?).await?;
    let kept = [Kept::of(&replica).await?, Kept::of(&target).await?];
    source.execute(&load.statement(plan.changes)).await?;
    let (wanted, goal) = (source.value(SUM).await?, source.value("SELECT @@gtid_binlog_pos").await?);

    let (mut zdm, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        for kept in &kept {
            kept.restore().await?;
        }
        peer.push(replicated(&source, &replica, &goal).await?);
        zdm.push(applied(&source, &target, &url).await?);
        for server in [&replica, &target] {
            let found = server.value(SUM).await?;
            if found != wanted {
                return Err(format!("a target has come to {found}, and not {wanted}").into());
            }
        }
    }
    let changes = load.changes(plan.changes);
    let lines = vec![Line::of("zdm", changes, &zdm), Line::of("replica, four workers", changes, &peer)];
    let of = |at: usize, of: fn(&Line) -> Option<f64>| lines.get(at).and_then(of).unwrap_or(f64::NAN);
    let rate = of(0, |l| Some(l.rate)) / of(1, |l| Some(l.rate));
    let ratios = vec![Ratio::at_least("rate against the replica's", rate, 1.0)];
    for server in [source, replica, target] {
        server.close().await?;
    }
    Ok(Part { name: format!("apply: {changes} changes of the log '{}'", load.name()), lines, ratios })
}

fn workers(options: MySqlOptions) -> MySqlOptions {
    options
        .setting("slave_parallel_threads", 4)
        .setting("slave_parallel_mode", "optimistic")
        .setting("skip_slave_start", "ON")
}

/// Makes a replica that has what the source has now.
async fn follow(replica: &MySql, source: &MySql, load: Load, changes: u64) -> Result<()> {
    let mut sql = vec!["SET sql_log_bin = 0".to_owned()];
    sql.extend(seed(load.seed(changes)));
    let position = source.value("SELECT @@gtid_binlog_pos").await?;
    sql.push(format!("SET GLOBAL gtid_slave_pos = '{position}'"));
    sql.push(format!(
        "CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = '{}', MASTER_USE_GTID = slave_pos",
        source.host(),
        source.port(),
        source.user()
    ));
    Ok(replica.execute(&sql.join("; ")).await?)
}

async fn replicated(source: &MySql, replica: &MySql, goal: &str) -> Result<Round> {
    let (from, to) = (meter(source)?, meter(replica)?);
    let began = Instant::now();
    replica.execute("START SLAVE").await?;
    let waited = replica.value(&format!("SELECT MASTER_GTID_WAIT('{goal}', 3600)")).await?;
    let wall = began.elapsed().as_secs_f64();
    if waited != "0" {
        return Err(format!("the replica has not arrived: {}", replica.log()?).into());
    }
    let round = Round { wall, source: Some(from.end()?), target: Some(to.end()?), ..Round::default() };
    replica.execute("STOP SLAVE").await?;
    Ok(round)
}

async fn applied(source: &MySql, target: &MySql, url: &str) -> Result<Round> {
    let (from, to) = (meter(source)?, meter(target)?);
    let Cost { wall, cpu, peak, .. } = program(ours(&["copy", url, &target.url(""), RUN])?).await?;
    Ok(Round {
        wall,
        client: Some(cpu),
        source: Some(from.end()?),
        target: Some(to.end()?),
        peak: Some(peak),
    })
}

fn meter(server: &MySql) -> Result<Meter> {
    Meter::begin(server.pid()?.ok_or("a server is gone")?)
}

/// A server's data as it was, to be put back before each round.
struct Kept<'a> {
    server: &'a MySql,
    copy: PathBuf,
}

impl<'a> Kept<'a> {
    async fn of(server: &'a MySql) -> Result<Self> {
        let data = server.data_dir()?;
        let copy = data.with_extension("kept");
        server.stop().await?;
        copied(&data, &copy)?;
        Ok(Self { server, copy })
    }

    async fn restore(&self) -> Result<()> {
        let data = self.server.data_dir()?;
        if self.server.pid()?.is_some() {
            self.server.stop().await?;
        }
        fs::remove_dir_all(&data)?;
        copied(&self.copy, &data)?;
        Ok(self.server.start_again().await?)
    }
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    let done = Blocking::new("cp").arg("-a").arg(from).arg(to).status()?;
    if done.success() { Ok(()) } else { Err(format!("copying {} failed", from.display()).into()) }
}
