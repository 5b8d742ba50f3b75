//! A whole session with a server made of bytes, for fuzzers.

use futures::FutureExt as _;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use zdm_core::Result;

use super::Frame;
use super::connection::Connection;
use crate::config::PgConfig;
use crate::position::Lsn;

/// What a server says from the login to the log. It never waits for us, so
/// every step is done at once.
pub fn session(bytes: &[u8]) -> bool {
    let config =
        PgConfig::builder().host("h").user("u").dbname("d").password("pencil").passfile("/nonexistent");
    let config = config.build().expect("the settings are right");
    let server = tokio::io::join(bytes, tokio::io::sink());
    let talk = async {
        let mut connection = Connection::start(server, &config, "fuzz", None).await?;
        // An error of the server's leaves the connection of use.
        drop(connection.query("SELECT 1").await);
        drop(connection.identify_system().await);
        let mut copy = connection.start_replication("s", Lsn(0), &[]).await?;
        copy.fill().await?;
        copy.queue_status(Lsn(1), Lsn(1), Lsn(1), true);
        let mut frames = copy.frames();
        while let Some(frame) = frames.next()? {
            if let Frame::Data { payload, .. } = frame {
                assert!(copy.buffer().get(payload).is_some(), "a payload lies inside the buffer");
            }
        }
        let consumed = frames.consumed();
        drop(copy.split(consumed));
        copy.flush().await
    };
    let ended: Option<Result<()>> = talk.now_or_never();
    matches!(ended, Some(Ok(())))
}

/// The two messages of a server in SCRAM, parted by a zero byte. Where the
/// first has [`NONCE`], the client's own stands: without it nothing gets far.
pub fn scram(bytes: &[u8]) -> bool {
    let (first, last) = bytes
        .iter()
        .position(|byte| *byte == 0)
        .map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 1..]));
    // Five digits of rounds, which the library takes up to 100,000, are slow.
    let slow = |part: &[u8]| part.starts_with(b"i=") && part.len() > 6;
    if first.split(|byte| *byte == b',').any(slow) {
        return false;
    }
    let mut scram = ScramSha256::new(b"pencil", ChannelBinding::unsupported());
    let sent = String::from_utf8_lossy(scram.message()).into_owned();
    let own = sent.rsplit("r=").next().unwrap_or_default();
    let first = match first.windows(NONCE.len()).position(|part| part == NONCE) {
        Some(at) => [&first[..at], own.as_bytes(), &first[at + NONCE.len()..]].concat(),
        None => first.to_vec(),
    };
    let understood = scram.update(&first).is_ok();
    assert!(!understood || scram.finish(last).is_err(), "nobody knows the password but us");
    understood
}

/// What stands for the client's nonce.
pub const NONCE: &[u8] = b"<the-client's-own-nonce>";
