//! A door for fuzzers: each place where bytes from outside enter this crate.
//! No part of the library's interface.
//!
//! Each function takes any bytes and fails only by panicking: when the code
//! behind it does, or when what it made of them is not whole. It returns
//! whether the bytes were understood to their end. The corpus, the test that
//! runs it and the fuzzer are in `tests/fuzz`.

pub use crate::changes::fuzz::{events, log, statement};
pub use crate::position::fuzz::position;
pub use crate::types::fuzz::{json, json_diff, value};
pub use crate::wire::fuzz::{packets, session};
