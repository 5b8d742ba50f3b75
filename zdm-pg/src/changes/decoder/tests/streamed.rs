//! Transactions that are sent in parts before they end.

use futures::FutureExt;

use super::*;

impl Script {
    /// The last message as one of a part, of this (sub)transaction.
    fn of(mut self, xid: u32) -> Self {
        let last = self.ranges.pop().unwrap();
        let message = self.bytes.split_off(last.start);
        self.add([&message[..1], &xid.to_be_bytes(), &message[1..]].concat())
    }

    fn start(self, xid: u32, first: bool) -> Self {
        self.add([&b"S"[..], &xid.to_be_bytes(), &[u8::from(first)]].concat())
    }

    fn stop(self) -> Self {
        self.add(b"E".to_vec())
    }

    fn streamed_commit(self, xid: u32, end: u64) -> Self {
        let ends = [(end - 1).to_be_bytes(), end.to_be_bytes()].concat();
        self.add([&b"c"[..], &xid.to_be_bytes(), b"\0", &ends, &0i64.to_be_bytes()].concat())
    }

    fn abort(self, xid: u32, part: u32) -> Self {
        self.add([&b"A"[..], &xid.to_be_bytes(), &part.to_be_bytes()].concat())
    }

    fn insert(self, id: &str) -> Self {
        self.row(b'I', 1, &[(b'N', &[id, "a", "-"])])
    }

    /// What becomes of them, streamed transactions included.
    fn follow(&self, decoder: &mut Decoder) -> Result<Vec<String>> {
        let encoding = || Arc::clone(&crate::types::ENCODING);
        let (mut all, mut batch) = (Vec::new(), Assembler::new());
        for range in &self.ranges {
            let Step::Streamed(streamed) = decoder.decode(&self.bytes, range.clone(), &mut batch)? else {
                continue;
            };
            let before = std::mem::take(&mut batch);
            all.extend(lines(&before.finish(self.bytes.clone().into(), encoding(), None)?));
            let mut records = decoder.begin_streamed(&streamed)?;
            while let Some(mut block) = records.next().now_or_never().unwrap()? {
                while let Some(record) = block.next()? {
                    assert_eq!(decoder.decode_kept(block.bytes(), record, &mut batch)?, Step::Done);
                }
                let kept = std::mem::take(&mut batch);
                all.extend(lines(&kept.finish(block.bytes().clone(), encoding(), None)?));
            }
            decoder.end_streamed(&streamed, &mut batch)?;
        }
        decoder.settle(&mut batch);
        all.extend(lines(&batch.finish(self.bytes.clone().into(), encoding(), None)?));
        Ok(all)
    }
}

/// A streamed transaction with a savepoint that was rolled back, and another
/// transaction in between.
pub(super) fn good() -> Script {
    Script::default()
        .start(90, true)
        .t()
        .of(90)
        .insert("1")
        .of(90)
        .insert("2")
        .of(91)
        .stop()
        .begin(95)
        .t()
        .insert("3")
        .commit(16)
        .abort(90, 91)
        .start(90, false)
        .t()
        .of(90)
        .row(b'U', 1, &[(b'K', &["1", "-", "-"]), (b'N', &["4", "~", "2.0"])])
        .of(92)
        .row(b'D', 1, &[(b'K', &["4", "-", "-"])])
        .of(90)
        .truncate(&[1])
        .of(90)
        .stop()
        .streamed_commit(90, 32)
        .begin(96)
        .insert("5")
        .commit(48)
}

#[test]
fn a_streamed_transaction_comes_whole_at_its_commit_without_what_was_rolled_back() {
    assert_eq!(
        good().follow(&mut decoder()).unwrap(),
        [
            "begin 95",
            "Insert public.t  > 3,a,-",
            "commit 0/10",
            "begin 90",
            "Insert public.t  > 1,a,-",
            "Update public.t 1,~,~ > 4,~,2.0",
            "Delete public.t 4,~,~ > ",
            "truncate public.t",
            "commit 0/20",
            "begin 96",
            "Insert public.t  > 5,a,-",
            "commit 0/30",
        ]
    );
}

#[test]
fn an_aborted_streamed_transaction_leaves_nothing() {
    let mut decoder = decoder();
    let script = Script::default()
        .start(90, true)
        .t()
        .of(90)
        .insert("1")
        .of(90)
        .stop()
        .abort(90, 90)
        // Of one that had nothing of ours there is nothing.
        .abort(80, 80)
        .abort(80, 81)
        .begin(95)
        .t()
        .commit(16);
    assert_eq!(script.follow(&mut decoder).unwrap(), ["idle 0/10"]);
    let again = Script::default().streamed_commit(90, 32);
    assert_eq!(again.follow(&mut decoder).unwrap_err().kind(), ErrorKind::Protocol);
}

