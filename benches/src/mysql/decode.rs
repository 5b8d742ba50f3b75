//! Rows of a log, from memory: CPU time of one thread.

use std::time::Duration;

use super::Plan;
use crate::Result;
use crate::decode::{all, schema};
use crate::log::{Load, in_memory};
use crate::measure::{median, of_thread};
use crate::report::{Line, Part, Ratio};

/// CPU time that one sample takes at least.
const SAMPLE: Duration = Duration::from_millis(300);
/// A log that is small enough for the caches to matter little to the outcome,
/// and large enough for each pass to be one.
const MOST: u64 = 100_000;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Part>> {
    let schema = schema()?;
    let mut parts = Vec::new();
    for load in [Load::Large, Load::Small] {
        let changes = plan.changes.min(MOST);
        let log = in_memory(load, changes).await?;
        let rows = load.changes(changes);
        let mut lines: Vec<Line> = Vec::new();
        let mut rates = vec![Vec::new(); all().len()];
        for _ in 0..plan.rounds {
            for ((name, decode), rates) in all().into_iter().zip(&mut rates) {
                let (began, mut passes) = (of_thread()?, 0_u32);
                let took = loop {
                    if decode(&schema, &log)? != rows {
                        return Err(format!("{name} has not found {rows} rows").into());
                    }
                    passes += 1;
                    let took = of_thread()?.saturating_sub(began);
                    if took >= SAMPLE {
                        break took;
                    }
                };
                #[expect(clippy::cast_precision_loss, reason = "a rate needs no last digit")]
                rates.push(rows as f64 * f64::from(passes) / took.as_secs_f64());
            }
        }
        for ((name, _), rates) in all().into_iter().zip(rates) {
            lines.push(Line { name: name.to_owned(), rate: median(rates), ..Line::default() });
        }
        let name = format!(
            "decode: {} changes of the log '{}', {} bytes, from memory",
            rows,
            load.name(),
            log.len()
        );
        parts.push(Part { name, ratios: ratios(&lines), lines });
    }
    Ok(parts)
}

fn ratios(lines: &[Line]) -> Vec<Ratio> {
    let rate = |name: &str| lines.iter().find(|line| line.name == name).map(|line| line.rate);
    let (values, cells) = (rate("zdm, every value"), rate("zdm"));
    let mut ratios =
        vec![Ratio::at_least("million rows a second, every value", values.map(|rate| rate / 1e6), 1.0)];
    for (peer, bound) in [("mysql_common", 10.0), ("mysql_cdc", 3.0)] {
        let against = |rate: Option<f64>, of: Option<f64>| Some(rate? / of?);
        let peers = rate(peer);
        ratios.push(Ratio::at_least(format!("every value, against {peer}"), against(values, peers), bound));
        ratios.push(Ratio::at_least(format!("cells, against {peer}"), against(cells, peers), bound));
    }
    ratios
}
