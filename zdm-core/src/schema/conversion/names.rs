//! Names that a target can have.

use std::collections::HashSet;

use smol_str::{SmolStr, format_smolstr};

use super::Limit;

impl Limit {
    /// Whether a name is short enough.
    fn takes(self, name: &str) -> bool {
        match self {
            Self::Octets(most) => name.len() <= most,
            Self::Characters(most) => name.chars().count() <= most,
        }
    }

    /// A name of a beginning and an end that is to stay, such as `_seq`: the
    /// beginning is cut where the whole is too long, with a fingerprint of
    /// the whole, so that it is the same at each start.
    pub fn joined(self, name: &str, end: &str) -> SmolStr {
        let whole = format_smolstr!("{name}{end}");
        if self.takes(&whole) {
            return whole;
        }
        let end = format!("_{:08x}{end}", fnv(&whole));
        format_smolstr!("{}{end}", self.shortened(name, end.len()))
    }

    /// The longest beginning of a name that leaves room for a suffix in
    /// ASCII, at a character's boundary.
    fn shortened(self, name: &str, suffix: usize) -> &str {
        let end = match self {
            Self::Octets(most) => {
                let most = most.saturating_sub(suffix).min(name.len());
                (0..=most).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0)
            }
            Self::Characters(most) => {
                let chars = most.saturating_sub(suffix);
                name.char_indices().nth(chars).map_or(name.len(), |(at, _)| at)
            }
        };
        &name[..end]
    }
}

/// A room in which each name is there once: the tables of a schema, the
/// columns of a table.
#[derive(Debug)]
pub(super) struct Room {
    limit: Limit,
    /// Whether names that differ in case alone are one.
    fold: bool,
    taken: HashSet<String>,
}

impl Room {
    pub(super) fn new(limit: Limit, fold: bool) -> Self {
        Self { limit, fold, taken: HashSet::new() }
    }

    fn key(&self, name: &str) -> String {
        if self.fold { name.to_lowercase() } else { name.to_owned() }
    }

    /// Whether two names are one here.
    pub(super) fn is_same(&self, a: &str, b: &str) -> bool {
        self.key(a) == self.key(b)
    }

    /// Takes a name as it is, if it is short enough and nobody has it.
    pub(super) fn take(&mut self, name: &str) -> bool {
        self.limit.takes(name) && self.taken.insert(self.key(name))
    }

    /// Takes a name, or one made of it that fits: cut, with a suffix that
    /// comes of `whole` alone. So it is the same at each start, whatever else
    /// is in the room.
    pub(super) fn fit(&mut self, name: &str, whole: &str) -> SmolStr {
        if self.take(name) {
            return name.into();
        }
        let mut print = fnv(whole);
        loop {
            let suffix = format!("_{print:08x}");
            let fitting = format_smolstr!("{}{suffix}", self.limit.shortened(name, suffix.len()));
            if self.taken.insert(self.key(&fitting)) {
                return fitting;
            }
            print = print.wrapping_add(1);
        }
    }
}

/// FNV-1a in 32 bits: a fingerprint that no release of a library changes.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_clash_or_are_too_long_get_a_stable_suffix() {
        let mut room = Room::new(Limit::Octets(20), true);
        assert_eq!(room.fit("Orders", "s.Orders"), "Orders");
        let second = room.fit("orders", "s.orders");
        assert_eq!(second, Room::new_with("Orders").fit("orders", "s.orders"), "by its name alone");
        assert!(second.starts_with("orders_") && second.len() == 15, "{second}");
        let long = room.fit(&"é".repeat(30), "long");
        assert!(long.len() <= 20 && long.starts_with("ééééé_"), "{long}");
        let again = room.fit(&"é".repeat(31), "long");
        assert_ne!(long, again);
        let mut room = Room::new(Limit::Characters(20), false);
        assert_eq!(room.fit("orders", "a"), "orders");
        assert_eq!(room.fit("Orders", "b"), "Orders", "case tells names apart here");
        assert_eq!(room.fit(&"é".repeat(20), "c").chars().count(), 20);
        assert_eq!(room.fit(&"é".repeat(21), "c").chars().count(), 20);
    }

    impl Room {
        fn new_with(name: &str) -> Self {
            let mut room = Self::new(Limit::Octets(20), true);
            assert!(room.take(name));
            room
        }
    }
}
