//! Digests of many rows, in no order.
//!
//! A row's digest is XXH3 with 128 bits over its cells, the key's first; each
//! cell says how long it is, so that no two rows are written alike. Digests
//! are added up, modulo 2¹²⁸, and counted: unlike with XOR, a row that is
//! there twice does not go away, and since the key is in each digest, two rows
//! that have swapped their values change the sum.
//!
//! Rows fall into buckets by the digest of their key. So what differs is
//! known to a few keys among many, before any key is kept.

use twox_hash::xxhash3_128::Hasher;

/// What is told of some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    pub(super) digests: u128,
}

impl Sum {
    pub(super) fn add(&mut self, row: u128) {
        self.rows += 1;
        self.digests = self.digests.wrapping_add(row);
    }
}

/// The digests of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    /// Of its key; of all of it where it has no key.
    pub(super) key: u128,
    /// Of all of it.
    pub(super) row: u128,
}

/// The digest of some bytes.
#[inline]
pub(super) fn digest(bytes: &[u8]) -> u128 {
    Hasher::oneshot(bytes)
}

/// Sums of rows by the digest of their key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Buckets(Vec<Sum>);

impl Buckets {
    /// Fewest and most of them: 32 bytes each.
    const LEAST: u64 = 64;
    const MOST: u64 = 65_536;

    /// As many as suit about that many rows, so that a bucket which differs
    /// has few of them.
    pub(super) fn for_rows(rows: u64) -> Self {
        let count = (rows / 64).clamp(Self::LEAST, Self::MOST).next_power_of_two();
        Self(vec![Sum::default(); usize::try_from(count).unwrap_or(64)])
    }

    /// Which one a key falls into.
    #[inline]
    pub(super) fn of(&self, key: u128) -> usize {
        // OK to cut: the count is a power of two that fits the low bits.
        let low = key as usize;
        low & (self.0.len() - 1)
    }

    #[inline]
    pub(super) fn add(&mut self, digest: Digest) {
        let bucket = self.of(digest.key);
        self.0[bucket].add(digest.row);
    }

    pub(super) fn rows(&self) -> u64 {
        self.0.iter().map(|sum| sum.rows).sum()
    }

    /// The buckets in which two sides differ, gathered into groups of which
    /// none has many more than `most` rows on either side.
    pub(super) fn differing(&self, other: &Self, most: u64) -> Vec<Chosen> {
        let mut groups: Vec<Chosen> = Vec::new();
        let mut room = 0;
        for (bucket, (one, two)) in self.0.iter().zip(&other.0).enumerate() {
            if one == two {
                continue;
            }
            let rows = one.rows.max(two.rows);
            match groups.last_mut() {
                Some(group) if rows <= room => group.0[bucket] = true,
                _ => {
                    let mut group = Chosen(vec![false; self.0.len()]);
                    group.0[bucket] = true;
                    groups.push(group);
                    room = most;
                }
            }
            room = room.saturating_sub(rows);
        }
        groups
    }
}

/// Some of the buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen(Vec<bool>);

impl Chosen {
    /// Whether a key falls into one of them.
    #[inline]
    pub(super) fn has(&self, key: u128) -> bool {
        // OK to cut: as in `Buckets::of`, with as many buckets.
        let low = key as usize;
        self.0[low & (self.0.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets(rows: &[(u8, u8)]) -> Buckets {
        let mut buckets = Buckets::for_rows(0);
        for (key, value) in rows {
            buckets.add(Digest { key: digest(&[*key]), row: digest(&[*key, *value]) });
        }
        buckets
    }

    #[test]
    fn an_exchange_a_double_and_a_byte_change_the_sums() {
        let rows = [(1, 10), (2, 20), (3, 30)];
        let same = buckets(&rows);
        assert_eq!(same, buckets(&[(3, 30), (1, 10), (2, 20)]), "the order says nothing");
        for other in [&[(1, 20), (2, 10), (3, 30)][..], &[(1, 10), (2, 20)], &[(1, 11), (2, 20), (3, 30)]] {
            assert_ne!(same, buckets(other));
        }
        let doubled = [(1, 10), (2, 20), (2, 20), (3, 30), (3, 30)];
        assert_ne!(same, buckets(&doubled), "two doubles do not cancel each other out");
    }

    #[test]
    fn buckets_that_differ_come_in_groups_of_bounded_size() {
        let all: Vec<_> = (0..200).map(|key| (key, 0)).collect();
        let (one, none) = (buckets(&all), buckets(&[]));
        let groups = one.differing(&none, 20);
        assert!(groups.len() > 5, "{}", groups.len());
        for key in 0..200 {
            let key = digest(&[key]);
            assert_eq!(groups.iter().filter(|group| group.has(key)).count(), 1);
        }
        assert!(one.differing(&one.clone(), 20).is_empty());
    }

    proptest! {
        #[test]
        fn the_sum_is_of_the_rows_and_not_of_their_order(mut rows: Vec<(u8, u8)>, at: prop::sample::Index) {
            let whole = buckets(&rows);
            rows.reverse();
            prop_assert_eq!(&whole, &buckets(&rows));
            if !rows.is_empty() {
                rows.remove(at.index(rows.len()));
                prop_assert_ne!(whole, buckets(&rows));
            }
        }
    }
}
