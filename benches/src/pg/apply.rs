//! Workloads B1 and B2, applied to a second server: ours beside the server's
//! own subscription.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Blocking;
use std::time::{Duration, Instant};

use zdm_servers::postgres::{Postgres, StopMode};

use super::{Load, Plan, meter, server};
use crate::Result;
use crate::measure::{Cost, program};
use crate::mysql::ours;
use crate::report::{Line, Part, Ratio, Round};

pub(super) async fn run(plan: &Plan, load: Load) -> Result<Part> {
    let (source, ours_at, native_at) = tokio::try_join!(server(plan), server(plan), server(plan))?;
    let bench = source.database("bench");
    bench.execute(load.schema()).await?;
    bench.execute(&load.seed(plan.changes)).await?;
    let (url, tables) = (bench.url(), load.tables().join(","));
    let to = ours_at.database("bench").url();
    let words = ["copy", &url, &to, "backlog", &tables];
    // Both have the tables, and know where the backlog begins.
    program(ours(&words)?).await?;
    let native = native_at.database("bench");
    native.execute(load.schema()).await?;
    bench.execute(&format!("CREATE PUBLICATION native FOR TABLE {tables}")).await?;
    native.execute(&format!("CREATE SUBSCRIPTION native CONNECTION '{url}' PUBLICATION native")).await?;
    while native.value("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'").await? != "0" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    native.execute("ALTER SUBSCRIPTION native DISABLE").await?;
    for sql in load.statements(plan.changes) {
        bench.execute(&sql).await?;
    }
    let wanted = bench.value(&load.sum()).await?;
    let goal = bench.value("SELECT pg_current_wal_flush_lsn()").await?;
    let kept = [Kept::of(&source).await?, Kept::of(&ours_at).await?, Kept::of(&native_at).await?];

    let (mut zdm, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        for kept in &kept {
            kept.restore().await?;
        }
        peer.push(subscribed(&source, &native_at, &goal).await?);
        zdm.push(applied(&source, &ours_at, &words).await?);
        for server in [&ours_at, &native_at] {
            let found = server.database("bench").value(&load.sum()).await?;
            if found != wanted {
                return Err(format!("a target has come to {found}, and not {wanted}").into());
            }
        }
    }
    let changes = load.changes(plan.changes);
    let lines = vec![Line::of("zdm", changes, &zdm), Line::of("subscription", changes, &peer)];
    let of = |at: usize, of: fn(&Line) -> Option<f64>| lines.get(at).and_then(of).unwrap_or(f64::NAN);
    let (wall, cpu) = if load == Load::Thousands { (0.85, 0.7) } else { (0.6, 0.5) };
    let ratios = vec![
        Ratio::at_most("wall time", of(0, |l| l.wall) / of(1, |l| l.wall), wall),
        Ratio::at_most("CPU of the target", of(0, |l| l.target) / of(1, |l| l.target), cpu),
    ];
    for Kept { copy, .. } in kept {
        fs::remove_dir_all(copy)?;
    }
    for server in [source, ours_at, native_at] {
        server.close().await?;
    }
    Ok(Part { name: format!("{}: apply of {changes} changes", load.name()), lines, ratios })
}

async fn subscribed(source: &Postgres, target: &Postgres, goal: &str) -> Result<Round> {
    let (from, to) = (meter(source)?, meter(target)?);
    let began = Instant::now();
    target.database("bench").execute("ALTER SUBSCRIPTION native ENABLE").await?;
    let arrived = format!(
        "SELECT confirmed_flush_lsn >= '{goal}' FROM pg_replication_slots WHERE slot_name = 'native'"
    );
    while source.value(&arrived).await? != "t" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let wall = began.elapsed().as_secs_f64();
    let round = Round { wall, source: Some(from.end()?), target: Some(to.end()?), ..Round::default() };
    target.database("bench").execute("ALTER SUBSCRIPTION native DISABLE").await?;
    Ok(round)
}

async fn applied(source: &Postgres, target: &Postgres, words: &[&str]) -> Result<Round> {
    let (from, to) = (meter(source)?, meter(target)?);
    let Cost { wall, cpu, peak, .. } = program(ours(words)?).await?;
    Ok(Round {
        wall,
        client: Some(cpu),
        source: Some(from.end()?),
        target: Some(to.end()?),
        peak: Some(peak),
    })
}

/// A server's data as it was, to be put back before each round.
struct Kept<'a> {
    server: &'a Postgres,
    copy: PathBuf,
}

impl<'a> Kept<'a> {
    async fn of(server: &'a Postgres) -> Result<Self> {
        let data = server.data_dir()?;
        let copy = data.with_extension("kept");
        server.stop(StopMode::Fast).await?;
        copied(&data, &copy)?;
        Ok(Self { server, copy })
    }

    async fn restore(&self) -> Result<()> {
        let data = self.server.data_dir()?;
        if self.server.pid()?.is_some() {
            self.server.stop(StopMode::Fast).await?;
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
