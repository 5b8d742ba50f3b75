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

/// Looks at a session that is not answered, the last of which gives it up.
const LOOKS: u64 = 3;

/// Waits until a session was looked at so often from now on.
async fn looked(sql: &Sql, times: u64) {
    let mut looks = sql.looks();
    let enough = *looks.borrow() + times;
    within("looks", looks.wait_for(|looks| *looks >= enough)).await.unwrap();
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
        assert!(*sql.looks().borrow() >= LOOKS, "it was not looked at");
    }
    // The end of a COPY, for which the server waits as it does for its rows.
    let (port, swallow) = swallower(&server, Direction::ToServer).await;
    let sql = Sql::connect(&config(&server, port).build().unwrap()).await.unwrap();
    let swallow = async { swallow.send_replace(true) };
    let copied = sql.copy("COPY public.t FROM STDIN", "a\n", async {}, swallow);
    assert!(within("the end of the copy", copied).await.unwrap_err().is_retryable());
    assert_eq!(server.value("SELECT count(*) FROM public.t").await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_out_of_reach_is_given_up() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let proxy = Proxy::start(server.host(), server.port()).await.unwrap();
    // Within which a look must fail.
    let config = config(&server, proxy.port()).connect_timeout(Duration::from_secs(2)).build().unwrap();
    let sql = Sql::connect(&config).await.unwrap();
    proxy.black_hole();
    let error = within("the end of the session", sql.value("SELECT 1")).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(*sql.looks().borrow() >= LOOKS, "it was not looked at");
}

/// Longer than it takes to give up one that does neither, since it was looked
/// at more often.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_works_or_waits_for_us_is_waited_for() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    server.execute("CREATE TABLE t (v text)").await.unwrap();
    let config = config(&server, server.port()).build().unwrap();
    let (sql, in_the_way) = (Sql::connect(&config).await.unwrap(), Sql::connect(&config).await.unwrap());
    in_the_way.value("SELECT pg_advisory_lock(1)").await.unwrap();
    let work = sql.value("SELECT 'done' FROM pg_advisory_lock(1)");
    let end = async {
        looked(&sql, LOOKS * 2).await;
        in_the_way.value("SELECT pg_advisory_unlock(1)").await.unwrap();
    };
    let (worked, ()) = tokio::join!(within("an answer", work), end);
    assert_eq!(worked.unwrap().as_deref(), Some("done"));
    let (before, behind) = (looked(&sql, LOOKS * 2), looked(&sql, LOOKS * 2));
    let copied = within("a copy", sql.copy("COPY public.t FROM STDIN", "a\n", before, behind)).await;
    assert_eq!(copied.unwrap(), 1);
    assert_eq!(sql.value("SELECT count(*) FROM public.t").await.unwrap().as_deref(), Some("1"));
}
