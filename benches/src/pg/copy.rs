//! Workload A: the initial copy of `pgbench_accounts` to a second server, with
//! its key.

use tokio::process::Command;
use zdm_servers::postgres::{Database, Postgres};

use super::{Plan, meter, server};
use crate::Result;
use crate::measure::{Cost, program};
use crate::mysql::ours;
use crate::report::{Line, Part, Ratio, Round};

const TABLE: &str =
    "CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84))";
const KEY: &str = "ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)";
const SUM: &str = "SELECT count(*) || ' ' || sum(aid) || ' ' || sum(bid) || ' ' || sum(length(filler)) FROM pgbench_accounts";
const PEERS: [&str; 5] =
    ["zdm", "psql, one pipe", "psql, two pipes", "pgcopydb, two jobs", "CREATE SUBSCRIPTION"];

pub(super) async fn run(plan: &Plan) -> Result<Part> {
    let (source, target) = (server(plan).await?, server(plan).await?);
    let from = source.database("bench");
    from.execute(TABLE).await?;
    let rows = plan.rows;
    from.execute(&format!(
        "INSERT INTO pgbench_accounts SELECT a, (a - 1) / 100000 + 1, 0, '' FROM generate_series(1, {rows}) a; {KEY}"
    ))
    .await?;
    from.execute("VACUUM ANALYZE pgbench_accounts").await?;
    let wanted = from.value(SUM).await?;
    let mut rounds = vec![Vec::new(); PEERS.len()];
    for number in 0..plan.rounds {
        for (peer, rounds) in rounds.iter_mut().enumerate() {
            let to = target.create_database(&format!("to_{number}_{peer}")).await?;
            source.execute("CHECKPOINT").await?;
            target.execute("CHECKPOINT").await?;
            rounds.push(round(&source, &target, &to, peer, number).await?);
            let found = to.value(SUM).await?;
            if found != wanted {
                return Err(format!("{} has copied {found}, and not {wanted}", PEERS[peer]).into());
            }
            finish(&from, &to, peer, number).await?;
            target.execute(&format!("DROP DATABASE {}", to.name())).await?;
        }
    }
    let lines: Vec<Line> =
        PEERS.iter().zip(&rounds).map(|(name, rounds)| Line::of(*name, rows, rounds)).collect();
    let (ours, psql) = (&lines[0], better(&lines[1], &lines[2]));
    let of = |line: &Line, of: fn(&Line) -> Option<f64>| of(line).unwrap_or(f64::NAN);
    let ratios = vec![
        Ratio::at_most(
            "wall time, against the better psql",
            of(ours, |l| l.wall) / of(psql, |l| l.wall),
            1.05,
        ),
        Ratio::at_most(
            "CPU of the target, against the same",
            of(ours, |l| l.target) / of(psql, |l| l.target),
            1.1,
        ),
        Ratio::at_most("peak memory in MiB", of(ours, |l| l.peak), 64.0),
    ];
    source.close().await?;
    target.close().await?;
    Ok(Part { name: format!("A: copy of {rows} rows, with their key"), lines, ratios })
}

fn better<'a>(one: &'a Line, two: &'a Line) -> &'a Line {
    if one.wall <= two.wall { one } else { two }
}

async fn round(
    source: &Postgres,
    target: &Postgres,
    to: &Database,
    peer: usize,
    number: u32,
) -> Result<Round> {
    let from = source.database("bench");
    if peer == 1 || peer == 2 || peer == 4 {
        to.execute(TABLE).await?;
    }
    let (at_source, at_target) = (meter(source)?, meter(target)?);
    let began = std::time::Instant::now();
    let cost = match peer {
        0 => Some(
            program(ours(&[
                "copy",
                &from.url(),
                &to.url(),
                &format!("a{number}"),
                "public.pgbench_accounts",
            ])?)
            .await?,
        ),
        1 => Some(program(pipes(source, &from, to, &["true"])?).await?),
        2 => {
            let half = source_pages(&from).await? / 2;
            let (low, high) = (format!("ctid < '({half},0)'"), format!("ctid >= '({half},0)'"));
            Some(program(pipes(source, &from, to, &[&low, &high])?).await?)
        }
        3 => Some(program(pgcopydb(&from, to)).await?),
        _ => {
            subscribe(&from, to, number).await?;
            None
        }
    };
    let cost = cost.unwrap_or(Cost {
        wall: began.elapsed().as_secs_f64(),
        cpu: f64::NAN,
        peak: f64::NAN,
        out: String::new(),
    });
    let known = |number: f64| (!number.is_nan()).then_some(number);
    Ok(Round {
        wall: cost.wall,
        client: known(cost.cpu),
        source: Some(at_source.end()?),
        target: Some(at_target.end()?),
        peak: known(cost.peak),
    })
}

async fn source_pages(from: &Database) -> Result<u64> {
    Ok(from
        .value("SELECT relpages::bigint FROM pg_class WHERE relname = 'pgbench_accounts'")
        .await?
        .parse()?)
}

/// `psql | psql` for each condition, at once, and the key behind them.
fn pipes(server: &Postgres, from: &Database, to: &Database, conditions: &[&str]) -> Result<Command> {
    let psql = server.bin("psql")?;
    let psql = psql.display();
    let pipe = |condition: &&str| {
        format!(
            "{psql} -qXd '{}' -c \"COPY (SELECT * FROM pgbench_accounts WHERE {condition}) TO STDOUT (FORMAT binary)\" \
             | {psql} -qXd '{}' -c 'COPY pgbench_accounts FROM STDIN (FORMAT binary)' &",
            from.url(),
            to.url()
        )
    };
    let pipes: Vec<String> = conditions.iter().map(pipe).collect();
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("{} wait; {psql} -qXd '{}' -c '{KEY}'", pipes.join(" "), to.url())]);
    Ok(command)
}

/// Debian's package of that name.
fn pgcopydb(from: &Database, to: &Database) -> Command {
    let folder = std::env::temp_dir().join(format!("zdm-benches-{}-pgcopydb", std::process::id()));
    let mut command = Command::new("pgcopydb");
    command.args(["clone", "--table-jobs", "2", "--index-jobs", "2", "--restart", "--not-consistent"]);
    command.args(["--split-tables-larger-than", "300MB", "--skip-large-objects", "--skip-extensions"]);
    command.arg("--dir").arg(folder).arg("--source").arg(from.url()).arg("--target").arg(to.url());
    command
}

async fn subscribe(from: &Database, to: &Database, number: u32) -> Result<()> {
    let name = format!("native{number}");
    from.execute(&format!("CREATE PUBLICATION {name} FOR TABLE pgbench_accounts")).await?;
    to.execute(&format!("CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION {name}", from.url())).await?;
    while to.value("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'").await? != "0" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(to.execute(KEY).await?)
}

/// Takes away what a peer keeps on the servers.
async fn finish(from: &Database, to: &Database, peer: usize, number: u32) -> Result<()> {
    match peer {
        0 => {
            from.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; \
                 DROP SCHEMA IF EXISTS zdm CASCADE",
            )
            .await?;
        }
        4 => {
            to.execute(&format!("DROP SUBSCRIPTION native{number}")).await?;
            from.execute(&format!("DROP PUBLICATION native{number}")).await?;
        }
        _ => {}
    }
    Ok(())
}
