//! PostgreSQL, beside its peers: workloads A, B1 and B2, and a verification.

mod apply;
mod copy;
mod drain;
mod huge;
mod load;
#[cfg(feature = "pg_peers")]
pub mod peers;
mod verify;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use zdm_servers::postgres::{PgOptions, Postgres};

use crate::Result;
use crate::mysql::Meter;
use crate::report::{Part, conclude};

use self::load::Load;

/// What is measured, and how long.
#[derive(Debug, Args)]
pub struct Plan {
    /// Which parts; all where none is named.
    parts: Vec<What>,
    /// How often each runs, in turn; what is said is the median.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Changes of the logs B1 and B2.
    #[arg(long, default_value_t = 1_000_000)]
    changes: u64,
    /// Rows of the table that is copied, and of the one that is compared.
    #[arg(long, default_value_t = 5_000_000)]
    rows: u64,
    /// The servers' major version.
    #[arg(long, default_value_t = 15)]
    version: u16,
    /// Says it as JSON: on the standard output, or into a file.
    #[arg(long, num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Ends well also when a wanted figure is missed.
    #[arg(long)]
    report_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A: the initial copy of a table, with its key.
    Copy,
    /// B1 and B2: a backlog read and decoded.
    Drain,
    /// B1 and B2: a backlog applied.
    Apply,
    /// One transaction of B1's table, sent while it runs or behind its commit.
    Huge,
    /// A narrow table of both sides, compared.
    Verify,
}

/// Measures.
///
/// # Errors
/// When a server or a peer cannot be had, or anything fails: a figure that
/// was not measured is never said. Also, once all is said, when a wanted one
/// is missed.
pub async fn run(plan: &Plan) -> Result<()> {
    let parts = if plan.parts.is_empty() { What::value_variants() } else { &plan.parts };
    let mut done: Vec<Part> = Vec::new();
    for part in parts {
        let measured = match part {
            What::Copy => vec![copy::run(plan).await?],
            What::Huge => vec![huge::run(plan).await?],
            What::Verify => vec![verify::run(plan).await?],
            What::Drain => {
                vec![drain::run(plan, Load::Thousands).await?, drain::run(plan, Load::TpcB).await?]
            }
            What::Apply => {
                vec![apply::run(plan, Load::Thousands).await?, apply::run(plan, Load::TpcB).await?]
            }
        };
        for part in &measured {
            eprintln!("{part}");
        }
        done.extend(measured);
    }
    conclude(&done, plan.json.as_deref(), plan.report_only)
}

/// A server with the settings that all peers have, and the database `bench`.
async fn server(plan: &Plan) -> Result<Postgres> {
    let options = PgOptions::new()
        .version(plan.version)
        .database("bench")
        .durable(true)
        .setting("synchronous_commit", "on")
        .setting("full_page_writes", "on")
        .setting("shared_buffers", "1GB")
        .setting("max_wal_size", "8GB")
        .setting("checkpoint_timeout", "30min")
        .setting("autovacuum", "off")
        .setting("logical_decoding_work_mem", "64MB")
        .setting("jit", "off");
    Ok(Postgres::start(options).await?)
}

fn meter(server: &Postgres) -> Result<Meter> {
    Meter::begin(server.pid()?.ok_or("a server is gone")?)
}
