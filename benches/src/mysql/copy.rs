//! The initial copy of a table to PostgreSQL.

use std::fs;

use tokio::process::Command;
use zdm_servers::mysql::{Flavor, MySql};
use zdm_servers::postgres::{PgOptions, Postgres};

use super::{Meter, Plan, ours};
use crate::Result;
use crate::log::{seed, server};
use crate::measure::{Cost, program};
use crate::report::{Line, Part, Ratio, Round};

/// What the table comes to, on either side. `pgloader` makes a `char`, which
/// PostgreSQL pads.
const SUM: &str = "SELECT CONCAT(COUNT(*), ' ', SUM(id), ' ', SUM(k), ' ', SUM(CHAR_LENGTH(c) + CHAR_LENGTH(pad)), ' ', \
                   RTRIM(MIN(c)), ' ', RTRIM(MAX(pad))) FROM sbtest";

pub(super) async fn run(plan: &Plan) -> Result<Vec<Part>> {
    let source = MySql::start(server(Flavor::MariaDb, true)).await?;
    for sql in seed(Flavor::MariaDb, plan.rows) {
        source.execute(&sql).await?;
    }
    let wanted = source.database("bench").value(SUM).await?;
    let target = Postgres::start(
        PgOptions::new()
            .version(15)
            .setting("shared_buffers", "1GB")
            .setting("max_wal_size", "8GB")
            .setting("checkpoint_timeout", "30min")
            .setting("autovacuum", "off"),
    )
    .await?;
    let (mut zdm, mut peer) = (Vec::new(), Vec::new());
    for number in 0..plan.rounds {
        for (name, rounds) in [("zdm", &mut zdm), ("pgloader", &mut peer)] {
            let database = target.create_database(&format!("{name}_{number}")).await?;
            // Each names the schema in its own way.
            database
                .execute(&format!("ALTER DATABASE {} SET search_path = bench, public", database.name()))
                .await?;
            let command = if name == "zdm" {
                ours(&["copy", &source.url("bench"), &database.url(), &format!("{name}{number}")])?
            } else {
                pgloader(&source.url("bench"), &database.url())?
            };
            rounds.push(round(&source, &target, command).await?);
            let found = database.value(SUM).await?;
            if found != wanted {
                return Err(format!("{name} has copied {found}, and not {wanted}").into());
            }
        }
    }
    let lines = vec![Line::of("zdm", plan.rows, &zdm), Line::of("pgloader", plan.rows, &peer)];
    let of = |at: usize, of: fn(&Line) -> Option<f64>| lines.get(at).and_then(of).unwrap_or(f64::NAN);
    let ratios = vec![
        Ratio::at_least("rate against pgloader's", of(0, |l| Some(l.rate)) / of(1, |l| Some(l.rate)), 3.0),
        Ratio::at_most("peak memory in MiB", of(0, |l| l.peak), 64.0),
    ];
    source.close().await?;
    target.close().await?;
    let name = format!("copy: {} rows from MariaDB to PostgreSQL, with two indexes", plan.rows);
    Ok(vec![Part { name, lines, ratios }])
}

async fn round(source: &MySql, target: &Postgres, command: Command) -> Result<Round> {
    let pid = fs::read_to_string(target.data_dir()?.join("postmaster.pid"))?;
    let pid = pid.lines().next().ok_or("the target has no process")?.trim().parse()?;
    let (from, to) = (Meter::begin(source.pid()?.ok_or("the source is gone")?)?, Meter::begin(pid)?);
    let Cost { wall, cpu, peak, .. } = program(command).await?;
    Ok(Round {
        wall,
        client: Some(cpu),
        source: Some(from.end()?),
        target: Some(to.end()?),
        peak: Some(peak),
    })
}

/// As its manual has it, with what it does by itself: the schema, the data,
/// the indexes.
fn pgloader(from: &str, to: &str) -> Result<Command> {
    let folder = std::env::temp_dir().join(format!("zdm-benches-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut command = Command::new("pgloader");
    command.arg("--root-dir").arg(&folder).arg("--on-error-stop").arg(from);
    // It knows `postgresql://` alone.
    command.arg(to.replacen("postgres://", "postgresql://", 1));
    Ok(command)
}
