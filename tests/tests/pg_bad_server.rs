//! A server that says anything but what it should, at each stage of a
//! session: an error in words, soon, and never a panic or a hang.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zdm_core::{Error, ErrorKind, Result};
use zdm_pg::config::{PgConfig, SslMode};
use zdm_pg::fuzz::NONCE;
use zdm_pg::probe::{Replication, Sql};

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the server goes on when it has said all.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Close,
    Silence,
}

/// A server that answers each message of ours with the next of its speeches.
async fn server(speeches: Vec<Vec<u8>>, then: Then) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(talk(socket, speeches.clone(), then));
        }
    });
    port
}

async fn talk(mut socket: TcpStream, speeches: Vec<Vec<u8>>, then: Then) {
    let mut heard = vec![0; 64 << 10];
    for speech in speeches {
        // A reset is the client's right: it was told enough.
        let Ok(1..) = socket.read(&mut heard).await else { return };
        if socket.write_all(&with_nonce(speech, &heard)).await.is_err() {
            return;
        }
    }
    if then == Then::Silence {
        while matches!(socket.read(&mut heard).await, Ok(1..)) {}
    }
}

/// Puts the client's own nonce, as it was just heard, where [`NONCE`] stands.
fn with_nonce(mut speech: Vec<u8>, heard: &[u8]) -> Vec<u8> {
    let place = speech.windows(NONCE.len()).position(|part| part == NONCE);
    let own = heard.windows(2).position(|part| part == b"r=").map(|at| &heard[at + 2..][..NONCE.len()]);
    if let (Some(place), Some(own)) = (place, own) {
        speech[place..place + NONCE.len()].copy_from_slice(own);
    }
    speech
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    announced(tag, u32::try_from(body.len() + 4).unwrap(), body)
}

/// A message that lies about its length.
fn announced(tag: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn welcome() -> Vec<u8> {
    [
        message(b'R', &[0; 4]),
        message(b'S', b"server_version\x0013.4\0"),
        message(b'K', &[0, 0, 0, 7, 0, 0, 0, 9]),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// Things that no server says in that place, or no server at all.
fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xff; 4096]),
        ("a huge length", announced(b'D', u32::MAX, b"x")),
        ("a length beyond any message", announced(b'R', 0x7fff_ffff, &[0; 64])),
        ("a length below its own", announced(b'R', 3, &[0; 64])),
        ("a truncated frame", announced(b'R', 40, &[0, 0, 0, 0])),
        ("a message out of turn", message(b'W', &[0, 0, 0])),
        ("an error without fields", message(b'E', b"")),
        ("an error without an end", message(b'E', b"SERROR")),
        ("an error that is not text", message(b'E', b"SERROR\0C\xff\xfe000\0M\xff\xff\0\0")),
        ("nothing", Vec::new()),
    ]
}

async fn soon<T>(what: &str, work: impl Future<Output = Result<T>>) -> Error {
    let done = tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: it hangs"));
    let Err(error) = done else { panic!("{what}: it was believed") };
    assert!(!error.to_string().is_empty() && !format!("{error:?}").contains("pencil"), "{what}: {error:?}");
    error
}

fn config(port: u16, timeout: Duration) -> PgConfig {
    let builder = PgConfig::builder().host("127.0.0.1").port(port).user("u").password("pencil");
    builder.sslmode(SslMode::Disable).connect_timeout(timeout).build().unwrap()
}

/// What may come of rubbish: never something that hides whose fault it is.
fn told(what: &str, error: &Error) {
    let kinds = [
        ErrorKind::Protocol,
        ErrorKind::Connection,
        ErrorKind::Timeout,
        ErrorKind::Authentication,
        ErrorKind::Rejected,
    ];
    // An error of the server's with a code that nobody knows.
    let unknown = error.kind() == ErrorKind::Other && what.starts_with("an error");
    assert!(unknown || kinds.contains(&error.kind()), "{what}: {error:?}");
}

