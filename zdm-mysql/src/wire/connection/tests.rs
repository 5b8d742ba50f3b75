//! Statements, and servers that talk rubbish.

use proptest::prelude::*;

use super::*;
use crate::wire::script::{GREETING, Server, config, server};

async fn answer(server: &mut Server, payloads: &[&[u8]]) {
    server.receive().await;
    for payload in payloads {
        server.send(payload).await;
    }
}

#[tokio::test]
async fn rows_come_as_text() {
    let (mut server, client) = server();
    let config = config();
    let script = async {
        server.let_in().await;
        answer(
            &mut server,
            &[b"\x02", b"def", b"def", b"\xfe\0\0\x02\0", b"\x03one\xfb", b"\x00\x01x", b"\xfe\0\0\x02\0"],
        )
        .await;
        answer(&mut server, &[b"\xff\x24\x04#42S02no such table"]).await;
        answer(&mut server, &[b"\0\0\0\x02\0\0\0"]).await;
    };
    let client = async {
        let mut connection = Connection::over(client, &config).await.unwrap();
        let rows = connection.query("SELECT 1, 2").await.unwrap();
        assert_eq!((rows[0].get(0), rows[0].get(1), rows[1].get(1)), (Some("one"), None, Some("x")));
        assert_eq!(rows[1].get(0), Some(""));
        let error = connection.query("SELECT x").await.unwrap_err();
        assert_eq!((error.kind(), error::code(&error)), (ErrorKind::Conflict, Some(1060)));
        assert!(connection.query("SET x = 1").await.unwrap().is_empty());
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_dropped_statement_spoils_the_connection() {
    let (mut server, client) = server();
    let config = config();
    let (connection, ()) = tokio::join!(Connection::over(client, &config), server.let_in());
    let mut connection = connection.unwrap();
    tokio::select! {
        biased;
        _ = connection.query("SELECT SLEEP(1)") => panic!("nobody has answered"),
        () = std::future::ready(()) => {}
    }
    let error = connection.query("SELECT 1").await.unwrap_err();
    assert!(error.to_string().contains("dropped"), "{error}");
}

#[tokio::test]
async fn a_server_that_refuses_at_once_is_understood() {
    let (mut server, client) = server();
    let config = config();
    let script = server.send(b"\xff\x10\x04Too many connections");
    let (connection, ()) = tokio::join!(Connection::over(client, &config), script);
    assert_eq!(connection.unwrap_err().kind(), ErrorKind::Connection);
}

/// Whatever a server says before it goes, we come to an end.
async fn ends(said: &[u8]) {
    let (mut server, client) = server();
    let config = config();
    let script = async {
        tokio::io::AsyncWriteExt::write_all(&mut server.stream, said).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut server.stream).await.unwrap();
        // What it is told, it takes.
        let _ = tokio::io::copy(&mut server.stream, &mut tokio::io::sink()).await;
    };
    let client = async {
        let Ok(mut connection) = Connection::over(client, &config).await else { return };
        let _ = connection.query("SELECT 1").await;
    };
    tokio::select! { () = client => {}, () = async { script.await; std::future::pending().await } => {} }
}

proptest! {
    #[test]
    fn rubbish_ends_in_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400), after in 0..3_u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let greeting = crate::wire::script::packet(0, GREETING);
        let let_in = crate::wire::script::packet(2, &[0, 0, 0, 2, 0, 0, 0]);
        let mut said = match after {
            0 => Vec::new(),
            1 => greeting,
            _ => [greeting, let_in].concat(),
        };
        said.extend_from_slice(&bytes);
        runtime.block_on(ends(&said));
    }
}
