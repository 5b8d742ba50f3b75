//! Moves a live database to PostgreSQL while an application keeps writing to
//! it, and proves that nothing was lost.
//!
//! Needs nothing but this checkout: it finds or fetches MySQL (or MariaDB,
//! where MySQL cannot be had) and PostgreSQL, and starts two throwaway
//! servers.
//!
//! ```text
//! cargo run --release --example live_migration
//! cargo run --release --example live_migration -- --from mariadb --rows 100000
//! cargo run --release --example live_migration -- --from postgres --json
//! ```
//!
//! What happens: a shop is loaded into the first server; an application with
//! some workers places orders, pays them, moves keys and deletes, all through
//! a gate; the shop is copied and followed. Under that load a cutover to the
//! second server is rehearsed, and then done; from PostgreSQL it is rolled back
//! and done again, since what is written on the new side follows to the old one.
//! Each cutover compares under its fence what was touched since all rows were
//! compared, and the last one is certified. In the end every table is compared
//! by plain SQL as it was at the moment of the last switch, and the
//! application's own ledger with what it finds in the new database.

mod app;
mod course;
mod report;
mod shop;
mod witness;

use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use tokio_util::sync::CancellationToken;
use zdm_core::gate::Gate;
use zdm_core::migrate::Migration;
use zdm_core::schema::Selection;
use zdm_mysql::{MySqlConfig, MySqlSource};
use zdm_pg::{PgConfig, PgSink, PgSource};
use zdm_servers::{PgOptions, Postgres};

use crate::app::{App, Side};
use crate::course::Course;
use crate::report::{Bars, Report};
use crate::shop::Old;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Moves a live database and proves that nothing was lost.
#[derive(Debug, Parser)]
struct Args {
    /// The engine that the shop begins on
    #[arg(long, value_enum, default_value_t = From::Mysql)]
    from: From,
    /// Orders in the shop before the move begins
    #[arg(long, default_value_t = 200_000)]
    rows: u32,
    /// Workers of the application that writes all the time
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Seconds that the application writes before the cutover, once the
    /// target has caught up, and again behind it
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Ends with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Mysql,
    Mariadb,
    Postgres,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let report = migrate(&args).await?;
    println!("{report}");
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    if report.is_perfect() { Ok(()) } else { Err("something failed or differs: see above".into()) }
}

async fn migrate(args: &Args) -> Result<Report, Failure> {
    let began = Instant::now();
    println!("starting two servers");
    let (old, new) = tokio::try_join!(Old::start(args.from), async {
        Ok(Postgres::start(PgOptions::new().durable(true)).await?)
    })?;
    let new = new.create_database("shop").await?;
    println!("loading a shop with {} orders into {}", args.rows, old.engine());
    old.load(args.rows).await?;

    // The application: every request passes the gate to the active side.
    let gate = Gate::new(Side::new("old", old.url()));
    let app = App::start(gate.clone(), args.workers);

    // The migration. The same lines move a database of yours.
    let sink = PgSink::new(PgConfig::parse(&new.url())?);
    let migration = match &old {
        Old::Postgres(old) => {
            let (from, to) = (PgConfig::parse(&old.url())?, PgConfig::parse(&new.url())?);
            Migration::between(PgSource::new(from.clone()), sink)
                .way_back(PgSource::new(to), PgSink::new(from))
        }
        Old::MySql(old, _) => Migration::between(MySqlSource::new(MySqlConfig::parse(&old.url())?), sink)
            .tables(Selection::new(["shop.*"])?),
    };
    let migration = migration.build()?;
    if let Some(converted) = migration.conversion().await? {
        print!("{}", report::Converted(&converted));
    }
    let bars = Bars::watch(migration.status());
    let moved = Instant::now();
    let mut running = migration.start(CancellationToken::new());
    running.followed().await?;
    let caught_up = moved.elapsed();
    let before = running.status();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;

    // Rehearsed, switched, and where something leads back, rolled back and
    // switched again.
    let course = Course {
        migration: &migration,
        gate: &gate,
        old: Side::new("old", old.url()),
        new: Side::new("new", new.url()),
        database: &new,
        between: Duration::from_secs(args.seconds),
        said: &bars,
    };
    let went = course.run(running).await?;
    bars.finish();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let ledger = app.stop().await;

    println!("comparing every row by plain SQL");
    let (compared_rows, differences) = old.compare(&new, &went.witness.seen()?).await?;
    let lost = ledger.missing(&new.connect().await?).await?;
    let certified = went.certificate.differing().count() as u64;

    Ok(Report {
        from: old.engine(),
        rows_copied: went.status.rows_copied,
        changes_applied: went.status.changes_applied,
        rows_per_second: rate(before.rows_copied, caught_up),
        requests: ledger.requests,
        requests_per_second: rate(ledger.requests, ledger.time),
        failed_requests: ledger.failed,
        first_failure: ledger.first_failure,
        longest_wait_ms: gate.stats().longest_wait.as_secs_f64() * 1_000.0,
        rehearsal: went.rehearsal,
        switches: went.pauses.len(),
        rollback: went.rollback,
        pause: *went.pauses.last().ok_or("nothing was switched")?,
        touched_rows: went.touched_rows,
        certified_rows: went.certificate.tables.values().map(|table| table.target.rows).sum(),
        certificate: went.certificate.is_equal(),
        compared_rows,
        differences: differences + lost + certified,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Whole things a second.
fn rate(count: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}
