//! What was measured, for people and for programs.

use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::measure::median;

/// One part of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// What was done, to what.
    pub name: String,
    /// Each that did it.
    pub lines: Vec<Line>,
    /// What was wanted.
    pub ratios: Vec<Ratio>,
}

/// Medians of one of those that were measured. What does not apply is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    /// Who.
    pub name: String,
    /// Rows or changes a second: of CPU time in `decode`, else of wall time.
    pub rate: f64,
    /// Seconds from start to end.
    pub wall: Option<f64>,
    /// CPU seconds of the client.
    pub client: Option<f64>,
    /// CPU seconds of the source's server.
    pub source: Option<f64>,
    /// CPU seconds of the target's server.
    pub target: Option<f64>,
    /// Peak memory of the client, in MiB.
    pub peak: Option<f64>,
}

/// A figure that has a bound.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// Of what to what.
    pub name: String,
    /// What it is; absent where a peer has not taken part.
    pub is: Option<f64>,
    /// The bound, in words: `>= 10`.
    pub wanted: String,
    /// Whether it is kept, if that was measured.
    pub reached: Option<bool>,
}

impl Ratio {
    /// A figure that is to be at least that.
    pub fn at_least(name: impl Into<String>, is: impl Into<Option<f64>>, bound: f64) -> Self {
        let is = is.into();
        Self { name: name.into(), is, wanted: format!(">= {bound}"), reached: is.map(|is| is >= bound) }
    }

    /// A figure that is to be at most that.
    pub fn at_most(name: impl Into<String>, is: impl Into<Option<f64>>, bound: f64) -> Self {
        let is = is.into();
        Self { name: name.into(), is, wanted: format!("<= {bound}"), reached: is.map(|is| is <= bound) }
    }

    /// Whether it was measured, and its bound is not kept.
    pub fn is_missed(&self) -> bool {
        self.reached == Some(false)
    }
}

/// What one run of somebody came to; many make a [`Line`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Round {
    /// As in [`Line`].
    pub wall: f64,
    /// As in [`Line`].
    pub client: Option<f64>,
    /// As in [`Line`].
    pub source: Option<f64>,
    /// As in [`Line`].
    pub target: Option<f64>,
    /// As in [`Line`].
    pub peak: Option<f64>,
}

impl Line {
    /// The medians of some rounds, each of so many rows.
    pub fn of(name: impl Into<String>, rows: u64, rounds: &[Round]) -> Self {
        let middle = |of: fn(&Round) -> Option<f64>| {
            let numbers: Vec<f64> = rounds.iter().filter_map(of).collect();
            (!numbers.is_empty()).then(|| median(numbers))
        };
        let wall = median(rounds.iter().map(|round| round.wall).collect());
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no last digit")]
        let rate = rows as f64 / wall;
        Self {
            name: name.into(),
            rate,
            wall: Some(wall),
            client: middle(|round| round.client),
            source: middle(|round| round.source),
            target: middle(|round| round.target),
            peak: middle(|round| round.peak),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.name)?;
        writeln!(
            f,
            "  {:<28} {:>12} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "", "rows/s", "wall s", "client", "source", "target", "MiB"
        )?;
        let cell = |number: Option<f64>| number.map_or_else(String::new, |number| format!("{number:.2}"));
        for line in &self.lines {
            writeln!(
                f,
                "  {:<28} {:>12.0} {:>8} {:>8} {:>8} {:>8} {:>8}",
                line.name,
                line.rate,
                cell(line.wall),
                cell(line.client),
                cell(line.source),
                cell(line.target),
                cell(line.peak)
            )?;
        }
        for ratio in &self.ratios {
            let verdict = match ratio.reached {
                Some(true) => "reached",
                Some(false) => "MISSED",
                None => "not measured",
            };
            writeln!(f, "  {:<60} {:>12}  {:<8} {verdict}", ratio.name, cell(ratio.is), ratio.wanted)?;
        }
        Ok(())
    }
}

/// Ends a run: says it all as JSON where that is asked for, to the standard
/// output (`-`) or into a file.
///
/// # Errors
/// When the file cannot be written; when a wanted figure is missed, unless
/// that is only to be reported.
pub fn conclude(parts: &[Part], json: Option<&Path>, report_only: bool) -> Result<()> {
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(parts)?;
        if path.as_os_str() == "-" { println!("{text}") } else { std::fs::write(path, text)? }
    }
    let missed = parts.iter().flat_map(|part| &part.ratios).filter(|ratio| ratio.is_missed()).count();
    if missed > 0 && !report_only {
        return Err(format!("{missed} of the wanted figures are missed").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_medians_of_its_rounds() {
        let round = |wall, client| Round { wall, client: Some(client), ..Round::default() };
        let line = Line::of("x", 100, &[round(1.0, 3.0), round(4.0, 1.0), round(2.0, 2.0)]);
        assert_eq!((line.wall, line.client, line.source), (Some(2.0), Some(2.0), None));
        assert!((line.rate - 50.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_measured_is_neither_reached_nor_missed() {
        let ratios = vec![
            Ratio::at_least("a", 3.0, 3.0),
            Ratio::at_most("b", 0.8, 0.7),
            Ratio::at_least("c", None, 3.0),
        ];
        assert_eq!(ratios.iter().map(Ratio::is_missed).collect::<Vec<_>>(), [false, true, false]);
        // A figure that is no number keeps no bound.
        assert!(Ratio::at_least("d", f64::NAN, 3.0).is_missed());
        let text = Part { name: "x".to_owned(), lines: Vec::new(), ratios }.to_string();
        let verdicts: Vec<&str> = text.lines().skip(2).map(|line| line[83..].trim()).collect();
        assert_eq!(verdicts, ["reached", "MISSED", "not measured"], "{text}");
    }
}
