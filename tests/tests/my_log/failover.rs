//! A source that dies, and another server of its topology that takes over:
//! the run goes on there if it has all that the run has read and nothing else
//! before it, and says what is missing where it has not.

use zdm_core::{Error, ErrorKind, Position};
use zdm_mysql::changes_probe as probe;
use zdm_servers::mysql::{MySql, MySqlOptions, User};
use zdm_tests::migrator::{End, Plan};

use crate::fixture::{config, here};

const TABLE: &str =
    "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(50)) ENGINE=InnoDB";

/// One server that writes, and one that replicates from it.
struct Pair {
    first: MySql,
    second: MySql,
}

impl Pair {
    async fn start(version: &str) -> Self {
        let options = || MySqlOptions::mariadb().version(version).user(User::new("repl", "secret"));
        let (first, second) = tokio::join!(MySql::start(options()), MySql::start(options()));
        let pair = Self { first: first.unwrap(), second: second.unwrap() };
        // All of it is in the log.
        pair.first.execute(TABLE).await.unwrap();
        let follow = format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='repl', MASTER_PASSWORD='secret', \
             MASTER_SSL=0, MASTER_USE_GTID=slave_pos; START SLAVE",
            pair.first.port()
        );
        pair.second.execute(&follow).await.unwrap();
        pair.replicated().await;
        pair
    }

    /// Waits until the second has all that the first has logged.
    async fn replicated(&self) {
        let here = self.first.value("SELECT @@global.gtid_binlog_pos").await.unwrap();
        let waited = self.second.value(&format!("SELECT MASTER_GTID_WAIT('{here}', 60)")).await.unwrap();
        assert_eq!(waited, "0", "{:?}", self.second.query("SHOW SLAVE STATUS").await);
    }
}

/// The ids of the rows of `shop.t`.
async fn read(server: &MySql, from: &Position) -> Result<(Vec<String>, Position), Error> {
    crate::fixture::read(server, &["t"], from).await
}

async fn insert(server: &MySql, id: u32) {
    server.execute(&format!("INSERT INTO shop.t VALUES ({id}, 'a')")).await.unwrap();
}

#[track_caller]
fn is_gap(outcome: Result<(Vec<String>, Position), Error>, words: &str) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn mariadbs_replica_takes_over_by_the_positions_of_its_domains() {
    for version in ["10.11", "11.8"] {
        let pair = Pair::start(version).await;
        let start = here(&pair.first).await;
        insert(&pair.first, 1).await;
        // Each file has another beginning; the domains are in different ones.
        pair.first
            .execute("SET SESSION gtid_domain_id = 5; INSERT INTO shop.t VALUES (2, 'b')")
            .await
            .unwrap();
        pair.replicated().await;
        pair.second.execute("FLUSH BINARY LOGS").await.unwrap();
        insert(&pair.first, 3).await;
        let (ids, middle) = read(&pair.first, &start).await.unwrap();
        assert_eq!(ids, ["1", "2", "3"]);
        insert(&pair.first, 4).await;
        pair.replicated().await;
        pair.first.kill().await.unwrap();
        pair.second.execute("STOP SLAVE; RESET SLAVE ALL").await.unwrap();
        insert(&pair.second, 5).await;
        let identity = probe::identity(&config(&pair.second)).await.unwrap();
        let (ids, end) = read(&pair.second, &middle).await.unwrap();
        assert_eq!(ids, ["4", "5"], "{middle} {end}");
        assert_eq!(end, here(&pair.second).await);
        assert_eq!(read(&pair.second, &start).await.unwrap().0, ["1", "2", "3", "4", "5"], "{start}");
        // And back, once the old one replicates from the new one.
        pair.first.start_again().await.unwrap();
        identity.expect(&probe::identity(&config(&pair.first)).await.unwrap()).unwrap();
        is_gap(read(&pair.first, &end).await, "took over before it had all");
        pair.second.execute("FLUSH BINARY LOGS").await.unwrap();
        let now = here(&pair.second).await;
        let file = now.as_str().rsplit_once('/').unwrap().1.split_once(':').unwrap().0.to_owned();
        // As long as the reader that has just left holds one, it stays.
        while pair.second.query("SHOW BINARY LOGS").await.unwrap().len() > 1 {
            pair.second.execute(&format!("PURGE BINARY LOGS TO '{file}'")).await.unwrap();
        }
        is_gap(read(&pair.second, &middle).await, "was purged");
    }
}

