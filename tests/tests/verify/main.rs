//! Both sides are compared while both change: every kind of difference is
//! planted behind the run's back, and each is found and only those, for pairs
//! of engines; under load nothing is found that is not there; what is found is
//! repaired, and independent SQL says so.
//!
//! `ZDM_TEST_SEED` gives another application.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod fixture;
mod live;
mod moment;
mod planted;
mod resumed;
