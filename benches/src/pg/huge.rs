//! One transaction of B1's table, followed while it runs: sent early, or all
//! behind its commit.

use std::time::{Duration, Instant};

use zdm_servers::postgres::{Database, Postgres};

use super::{Load, Plan, meter, server};
use crate::Result;
use crate::measure::{Cost, program};
use crate::mysql::ours;
use crate::ours::here;
use crate::report::{Line, Part, Ratio, Round};

pub(super) async fn run(plan: &Plan) -> Result<Part> {
    let server = server(plan).await?;
    let bench = server.database("bench");
    bench.execute(Load::Thousands.schema()).await?;
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        early.push(round(&server, &bench, plan.changes, "on").await?);
        late.push(round(&server, &bench, plan.changes, "off").await?);
    }
    let lines =
        vec![Line::of("streaming=on", plan.changes, &early), Line::of("streaming=off", plan.changes, &late)];
    let of = |at: usize, of: fn(&Line) -> Option<f64>| lines.get(at).and_then(of).unwrap_or(f64::NAN);
    let ratios = vec![
        Ratio::at_most("time behind the commit", of(0, |l| l.wall) / of(1, |l| l.wall), 1.0),
        Ratio::at_most("CPU of the source", of(0, |l| l.source) / of(1, |l| l.source), 1.0),
        Ratio::at_most("CPU of the client", of(0, |l| l.client) / of(1, |l| l.client), 2.0),
    ];
    server.close().await?;
    let name = format!("one transaction of {} changes, from its commit on", plan.changes);
    Ok(Part { name, lines, ratios })
}

/// The wall time is from the commit to the last change; CPU is of all of it,
/// the transaction itself included.
async fn round(server: &Postgres, bench: &Database, changes: u64, streaming: &str) -> Result<Round> {
    bench.execute("TRUNCATE changed; CHECKPOINT").await?;
    let url = bench.url();
    let url = format!("{url}{}streaming={streaming}", if url.contains('?') { '&' } else { '?' });
    let tables = Load::Thousands.tables();
    let position = here(&url, tables).await?;
    let (count, tables) = (changes.to_string(), tables.join(","));
    let meter = meter(server)?;
    let reader = async {
        let cost = program(ours(&["drain", &url, position.as_str(), &count, &tables])?).await?;
        Result::Ok((cost, Instant::now()))
    };
    let writer = async {
        while server.value("SELECT count(*) FROM pg_replication_slots WHERE active").await? == "0" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.execute(&Load::one_transaction(changes)).await?;
        Result::Ok(Instant::now())
    };
    let ((Cost { cpu, peak, .. }, end), commit) = tokio::try_join!(reader, writer)?;
    while server.value("SELECT count(*) FROM pg_replication_slots WHERE active").await? != "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let wall = end.duration_since(commit).as_secs_f64();
    Ok(Round { wall, client: Some(cpu), source: Some(meter.end()?), peak: Some(peak), ..Round::default() })
}
