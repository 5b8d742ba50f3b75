//! Runs other programs to their end.

use std::process::Command;
use std::time::Instant;

use crate::error::{Doing, Error, Result};

/// Runs a command to its end and returns what it printed.
///
/// The error holds what it said on its way, since that is what tells why.
pub(crate) fn run(command: &mut Command, doing: impl Fn() -> String) -> Result<String> {
    let begun = Instant::now();
    let output = command.output().doing(&doing)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::new(doing()).because(format!(
        "{} ended with {} after {:?}\n{}{}",
        command.get_program().to_string_lossy(),
        output.status,
        begun.elapsed(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )))
}
