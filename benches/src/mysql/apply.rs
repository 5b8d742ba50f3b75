//! A backlog applied to a server of the same kind: ours beside its own replica.
//!
//! What the clocks include. *Ours* goes from the start of a process to its end:
//! it connects to both sides, compares the tables, reads the log, applies it and
//! reads back that it has arrived. The *replica's* goes from `START REPLICA`, sent
//! on a connection that is there, to the answer of a wait for the source's last
//! GTID: its threads start and connect in it, its process does not. Both servers
//! have just been started on the data of before, outside of either clock, and
//! both flush each commit and write a log of their own. So a small backlog is
//! decided by our start, half a second of which nothing is applied: take one of
//! some seconds (`--changes 1000000` for `large`). The backlog `small` has a
//! transaction for four changes, and the replica flushes each of them: 100,000
//! of them took it over two minutes, so it gets a tenth of the changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Blocking;
use std::time::Instant;

use zdm_servers::mysql::{Flavor, MySql};

use super::replica::{self, Replica};
use super::{Meter, Plan, ours};
use crate::Result;
use crate::log::{CHANGES, Load, server};
use crate::measure::{Cost, program};
use crate::report::{Line, Part, Ratio, Round};

/// Order does not matter to it.
const SUM: &str = "SELECT CONCAT(COUNT(*), ' ', SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS('/', id, k, c, pad), 256), 15), 16, 10) AS UNSIGNED))) \
                   FROM bench.sbtest";
const RUN: &str = "backlog";

pub(super) async fn run(plan: &Plan) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for flavor in plan.flavors() {
        for load in plan.loads() {
            parts.push(one(plan, flavor, *load).await?);
        }
    }
    Ok(parts)
}

async fn one(plan: &Plan, flavor: Flavor, load: Load) -> Result<Part> {
    let asked = if load == Load::Small { plan.changes / 10 } else { plan.changes };
    let source = MySql::start(server(flavor, false)).await?;
    let prepare = load.prepare(flavor, asked);
    for sql in &prepare {
        source.execute(sql).await?;
    }
    let url = source.url("bench");
    let (replica, target) = (
        MySql::start(replica::options(server(flavor, true))).await?,
        MySql::start(server(flavor, true)).await?,
    );
    let replica = Replica::of(replica, &source, &prepare).await?;
    // The first run copies the table, and fixes where the backlog begins.
    program(ours(&["copy", &url, &target.url(""), RUN])?).await?;
    let kept = [Kept::of(replica.server()).await?, Kept::of(&target).await?];
    source.execute(CHANGES).await?;
    let (wanted, goal) = (source.value(SUM).await?, replica::head(&source).await?);

    let (mut zdm, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        for kept in &kept {
            kept.restore().await?;
        }
        peer.push(replicated(&source, &replica, &goal).await?);
        zdm.push(applied(&source, &target, &url).await?);
        for server in [replica.server(), &target] {
            let found = server.value(SUM).await?;
            if found != wanted {
                return Err(format!("a target has come to {found}, and not {wanted}").into());
            }
        }
    }
    let changes = load.changes(asked);
    let lines = vec![Line::of("zdm", changes, &zdm), Line::of("replica, four workers", changes, &peer)];
    let rates: Vec<f64> = lines.iter().map(|line| line.rate).collect();
    let ratios = vec![Ratio::at_least("rate against the replica's", rates[0] / rates[1], 1.0)];
    let version = target.version().await?;
    for server in [&source, replica.server(), &target] {
        server.clone().close().await?;
    }
    Ok(Part {
        name: format!("apply: {changes} changes of the log '{}', {flavor} {version}", load.name()),
        lines,
        ratios,
    })
}

async fn replicated(source: &MySql, replica: &Replica, goal: &str) -> Result<Round> {
    let (from, to) = (meter(source)?, meter(replica.server())?);
    let began = Instant::now();
    replica.arrive(goal).await?;
    let wall = began.elapsed().as_secs_f64();
    let round = Round { wall, source: Some(from.end()?), target: Some(to.end()?), ..Round::default() };
    replica.stop().await?;
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
