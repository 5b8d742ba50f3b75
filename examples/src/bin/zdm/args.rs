//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use zdm_core::Result;
use zdm_core::connect::RunName;
use zdm_core::migrate::cutover::CutoverOptions;

/// Moves a live database to another server while its application keeps
/// reading and writing
#[derive(Debug, Parser)]
#[command(name = "zdm", version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what stands in the way, and change nothing
    Assess(Common),
    /// Copy the tables and apply what changes meanwhile; the same command
    /// resumes after a stop or a kill
    Migrate(Migrate),
    /// Say how far a run is
    Status(Common),
    /// Make the target the active side: fence the source, drain, set
    /// sequences, seal
    Cutover(Cutover),
    /// Go through a cutover up to its switch, against the live source, and give
    /// everything back: what it would cost, step by step. Behind a cutover with
    /// --way-back, the same for a rollback
    Rehearse(Rehearse),
    /// Make the source the active side again, with all that was written since
    /// a cutover with --way-back
    Rollback(Cutover),
    /// Compare what both sides hold, row by row, while both change. Ends with 0
    /// when they are equal, with 1 when they differ, with 4 when it could not
    /// be found out
    Verify(Verify),
    /// Look at the certificate of a switch
    #[command(subcommand)]
    Certificate(Certificate),
    /// Remove what a run keeps on both servers; the moved tables stay
    Drop(Drop),
}

impl Args {
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Command::Assess(common) | Command::Status(common) => common.json,
            Command::Migrate(migrate) => migrate.common.json,
            Command::Cutover(cutover) | Command::Rollback(cutover) => cutover.common.json,
            Command::Rehearse(rehearse) => rehearse.common.json,
            Command::Verify(verify) => verify.common.json,
            Command::Certificate(Certificate::Check(check)) => check.json,
            Command::Drop(drop) => drop.common.json,
        }
    }
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// The source: postgres://, mysql:// or mariadb://user@host:port/database.
    /// Passwords may come from PGPASSWORD or ~/.pgpass, and from ~/.my.cnf or
    /// MYSQL_PWD
    #[arg(long, value_name = "URL", env = "ZDM_FROM", hide_env_values = true)]
    pub(crate) from: String,
    /// The target
    #[arg(long, value_name = "URL", env = "ZDM_TO", hide_env_values = true)]
    pub(crate) to: String,
    /// The name of the run: it names the slot, and what a resume goes on with
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) run: String,
    /// Tables to move, as patterns over schema.table (MySQL: database.table);
    /// may be repeated. Default: all of the database that --from names
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) tables: Vec<String>,
    /// Tables to leave out, as patterns over schema.table; may be repeated
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) exclude: Vec<String>,
    /// What a conversion to another engine shall do otherwise, as TOML: names,
    /// types, columns to leave behind, policies
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
    /// Keep a way back: behind a cutover the side that was left follows the
    /// active one, and `zdm rollback` returns to it. PostgreSQL to PostgreSQL
    #[arg(long)]
    pub(crate) way_back: bool,
    /// One JSON object a line; the last one has "event":"summary"
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Chunks copied at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) jobs: usize,
    /// The copy's speed at most, in bytes a second: 500k, 20M, 1G
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) max_rate: Option<u64>,
    /// The directory for what the source sends before it is committed; on a
    /// disk. Default: the system's for temporary files
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) spool: Option<PathBuf>,
    /// Bytes that may lie there at most: 500M, 20G. Default: 64 GiB
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub(crate) spool_limit: Option<u64>,
    /// Keep following until SIGINT or SIGTERM, then end at a durable position
    #[arg(long, conflicts_with = "cutover")]
    pub(crate) follow: bool,
    /// Once caught up, cut over to the target
    #[arg(long)]
    pub(crate) cutover: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Write the certificate of the switch there: counts and digests of every
    /// table on both sides as they were under the fence. With --follow, that of
    /// the last one
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Cutover {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Write the certificate of the switch there: counts and digests of every
    /// table on both sides as they were under the fence. Behind a switch, fetch
    /// the one that was made
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rehearse {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Certificate {
    /// Check its form and its checksum; with a URL, whether that database still
    /// holds what is certified. Ends with 0 when all of it holds, with 1 when not
    Check(Check),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The certificate
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The source that was left: its rows are read
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// The target that was switched to: its rows are read. Once the application
    /// has written to it, it holds others
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// One JSON object a line; the last one has "event":"summary"
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Parts compared at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) jobs: usize,
    /// The speed at most, in bytes a second: 500k, 20M, 1G
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) max_rate: Option<u64>,
    /// Follow the run meanwhile: for a run that no other process follows. One
    /// that does so is taken over, and ends
    #[arg(long)]
    pub(crate) follow: bool,
    /// Make the target right where it differs. It follows the run meanwhile,
    /// as --follow does: only who follows can repair
    #[arg(long)]
    pub(crate) repair: bool,
    /// Keep there how far it has come, and go on from there; removed when all
    /// is compared
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Limits {
    /// Seconds for which writers may wait at a cutover in all, or it is given
    /// up. Default: 30, or what the following process was given
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) deadline: Option<u64>,
    /// Compare rows: all of them first, unless the following process has, and
    /// under the fence those that were touched since. A difference stops the
    /// cutover
    #[arg(long)]
    pub(crate) verify: bool,
}

impl Limits {
    /// As it was given.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline.map(Duration::from_secs)
    }

    /// For a cutover from here.
    pub(crate) fn options(&self) -> CutoverOptions {
        let deadline = self.deadline().unwrap_or(Duration::from_secs(30));
        CutoverOptions::default().within(deadline).verify(self.verify)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Drop {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Drop a run that was cut over too: its source is open for writes again
    #[arg(long)]
    pub(crate) force: bool,
}

impl Common {
    pub(crate) fn run(&self) -> Result<RunName> {
        self.run.parse()
    }
}

/// Reads `500k`, `20M`, `1G` or a plain number, in bytes.
fn rate(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        unit => return Err(format!("{unit} is no unit: write k, M or G")),
    };
    let number: u64 = digits.parse().map_err(|_| "write a number and k, M or G: 20M".to_owned())?;
    number.checked_mul(factor).filter(|rate| *rate > 0).ok_or_else(|| "the rate is out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!((rate("500k"), rate("20M"), rate("7")), (Ok(500_000), Ok(20_000_000), Ok(7)));
        assert!(rate("fast").is_err() && rate("0").is_err() && rate("1X").is_err());
    }
}
