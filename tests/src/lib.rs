//! What the end-to-end tests share: two servers, an application that writes,
//! and the migrating process, which can be killed.

#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "helpers of tests, which fail by panicking"
)]

pub mod engine;
pub mod load;
pub mod migrator;
pub mod pair;
pub mod route;
pub mod seeded;

use std::time::Duration;

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Fails the test when something does not come.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}
