use std::io::{Read, Seek, SeekFrom, Write};

use proptest::prelude::*;

use super::*;

/// A spool that has all but `memory` bytes in a directory of its own.
fn spool(memory: usize) -> (Spool, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Spool::new(SpoolOptions::default().directory(directory.path()).memory(memory)), directory)
}

async fn all(mut records: Records) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    while let Some(mut block) = records.next().await? {
        while let Some(range) = block.next()? {
            all.push(block.bytes()[range].to_vec());
        }
    }
    Ok(all)
}

#[tokio::test]
async fn records_come_back_from_disk_and_memory_in_their_order() {
    let (mut spool, directory) = spool(1000);
    assert!(spool.begin(1) && !spool.begin(1));
    let mut wanted = Vec::new();
    for number in 0..5_000_u32 {
        let record = [&number.to_le_bytes()[..], &vec![7; number as usize % 300]].concat();
        if number % 1000 == 999 {
            spool.add_shared(1, 1, record.clone().into());
        } else {
            spool.add(1, 1, &[&record[..2], &record[2..]]);
        }
        wanted.push(record);
        // The last ones stay in memory.
        if spool.is_over() && number < 4_990 {
            spool.settle().await.unwrap();
            assert_eq!(spool.memory(), 0);
        }
    }
    assert!(spool.disk() > 500_000 && spool.memory() > 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "its files have no name");
    let records = spool.take(1).unwrap();
    assert!(spool.memory() == 0 && spool.disk() > 0 && spool.take(1).is_none());
    assert_eq!(all(records).await.unwrap(), wanted);
    assert_eq!(spool.disk(), 0, "what was read gives its disk back");
}

#[tokio::test]
async fn a_dropped_part_and_an_aborted_transaction_leave_nothing() {
    for memory in [0, 1 << 20] {
        let (mut spool, _directory) = spool(memory);
        for (part, record) in [(1, "a"), (2, "b"), (3, "c"), (2, "d"), (1, "e")] {
            spool.add(1, part, &[record.as_bytes()]);
            spool.add(9, part, &[record.as_bytes()]);
            spool.settle().await.unwrap();
        }
        spool.drop_part(1, 2);
        spool.drop_part(1, 77);
        spool.drop_part(42, 2);
        spool.add(1, 2, &[b"f"]);
        spool.add_shared(1, 2, Bytes::from_static(b"g"));
        spool.add_shared(1, 3, Bytes::from_static(b"h"));
        spool.abort(9);
        spool.abort(9);
        let kept = all(spool.take(1).unwrap()).await.unwrap();
        assert_eq!(kept, [&b"a"[..], b"c", b"e", b"h"], "with {memory} bytes of memory");
        assert_eq!((spool.memory(), spool.disk()), (0, 0));
    }
}

#[tokio::test]
async fn what_the_disk_alters_is_noticed_and_worth_a_retry() {
    for (place, what) in [(0, "longer than its file"), (5, "checksum"), (20, "checksum"), (199, "checksum")] {
        let (mut spool, _directory) = spool(0);
        spool.add(1, 1, &[&[3; 100]]);
        spool.add(1, 1, &[&[4; 100]]);
        spool.settle().await.unwrap();
        let file = spool.kept.get_mut(&1).unwrap().file();
        let mut byte = [0];
        file.seek(SeekFrom::Start(place)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(place)).unwrap();
        file.write_all(&[byte[0] ^ 0x40]).unwrap();
        // A length that is too short leads to another checksum, too.
        let error = all(spool.take(1).unwrap()).await.unwrap_err();
        let expected = if place == 0 { "checksum" } else { what };
        assert!(error.to_string().contains(expected) || error.to_string().contains(what), "{place}: {error}");
        assert!(error.is_retryable());
    }
    let (mut spool, _directory) = spool(0);
    spool.add(1, 1, &[&[3; 100]]);
    spool.settle().await.unwrap();
    spool.kept.get_mut(&1).unwrap().file().set_len(50).unwrap();
    let error = all(spool.take(1).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn the_bounds_of_disk_and_memory_hold_and_say_what_to_do() {
    let (mut spool, directory) = spool(1000);
    spool.options.disk = 4000;
    for number in 0.. {
        spool.add(number % 7, 1, &[&[0; 90]]);
        assert!(spool.memory() <= 1200 && spool.disk() <= 4000);
        if let Err(error) = spool.settle().await {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(
                !error.is_retryable() && error.to_string().contains("raise the bound (`spool.disk`)"),
                "{error}"
            );
            break;
        }
    }
    // What ends gives back what it had.
    (0..7).for_each(|number| spool.abort(number));
    assert_eq!((spool.memory(), spool.disk()), (0, 0));
    drop(directory);
    spool.add(1, 1, &[&[0; 2000]]);
    let error = spool.settle().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("name one that exists"), "{error}");
}

#[tokio::test]
async fn the_largest_transaction_goes_to_disk() {
    let (mut spool, _directory) = spool(1000);
    spool.add(1, 1, &[&[0; 100]]);
    spool.add(2, 1, &[&[0; 1000]]);
    spool.settle().await.unwrap();
    assert!(spool.kept[&1].memory() > 0 && spool.kept[&2].memory() == 0);
}

proptest! {
    /// No bytes in place of a block are taken for anything but an error or records within them.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut at = 0;
        while let Ok(Some((_, range))) = block::record(&bytes, &mut at) {
            prop_assert!(range.end <= bytes.len() && range.end == at);
        }
        let mut left = bytes.len() as u64;
        let _ = block::read(&mut &bytes[..], &mut left);
    }
}
