//! How much memory a migrating process takes at its peak, as Linux counts it
//! (`VmHWM`): bounded by the budget and the largest row, never by a table or a
//! transaction.
//!
//! The default suite is small. With a transaction of 512 MiB and rows of 64 MiB:
//!
//! ```text
//! ZDM_TEST_TRANSACTION=512 ZDM_TEST_ROW=64 cargo test -p zdm-tests --test pg_memory -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]
#![cfg(target_os = "linux")]

use zdm_tests::migrator::{End, Migrator};
use zdm_tests::pair::{Case, Pair};
use zdm_tests::seeded::variable;

/// What a process with the default budget of 32 MiB may take, in MiB.
const BOUND: u64 = 128;
/// The same with a budget of 4 MiB, so that a small transaction is large.
const SMALL_BOUND: u64 = 60;

/// What it takes beside large rows.
const BASE: u64 = 40;

async fn arrived(case: &Case, migrator: &mut Migrator) {
    migrator.applied(&case.head().await).await;
    case.equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_the_budget_takes_no_more_than_it() {
    transaction(Pair::start().await, "whole").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_sent_early_takes_no_more_than_the_budget() {
    let pair = Pair::with(|options| options.setting("logical_decoding_work_mem", "1MB")).await;
    transaction(pair, "early").await;
}

async fn transaction(pair: Pair, name: &str) {
    let case = pair.case(name, "CREATE TABLE t (id bigint PRIMARY KEY, v text)").await;
    let size = variable("ZDM_TEST_TRANSACTION", 0);
    let (size, plan, bound) = match size {
        0 => (64, case.plan().with("budget", 4 << 20).with("group", 1 << 20), SMALL_BOUND),
        size => (size, case.plan(), BOUND),
    };
    let mut migrator = plan.start();
    migrator.following().await;
    // 1,024 rows of 1 KiB are a MiB.
    let rows = size * 1024;
    case.sql(&format!(
        "INSERT INTO t SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, {rows}) i;
         UPDATE t SET v = 'x' || v WHERE id % 4 = 0"
    ))
    .await;
    arrived(&case, &mut migrator).await;
    let peak = migrator.peak_memory();
    println!("a transaction of {size} MiB, {name}: {peak} MiB at the peak");
    if name == "early" {
        // What was counted for the slot is told when its reader has gone, at the latest.
        let parts = "SELECT coalesce(sum(stream_count), 0) > 0 FROM pg_stat_replication_slots";
        let sent = case.source.value(parts).await.expect("how often a part was sent");
        assert_eq!(sent, "t", "it was sent early");
    }
    assert!(peak < bound, "{peak} MiB for a transaction of {size} MiB");
    assert_eq!(migrator.stop().await, End::Done("stopped".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_row_is_held_a_few_times_over() {
    let pair = Pair::start().await;
    let size = variable("ZDM_TEST_ROW", 16);
    // Stored as it is: what is compressed would hide the row's size.
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, v text);
                 ALTER TABLE t ALTER COLUMN v SET STORAGE EXTERNAL";
    let case = pair.case("rows", table).await;
    let rows = |from: u64| {
        let to = from + 2;
        let repeat = size << 15;
        format!("INSERT INTO t SELECT i, repeat(md5(i::text), {repeat}) FROM generate_series({from}, {to}) i")
    };
    case.sql(&rows(1)).await;
    let mut migrator = case.plan().start();
    migrator.following().await;
    let copied = migrator.peak_memory();
    case.sql(&rows(10)).await;
    arrived(&case, &mut migrator).await;
    let followed = migrator.peak_memory();
    println!("rows of {size} MiB: {copied} MiB at the peak for the copy, {followed} MiB with the changes");
    // One with each reader of the copy, of which there are two.
    assert!(copied < BASE + 2 * size, "{copied} MiB to copy rows of {size} MiB");
    // Three, and one that the allocator has not given back yet, which it does
    // sooner or later as threads happen to meet.
    assert!(followed < BASE + 4 * size, "{followed} MiB to follow rows of {size} MiB");
    assert_eq!(migrator.stop().await, End::Done("stopped".to_owned()));
}
