//! The certificate of a switch: the evidence that nothing was lost.
//!
//! Under the fence, when the target has everything and neither side changes,
//! both are kept as they are: a snapshot on either, which locks nothing. Behind
//! the switch, while the application goes on, all rows of both are counted and
//! digested by the [canonical form](crate::verify) of their values. So the
//! digests are of the very moment of the switch, they are comparable between
//! engines, and a table whose two sides are equal there was moved whole.
//!
//! It is JSON, with a version, and a checksum over all of it: one that was cut
//! off or altered by accident does not pass. It is not signed; keep it where
//! only those can write who may.
//!
//! ```json
//! {"version": 1, "run": "main", "leg": 1, "epoch": 3, "issued": "2026-01-31T12:00:00.5Z",
//!  "source": {…}, "target": {…}, "fence": {…}, "drained": {…},
//!  "tables": {"public.orders": {"sources": ["public.orders"], "converted": false, "columns": ["id", "net"],
//!             "source": {"rows": 2, "digest": "0f…"}, "target": {"rows": 2, "digest": "0f…"}}},
//!  "not_counted": null, "sequences": [{"name": {…}, "last": 7, "called": true, "increment": 1}],
//!  "sequence_margin": 1000, "verification": "skipped", "pause_ms": 57, "checksum": "8a…"}
//! ```
//!
//! # Checked later
//!
//! [`check`](Certificate::check) asks one of the two databases whether it still
//! holds what is certified. The source does for as long as it is sealed and no
//! way back follows into it; the target until the application writes to it. Rows
//! that a stage or a conversion has altered are certified as they arrived: the
//! target alone can be asked for those.
//!
//! # What it does not show
//!
//! Columns that are computed and those that the run does not write are not
//! counted, nor are indexes and constraints. A process that is killed between
//! the switch and the end of the count leaves none, and it cannot be made later:
//! the moment is gone.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Side;
use super::cutover::{Switch, Verification, rfc3339};
use crate::connect::{Epoch, RunName, SequenceValue, Verify};
use crate::schema::TableName;
use crate::verify::{Count, counted_alone, now};
use crate::{Error, ErrorKind, Identity, Position, Result};

/// The format that this release writes.
const VERSION: u32 = 1;

/// The evidence of one switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Certificate {
    /// Of the format: 1.
    pub version: u32,
    /// The run.
    pub run: RunName,
    /// How often the pair of runs had been switched with this one.
    pub leg: u32,
    /// The epoch of the process that did it.
    pub epoch: Epoch,
    /// When it was issued, as RFC 3339 in UTC, by that process's clock.
    pub issued: String,
    /// Which database was left.
    pub source: Identity,
    /// Which one was switched to.
    pub target: Identity,
    /// The marker behind the last write of the source.
    pub fence: Position,
    /// Where the target's own durable progress was when it had passed that.
    pub drained: Position,
    /// Counts and digests at the switch, by the tables' names at the target.
    pub tables: BTreeMap<String, TableEvidence>,
    /// Why no rows were counted, if they were not.
    pub not_counted: Option<String>,
    /// The live values of the source's sequences under the fence.
    pub sequences: Vec<SequenceValue>,
    /// How far behind them the target's were set.
    pub sequence_margin: u32,
    /// What was compared before it and under the fence, and when.
    pub verification: Verification,
    /// For how long writers waited.
    pub pause_ms: u64,
    /// XXH3 of 128 bits over all else, with its names in order.
    checksum: String,
}

/// What a table was, on both sides, at the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableEvidence {
    /// The tables of the source that it is made of.
    pub sources: Vec<String>,
    /// Whether its rows were converted to another engine's types on their way:
    /// they are certified as they arrived.
    pub converted: bool,
    /// The columns that are counted, by their names at the target, in the order
    /// in which they are digested.
    pub columns: Vec<String>,
    /// The source's rows, behind the stages.
    pub source: Count,
    /// The target's.
    pub target: Count,
}

/// What a database holds of a certified table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// The very rows.
    Same,
    /// Others.
    Other(Count),
    /// It cannot be asked for them, for this reason.
    NotChecked(String),
}

impl Certificate {
    /// Certifies a switch, by what was counted.
    pub(super) fn of(
        switch: &Switch,
        (source, target): (Identity, Identity),
        drained: Position,
        counted: Result<BTreeMap<String, TableEvidence>>,
    ) -> Self {
        let (tables, not_counted) = match counted {
            Ok(tables) => (tables, None),
            Err(error) => (BTreeMap::new(), Some(error.to_string())),
        };
        let mut certificate = Self {
            version: VERSION,
            run: switch.run.clone(),
            leg: switch.leg,
            epoch: switch.epoch,
            issued: rfc3339(now()),
            source,
            target,
            fence: switch.position.clone(),
            drained,
            tables,
            not_counted,
            sequences: switch.sequences.clone(),
            sequence_margin: switch.sequence_margin,
            verification: switch.verification.clone(),
            // OK to cut: a pause has few milliseconds, and is not negative.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            pause_ms: switch.pause.total_ms.round() as u64,
            checksum: String::new(),
        };
        // OK because it is plain data with texts for keys.
        certificate.checksum = serde_json::to_value(&certificate).map(checksum).unwrap_or_default();
        certificate
    }

