//! `zdm certificate check`, and the files that a cutover writes.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use zdm_core::migrate::Side;
use zdm_core::migrate::certificate::{Certificate, Held};
use zdm_core::{Error, ErrorKind, Result};

use crate::args::{Certificate as Command, Check};
use crate::databases::Database;
use crate::output::Output;

pub(crate) async fn run(command: &Command, output: &Output) -> Result<ExitCode> {
    let Command::Check(args) = command;
    let text = fs::read_to_string(&args.file).map_err(|error| unreadable(&args.file, error))?;
    let certificate = Certificate::parse(&text)?;
    output.say("certificate", json!({ "certificate": certificate }), certificate.to_string());
    let (mut holds, mut unchecked) = (certificate.is_equal(), Vec::new());
    if let Some(why) = &certificate.not_counted {
        let line = format!("no rows were counted at the switch: {why}");
        output.say("finding", json!({ "what": "not_counted", "message": why }), line);
    }
    for (table, evidence) in certificate.differing() {
        let object = json!({ "what": "different", "table": table, "at": "switch", "source": evidence.source,
                             "target": evidence.target });
        let line = format!(
            "{table}: different at the switch: {} at the source, {} at the target",
            evidence.source, evidence.target
        );
        output.say("finding", object, line);
    }
    for (side, flag, url) in [(Side::Source, "--from", &args.from), (Side::Target, "--to", &args.to)] {
        match url {
            Some(url) => holds &= database(&certificate, side, (flag, url), &mut unchecked, *output).await?,
            None => unchecked.push(format!("{}: give {flag}", name(side))),
        }
    }
    Ok(summary(&certificate, holds, &unchecked, args, *output))
}

/// Whether a database still holds what is certified of it.
async fn database(
    certificate: &Certificate,
    side: Side,
    (flag, url): (&str, &str),
    unchecked: &mut Vec<String>,
    output: Output,
) -> Result<bool> {
    let about = |error: Error| error.with("flag", flag);
    let database = Database::parse(url).map_err(about)?;
    let (source, sink) = (database.source(), database.sink());
    // A source is known by more than a target: by its log too.
    let (identity, verify) = match side {
        Side::Source => (source.identity().await, source.capabilities().verify),
        Side::Target => (sink.identity().await, sink.capabilities().verify),
    };
    let verify = verify.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "the connector cannot say what its tables hold").with("flag", flag)
    })?;
    let held = certificate.check(side, &identity.map_err(about)?, verify).await.map_err(about)?;
    let mut holds = true;
    for (table, held) in held {
        let side = name(side);
        match held {
            Held::Same => {
                let object = json!({ "what": "same", "side": side, "table": table });
                output.say("finding", object, format!("{table}: the {side} holds what is certified"));
            }
            Held::Other(count) => {
                holds = false;
                let object = json!({ "what": "different", "side": side, "table": table, "now": count });
                let line =
                    format!("{table}: the {side} holds other rows by now ({count}): it was written to since");
                output.say("finding", object, line);
            }
            Held::NotChecked(why) => unchecked.push(format!("{table} at the {side}: {why}")),
        }
    }
    Ok(holds)
}

fn summary(
    certificate: &Certificate,
    holds: bool,
    unchecked: &[String],
    args: &Check,
    output: Output,
) -> ExitCode {
    for what in unchecked {
        let line = format!("not checked: {what}");
        output.say("finding", json!({ "what": "not_checked", "message": what }), line);
    }
    let state = if holds { "holds" } else { "does_not_hold" };
    let object = json!({ "state": state, "run": certificate.run, "leg": certificate.leg,
                         "tables": certificate.tables.len(), "not_checked": unchecked });
    let asked = args.from.is_some() || args.to.is_some();
    let line = match (holds, asked) {
        (true, true) => "the certificate is whole, and what could be checked holds",
        (true, false) => "the certificate is whole; no database was asked",
        (false, _) => "what is certified does not hold: see above",
    };
    output.say("summary", object, line);
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Source => "source",
        Side::Target => "target",
    }
}

/// Refuses a file that could not be written behind a switch.
pub(crate) fn can_write(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() && !file.is_dir() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, "the certificate's file cannot be written: its folder is not there")
        .with("file", file.display()))
}

/// Writes a certificate, as people read JSON.
pub(crate) fn write(file: &Path, certificate: &Certificate) -> Result<()> {
    let text = serde_json::to_string_pretty(certificate).unwrap_or_else(|_| certificate.to_json());
    fs::write(file, text + "\n").map_err(|error| {
        Error::new(
            ErrorKind::Other,
            "switched, but the certificate's file cannot be written: it is kept with the record of the switch, and \
             `zdm cutover --certificate` fetches it",
        )
        .with("file", file.display())
        .caused_by(error)
    })
}

/// What it says in a word.
pub(crate) fn verdict(certificate: &Certificate) -> &'static str {
    match (certificate.is_equal(), &certificate.not_counted) {
        (true, _) => "equal",
        (false, None) => "different",
        (false, Some(_)) => "not_counted",
    }
}

/// How a tool ends that has switched.
pub(crate) fn code(verdict: Option<&str>) -> ExitCode {
    match verdict {
        None | Some("equal") => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

fn unreadable(file: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::NotFound, "the certificate cannot be read")
        .with("file", file.display())
        .caused_by(error)
}