#[test]
fn a_streamed_transaction_with_nothing_left_in_it_is_an_idle_point() {
    let script = Script::default()
        .start(90, true)
        .t()
        .of(91)
        .insert("1")
        .of(91)
        .stop()
        .abort(90, 91)
        .streamed_commit(90, 32);
    assert_eq!(script.follow(&mut decoder()).unwrap(), ["idle 0/20"]);
}

/// A publication whose columns change their order, say, while a transaction
/// that has read it is still open.
#[test]
fn the_newest_description_of_a_table_counts_whichever_transaction_ends_last() {
    let reordered = [T[1], T[0], T[2]];
    let streamed = |script: Script| script.start(90, true).t().of(90).insert("1").of(90).stop();
    let other = |script: Script| script.begin(95).relation(1, "t", &reordered).commit(16);
    let row = |first: &str, second: &str| {
        Script::default().begin(97).row(b'I', 1, &[(b'N', &[first, second, "-"])]).commit(64)
    };
    let mut decoder = decoder();
    other(streamed(Script::default())).streamed_commit(90, 32).follow(&mut decoder).unwrap();
    assert_eq!(row("b", "7").follow(&mut decoder).unwrap()[1], "Insert public.t  > 7,b,-");
    let mut decoder = super::decoder();
    streamed(other(Script::default())).streamed_commit(90, 32).follow(&mut decoder).unwrap();
    assert_eq!(row("7", "b").follow(&mut decoder).unwrap()[1], "Insert public.t  > 7,b,-");
    // What was rolled back describes nothing.
    let mut decoder = super::decoder();
    let script = other(Script::default()).start(90, true).t().of(91).insert("1").of(91).stop();
    script.abort(90, 91).streamed_commit(90, 32).follow(&mut decoder).unwrap();
    assert_eq!(row("b", "7").follow(&mut decoder).unwrap()[1], "Insert public.t  > 7,b,-");
}

#[test]
fn a_streamed_transaction_does_not_lean_on_what_others_were_told() {
    let script = Script::default().begin(95).t().commit(16).start(90, true).insert("1").of(90).stop();
    let error = script.streamed_commit(90, 32).follow(&mut decoder()).unwrap_err();
    assert!(error.to_string().contains("never described"), "{error}");
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let open = || Script::default().start(90, true);
    for script in [
        open().start(91, true),
        open().begin(95),
        open().commit(16),
        open().streamed_commit(90, 32),
        open().abort(90, 90),
        open().stop().start(90, true),
        Script::default().start(90, false),
        Script::default().stop(),
        Script::default().streamed_commit(90, 32),
        Script::default().begin(95).start(90, true),
        Script::default().begin(95).abort(90, 90),
        open().stop().begin(95).streamed_commit(90, 32),
        open().stop().begin(95).commit(64).streamed_commit(90, 32),
    ] {
        assert_eq!(script.follow(&mut decoder()).unwrap_err().kind(), ErrorKind::Protocol);
    }
}

#[test]
fn a_large_row_is_kept_as_it_came() {
    let mut decoder = decoder();
    let large = "x".repeat(300_000);
    let begin = Script::default().start(90, true).t().of(90);
    begin.follow(&mut decoder).unwrap();
    let row = Script::default().row(b'I', 1, &[(b'N', &["1", &large, "-"])]).of(91);
    decoder.keep_large(row.bytes.into()).unwrap();
    // An application's message may be as large.
    decoder.keep_large(Bytes::from(vec![b'M'; 300_000])).unwrap();
    let end = Script::default().stop().streamed_commit(90, 32);
    assert_eq!(end.follow(&mut decoder).unwrap()[1], format!("Insert public.t  > 1,{large},-"));
}

#[test]
fn a_streamed_message_cut_at_any_byte_is_an_error() {
    let script = good();
    let whole = script.follow(&mut decoder()).unwrap();
    for (index, range) in script.ranges.iter().enumerate() {
        for end in range.start..range.end {
            let mut cut = Script::default();
            for (at, range) in script.ranges.iter().enumerate() {
                let end = if at == index { end } else { range.end };
                cut = cut.add(script.bytes[range.start..end].to_vec());
            }
            // In a part that is rolled back nobody reads on.
            let result = cut.follow(&mut decoder());
            let dropped = result.as_ref().is_ok_and(|lines| *lines == whole);
            assert!(
                dropped || result.is_err_and(|error| error.kind() == ErrorKind::Protocol),
                "{index} cut at {end}"
            );
        }
    }
}
