//! The snapshot of a PostgreSQL source: what its chunks cover, what they have
//! seen, and that they decode what the log decodes.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod pg_snapshot {
    pub(crate) mod chunks;
    pub(crate) mod fixture;
    pub(crate) mod random;
    pub(crate) mod rereads;
    pub(crate) mod seen;
    pub(crate) mod values;
}
