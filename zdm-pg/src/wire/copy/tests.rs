//! The stream, over scripts.

use proptest::prelude::*;

use super::super::script::{Script, copy_data, keepalive, message, xlog};
use super::*;

fn copy(script: Script) -> CopyBoth<Script> {
    CopyBoth::new(Channel::new(script))
}

/// Reads a whole script; the payloads, and how it ended.
async fn drain(copy: &mut CopyBoth<Script>) -> (Vec<Vec<u8>>, Error) {
    let mut payloads = Vec::new();
    loop {
        if let Err(error) = copy.fill().await {
            return (payloads, error);
        }
        let mut ranges = Vec::new();
        let mut frames = copy.frames();
        loop {
            match frames.next() {
                Ok(Some(Frame::Data { payload, .. })) => ranges.push(payload),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return (payloads, error),
            }
        }
        let consumed = frames.consumed();
        let bytes = copy.split(consumed);
        payloads.extend(ranges.into_iter().map(|range| bytes[range].to_vec()));
    }
}

fn log() -> (Vec<Vec<u8>>, Vec<u8>) {
    let payloads = vec![b"a".to_vec(), vec![], vec![7; 300], b"end".to_vec()];
    let mut bytes = keepalive(1, false);
    for payload in &payloads {
        bytes.extend(xlog(2, payload));
    }
    (payloads, bytes)
}

#[tokio::test]
async fn payloads_survive_every_cut() {
    let (payloads, bytes) = log();
    for cut in 1..bytes.len() {
        let mut script = Script::new(&bytes[..cut], bytes.len());
        script.pieces.push_back(bytes[cut..].to_vec());
        let (read, error) = drain(&mut copy(script)).await;
        assert_eq!(read, payloads, "cut at {cut}");
        assert_eq!(error.kind(), ErrorKind::Connection);
    }
    let (read, _) = drain(&mut copy(Script::new(&bytes, 1))).await;
    assert_eq!(read, payloads);
}

#[tokio::test]
async fn a_truncated_stream_is_a_lost_connection() {
    let (payloads, bytes) = log();
    for end in 0..bytes.len() {
        let (read, error) = drain(&mut copy(Script::new(&bytes[..end], 64))).await;
        assert!(payloads.starts_with(&read));
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Connection, true), "cut at {end}");
    }
}

#[tokio::test]
async fn memory_follows_what_arrived_not_what_was_announced() {
    // Just under a gigabyte announced, a kilobyte delivered.
    let mut bytes = vec![b'd', 0x3f, 0xff, 0xff, 0xff];
    bytes.extend([b'w'; 1000]);
    let mut copy = copy(Script::new(&bytes, 100));
    let (read, _) = drain(&mut copy).await;
    assert!(read.is_empty());
    assert!(copy.channel.input.capacity() <= 2 * READ, "{}", copy.channel.input.capacity());
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let payload = vec![3; 5 << 20];
    let (read, _) = drain(&mut copy(Script::new(&xlog(1, &payload), 100_000))).await;
    assert_eq!(read, [payload]);
}

#[tokio::test]
async fn fill_writes_the_status_while_it_waits() {
    let mut copy = copy(Script { silent: true, ..Script::default() });
    copy.queue_status(Lsn(1), Lsn(2), Lsn(3), true);
    copy.queue_status(Lsn(4), Lsn(5), Lsn(6), false);
    let waited = tokio::time::timeout(Duration::from_millis(5), copy.fill()).await;
    assert!(waited.is_err());
    let written = &copy.channel.stream().written;
    assert_eq!(written.len(), 39);
    assert_eq!(&written[..6], b"d\0\0\0\x26r");
    assert_eq!(
        &written[6..30],
        [[0, 0, 0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0, 0, 5], [0, 0, 0, 0, 0, 0, 0, 6]].concat()
    );
    // The wish for a reply outlives the status that it came with.
    assert_eq!(written[38], 1);
}

#[tokio::test]
async fn a_blocked_write_neither_stops_reading_nor_piles_up() {
    let (payloads, bytes) = log();
    let mut script = Script::new(&bytes, 50);
    script.window = Some(10);
    let mut copy = copy(script);
    for at in 0..1000 {
        copy.queue_status(Lsn(at), Lsn(at), Lsn(at), false);
        if at % 100 == 0 {
            poll_fn(|cx| Poll::Ready(copy.write(cx))).await;
        }
    }
    assert!(copy.channel.output.len() < 64);
    let (read, _) = drain(&mut copy).await;
    assert_eq!(read, payloads);
}

#[tokio::test]
async fn flush_reads_ahead_when_it_cannot_write_and_fill_tells_of_it() {
    let mut script = Script::new(&xlog(1, b"ahead"), 1000);
    (script.window, script.silent) = (Some(0), true);
    let mut copy = copy(script);
    let stuck =
        tokio::time::timeout(Duration::from_millis(5), copy.send_status(Lsn(1), Lsn(1), Lsn(1), false)).await;
    assert!(stuck.is_err());
    assert_eq!(copy.fill().await.unwrap(), xlog(1, b"ahead").len());
    assert!(matches!(copy.frames().next(), Ok(Some(Frame::Data { .. }))));
}

#[tokio::test]
async fn finish_waits_for_the_servers_end_and_no_longer() {
    let end =
        [xlog(1, b"late"), message(b'c', b""), message(b'C', b"COPY 0\0"), message(b'Z', b"I")].concat();
    copy(Script::new(&end, 7)).finish(Duration::from_secs(5)).await.unwrap();
    let silent = Script { silent: true, ..Script::default() };
    let error = copy(silent).finish(Duration::from_millis(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let error = copy(Script::default()).finish(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
}

#[tokio::test]
async fn a_cancelled_fill_loses_nothing() {
    let (payloads, bytes) = log();
    let mut script = Script::new(&bytes, 3);
    script.silent = true;
    let mut copy = copy(script);
    // Busy from the start: the nap is where cancelling is likeliest.
    copy.gather.filled(Instant::now(), READ);
    let mut read = Vec::new();
    while read.len() < payloads.len() {
        tokio::select! {
            filled = copy.fill() => {
                filled.unwrap();
                let mut ranges = Vec::new();
                let mut frames = copy.frames();
                while let Some(frame) = frames.next().unwrap() {
                    if let Frame::Data { payload, .. } = frame {
                        ranges.push(payload);
                    }
                }
                let consumed = frames.consumed();
                let bytes = copy.split(consumed);
                read.extend(ranges.into_iter().map(|range| bytes[range].to_vec()));
            }
            () = tokio::time::sleep(Duration::from_millis(1)) => copy.queue_status(Lsn(1), Lsn(1), Lsn(1), false),
        }
    }
    assert_eq!(read, payloads);
}

proptest! {
    #[test]
    fn rubbish_ends_in_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bytes = [copy_data(&bytes), bytes].concat();
        runtime.block_on(async { drain(&mut copy(Script::new(&bytes, piece))).await });
    }
}
