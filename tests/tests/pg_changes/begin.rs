//! How a run begins.

use std::time::Duration;

use zdm_core::ErrorKind;
use zdm_core::connect::RunName;
use zdm_pg::changes_probe as probe;
use zdm_servers::postgres::{PgOptions, Postgres};

use super::fixture::{PATIENCE, SMALL, Source, server, settings, within};

#[tokio::test]
async fn rows_that_nothing_tells_apart_are_refused_before_an_update_can_fail() {
    let source = Source::new(
        server().await,
        "keyless",
        "CREATE TABLE n (a int); ALTER TABLE n REPLICA IDENTITY NOTHING; INSERT INTO n VALUES (1)",
        &["n"],
    )
    .await;
    let error = probe::begin(&source.config, &source.run, &source.schema).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("ALTER TABLE \"public\".\"n\" REPLICA IDENTITY FULL"), "{error}");
    source.db.execute("UPDATE n SET a = 2").await.unwrap();
    let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_keyless'";
    assert_eq!(source.db.value(left).await.unwrap(), "0");
}

#[tokio::test]
async fn a_beginning_waits_for_transactions_in_progress_and_names_them() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let source = Source::new(&server, "wait", SMALL, &["t"]).await;
    let open = source.db.connect().await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    {
        let begin = probe::begin(&source.config, &source.run, &source.schema);
        tokio::pin!(begin);
        let waiting = async {
            let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
            while source.db.value(sql).await.unwrap() == "0" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            begun = &mut begin => panic!("{begun:?} before the transaction ended"),
            () = within("the wait", waiting) => {}
        }
        open.batch_execute("COMMIT").await.unwrap();
        let start = within("begin", begin).await.unwrap();
        assert!(source.lines(&start).await.is_empty());
    }
    // Prepared ones as well; in the end the culprit is named, and nothing is left.
    source.db.execute("BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'culprit'").await.unwrap();
    let config = settings(&server, source.db.name());
    let config = config.begin_timeout(Duration::from_millis(300)).build().unwrap();
    let run: RunName = "short".parse().unwrap();
    let error = within("begin", probe::begin(&config, &run, &source.schema)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("prepared transaction 'culprit'"), "{error}");
    let settled = probe::settle(&config, Duration::from_millis(300)).await.unwrap_err();
    assert!(settled.to_string().contains("prepared transaction 'culprit'"), "{settled}");
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_short')
                     + (SELECT count(*) FROM pg_publication WHERE pubname = 'zdm_short')";
    assert_eq!(source.db.value(left).await.unwrap(), "0");
    source.db.execute("COMMIT PREPARED 'culprit'").await.unwrap();
    probe::settle(&config, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn identity_is_of_the_system_its_timeline_and_the_database() {
    let source = Source::new(server().await, "who", "", &[]).await;
    let identity = probe::identity(&source.config).await.unwrap();
    let system = source.db.value("SELECT system_identifier FROM pg_control_system()").await.unwrap();
    assert_eq!(identity.facts["system"], system);
    assert_eq!(identity.facts["timeline"], "1");
    assert_eq!(identity.facts["database"], source.db.name());
}
