//! Events in any pieces, and servers that talk rubbish.

use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::*;
use crate::wire::script::packets;

/// A dump over a server that says this and then goes.
fn dump(said: Vec<u8>, piece: usize) -> Dump<DuplexStream> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        for bytes in said.chunks(piece) {
            if server.write_all(bytes).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    Dump::new(Channel::new(client))
}

fn ok(event: &[u8]) -> Vec<u8> {
    packets(&[&[0], event].concat())
}

/// All events, and why it ended; the buffer is given back behind every `batch`
/// events.
async fn drain(mut dump: Dump<DuplexStream>, batch: usize) -> (Vec<Vec<u8>>, Error) {
    let mut events = Vec::new();
    loop {
        if let Err(error) = dump.fill().await {
            return (events, error);
        }
        loop {
            match dump.next() {
                Ok(Some(range)) => {
                    let event = dump.buffer()[range.clone()].to_vec();
                    if events.len() % batch == batch - 1 {
                        assert!(dump.split(range.end)[range] == *event, "ranges hold in what was taken");
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(error) => return (events, error),
            }
        }
    }
}

#[tokio::test]
async fn events_come_whole_whatever_pieces_they_came_in() {
    // Around the length at which a packet goes on in the next one, with the
    // byte that says that it is an event.
    let bodies = [
        b"first".to_vec(),
        vec![5; GOES_ON - 1],
        b"second".to_vec(),
        vec![5; GOES_ON],
        vec![6; 2 * GOES_ON + 17],
        Vec::new(),
        b"last".to_vec(),
    ];
    let said: Vec<u8> = bodies.iter().flat_map(|body| ok(body)).collect();
    for (piece, batch) in [(1 << 20, 1), (70_001, 3), (said.len(), 100)] {
        let (events, error) = drain(dump(said.clone(), piece), batch).await;
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(events == bodies, "{} events, then {error}", events.len());
    }
}

#[tokio::test]
async fn small_events_come_whole_byte_by_byte() {
    let bodies = [b"a".to_vec(), Vec::new(), b"bc".to_vec()];
    let said: Vec<u8> = bodies.iter().flat_map(|body| ok(body)).collect();
    for batch in [1, 2, 100] {
        assert_eq!(drain(dump(said.clone(), 1), batch).await.0, bodies);
    }
}

#[tokio::test]
async fn the_servers_reason_for_an_end_is_told() {
    for (last, kind, says) in [
        (b"\xff\xd4\x04#HY000Cannot replicate because the source purged required binary logs".as_slice(),
         ErrorKind::Gap, "start the run anew"),
        (b"\xff\xd4\x04A slave with the same server_uuid/server_id as this slave has connected to the master",
         ErrorKind::Conflict, "server-id"),
        (b"\xfe\0\0\x02\0", ErrorKind::Connection, "shut down"),
        (b"\x07", ErrorKind::Protocol, "something else"),
        (b"", ErrorKind::Protocol, "something else"),
    ] {
        let said = [ok(b"event"), packets(last)].concat();
        let (events, error) = drain(dump(said, 10), 1).await;
        assert_eq!(events.len(), 1);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn an_announced_length_takes_no_memory_before_its_bytes_come() {
    let mut dump = dump([&[0xff, 0xff, 0xff, 0], [0; 1000].as_slice()].concat(), 100);
    while dump.fill().await.is_ok() {
        assert_eq!(dump.next().unwrap(), None);
    }
    assert!(dump.channel.input.capacity() < 1 << 20, "{}", dump.channel.input.capacity());
}

proptest! {
    #[test]
    fn rubbish_ends_in_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600), piece in 1..200_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let said = [ok(b"event"), bytes].concat();
            let (events, _) = drain(dump(said, piece), 2).await;
            assert!(!events.is_empty());
        });
    }
}
