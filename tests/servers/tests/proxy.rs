//! The proxy's faults, seen from both ends.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zdm_servers::proxy::{Cut, Direction, Proxy};

/// Longer than anything that must happen, shorter than a patient reader.
const LONG: Duration = Duration::from_secs(10);
/// Long enough to see that nothing happens.
const SHORT: Duration = Duration::from_millis(100);

/// A server that sends back what it gets, and a proxy in front of it.
async fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Proxy::start("127.0.0.1", port).await.unwrap()
}

async fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn answers(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let asked = async {
        stream.write_all(b"x").await?;
        stream.read_exact(&mut byte).await
    };
    matches!(timeout(LONG, asked).await, Ok(Ok(_)))
}

#[tokio::test]
async fn bytes_and_ends_pass() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    stream.write_all(&[7; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, [7; 100_000]);
    assert_eq!(proxy.bytes(Direction::FromServer), 100_000);
}

#[tokio::test]
async fn a_reset_is_seen_as_one_and_new_connections_work() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    assert!(answers(&mut stream).await);
    proxy.cut(Cut::Reset).await;
    assert_eq!(proxy.connections(), 0);
    assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(answers(&mut client(&proxy).await).await);
}

#[tokio::test]
async fn a_close_is_seen_as_an_end() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    assert!(answers(&mut stream).await);
    proxy.cut(Cut::Close).await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn refused_until_healed_on_the_same_port() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    proxy.refuse().await;
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(answers(&mut stream).await, "the open connection stays");
    proxy.heal().await.unwrap();
    assert!(answers(&mut client(&proxy).await).await);
}

#[tokio::test]
async fn the_cut_comes_after_exactly_so_many_bytes() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    proxy.cut_after(Direction::FromServer, 50_001);
    stream.write_all(&[1; 100_000]).await.unwrap();
    let mut back = vec![0; 50_001];
    timeout(LONG, stream.read_exact(&mut back)).await.unwrap().unwrap();
    let more = timeout(LONG, stream.read(&mut [0])).await.unwrap();
    assert!(matches!(more, Ok(0) | Err(_)));
    timeout(LONG, proxy.spent(Direction::FromServer)).await.unwrap();
    assert!(answers(&mut client(&proxy).await).await, "it cuts once");
}

#[tokio::test]
async fn a_delay_keeps_the_bandwidth() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    proxy.delay(Direction::ToServer, Duration::from_millis(50));
    proxy.delay(Direction::FromServer, Duration::from_millis(50));
    let begun = Instant::now();
    assert!(answers(&mut stream).await);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    let (mut from, mut to) = stream.split();
    let begun = Instant::now();
    let mut back = vec![0; 2_000_000];
    let (sent, got) = tokio::join!(to.write_all(&[0; 2_000_000]), from.read_exact(&mut back));
    sent.and(got).unwrap();
    // One after the other, its pieces of 16 KiB would take twelve seconds.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_throttle_holds() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    proxy.throttle(Direction::FromServer, 100_000);
    let begun = Instant::now();
    stream.write_all(&[0; 50_000]).await.unwrap();
    stream.read_exact(&mut [0; 50_000]).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_black_hole_holds_back_and_lets_go() {
    let proxy = echo().await;
    let mut old = client(&proxy).await;
    assert!(answers(&mut old).await);
    proxy.black_hole();
    let mut new = client(&proxy).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"x").await.unwrap();
        assert!(timeout(SHORT, stream.read(&mut [0])).await.is_err());
    }
    proxy.heal().await.unwrap();
    for stream in [&mut old, &mut new] {
        assert_eq!(timeout(LONG, stream.read(&mut [0])).await.unwrap().unwrap(), 1);
    }
}

#[tokio::test]
async fn a_connection_in_a_black_hole_can_be_cut() {
    let proxy = echo().await;
    proxy.black_hole();
    let mut stream = client(&proxy).await;
    stream.write_all(b"x").await.unwrap();
    // The proxy may not have accepted it yet: wait until it has.
    while proxy.connections() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.cut(Cut::Reset).await;
    assert!(timeout(LONG, stream.read(&mut [0])).await.unwrap().is_err());
}

#[tokio::test]
async fn the_target_can_be_switched() {
    let (first, second) = (echo().await, echo().await);
    let proxy = Proxy::start("127.0.0.1", first.port()).await.unwrap();
    assert!(answers(&mut client(&proxy).await).await);
    proxy.retarget("127.0.0.1", second.port());
    assert!(answers(&mut client(&proxy).await).await);
    assert_eq!((first.bytes(Direction::ToServer), second.bytes(Direction::ToServer)), (1, 1));
}

#[tokio::test]
async fn a_target_that_is_down_resets_the_client() {
    let proxy = Proxy::start("127.0.0.1", 1).await.unwrap();
    let mut stream = client(&proxy).await;
    assert!(timeout(LONG, stream.read(&mut [0])).await.unwrap().is_err());
}
