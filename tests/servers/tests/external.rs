//! A server that is named in the environment is used, and left as it was.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::process::Command;

use zdm_servers::postgres::{Auth, PgOptions, Postgres, StopMode};

const URL: &str = "ZDM_TEST_PG_URL";
const ROLE: &str = "ZDM_SERVERS_TEST_GUEST";

/// Not a test but the guest, when it runs as the child of one.
#[tokio::test]
async fn guest() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let server = Postgres::start(PgOptions::new().database("shop")).await.unwrap();
    assert!(server.is_external());
    let shop = server.database("shop");
    shop.execute("create table t (id int)").await.unwrap();
    assert_eq!(shop.value("select current_database()").await.unwrap(), shop.name());
    assert_eq!(server.value("select current_user").await.unwrap(), server.user());
    let (client, connection) = tokio_postgres::connect(&shop.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("select * from t").await.unwrap();
    let slot = "select slot_name from pg_create_logical_replication_slot('s', 'pgoutput')";
    assert_eq!(shop.value(slot).await.unwrap(), "s");
    let error = server.stop(StopMode::Fast).await.unwrap_err().to_string();
    assert!(error.contains(URL), "{error}");
    // What it cannot do, a server of our own does.
    let own = Postgres::start(PgOptions::new().setting("work_mem", "5MB")).await.unwrap();
    assert!(!own.is_external());
}

#[tokio::test]
async fn an_external_server_gets_its_own_databases_and_is_cleaned() {
    let server = Postgres::start(PgOptions::new().auth(Auth::Scram)).await.unwrap();
    let databases = "select datname from pg_database order by 1";
    let before = server.query(databases).await.unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["guest", "--exact"])
        .env(ROLE, "1")
        .env(URL, server.url("postgres"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.query(databases).await.unwrap(), before);
}
