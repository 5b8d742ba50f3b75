//! `zdm`: moves a live database to another server while its application
//! keeps reading and writing.
//!
//! ```text
//! zdm assess  --from postgres://app@old/shop --to postgres://app@new/shop
//! zdm migrate --from postgres://app@old/shop --to postgres://app@new/shop --follow
//! zdm verify  --from postgres://app@old/shop --to postgres://app@new/shop
//! zdm rehearse --from postgres://app@old/shop --to postgres://app@new/shop
//! zdm cutover --from postgres://app@old/shop --to postgres://app@new/shop
//! zdm certificate check switch.json
//! zdm rollback --from postgres://app@old/shop --to postgres://app@new/shop
//! ```
//!
//! Either side may as well be `mysql://…` or `mariadb://…`.
//!
//! Exit codes: 0 done; 1 it failed, and the message says what to do; 2 the
//! command line is wrong; 3 `assess` or `--dry-run` has found blockers. `verify`
//! ends with 0 when both sides are equal, 1 when they differ, 4 when it could
//! not be found out. `certificate check` ends with 1 when what is certified does
//! not hold, and so do `cutover` and `rollback` when they have switched, and the
//! certificate shows a difference.

mod args;
mod assess;
mod certificate;
mod cutover;
mod databases;
mod drop;
mod map;
mod migrate;
mod output;
mod reach;
mod rehearse;
mod rollback;
mod signals;
mod status;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use self::args::{Args, Command};
use self::output::Output;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("ZDM_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let output = Output::new(args.json());
    let result = match &args.command {
        Command::Assess(common) => assess::run(common, &output).await,
        Command::Migrate(migrate) => migrate::run(migrate, &output).await,
        Command::Status(common) => status::run(common, &output).await,
        Command::Cutover(cutover) => cutover::run(cutover, &output).await,
        Command::Rehearse(rehearse) => rehearse::run(rehearse, &output).await,
        Command::Certificate(certificate) => certificate::run(certificate, &output).await,
        Command::Rollback(rollback) => rollback::run(rollback, &output).await,
        Command::Verify(args) => verify::run(args, &output).await,
        Command::Drop(drop) => drop::run(drop, &output).await,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            match &args.command {
                Command::Verify(_) => ExitCode::from(verify::UNKNOWN),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
