//! Both sides compared: a narrow table of two servers that rest, beside what
//! the servers need to hand the same rows to somebody who looks at none.

use tokio::process::Command;
use zdm_servers::postgres::{Database, Postgres};

use super::{Plan, meter, server};
use crate::Result;
use crate::measure::program;
use crate::mysql::ours;
use crate::report::{Line, Part, Ratio, Round};

const TABLE: &str = "CREATE TABLE narrow (id bigint PRIMARY KEY, a int NOT NULL, b int NOT NULL)";
const PEERS: [&str; 3] = ["zdm verify", "COPY of both, read by psql", "sums of row hashes, in the servers"];

pub(super) async fn run(plan: &Plan) -> Result<Part> {
    let (source, target) = (server(plan).await?, server(plan).await?);
    let (from, to) = (source.database("bench"), target.database("bench"));
    let rows = plan.rows;
    let fill = format!("INSERT INTO narrow SELECT i, i % 1000, i / 1000 FROM generate_series(1, {rows}) i");
    for database in [&from, &to] {
        database.execute(TABLE).await?;
        database.execute(&fill).await?;
        database.execute("VACUUM ANALYZE narrow").await?;
    }
    let mut rounds = vec![Vec::new(); PEERS.len()];
    for _ in 0..plan.rounds {
        for (peer, rounds) in rounds.iter_mut().enumerate() {
            rounds.push(round(&source, &target, (&from, &to), peer, rows).await?);
        }
    }
    let lines: Vec<Line> =
        PEERS.iter().zip(&rounds).map(|(name, rounds)| Line::of(*name, rows, rounds)).collect();
    let wanted = lines[1].rate.min(1_000_000.0);
    let ratios = vec![
        Ratio::at_least("rows a second, of a million or of the servers' own", lines[0].rate / wanted, 1.0),
        Ratio::at_most("peak memory in MiB", lines[0].peak, 64.0),
    ];
    source.close().await?;
    target.close().await?;
    Ok(Part { name: format!("verification of {rows} narrow rows"), lines, ratios })
}

async fn round(
    source: &Postgres,
    target: &Postgres,
    (from, to): (&Database, &Database),
    peer: usize,
    rows: u64,
) -> Result<Round> {
    let (at_source, at_target) = (meter(source)?, meter(target)?);
    let cost = match peer {
        0 => program(ours(&["verify", &from.url(), &to.url(), &rows.to_string(), "public.narrow"])?).await?,
        1 => program(both(source, from, to, "COPY narrow TO STDOUT")?).await?,
        _ => {
            let sum = "SELECT count(*), sum(hashtextextended(n::text, 0)) FROM narrow n";
            program(both(source, from, to, sum)?).await?
        }
    };
    Ok(Round {
        wall: cost.wall,
        client: Some(cost.cpu),
        source: Some(at_source.end()?),
        target: Some(at_target.end()?),
        peak: Some(cost.peak),
    })
}

/// A statement on both servers at once.
fn both(server: &Postgres, from: &Database, to: &Database, sql: &str) -> Result<Command> {
    let psql = server.bin("psql")?;
    let psql = psql.display();
    let one = |database: &Database| format!("{psql} -qXd '{}' -c \"{sql}\" > /dev/null & ", database.url());
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("{}{}wait", one(from), one(to))]);
    Ok(command)
}
