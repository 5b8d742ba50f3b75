//! Between the check of a slot and the start of its stream.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use zdm_core::ErrorKind;
use zdm_pg::changes_probe as probe;
use zdm_servers::postgres::Postgres;

use super::fixture::{SMALL, Source, server, settings, within};

/// A way to a server on which the command that starts a stream is held back.
struct Held {
    port: u16,
    /// Whether the command has come.
    came: watch::Receiver<bool>,
    lets_go: watch::Sender<bool>,
}

impl Held {
    async fn before(server: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = (server.host().to_owned(), server.port());
        let (came, seen) = watch::channel(false);
        let (lets_go, goes) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(address.clone()).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
                let (came, mut goes) = (came.clone(), goes.clone());
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                        if bytes[..count].windows(17).any(|part| part == b"START_REPLICATION") {
                            came.send_replace(true);
                            let _ = goes.wait_for(|goes| *goes).await;
                        }
                        if to_server.write_all(&bytes[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, came: seen, lets_go }
    }

    async fn came(&mut self) {
        within("the command", self.came.wait_for(|came| *came)).await.unwrap();
    }
}

/// The server would begin where the slot is then, and say nothing.
#[tokio::test]
async fn a_slot_that_moves_behind_the_check_is_refused() {
    for (name, moves) in [
        ("advanced", "SELECT pg_replication_slot_advance('zdm_advanced', pg_current_wal_lsn())"),
        (
            "remade",
            "SELECT pg_drop_replication_slot('zdm_remade'); \
             SELECT pg_create_logical_replication_slot('zdm_remade', 'pgoutput')",
        ),
    ] {
        let source = Source::new(server().await, name, SMALL, &["t"]).await;
        let start = source.begin().await;
        let mut held = Held::before(server().await).await;
        let config = Arc::new(settings(server().await, name).port(held.port).build().unwrap());
        let meddle = async {
            held.came().await;
            source.db.execute("INSERT INTO t VALUES (1)").await.unwrap();
            source.db.execute(moves).await.unwrap();
            held.lets_go.send_replace(true);
        };
        let open = within("open", probe::open(&config, source.options(&start)));
        let (opened, ()) = tokio::join!(open, meddle);
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Gap, "{name}");
    }
}

/// A start waits for nobody: a server that does not answer it hangs.
#[tokio::test]
async fn a_start_that_is_not_answered_is_given_up() {
    let source = Source::new(server().await, "unanswered", SMALL, &["t"]).await;
    let start = source.begin().await;
    let held = Held::before(server().await).await;
    let config = settings(server().await, "unanswered").port(held.port);
    let config = Arc::new(config.answer_timeout(Duration::from_millis(100)).build().unwrap());
    let opened = within("the end of its patience", probe::open(&config, source.options(&start))).await;
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(*held.came.borrow(), "it was not asked for");
}