#[tokio::test]
async fn rubbish_in_the_login_is_an_error() {
    let asks = |request: &[u8]| message(b'R', request);
    let scram = asks(b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    for (stage, before) in [
        ("the first word", vec![]),
        ("a password", vec![asks(&[0, 0, 0, 3])]),
        ("md5", vec![asks(&[0, 0, 0, 5, 1, 2, 3, 4])]),
        ("scram", vec![scram]),
        ("after the login", vec![message(b'R', &[0; 4])]),
    ] {
        for (what, speech) in rubbish() {
            // What follows the login comes unasked.
            let speeches = match stage {
                "after the login" => vec![[before.concat(), speech].concat()],
                _ => [before.clone(), vec![speech]].concat(),
            };
            let port = server(speeches, Then::Close).await;
            let config = config(port, PATIENCE);
            let what = format!("{what} in {stage}");
            told(&what, &soon(&what, Replication::connect(&config)).await);
            told(&what, &soon(&what, Sql::connect(&config)).await);
        }
    }
}

#[tokio::test]
async fn a_server_that_asks_for_too_much_work_is_refused() {
    let scram = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let nonce = std::str::from_utf8(NONCE).unwrap();
    let rounds = |rounds: &str| format!("r={nonce}more,s=AAAAAAAA,i={rounds}");
    let answer = |challenge: &str| message(b'R', &[b"\0\0\0\x0b", challenge.as_bytes()].concat());
    let words = ["r=x,s=AAAA,i=4096", "r=,s=,i=0", "e=no", ""].map(str::to_owned);
    let refused = words.into_iter().chain(["100001", "4294967295", "4294967296", "-1"].map(rounds));
    for challenge in refused {
        let port = server(vec![scram.clone(), answer(&challenge)], Then::Silence).await;
        let error = soon(&challenge, Replication::connect(&config(port, PATIENCE))).await;
        assert_eq!(error.kind(), ErrorKind::Authentication, "{challenge}: {error:?}");
        soon(&challenge, Sql::connect(&config(port, PATIENCE))).await;
    }
    // The usual number is answered; then the server goes.
    let port = server(vec![scram, answer(&rounds("4096")), Vec::new()], Then::Close).await;
    let error = soon("4096", Replication::connect(&config(port, PATIENCE))).await;
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
}

#[tokio::test]
async fn silence_at_any_stage_of_the_login_ends_in_time() {
    let whole = welcome();
    for said in [0, 1, 5, 9, 20, whole.len() - 1] {
        let port = server(vec![whole[..said].to_vec()], Then::Silence).await;
        let config = config(port, Duration::from_millis(200));
        for error in
            [soon("wire", Replication::connect(&config)).await, soon("sql", Sql::connect(&config)).await]
        {
            assert_eq!(error.kind(), ErrorKind::Timeout, "after {said} bytes: {error}");
        }
    }
    // One that never stops is no better.
    let endless = message(b'S', b"a\0b\0").repeat(1000);
    let port = server([vec![message(b'R', &[0; 4])], vec![endless; 3]].concat(), Then::Silence).await;
    let error = soon("endless", Replication::connect(&config(port, Duration::from_millis(200)))).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test]
async fn rubbish_in_answer_to_a_command_is_an_error() {
    let row = |cells: &[u8]| message(b'D', cells);
    let mut speeches = rubbish();
    speeches.extend([
        ("a row that ends early", row(&[0, 3, 0, 0, 0, 1, b'x'])),
        ("a cell beyond its row", row(&[0, 1, 0x7f, 0xff, 0xff, 0xff])),
        ("a row of rubbish", row(&[0, 1, 0, 0, 0, 2, 0xff, 0xfe])),
    ]);
    for (what, speech) in speeches {
        let port = server(vec![welcome(), speech.clone()], Then::Close).await;
        let mut replication = Replication::connect(&config(port, PATIENCE)).await.unwrap();
        told(what, &soon(what, replication.identify()).await);
        // Here the answer is one in both directions.
        if what == "a message out of turn" {
            continue;
        }
        let replication = Replication::connect(&config(port, PATIENCE)).await.unwrap();
        told(what, &soon(what, replication.start("s", 0, &[])).await);
    }
}

#[tokio::test]
async fn rubbish_in_the_log_is_an_error() {
    let begins = message(b'W', &[0, 0, 0]);
    let mut speeches = rubbish();
    // It is a message here, and not one of a login.
    speeches.retain(|(what, _)| *what != "nothing");
    speeches.extend([
        ("an empty piece", message(b'd', b"")),
        ("an unknown piece", message(b'd', b"x123")),
        ("a piece without its head", message(b'd', b"w1234")),
        ("half a keep-alive", message(b'd', b"k1234")),
        ("a gigabyte announced", announced(b'd', 0x4000_0000, &[b'w'; 64])),
        ("more than a gigabyte", announced(b'd', 0x7000_0000, &[b'w'; 64])),
    ]);
    for (what, speech) in speeches {
        let port = server(vec![welcome(), [begins.clone(), speech].concat()], Then::Close).await;
        let replication = Replication::connect(&config(port, PATIENCE)).await.unwrap();
        let mut log = replication.start("s", 0, &[]).await.unwrap();
        let read = async {
            loop {
                if log.read().await?.ended {
                    return Ok(());
                }
            }
        };
        told(what, &soon(what, read).await);
    }
}
