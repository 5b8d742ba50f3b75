//! How much of a long suite a run does: some of it, which the seed chooses, or
//! all of it.

use std::str::FromStr;

/// A value from the environment.
#[must_use]
pub fn variable<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// One in `nth` of these, from one on that the seed chooses, each seed and each
/// `shift` another; all of them from `ZDM_TEST_KILLS=20` on.
#[must_use]
pub fn some_of<T: Clone>(all: &[T], nth: usize, shift: usize) -> Vec<T> {
    if variable("ZDM_TEST_KILLS", 0) >= 20 {
        return all.to_vec();
    }
    let first = (variable("ZDM_TEST_SEED", 1) + shift) % nth;
    all.iter().skip(first).step_by(nth).cloned().collect()
}
