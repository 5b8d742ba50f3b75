//! Answers that never come: given up when nobody works on them, and waited
//! for as long as somebody does.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use zdm_pg::config::{PgConfig, PgConfigBuilder};
use zdm_pg::probe::Sql;
use zdm_servers::Proxy;
use zdm_servers::postgres::{PgOptions, Postgres};
use zdm_servers::proxy::Direction;
use zdm_tests::within;

/// What tests have for [`PgConfig::answer_timeout`].
const SHORT: Duration = Duration::from_millis(300);

fn config(server: &Postgres, port: u16) -> PgConfigBuilder {
    PgConfig::builder()
        .host(server.host())
        .port(port)
        .user(server.user())
        .password(server.password().unwrap_or_default())
        .dbname("postgres")
        .answer_timeout(SHORT)
}

/// Somebody in between who, once told so, swallows one direction of the first
/// connection. Those behind it go through.
async fn swallower(server: &Postgres, swallowed: Direction) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = (server.host().to_owned(), server.port());
    let (sender, swallow) = watch::channel(false);
    tokio::spawn(async move {
        let mut first = true;
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(address.clone()).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let may = |direction| (first && direction == swallowed).then(|| swallow.clone());
            tokio::spawn(forward(from_client, to_server, may(Direction::ToServer)));
            tokio::spawn(forward(from_server, to_client, may(Direction::FromServer)));
            first = false;
        }
    });
    (port, sender)
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallow: Option<watch::Receiver<bool>>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if swallow.as_ref().is_some_and(|swallow| *swallow.borrow()) {
            continue;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_in_between_swallowed_is_not_waited_for() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    server.execute("CREATE TABLE t (v text)").await.unwrap();
    for swallowed in [Direction::ToServer, Direction::FromServer] {
        let (port, swallow) = swallower(&server, swallowed).await;
        let sql = Sql::connect(&config(&server, port).build().unwrap()).await.unwrap();
        assert_eq!(sql.value("SELECT 1").await.unwrap().as_deref(), Some("1"));
        swallow.send_replace(true);
        let error = within("the end of the session", sql.value("SELECT 2")).await.unwrap_err();
        assert!(error.is_retryable(), "{swallowed:?}: {error}");
    }
    // The end of a COPY, for which the server waits as it does for its rows.
    let (port, swallow) = swallower(&server, Direction::ToServer).await;
    let sql = Sql::connect(&config(&server, port).build().unwrap()).await.unwrap();
    let copy = sql.copy("COPY public.t FROM STDIN", &["a\n"], SHORT);
    let (copied, _) = tokio::join!(within("the end of the copy", copy), async {
        tokio::time::sleep(SHORT / 2).await;
        swallow.send_replace(true)
    });
    assert!(copied.unwrap_err().is_retryable());
    assert_eq!(server.value("SELECT count(*) FROM public.t").await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_out_of_reach_is_given_up() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let proxy = Proxy::start(server.host(), server.port()).await.unwrap();
    let config = config(&server, proxy.port()).connect_timeout(Duration::from_secs(2)).build().unwrap();
    let sql = Sql::connect(&config).await.unwrap();
    proxy.black_hole();
    let error = within("the end of the session", sql.value("SELECT 1")).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

/// Many times as long as an answer may be due unasked.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_works_or_waits_for_us_is_waited_for() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    server.execute("CREATE TABLE t (v text)").await.unwrap();
    let sql = Sql::connect(&config(&server, server.port()).build().unwrap()).await.unwrap();
    let slept = within("an answer", sql.value("SELECT pg_sleep(3)")).await;
    assert!(slept.is_ok(), "{slept:?}");
    let copied = within("a copy", sql.copy("COPY public.t FROM STDIN", &["a\n", "b\n"], SHORT * 6)).await;
    assert_eq!(copied.unwrap(), 2);
    // Idle, in between and in a transaction.
    sql.value("BEGIN").await.unwrap();
    tokio::time::sleep(SHORT * 6).await;
    assert_eq!(sql.value("SELECT count(*) FROM public.t").await.unwrap().as_deref(), Some("2"));
}
