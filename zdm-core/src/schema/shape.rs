//! What tells whether a table is still the one that a run began with.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::Table;

/// The shape of a table as DDL sees it, short enough to be kept and compared.
///
/// DDL makes no rows, and neither does a partition that comes or goes: what a
/// log would never tell is found by comparing shapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// The table's [fingerprint](super::Origin::fingerprint).
    pub fingerprint: String,
    /// The engine's numbers of its partitions.
    pub partitions: BTreeSet<u32>,
}

/// What has become of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Same,
    /// New partitions, whose rows are in the log.
    Grown,
    /// Partitions are gone, and with them rows, of which the log says nothing.
    Shrunk,
    Changed,
}

impl Shape {
    /// The shape of a table as it was described.
    pub fn of(table: &Table) -> Self {
        Self {
            fingerprint: table.origin.fingerprint.clone(),
            partitions: table.partitions.iter().map(|partition| partition.id).collect(),
        }
    }

    /// What has become of it by `now`.
    pub(crate) fn fate(&self, now: &Self) -> Fate {
        if self.fingerprint != now.fingerprint {
            Fate::Changed
        } else if !self.partitions.is_subset(&now.partitions) {
            Fate::Shrunk
        } else if self.partitions != now.partitions {
            Fate::Grown
        } else {
            Fate::Same
        }
    }
}

const PARTITIONS: &str = "\npartitions ";

/// The text that a run's record keeps: a plain table's is its fingerprint.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint)?;
        let mut between = PARTITIONS;
        for id in &self.partitions {
            write!(f, "{between}{id}")?;
            between = " ";
        }
        Ok(())
    }
}

impl FromStr for Shape {
    type Err = Infallible;

    /// Reads what [`Display`](fmt::Display) has written; any other text is a
    /// fingerprint.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        if let Some((fingerprint, list)) = text.rsplit_once(PARTITIONS)
            && let Ok(partitions) = list.split(' ').map(str::parse).collect()
        {
            return Ok(Self { fingerprint: fingerprint.to_owned(), partitions });
        }
        Ok(Self { fingerprint: text.to_owned(), partitions: BTreeSet::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(fingerprint: &str, partitions: &[u32]) -> Shape {
        Shape { fingerprint: fingerprint.to_owned(), partitions: partitions.iter().copied().collect() }
    }

    #[test]
    fn what_is_kept_is_what_is_read() {
        for shape in [shape("a1", &[]), shape("", &[7]), shape("x\npartitions y", &[3, 10, 2])] {
            assert_eq!(shape.to_string().parse(), Ok(shape));
        }
        assert_eq!(shape("a1", &[]).to_string(), "a1");
    }

    #[test]
    fn a_partition_may_come_and_not_go() {
        let was = shape("a", &[1, 2]);
        let fates = [shape("a", &[1, 2]), shape("a", &[1, 2, 3]), shape("a", &[2, 3]), shape("b", &[1, 2])];
        let fates = fates.map(|now| was.fate(&now));
        assert_eq!(fates, [Fate::Same, Fate::Grown, Fate::Shrunk, Fate::Changed]);
    }
}
