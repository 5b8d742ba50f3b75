//! A server made of bytes, for fuzzers. It never waits for us, so every step
//! is done at once.

use futures::FutureExt as _;
use zdm_core::Result;

use super::channel::Channel;
use super::connection::Connection;
use super::dump::Dump;
use super::{From, Request};
use crate::config::{Compression, MySqlConfig};

/// Packets of a dump: events in one piece, whatever they came in. The first
/// byte says whether they are compressed, and how.
pub fn packets(bytes: &[u8]) -> bool {
    let Some((&packed, bytes)) = bytes.split_first() else { return false };
    let mut channel = Channel::new(tokio::io::join(bytes, tokio::io::sink()));
    match packed % 3 {
        0 => {}
        1 => channel.compress(Compression::Zlib),
        _ => channel.compress(Compression::Zstd),
    }
    let mut dump = Dump::new(channel);
    let Some(Ok(_)) = dump.fill().now_or_never() else { return false };
    drained(&mut dump).is_ok()
}

fn drained<S>(dump: &mut Dump<S>) -> Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut consumed = 0;
    let outcome = loop {
        match dump.next() {
            Ok(Some(range)) => {
                assert!(range.start >= consumed, "events lie one behind the other");
                consumed = range.end;
                assert!(dump.buffer().get(range).is_some(), "an event lies inside the buffer");
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(dump.split(consumed).len() >= consumed, "what was given is taken");
    outcome
}

/// What a server says from its greeting to the log.
pub fn session(bytes: &[u8]) -> bool {
    let config = MySqlConfig::parse("mysql://me:secret@h").expect("it is a URL");
    let server = tokio::io::join(bytes, tokio::io::sink());
    let talk = async {
        let mut connection = Connection::over(server, &config).await?;
        // An error of the server's leaves the connection of use.
        drop(connection.query("SELECT 1").await);
        let from = From::Domains("0-1-5".parse().expect("it is a position"));
        let request = Request { server_id: 1, heartbeat: config.heartbeat(), from };
        let mut dump = connection.dump(&request).await?;
        dump.fill().await?;
        drained(&mut dump)
    };
    let ended: Option<Result<()>> = talk.now_or_never();
    matches!(ended, Some(Ok(())))
}
