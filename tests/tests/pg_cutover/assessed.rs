//! What stands in the way of a cutover is told before anybody has to wait,
//! and what only passes is no reason to refuse one.

use zdm_servers::postgres::Database;
use zdm_tests::migrator::{End, Migrator};
use zdm_tests::pair::Pair;
use zdm_tests::within;

use super::{TABLES, sides, write};

/// Asks for a cutover that the checks must refuse, with these words.
async fn refused(mut migrator: Migrator, words: &[&str]) {
    migrator.order("cutover").await;
    let end = migrator.end().await;
    let (kind, message) = end.error();
    assert_eq!(kind, "Config", "{message}");
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_that_writes_is_named() {
    let pair = Pair::with(|options| options.setting("max_prepared_transactions", "5")).await;
    let case = pair.case("prepared", TABLES).await;
    case.sql("CREATE TABLE aside (id int)").await;
    let plan = case.plan().with("tables", "public.customer").with("tables", "public.purchase");
    let mut migrator = plan.start();
    migrator.following().await;
    // One that writes elsewhere is in nobody's way.
    case.sql("BEGIN; INSERT INTO aside VALUES (1); PREPARE TRANSACTION 'elsewhere'").await;
    case.sql(&format!("BEGIN; {}; PREPARE TRANSACTION 'in the way'", write("late"))).await;
    let old =
        "SELECT count(*) FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - interval '1 second'";
    within("two old ones", async { while case.source.value(old).await.unwrap() != "2" {} }).await;
    refused(migrator, &["in the way", "is not ended", "ROLLBACK PREPARED"]).await;
    case.sql("COMMIT PREPARED 'in the way'").await;
    assert_eq!(sides(&case).await, (true, false));
    let end = plan.with("cutover", "following").run().await;
    assert_eq!(end, End::Done("switched".to_owned()), "with one that writes elsewhere");
    assert_eq!(case.target.value("SELECT count(*) FROM purchase WHERE note = 'late'").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_parent_are_found_before_the_fence() {
    let pair = Pair::start().await;
    let case = pair.case("orphans", TABLES).await;
    let mut migrator = case.plan().start();
    migrator.following().await;
    let orphan =
        "SET zdm.run = 'orphans'; INSERT INTO purchase (id, customer, note) VALUES (900000, 777, 'planted')";
    case.target.execute(orphan).await.unwrap();
    refused(migrator, &["purchase_customer_fkey", "public.purchase", "public.customer", "(777)"]).await;
    assert_eq!(sides(&case).await, (true, false));
    case.target.execute("SET zdm.run = 'orphans'; DELETE FROM purchase WHERE id = 900000").await.unwrap();
    // Children and parents come and go, at the target one transaction after the other.
    let busy = tokio::spawn(come_and_go(case.source.clone()));
    let end = case.plan().with("cutover", "following").run().await;
    assert_eq!(end, End::Done("switched".to_owned()));
    assert!(within("the end of the workload", busy).await.unwrap() > 0);
    assert_eq!(sides(&case).await, (false, true));
    case.equal().await;
}

/// A key whose type's operators are an extension's, in a schema of its own.
#[tokio::test(flavor = "multi_thread")]
async fn parents_are_looked_for_as_their_type_compares() {
    let pair = Pair::start().await;
    let tables = "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; \
                  CREATE TABLE parent (name ext.citext PRIMARY KEY); \
                  CREATE TABLE child (id int PRIMARY KEY, parent ext.citext NOT NULL REFERENCES parent); \
                  INSERT INTO parent VALUES ('Ada'); INSERT INTO child VALUES (1, 'aDA')";
    let case = pair.case("citext", tables).await;
    let end = case.plan().with("cutover", "following").run().await;
    assert_eq!(end, End::Done("switched".to_owned()));
    case.equal().await;
}

/// Writes until the seal refuses it; gives how often it has.
async fn come_and_go(source: Database) -> u64 {
    let client = source.connect().await.unwrap();
    for n in 1_000_000.. {
        let come = format!(
            "BEGIN; INSERT INTO customer (id) VALUES ({n}); \
             INSERT INTO purchase (id, customer) VALUES ({n}, {n}); COMMIT"
        );
        let go = format!(
            "BEGIN; DELETE FROM purchase WHERE id = {n}; DELETE FROM customer WHERE id = {n}; COMMIT"
        );
        for sql in [come, go] {
            if let Err(error) = client.batch_execute(&sql).await {
                assert!(super::refused(&error), "{error:?}");
                return n - 1_000_000;
            }
        }
    }
    unreachable!("a seal comes")
}