    /// Reads one.
    ///
    /// # Errors
    /// `Config` when it is no certificate, or not as it was issued;
    /// `Unsupported` when a newer release has written it.
    pub fn parse(text: &str) -> Result<Self> {
        let broken = |why: &str| Error::new(ErrorKind::Config, why.to_owned()).during("certificate");
        let value: Value = serde_json::from_str(text)
            .map_err(|error| broken("this is no certificate: it is no JSON").caused_by(error))?;
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version > u64::from(VERSION) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the certificate was written by a newer release: check it with that one",
                )
                .with("version", version)
                .during("certificate"));
            }
            Some(_) => {}
            None => return Err(broken("this is no certificate: it has no version")),
        }
        let certificate: Self = serde_json::from_value(value.clone())
            .map_err(|error| broken("this is no certificate of its version").caused_by(error))?;
        if checksum(value) != certificate.checksum {
            return Err(broken("the certificate is not as it was issued: its checksum is another"));
        }
        Ok(certificate)
    }

    /// As it is kept: one line of JSON.
    pub fn to_json(&self) -> String {
        // OK because it is plain data with texts for keys.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether all rows were counted, and each table was the same on both sides.
    pub fn is_equal(&self) -> bool {
        self.not_counted.is_none() && self.differing().next().is_none()
    }

    /// The tables that were not the same on both sides.
    pub fn differing(&self) -> impl Iterator<Item = (&str, &TableEvidence)> {
        let tables = self.tables.iter().map(|(name, table)| (name.as_str(), table));
        tables.filter(|(_, table)| table.source != table.target)
    }

    /// Asks a database whether it still holds the rows that are certified of
    /// that side, table by table: all of them are read.
    ///
    /// # Errors
    /// `Conflict` when it is another database; when it fails.
    pub async fn check(
        &self,
        side: Side,
        identity: &Identity,
        verify: &dyn Verify,
    ) -> Result<BTreeMap<String, Held>> {
        let ours = match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        };
        if let Err(error) = ours.expect(identity) {
            return Err(Error::new(ErrorKind::Conflict, "this is not the database that was certified")
                .with("certified", ours)
                .with("found", identity)
                .caused_by(error)
                .during("certificate"));
        }
        let reader = verify.reader().await?;
        let mut held = BTreeMap::new();
        for (name, table) in &self.tables {
            let (at, certified) = match side {
                Side::Target => (name, table.target),
                Side::Source => match table.sources.as_slice() {
                    [at] if !table.converted => (at, table.source),
                    [_] => {
                        held.insert(name.clone(), Held::NotChecked(CONVERTED.to_owned()));
                        continue;
                    }
                    _ => {
                        held.insert(name.clone(), Held::NotChecked(MERGED.to_owned()));
                        continue;
                    }
                },
            };
            let at: TableName = at.parse()?;
            let found = match counted_alone(verify, &*reader, &at, &table.columns, !table.converted).await {
                Ok(count) if count == certified => Held::Same,
                Ok(count) => Held::Other(count),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                    Held::NotChecked(error.to_string())
                }
                Err(error) => return Err(error.with("table", name)),
            };
            held.insert(name.clone(), found);
        }
        Ok(held)
    }
}

const CONVERTED: &str =
    "its rows were converted to another engine on their way, and are certified as they arrived";
const MERGED: &str = "it was made of several tables, and is certified as it arrived";

/// For people: where from, where to, and how many rows.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: u64 = self.tables.values().map(|table| table.target.rows).sum();
        write!(
            f,
            "run {}, switch {}, issued {}: from {} at {} to {}; {} tables, {rows} rows",
            self.run,
            self.leg,
            self.issued,
            self.source,
            self.fence,
            self.target,
            self.tables.len()
        )
    }
}

fn checksum(mut of: Value) -> String {
    if let Some(fields) = of.as_object_mut() {
        fields.remove("checksum");
    }
    let mut text = String::new();
    in_order(&of, &mut text);
    format!("{:032x}", twox_hash::xxhash3_128::Hasher::oneshot(text.as_bytes()))
}

/// JSON with names in order, in whatever order a build of `serde_json` keeps
/// them.
fn in_order(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().collect();
            out.push('{');
            for (name, value) in fields {
                *out += &Value::from(name.as_str()).to_string();
                out.push(':');
                in_order(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for value in values {
                in_order(value, out);
                out.push(',');
            }
            out.push(']');
        }
        plain => *out += &plain.to_string(),
    }
}
