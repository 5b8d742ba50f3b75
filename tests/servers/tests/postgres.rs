//! Servers start, answer, stop, crash and come back.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;
use zdm_servers::postgres::{Auth, Origin, PgOptions, Postgres, StopMode, TlsMode, Version};
use zdm_servers::{Proxy, proxy::Cut};

#[tokio::test]
async fn a_default_server_answers() {
    let server = Postgres::start(PgOptions::new().database("shop")).await.unwrap();
    let shop = server.database("shop");
    shop.execute("create table t (id int, name text); insert into t values (1, 'a'), (2, null)")
        .await
        .unwrap();
    let rows = shop.query("select * from t order by id").await.unwrap();
    assert_eq!(rows, [[Some("1".into()), Some("a".into())], [Some("2".into()), None]]);
    assert_eq!(server.value("show wal_level").await.unwrap(), "logical");
    assert_eq!(server.value("show timezone").await.unwrap(), "UTC");
    let (client, connection) = tokio_postgres::connect(&shop.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(client.query_one("select count(*) from t", &[]).await.unwrap().get::<_, i64>(0), 2);
    server.close().await.unwrap();
}

#[tokio::test]
async fn the_oldest_and_the_newest_run_side_by_side() {
    let start = |version| Postgres::start(PgOptions::new().version(version));
    let (old, new) = tokio::try_join!(start(Version::Oldest), start(Version::Newest)).unwrap();
    let (before, after) = (old.major().await.unwrap(), new.major().await.unwrap());
    assert!(before < after, "{before} and {after}");
    for server in [old, new] {
        let slot = "select slot_name from pg_create_logical_replication_slot('s', 'pgoutput')";
        assert_eq!(server.value(slot).await.unwrap(), "s");
    }
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_committed() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    server.execute("create table t (id int)").await.unwrap();
    // A backend that is busy when its postmaster dies.
    let busy = server.connect().await.unwrap();
    let busy = tokio::spawn(async move { busy.batch_execute("select pg_sleep(60)").await });
    for (id, port) in [(1, server.port()), (2, server.port())] {
        server.execute(&format!("insert into t values ({id})")).await.unwrap();
        server.kill().await.unwrap();
        assert_eq!(server.pid().unwrap(), None);
        server.query("select 1").await.unwrap_err();
        server.start_again().await.unwrap();
        assert_eq!(
            (server.value("select count(*) from t").await.unwrap(), server.port()),
            (id.to_string(), port)
        );
    }
    busy.await.unwrap().unwrap_err();
    for mode in [StopMode::Smart, StopMode::Fast, StopMode::Immediate] {
        server.restart(mode).await.unwrap();
        assert_eq!(server.value("select count(*) from t").await.unwrap(), "2");
    }
}

#[tokio::test]
async fn each_way_of_logging_in() {
    for auth in [Auth::Password, Auth::Md5, Auth::Scram] {
        let server = Postgres::start(PgOptions::new().auth(auth)).await.unwrap();
        let me = server.create_user("me", "replication").await.unwrap();
        let database = server.database("postgres");
        for (url, works) in [
            (database.url(), true),
            (database.url_as(&me.name, &me.password), true),
            (database.url_as(&me.name, "wrong"), false),
        ] {
            assert_eq!(tokio_postgres::connect(&url, NoTls).await.is_ok(), works, "{auth:?} {url}");
        }
    }
}

#[tokio::test]
async fn tls_is_offered_or_required() {
    for (mode, plain) in [(TlsMode::Offered, true), (TlsMode::Required, false)] {
        let server = Postgres::start(PgOptions::new().tls(mode)).await.unwrap();
        assert_eq!(server.value("show ssl").await.unwrap(), "on");
        assert_eq!(tokio_postgres::connect(&server.url("postgres"), NoTls).await.is_ok(), plain);
        assert!(server.tls().unwrap().ca_pem().starts_with("-----BEGIN CERTIFICATE"));
    }
}

#[tokio::test]
async fn certificates_prove_both_sides() {
    let start = || Postgres::start(PgOptions::new().auth(Auth::Cert));
    let (server, other) = tokio::try_join!(start(), start()).unwrap();
    let (ours, theirs) = (server.tls().unwrap(), other.tls().unwrap());
    for (authority, identity, works) in [
        (ours, ours.client("postgres").unwrap(), true),
        (theirs, ours.client("postgres").unwrap(), false),
        (ours, theirs.client("postgres").unwrap(), false),
        (ours, ours.client("another").unwrap(), false),
    ] {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
        let certificate = CertificateDer::from_pem_file(&identity.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = config.with_client_auth_cert(vec![certificate], key).unwrap();
        let url = format!("{}?sslmode=require", server.url("postgres"));
        let result = tokio_postgres::connect(&url, MakeRustlsConnect::new(config)).await;
        assert_eq!(result.is_ok(), works, "{:?}", result.err());
    }
}

#[tokio::test]
async fn a_refused_setting_is_explained() {
    let options = PgOptions::new().setting("max_wal_senders", "many");
    let error = Postgres::start(options).await.unwrap_err().to_string();
    assert!(error.contains("max_wal_senders") && error.contains("\"many\""), "{error}");
}

#[tokio::test]
async fn a_version_that_is_nowhere_is_a_failure_with_advice() {
    let options = PgOptions::new().version(11);
    let error = Postgres::start(options).await.unwrap_err().to_string();
    assert!(error.contains("12 to 18"), "{error}");
    let options = PgOptions::new().version(12).origin(Origin::Installed);
    if let Err(error) = Postgres::start(options).await {
        assert!(error.to_string().contains("apt-get install"), "{error}");
    }
}

#[test]
fn a_server_outlives_the_runtime_that_started_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime().block_on(Postgres::start(PgOptions::new())).unwrap();
    runtime().block_on(async {
        server.restart(StopMode::Fast).await.unwrap();
        assert_eq!(server.value("select 1").await.unwrap(), "1");
        server.close().await.unwrap();
    });
}

#[tokio::test]
async fn a_connection_through_the_proxy_is_cut() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let proxy = Proxy::start(server.host(), server.port()).await.unwrap();
    let url = proxy.url(&server.url("postgres"));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("select 1").await.unwrap();
    proxy.cut(Cut::Reset).await;
    tokio::time::timeout(Duration::from_secs(10), client.batch_execute("select 1"))
        .await
        .unwrap()
        .unwrap_err();
    drop(tokio_postgres::connect(&url, NoTls).await.unwrap());
}
