//! DDL that makes no rows, while a run follows and while no process runs.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use zdm_tests::migrator::{End, Plan};
use zdm_tests::pair::{Case, Pair};
use zdm_tests::within;

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'); \
     CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); \
     CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1); \
     CREATE TABLE p2 (id int PRIMARY KEY); INSERT INTO p2 VALUES (11)";

fn plan(case: &Case) -> Plan {
    case.plan().with("tables", "public.t").with("tables", "public.p").with("shapes", 100)
}

fn stopped(end: &End, words: &str) {
    let (kind, message) = end.error();
    assert!(kind == "SchemaChanged" && message.contains(words), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_with_no_row_behind_it_stops_a_run_that_follows() {
    let pair = Pair::start().await;
    for (name, ddl, words) in [
        ("altered", "ALTER TABLE t ADD COLUMN w int", "changed its shape"),
        ("detached", "ALTER TABLE p DETACH PARTITION p1", "detached or dropped"),
        ("dropped", "DROP TABLE p1", "detached or dropped"),
        ("attached", "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)", "changed its shape"),
        ("gone", "DROP TABLE t", "gone from the source"),
    ] {
        let case = pair.case(name, TABLES).await;
        let mut migrator = plan(&case).start();
        migrator.following().await;
        case.sql(ddl).await;
        stopped(&migrator.end().await, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_while_no_process_runs_is_found_by_the_next_start() {
    let pair = Pair::start().await;
    for (name, ddl, words) in [
        ("away_altered", "ALTER TABLE t ALTER v TYPE varchar(9)", "changed its shape"),
        ("away_detached", "ALTER TABLE p DETACH PARTITION p1", "detached or dropped"),
        (
            "away_attached",
            "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)",
            "changed its shape",
        ),
        (
            "away_remade",
            "DROP TABLE p1; CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
            "detached or dropped",
        ),
    ] {
        let case = pair.case(name, TABLES).await;
        assert_eq!(plan(&case).until_caught_up().run().await, End::Done("caught_up".to_owned()));
        case.sql(ddl).await;
        stopped(&plan(&case).until_caught_up().run().await, words);
    }
}

/// A partition that is made as one is routine. That it goes again is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_came_while_the_run_followed_is_missed_when_it_is_gone() {
    let pair = Pair::start().await;
    let case = pair.case("came", TABLES).await;
    let mut migrator = plan(&case).start();
    migrator.following().await;
    case.sql("CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (30) TO (40)").await;
    let oid = case.source.value("SELECT 'p3'::regclass::oid").await.unwrap();
    let noted = format!("SELECT tables LIKE '%{oid}%' FROM zdm.run");
    let known = async {
        while case.target.value(&noted).await.unwrap() != "t" {
            // Its commits move the record on meanwhile.
            case.sql("UPDATE t SET v = v").await;
        }
    };
    within("the partition in the run's record", known).await;
    assert_eq!(migrator.stop().await, End::Done("stopped".to_owned()));
    assert_eq!(plan(&case).until_caught_up().run().await, End::Done("caught_up".to_owned()));
    case.sql("ALTER TABLE p DETACH PARTITION p3").await;
    stopped(&plan(&case).until_caught_up().run().await, "detached or dropped");
}
