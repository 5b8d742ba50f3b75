//! The login and the commands, over scripts.

use proptest::prelude::*;

use super::super::script::{Script, message, welcome, xlog};
use super::*;

fn config(password: Option<&str>) -> PgConfig {
    let builder = PgConfig::builder().host("h").user("u").dbname("d").passfile("/nonexistent");
    match password {
        Some(password) => builder.password(password),
        None => builder,
    }
    .build()
    .unwrap()
}

async fn start(bytes: &[u8], piece: usize) -> Result<Connection<Script>> {
    Connection::start(Script::new(bytes, piece), &config(Some("pw")), "test", None).await
}

fn row(cells: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
    for cell in cells {
        match cell {
            Some(text) => {
                body.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                body.extend(text.as_bytes());
            }
            None => body.extend([0xff; 4]),
        }
    }
    message(b'D', &body)
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

#[tokio::test]
async fn a_trusted_user_gets_in_however_the_bytes_are_cut() {
    for piece in 1..welcome().len() {
        let connection = start(&welcome(), piece).await.unwrap();
        assert_eq!((connection.server_version_num(), connection.process_id()), (130_004, 7));
        let sent = &connection.channel.stream().written;
        let sent = String::from_utf8_lossy(sent);
        assert!(sent.contains("replication\0database\0") && sent.contains("application_name\0zdm test\0"));
    }
}

#[tokio::test]
async fn a_truncated_login_is_a_lost_connection() {
    let bytes = welcome();
    for end in 0..bytes.len() {
        let error = start(&bytes[..end], 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "cut at {end}");
    }
}

#[tokio::test]
async fn passwords_are_sent_as_asked() {
    let cleartext = [message(b'R', &[0, 0, 0, 3]), welcome()].concat();
    let connection = start(&cleartext, 1000).await.unwrap();
    assert!(connection.channel.stream().written.ends_with(b"p\0\0\0\x07pw\0"));
    let md5 = [message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]), welcome()].concat();
    let connection = start(&md5, 1000).await.unwrap();
    let hash = md5_of("u", "pw", [1, 2, 3, 4]);
    assert!(connection.channel.stream().written.ends_with(format!("{hash}\0").as_bytes()));
    let error = Connection::start(Script::new(&md5, 99), &config(None), "test", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.to_string().contains(".pgpass"));
}

fn md5_of(user: &str, password: &str, salt: [u8; 4]) -> String {
    postgres_protocol::authentication::md5_hash(user.as_bytes(), password.as_bytes(), salt)
}

#[tokio::test]
async fn what_we_cannot_do_is_named() {
    for (request, says) in [
        (message(b'R', &[0, 0, 0, 7]), "GSSAPI"),
        (message(b'R', &[0, 0, 0, 2]), "Kerberos"),
        (message(b'R', b"\0\0\0\x0aOAUTHBEARER\0\0"), "SCRAM-SHA-256"),
        (message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0"), "SCRAM-SHA-256"),
    ] {
        let error = start(&request, 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(says), "{error}");
    }
    // A server that skips its proof is not believed.
    let skips = [message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"), welcome()].concat();
    assert_eq!(start(&skips, 100).await.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_query_returns_rows_or_the_servers_error_and_goes_on() {
    let script = [
        welcome(),
        message(b'T', &[0, 0]),
        row(&[Some("7301"), Some("1"), Some("16/B374D848"), None]),
        message(b'C', b"IDENTIFY_SYSTEM\0"),
        ready(),
        message(b'E', b"SERROR\0C42704\0Mno such slot\0\0"),
        ready(),
        message(b'T', &[0, 0]),
        row(&[Some("7301"), Some("2"), Some("1/2"), Some("shop")]),
        message(b'C', b"IDENTIFY_SYSTEM\0"),
        ready(),
    ]
    .concat();
    let mut connection = start(&script, 11).await.unwrap();
    let rows = connection.query("IDENTIFY_SYSTEM").await.unwrap();
    assert_eq!((rows.len(), rows[0].get(0), rows[0].get(3), rows[0].get(9)), (1, Some("7301"), None, None));
    let error = connection.query("x").await.unwrap_err();
    assert_eq!((error.kind(), error::sqlstate(&error)), (ErrorKind::NotFound, Some("42704")));
    let identity = connection.identify_system().await.unwrap();
    assert_eq!((identity.timeline, identity.flushed), (2, Lsn(0x1_0000_0002)));
    assert_eq!(connection.query("y").await.unwrap_err().kind(), ErrorKind::Connection);
}

#[tokio::test]
async fn a_dropped_query_spoils_the_connection() {
    let mut script = Script::new(&welcome(), 1000);
    script.silent = true;
    let mut connection = Connection::start(script, &config(None), "test", None).await.unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(5), connection.query("SLOW")).await;
    assert!(waited.is_err());
    assert!(connection.query("NEXT").await.unwrap_err().to_string().contains("open a new one"));
}

#[tokio::test]
async fn replication_starts_and_keeps_what_came_along() {
    let script = [welcome(), message(b'W', &[0, 0, 0]), xlog(5, b"first")].concat();
    let connection = start(&script, 10_000).await.unwrap();
    let options = [("proto_version", "1"), ("publication_names", "\"it's\"")];
    let mut copy = connection.start_replication("s", Lsn(0x16_B374_D848), &options).await.unwrap();
    assert_eq!(copy.fill().await.unwrap(), xlog(5, b"first").len());
    let sent = String::from_utf8_lossy(&copy.channel().stream().written).into_owned();
    assert!(
        sent.contains(
            "START_REPLICATION SLOT \"s\" LOGICAL 16/B374D848 (\"proto_version\" '1', \"publication_names\" '\"it''s\"')\0"
        ),
        "{sent}"
    );
    let busy = [welcome(), message(b'E', b"SERROR\0C55006\0Mslot is active\0\0"), ready()].concat();
    let error = start(&busy, 9).await.unwrap().start_replication("s", Lsn(0), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
}

proptest! {
    #[test]
    fn rubbish_ends_in_an_error_or_a_connection(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        keep in 0usize..60,
        piece in 1usize..50,
    ) {
        let mut script = [message(b'R', &[0, 0, 0, 3]), welcome()].concat();
        script.truncate(keep);
        script.extend(bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            if let Ok(mut connection) = start(&script, piece).await {
                let _ = connection.query("x").await;
            }
        });
    }
}
