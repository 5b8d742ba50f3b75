//! The benchmark program: see the library's front page.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zdm_benches::mysql::{self, Plan};
use zdm_benches::ours::Job;
use zdm_benches::pg;

/// Measures zdm beside what else there is.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// MySQL and MariaDB: decode, drain, copy, apply.
    Mysql(Plan),
    /// PostgreSQL: copy, drain, apply.
    Pg(pg::Plan),
    /// One of our jobs, in this process: what the program calls itself with.
    #[command(subcommand, hide = true)]
    Ours(Job),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Mysql(plan) => mysql::run(&plan).await,
        Command::Pg(plan) => pg::run(&plan).await,
        Command::Ours(job) => job.run().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
