//! MySQL and MariaDB, beside their peers.

mod apply;
mod copy;
mod decode;
mod drain;
mod replica;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::process::Command;
use zdm_servers::mysql::Flavor;

use crate::Result;
use crate::log::Load;
use crate::measure::of_server;
use crate::report::{Part, conclude};

/// What is measured, and how long.
#[derive(Debug, Args)]
pub struct Plan {
    /// Which parts; all where none is named.
    parts: Vec<What>,
    /// How often each runs, in turn; what is said is the median.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Changes in a log.
    #[arg(long, default_value_t = 400_000)]
    changes: u64,
    /// Rows of the table that is copied.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Whose servers `apply` is measured with; both where none is named.
    #[arg(long, value_name = "WHOSE")]
    server: Vec<Whose>,
    /// Which backlogs `apply` is measured with; both where none is named.
    #[arg(long, value_name = "LOAD")]
    load: Vec<Load>,
    /// Ends well also where a wanted figure is missed.
    #[arg(long)]
    report_only: bool,
    /// Says it as JSON: on the standard output, or into a file.
    #[arg(long, num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Rows of a log from memory.
    Decode,
    /// A log over a socket.
    Drain,
    /// The initial copy to PostgreSQL.
    Copy,
    /// A backlog into a server of the same kind.
    Apply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whose {
    Mysql,
    Mariadb,
}

impl Plan {
    fn loads(&self) -> &[Load] {
        if self.load.is_empty() { Load::value_variants() } else { &self.load }
    }

    fn flavors(&self) -> Vec<Flavor> {
        let named = if self.server.is_empty() { Whose::value_variants() } else { &self.server };
        let flavors = named.iter().map(|whose| match whose {
            Whose::Mysql => Flavor::MySql,
            Whose::Mariadb => Flavor::MariaDb,
        });
        flavors.collect()
    }
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
            What::Decode => decode::run(plan).await?,
            What::Drain => drain::run(plan).await?,
            What::Copy => copy::run(plan).await?,
            What::Apply => apply::run(plan).await?,
        };
        for part in &measured {
            eprintln!("{part}");
        }
        done.extend(measured);
    }
    conclude(&done, plan.json.as_deref(), plan.report_only)
}

/// One of our jobs, as a process.
pub(crate) fn ours(words: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("ours").args(words);
    Ok(command)
}

/// CPU seconds of a server that something costs: `begin`, then `end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    pid: u32,
    before: f64,
}

impl Meter {
    pub(crate) fn begin(pid: u32) -> Result<Self> {
        Ok(Self { pid, before: of_server(pid)? })
    }

    pub(crate) fn end(self) -> Result<f64> {
        Ok(of_server(self.pid)? - self.before)
    }
}
