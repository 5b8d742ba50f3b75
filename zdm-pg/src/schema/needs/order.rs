//! Sorts objects so that each stands behind all that it needs.

use std::collections::{BTreeMap, BTreeSet};

use super::Object;

/// Objects and what each needs.
#[derive(Debug, Default)]
pub(super) struct Order(BTreeMap<Object, BTreeSet<Object>>);

impl Order {
    /// Says that one object needs another. Object 0 is nothing.
    pub(super) fn needs(&mut self, from: Object, to: Object) {
        self.0.entry(to).or_default();
        if from.1 != 0 && from != to {
            self.0.entry(from).or_default().insert(to);
        }
    }

    /// All objects.
    pub(super) fn objects(&self) -> Vec<Object> {
        self.0.keys().copied().collect()
    }

    /// Each object behind those that it needs; a loop is cut somewhere.
    pub(super) fn sorted(&self) -> Vec<Object> {
        let mut sorted = Vec::with_capacity(self.0.len());
        let mut seen = BTreeSet::new();
        for root in self.0.keys() {
            if !seen.insert(*root) {
                continue;
            }
            let mut path = vec![(*root, self.below(*root))];
            while let Some((object, below)) = path.last_mut() {
                match below.pop() {
                    Some(next) if seen.insert(next) => path.push((next, self.below(next))),
                    Some(_) => {}
                    None => {
                        sorted.push(*object);
                        path.pop();
                    }
                }
            }
        }
        sorted
    }

    /// What an object needs, the last to be visited first.
    fn below(&self, object: Object) -> Vec<Object> {
        self.0.get(&object).map_or_else(Vec::new, |needs| needs.iter().rev().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_behind_what_it_needs_and_loops_end() {
        let mut order = Order::default();
        for (from, to) in [(0, 1), (1, 5), (5, 3), (1, 3), (3, 9), (9, 3), (0, 9)] {
            order.needs((1, from), (1, to));
        }
        let sorted: Vec<_> = order.sorted().into_iter().map(|(_, id)| id).collect();
        assert_eq!(sorted.len(), 4);
        let at = |id| sorted.iter().position(|s| *s == id).unwrap();
        assert!(at(3) < at(5) && at(5) < at(1));
    }
}