#[tokio::test]
async fn mariadbs_other_history_is_refused() {
    let pair = Pair::start("10.11").await;
    let start = here(&pair.first).await;
    insert(&pair.first, 1).await;
    pair.replicated().await;
    let (_, clean) = read(&pair.first, &start).await.unwrap();
    assert!(read(&pair.second, &clean).await.unwrap().0.is_empty());
    // Somebody writes to the replica, which goes on replicating all the same.
    insert(&pair.second, 800).await;
    insert(&pair.first, 2).await;
    pair.replicated().await;
    let (ids, position) = read(&pair.first, &clean).await.unwrap();
    assert_eq!(ids, ["2"]);
    is_gap(read(&pair.second, &position).await, "somebody wrote to it");
    // It shows in what a file says of those before it, too; and the last
    // number that the replica has written is beyond ours.
    pair.second.execute("FLUSH BINARY LOGS").await.unwrap();
    insert(&pair.first, 3).await;
    pair.replicated().await;
    let (_, position) = read(&pair.first, &position).await.unwrap();
    insert(&pair.second, 801).await;
    is_gap(read(&pair.second, &position).await, "somebody wrote to it");
    // Behind what was written there, all comes.
    assert_eq!(read(&pair.second, &clean).await.unwrap().0, ["800", "2", "3", "801"]);
    // In a domain of its own the same.
    let own = Pair::start("10.11").await;
    own.second.execute("SET SESSION gtid_domain_id = 9; INSERT INTO shop.t VALUES (800, 'x')").await.unwrap();
    insert(&own.first, 1).await;
    own.replicated().await;
    is_gap(read(&own.second, &here(&own.first).await).await, "somebody wrote to it");
    // The run is ahead of the replica, which takes over and goes past its number.
    own.second.execute("STOP SLAVE").await.unwrap();
    insert(&own.first, 2).await;
    let ahead = here(&own.first).await;
    for id in 3..6 {
        insert(&own.second, id).await;
    }
    is_gap(read(&own.second, &ahead).await, "took over before it had all");
    // The log of the first is made anew, and grows past where it was: there is
    // another transaction of that name now.
    own.first.execute("RESET MASTER").await.unwrap();
    for id in 1000..1040 {
        insert(&own.first, id).await;
    }
    is_gap(read(&own.first, &ahead).await, "was reset or restored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_with_the_replica_that_took_over() {
    let pair = Pair::start("10.11").await;
    let target = MySql::start(MySqlOptions::mariadb().version("11.8")).await.unwrap();
    pair.first.execute("INSERT INTO shop.t SELECT seq, 'copied' FROM shop.seq_1_to_5000").await.unwrap();
    let plan = |from: &MySql| {
        Plan::new(&from.url("shop"), &target.url("")).with("run", "failover").with("tables", "shop.*")
    };
    let mut migrator = plan(&pair.first).start();
    migrator.following().await;
    for id in 10_000..10_040 {
        insert(&pair.first, id).await;
    }
    pair.first
        .execute("UPDATE shop.t SET v = 'changed' WHERE id % 7 = 0; DELETE FROM shop.t WHERE id % 11 = 0")
        .await
        .unwrap();
    // Maybe the target has them, and maybe not.
    pair.replicated().await;
    pair.first.kill().await.unwrap();
    pair.second.execute("STOP SLAVE; RESET SLAVE ALL").await.unwrap();
    migrator.kill().await;
    insert(&pair.second, 20_000).await;
    pair.second.execute("UPDATE shop.t SET v = 'there' WHERE id % 13 = 0").await.unwrap();
    let mut migrator = plan(&pair.second).start();
    migrator.following().await;
    insert(&pair.second, 20_001).await;
    let rows = "SELECT id, v FROM shop.t ORDER BY id";
    let last = "SELECT COUNT(*) FROM shop.t WHERE id = 20001";
    while target.value(last).await.unwrap() != "1" {
        assert!(migrator.status(|_| true).await, "the process ended");
    }
    assert_eq!(migrator.stop().await, End::Done("stopped".into()));
    let (ours, theirs) = (target.query(rows).await.unwrap(), pair.second.query(rows).await.unwrap());
    assert!(ours.len() > 4_500);
    assert_eq!(ours, theirs);
}
