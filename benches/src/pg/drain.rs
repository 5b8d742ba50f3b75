//! Workloads B1 and B2, read and decoded to nowhere.

use tokio::process::Command;
use zdm_servers::postgres::{Database, Postgres};

use super::{Load, Plan, meter, server};
use crate::Result;
use crate::measure::{Cost, program};
use crate::mysql::ours;
use crate::ours::here;
use crate::report::{Line, Part, Ratio, Round};

pub(super) async fn run(plan: &Plan, load: Load) -> Result<Part> {
    let server = server(plan).await?;
    let bench = server.database("bench");
    bench.execute(load.schema()).await?;
    bench.execute(&load.seed(plan.changes)).await?;
    let url = bench.url();
    let position = here(&url, load.tables()).await?;
    for sql in load.statements(plan.changes) {
        bench.execute(&sql).await?;
    }
    bench.execute("CHECKPOINT").await?;
    let end = bench.value("SELECT pg_current_wal_flush_lsn()").await?;
    let slot = bench.value("SELECT slot_name FROM pg_replication_slots").await?;
    let publication = bench.value("SELECT pubname FROM pg_publication").await?;
    let (changes, tables) = (load.changes(plan.changes), load.tables().join(","));
    let count = changes.to_string();
    let words = ["drain", &url, position.as_str(), &count, &tables];

    let (mut cells, mut values, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    #[cfg(feature = "pg_peers")]
    let mut raw = super::peers::Peer::ALL.map(|peer| (peer, Vec::new()));
    for number in 0..plan.rounds {
        // Ours reads its slot again and again, since it never says that
        // anything is durable; the peer says so, and takes a copy.
        cells.push(round(&server, ours(&words)?).await?);
        values.push(round(&server, ours(&[&words[..], &["--values"]].concat())?).await?);
        let copy = format!("peer{number}");
        bench.execute(&format!("SELECT pg_copy_logical_replication_slot('{slot}', '{copy}')")).await?;
        peer.push(round(&server, recvlogical(&server, &bench, &copy, &publication, &end)?).await?);
        bench.execute(&format!("SELECT pg_drop_replication_slot('{copy}')")).await?;
        #[cfg(feature = "pg_peers")]
        for (peer, rounds) in &mut raw {
            bench.execute(&format!("SELECT pg_copy_logical_replication_slot('{slot}', '{copy}')")).await?;
            let words = ["peer", peer.name(), &url, &copy, &publication, &count];
            rounds.push(round(&server, ours(&words)?).await?);
            bench.execute(&format!("SELECT pg_drop_replication_slot('{copy}')")).await?;
        }
    }
    #[cfg_attr(not(feature = "pg_peers"), expect(unused_mut, reason = "peers come behind it"))]
    let mut lines = vec![
        Line::of("zdm", changes, &cells),
        Line::of("zdm, every value", changes, &values),
        Line::of("pg_recvlogical", changes, &peer),
    ];
    #[cfg(feature = "pg_peers")]
    lines.extend(raw.iter().map(|(peer, rounds)| Line::of(peer.name(), changes, rounds)));
    let of = |at: usize, of: fn(&Line) -> Option<f64>| lines.get(at).and_then(of).unwrap_or(f64::NAN);
    let ratios = vec![
        Ratio::at_most("wall time", of(0, |l| l.wall) / of(2, |l| l.wall), 0.75),
        Ratio::at_most("CPU of the source", of(0, |l| l.source) / of(2, |l| l.source), 0.75),
        Ratio::at_most("CPU of the client", of(0, |l| l.client) / of(2, |l| l.client), 0.6),
        Ratio::at_most("CPU of the client, every value", of(1, |l| l.client) / of(2, |l| l.client), 0.6),
    ];
    server.close().await?;
    Ok(Part { name: format!("{}: drain of {changes} changes", load.name()), lines, ratios })
}

async fn round(server: &Postgres, command: Command) -> Result<Round> {
    let meter = meter(server)?;
    let Cost { wall, cpu, peak, .. } = program(command).await?;
    // A sender that was left lives on for a moment.
    while server.value("SELECT count(*) FROM pg_replication_slots WHERE active").await? != "0" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(Round { wall, client: Some(cpu), source: Some(meter.end()?), peak: Some(peak), ..Round::default() })
}

fn recvlogical(
    server: &Postgres,
    bench: &Database,
    slot: &str,
    publication: &str,
    end: &str,
) -> Result<Command> {
    let mut command = Command::new(server.bin("pg_recvlogical")?);
    command.args(["--start", "--no-loop", "--file=/dev/null", "--option=proto_version=1"]);
    command.arg(format!("--option=publication_names={publication}"));
    command
        .arg(format!("--dbname={}", bench.url()))
        .arg(format!("--slot={slot}"))
        .arg(format!("--endpos={end}"));
    Ok(command)
}
