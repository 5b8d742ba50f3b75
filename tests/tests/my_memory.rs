//! How much memory a migrating process takes at its peak, as Linux counts it
//! (`VmHWM`), from and to MySQL and MariaDB: bounded by the budget and the
//! largest row, never by a table or a transaction.
//!
//! The bounds are those of `pg_memory`. Rows of 16 MiB do not keep theirs yet, so
//! these are not run by default: the copy of them takes 160 MiB.
//!
//! With a table and a transaction of 2 GiB, and rows of 64 MiB:
//!
//! ```text
//! ZDM_TEST_TRANSACTION=2048 ZDM_TEST_ROW=64 cargo test -p zdm-tests --test my_memory -- --nocapture --include-ignored
//! ```

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use zdm_servers::mysql::{Flavor, MySqlOptions};
use zdm_tests::engine::Server;
use zdm_tests::migrator::{End, Migrator};
use zdm_tests::route::Route;
use zdm_tests::seeded::variable;

/// What a process with the default budget of 32 MiB may take, in MiB.
const BOUND: u64 = 128;
/// The same with a budget of 4 MiB, so that a small transaction is large.
const SMALL_BOUND: u64 = 60;
/// What it takes beside large rows.
const BASE: u64 = 40;

async fn server(flavor: Flavor) -> Server {
    let options = match flavor {
        Flavor::MySql => MySqlOptions::mysql().version("9").setting("innodb_redo_log_capacity", "1G"),
        Flavor::MariaDb => MySqlOptions::mariadb().version("10.11").setting("innodb_log_file_size", "512M"),
    };
    Server::start(options.setting("max_allowed_packet", "1G").setting("innodb_buffer_pool_size", "128M"))
        .await
}

async fn route(name: &str, from: Flavor, to: Flavor) -> Route {
    let (source, target) = tokio::join!(server(from), server(to));
    let route = Route::new(name, &source, &target).await;
    let tables = "CREATE TABLE t (id BIGINT PRIMARY KEY, v LONGTEXT CHARACTER SET latin1) ENGINE=InnoDB;
                  CREATE TABLE mark (n BIGINT PRIMARY KEY) ENGINE=InnoDB";
    route.source.execute(tables).await.unwrap();
    route
}

/// A setting, and a statement that inserts rows of so many KiB each.
fn rows(flavor: Flavor, from: u64, count: u64, kib: u64) -> (String, String) {
    let depth = match flavor {
        Flavor::MySql => "cte_max_recursion_depth",
        Flavor::MariaDb => "max_recursive_iterations",
    };
    let (last, repeat) = (from + count - 1, kib * 16);
    let insert = format!(
        "INSERT INTO t WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) \
         SELECT i, REPEAT(SHA2(i, 256), {repeat}) FROM n"
    );
    (format!("SET SESSION {depth} = {count}"), insert)
}

/// A table; the transaction's size is that of the table in MiB.
async fn copied(from: Flavor, to: Flavor) -> (Route, Migrator, u64, u64) {
    let route = route("budget", from, to).await;
    let size = variable("ZDM_TEST_TRANSACTION", 0);
    let (size, plan, bound) = match size {
        0 => (48, route.plan().with("budget", 4 << 20).with("group", 1 << 20), SMALL_BOUND),
        size => (size, route.plan(), BOUND),
    };
    // In one piece, which is as large as a chunk can be.
    let plan = plan.with("chunk", u64::from(u32::MAX));
    // 1,024 rows of 1 KiB are a MiB.
    let count = size * 1024;
    let (set, insert) = rows(from, 1, count, 1);
    route.source.execute(&format!("{set}; {insert}")).await.unwrap();
    let mut migrator = plan.start();
    migrator.following().await;
    let peak = migrator.peak_memory();
    println!("{from} to {to}, a table of {size} MiB: {peak} MiB at the peak");
    assert!(peak < bound, "{peak} MiB for a table of {size} MiB");
    (route, migrator, size, bound)
}

/// A table, and then a transaction.
async fn more_than_the_budget(from: Flavor, to: Flavor) {
    let (route, mut migrator, size, bound) = copied(from, to).await;
    let count = size * 1024;
    let (set, insert) = rows(from, count + 1, count, 1);
    let update = format!("UPDATE t SET v = CONCAT('x', v) WHERE id > {count} AND id % 4 = 0");
    route.source.execute(&format!("{set}; BEGIN; {insert}; {update}; COMMIT")).await.unwrap();
    route.arrived(&mut migrator).await;
    let peak = migrator.peak_memory();
    println!("{from} to {to}, a transaction of {size} MiB: {peak} MiB at the peak");
    route.equal().await;
    assert!(peak < bound, "{peak} MiB for a transaction of {size} MiB");
    assert_eq!(migrator.stop().await, End::Done("stopped".to_owned()));
}

async fn a_few_times_a_row(from: Flavor, to: Flavor) {
    let route = route("rows", from, to).await;
    let size = variable("ZDM_TEST_ROW", 16);
    let insert = async |first: u64| {
        let (set, insert) = rows(from, first, 3, size << 10);
        route.source.execute(&format!("{set}; {insert}")).await.unwrap();
    };
    insert(1).await;
    let mut migrator = route.plan().start();
    migrator.following().await;
    let copied = migrator.peak_memory();
    insert(10).await;
    route.arrived(&mut migrator).await;
    let followed = migrator.peak_memory();
    println!(
        "{from} to {to}, rows of {size} MiB: {copied} MiB at the peak for the copy, {followed} MiB with the changes"
    );
    route.equal().await;
    // One with each reader of the copy, of which there are two.
    assert!(copied < BASE + 2 * size, "{copied} MiB to copy rows of {size} MiB");
    assert!(followed < BASE + 3 * size, "{followed} MiB to follow rows of {size} MiB");
    assert_eq!(migrator.stop().await, End::Done("stopped".to_owned()));
}

async fn a_table(from: Flavor, to: Flavor) {
    let (route, mut migrator, ..) = copied(from, to).await;
    route.arrived(&mut migrator).await;
    route.equal().await;
    assert_eq!(migrator.stop().await, End::Done("stopped".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_mysql_to_mariadb_stays_within_its_bound() {
    a_table(Flavor::MySql, Flavor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_mariadb_to_mysql_stays_within_its_bound() {
    a_table(Flavor::MariaDb, Flavor::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_from_mysql_takes_no_more_than_the_budget() {
    more_than_the_budget(Flavor::MySql, Flavor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_from_mariadb_takes_no_more_than_the_budget() {
    more_than_the_budget(Flavor::MariaDb, Flavor::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "not kept yet: see the head of the file"]
async fn from_mysql_a_large_row_is_held_a_few_times_over() {
    a_few_times_a_row(Flavor::MySql, Flavor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "not kept yet: see the head of the file"]
async fn from_mariadb_a_large_row_is_held_a_few_times_over() {
    a_few_times_a_row(Flavor::MariaDb, Flavor::MySql).await;
}
