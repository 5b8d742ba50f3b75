use proptest::prelude::*;
use zdm_core::change::{Batch, Xid};
use zdm_core::schema::{Column, DataType, Key, TableName};
use zdm_core::spool::SpoolOptions;

use super::*;
use crate::changes::fuzz::messages;
use crate::changes::partitions::Entry;

mod streamed;

/// Messages as a server writes them, one behind the other in one buffer.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Script {
    fn add(mut self, message: Vec<u8>) -> Self {
        let start = self.bytes.len();
        self.bytes.extend(message);
        self.ranges.push(start..self.bytes.len());
        self
    }

    fn begin(self, xid: u32) -> Self {
        self.add([&b"B"[..], &9u64.to_be_bytes(), &0i64.to_be_bytes(), &xid.to_be_bytes()].concat())
    }

    fn commit(self, end: u64) -> Self {
        let ends = [(end - 1).to_be_bytes(), end.to_be_bytes()].concat();
        self.add([&b"C\0"[..], &ends, &0i64.to_be_bytes()].concat())
    }

    /// Columns as name, whether in the identity, and type.
    fn relation(self, id: u32, name: &str, columns: &[(&str, bool, u32)]) -> Self {
        let mut message = [&b"R"[..], &id.to_be_bytes(), b"public\0", name.as_bytes(), b"\0d"].concat();
        message.extend(u16::try_from(columns.len()).unwrap().to_be_bytes());
        for (name, identity, oid) in columns {
            message.push(u8::from(*identity));
            message.extend([name.as_bytes(), b"\0", &oid.to_be_bytes(), &(-1i32).to_be_bytes()].concat());
        }
        self.add(message)
    }

    fn t(self) -> Self {
        self.relation(1, "t", &[("id", true, 20), ("name", false, 25), ("size", false, 1700)])
    }

    fn row(self, kind: u8, id: u32, parts: &[(u8, &[&str])]) -> Self {
        let mut message = vec![kind];
        message.extend(id.to_be_bytes());
        for (part, cells) in parts {
            message.push(*part);
            message.extend(u16::try_from(cells.len()).unwrap().to_be_bytes());
            for cell in *cells {
                match *cell {
                    "~" => message.push(b'u'),
                    "-" => message.push(b'n'),
                    text => {
                        message.push(b't');
                        message.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                        message.extend(text.as_bytes());
                    }
                }
            }
        }
        self.add(message)
    }

    fn truncate(self, relations: &[u32]) -> Self {
        let mut message = vec![b'T'];
        message.extend(u32::try_from(relations.len()).unwrap().to_be_bytes());
        message.push(3);
        relations.iter().for_each(|id| message.extend(id.to_be_bytes()));
        self.add(message)
    }

    fn run(&self, decoder: &mut Decoder) -> Result<Batch> {
        let mut batch = Assembler::new();
        for range in &self.ranges {
            assert_eq!(decoder.decode(&self.bytes, range.clone(), &mut batch)?, Step::Done);
        }
        decoder.settle(&mut batch);
        batch.finish(self.bytes.clone().into(), Arc::clone(&crate::types::ENCODING), None)
    }

    /// Each item as a line.
    fn lines(&self, decoder: &mut Decoder) -> Vec<String> {
        lines(&self.run(decoder).unwrap())
    }

    fn error(&self, decoder: &mut Decoder) -> Error {
        self.run(decoder).unwrap_err()
    }
}

fn lines(batch: &Batch) -> Vec<String> {
    let mut lines = Vec::new();
    for item in batch.items() {
        match item {
            Item::Begin(begin) => lines.push(format!("begin {}", begin.xid.0)),
            Item::Commit(commit) => lines.push(format!("commit {}", commit.position)),
            Item::Idle { position } => lines.push(format!("idle {position}")),
            Item::Truncate { tables } => {
                lines.push(tables.iter().fold("truncate".to_owned(), |l, t| format!("{l} {}", t.name)));
            }
            Item::Rows(run) => lines.extend(batch.rows_of(run).map(|row| {
                let show = |image: zdm_core::change::Image<'_>| {
                    let cells = image.cells().map(|cell| {
                        cell.raw().map_or_else(
                            || if cell.is_null() { "-".to_owned() } else { "~".to_owned() },
                            |(_, bytes)| String::from_utf8_lossy(bytes).into_owned(),
                        )
                    });
                    cells.collect::<Vec<_>>().join(",")
                };
                let (before, after) =
                    (row.before().map(show).unwrap_or_default(), row.after().map(show).unwrap_or_default());
                format!("{:?} {} {before} > {after}", row.op(), row.table().name)
            })),
            item => lines.push(format!("{item:?}")),
        }
    }
    lines
}

fn table(id: u32, name: &str, key: Key) -> Arc<Table> {
    let mut columns = vec![
        Column::new("id", DataType::integer(64)).native("bigint", 20),
        Column::new("name", DataType::text()).native("text", 25),
        Column::new("size", DataType::decimal()).native("numeric", 1700),
    ];
    columns[0].nullable = false;
    let mut table = Table::new(crate::position::ENGINE, TableName::new("public", name), columns, key);
    table.origin.id = id;
    Arc::new(table)
}

fn decoder() -> Decoder {
    decoder_of([table(1, "t", Key::Columns(vec![0])), table(2, "u", Key::FullRow)])
}

fn decoder_of(tables: impl Into<Vec<Arc<Table>>>) -> Decoder {
    let spool = Spool::new(SpoolOptions::default());
    Decoder::new(&Schema { tables: tables.into(), ..Schema::default() }, Lsn(0), 100, spool)
}

const T: &[(&str, bool, u32)] = &[("id", true, 20), ("name", false, 25), ("size", false, 1700)];
const FULL: &[(&str, bool, u32)] = &[("id", true, 20), ("name", true, 25), ("size", true, 1700)];

#[test]
fn every_kind_of_row() {
    let script = Script::default()
        .begin(99)
        .t()
        .row(b'I', 1, &[(b'N', &["1", "a", "-"])])
        .row(b'U', 1, &[(b'N', &["1", "~", "2.0"])])
        .row(b'U', 1, &[(b'K', &["1", "-", "-"]), (b'N', &["2", "~", "2.0"])])
        .row(b'D', 1, &[(b'K', &["2", "-", "-"])])
        .truncate(&[1])
        .commit(16);
    assert_eq!(
        script.lines(&mut decoder()),
        [
            "begin 99",
            "Insert public.t  > 1,a,-",
            "Update public.t  > 1,~,2.0",
            "Update public.t 1,~,~ > 2,~,2.0",
            "Delete public.t 2,~,~ > ",
            "truncate public.t",
            "commit 0/10"
        ]
    );
}

#[test]
fn a_full_old_image_gives_what_the_new_one_leaves_out() {
    let script = Script::default()
        .begin(99)
        .relation(2, "u", FULL)
        .row(b'U', 2, &[(b'O', &["1", "large", "-"]), (b'N', &["2", "~", "3"])])
        .row(b'D', 2, &[(b'O', &["2", "large", "3"])])
        .commit(16);
    assert_eq!(
        script.lines(&mut decoder())[1..3],
        ["Update public.u 1,large,- > 2,large,3", "Delete public.u 2,large,3 > "]
    );
}

#[test]
fn columns_are_put_in_the_order_of_the_table() {
    let wire = [("size", false, 1700), ("id", true, 20), ("name", false, 25)];
    let script = Script::default()
        .begin(99)
        .relation(1, "t", &wire)
        .row(b'I', 1, &[(b'N', &["7", "1", "a"])])
        .row(b'D', 1, &[(b'K', &["-", "1", "-"])])
        .commit(16);
    assert_eq!(script.lines(&mut decoder())[1..3], ["Insert public.t  > 1,a,7", "Delete public.t 1,~,~ > "]);
}

#[test]
fn transactions_with_nothing_of_ours_are_one_idle_point() {
    let mut decoder = decoder();
    let script = Script::default().begin(98).commit(10).begin(99).commit(20);
    assert_eq!(script.lines(&mut decoder), ["idle 0/14"]);
    decoder.keep_alive(Lsn(15));
    assert_eq!(decoder.reached(), Lsn(20));
    decoder.keep_alive(Lsn(32));
    assert_eq!(Script::default().lines(&mut decoder), ["idle 0/20"]);
    // Within a transaction a keep-alive says nothing: its commit is to come.
    assert!(Script::default().begin(100).lines(&mut decoder).is_empty());
    decoder.keep_alive(Lsn(48));
    assert_eq!(decoder.reached(), Lsn(32));
}

#[test]
fn a_batch_may_end_within_a_transaction() {
    let mut decoder = decoder();
    let first = Script::default().begin(99).t().row(b'I', 1, &[(b'N', &["1", "a", "-"])]);
    assert_eq!(first.lines(&mut decoder), ["begin 99", "Insert public.t  > 1,a,-"]);
    let rest = Script::default().row(b'I', 1, &[(b'N', &["2", "b", "-"])]).commit(16);
    assert_eq!(rest.lines(&mut decoder), ["Insert public.t  > 2,b,-", "commit 0/10"]);
}

#[test]
fn a_table_that_changed_stops_the_stream_in_words() {
    for (wire, words) in [
        (vec![T[0], T[1], T[2], ("new", false, 25)], "column new was added"),
        (vec![T[0], T[2]], "column name was dropped"),
        (vec![T[0], T[1], ("size", false, 701)], "column size is no longer numeric"),
    ] {
        let error = Script::default().relation(1, "t", &wire).error(&mut decoder());
        assert_eq!(error.kind(), ErrorKind::SchemaChanged);
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = Script::default().relation(1, "renamed", T).error(&mut decoder());
    assert!(error.to_string().contains("renamed to public.renamed"), "{error}");
    // A type that a user made may be a domain over the described one.
    assert!(
        Script::default()
            .relation(1, "t", &[T[0], T[1], ("size", false, 16_500)])
            .run(&mut decoder())
            .is_ok()
    );
}

#[test]
fn a_key_that_the_log_does_not_follow_is_refused() {
    let unmarked = [("id", false, 20), T[1], T[2]];
    let rows: [&[(u8, &[&str])]; 2] =
        [&[(b'N', &["1", "a", "-"])], &[(b'K', &["1", "-", "-"]), (b'N', &["2", "a", "-"])]];
    for row in rows {
        let script = Script::default().begin(99).relation(1, "t", &unmarked).row(b'U', 1, row);
        let error = script.error(&mut decoder());
        assert!(error.to_string().contains("replica identity was changed"), "{error}");
    }
    let full = Script::default().begin(99).relation(2, "u", T).row(b'U', 2, rows[1]);
    assert_eq!(full.error(&mut decoder()).kind(), ErrorKind::SchemaChanged);
    let inserts = Script::default().begin(99).relation(1, "t", &unmarked).row(b'I', 1, rows[0]);
    assert!(inserts.run(&mut decoder()).is_ok());
}

#[test]
fn unpublished_generated_columns_are_left_alone() {
    let mut described = Table::clone(&table(1, "t", Key::Columns(vec![0])));
    let generated = zdm_core::schema::Generated { expression: "1".to_owned(), stored: true };
    described.columns[1].generated = Some(generated.clone());
    let script =
        Script::default().begin(99).relation(1, "t", &[T[0], T[2]]).row(b'I', 1, &[(b'N', &["1", "2"])]);
    assert_eq!(script.lines(&mut decoder_of([Arc::new(described.clone())]))[1], "Insert public.t  > 1,~,2");
    described.columns[0].generated = Some(generated);
    let hidden = Script::default().relation(1, "t", &[T[2]]);
    assert_eq!(hidden.error(&mut decoder_of([Arc::new(described)])).kind(), ErrorKind::Unsupported);
}

fn leaf(relation: u32) -> Entry {
    Entry { relation, belongs: Belongs::To(1), leaf: true }
}

fn step(decoder: &mut Decoder, script: &Script) -> Result<Step> {
    decoder.decode(&script.bytes, script.ranges[0].clone(), &mut Assembler::new())
}

#[test]
fn a_partitions_rows_are_its_roots() {
    let mut decoder = decoder();
    let relation = Script::default().relation(10, "t_1", T);
    assert_eq!(step(&mut decoder, &relation).unwrap(), Step::LookUp);
    let wanted = decoder.wanted().clone();
    decoder.learn(Partitions::new([leaf(10), leaf(11)], wanted));
    assert_eq!(step(&mut decoder, &relation).unwrap(), Step::Done);
    let row = Script::default().begin(99).row(b'I', 10, &[(b'N', &["1", "a", "-"])]).commit(16);
    assert_eq!(row.lines(&mut decoder)[1], "Insert public.t  > 1,a,-");
}

#[test]
fn a_table_that_nobody_knows_is_no_table_to_ignore() {
    let mut decoder = decoder();
    let relation = Script::default().relation(10, "gone", T);
    assert_eq!(step(&mut decoder, &relation).unwrap(), Step::LookUp);
    decoder.learn(Partitions::new([], decoder.wanted().clone()));
    assert_eq!(step(&mut decoder, &relation).unwrap_err().kind(), ErrorKind::SchemaChanged);
    let elsewhere = Entry { relation: 10, belongs: Belongs::Elsewhere, leaf: false };
    decoder.learn(Partitions::new([elsewhere], decoder.wanted().clone()));
    let script =
        Script::default().begin(99).relation(10, "gone", T).row(b'I', 10, &[(b'N', &["1"])]).commit(16);
    assert_eq!(script.lines(&mut decoder), ["idle 0/10"]);
}

#[test]
fn only_all_partitions_together_are_truncated() {
    let truncate = |ids: &[u32], leaves: &[u32]| {
        let mut decoder = decoder();
        decoder.learn(Partitions::new(leaves.iter().map(|id| leaf(*id)), HashSet::new()));
        Script::default().begin(99).run(&mut decoder).unwrap();
        let script = Script::default().truncate(ids);
        // What is remembered does not do: one may have been added since.
        assert_eq!(step(&mut decoder, &script).unwrap(), Step::LookUp);
        decoder.learn(Partitions::new(leaves.iter().map(|id| leaf(*id)), HashSet::new()));
        script.run(&mut decoder).map(|batch| lines(&batch))
    };
    assert_eq!(truncate(&[10, 11], &[10, 11]).unwrap(), ["begin 99", "truncate public.t"]);
    let error = truncate(&[10], &[10, 11]).unwrap_err();
    assert!(error.to_string().contains("some of its partitions were truncated"), "{error}");
}

#[test]
fn what_was_not_asked_for_is_refused_by_name() {
    for kind in [b'b', b'P', b'K', b'r', b'p'] {
        let error = Script::default().add(vec![kind, 0, 0]).error(&mut decoder());
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    for script in [
        Script::default().add(vec![]),
        Script::default().add(vec![b'?']),
        Script::default().begin(1).begin(2),
        Script::default().commit(10),
        Script::default().begin(1).commit(10).begin(2).commit(10),
        Script::default().t().row(b'I', 1, &[(b'N', &["1", "a", "-"])]),
        Script::default().begin(1).row(b'I', 1, &[(b'N', &["1", "a", "-"])]),
        Script::default().begin(1).t().row(b'I', 1, &[(b'N', &["1", "a"])]),
        Script::default().begin(1).t().row(b'I', 1, &[(b'K', &["1", "a", "-"])]),
        Script::default().begin(1).t().row(b'U', 1, &[(b'K', &["1", "a", "-"]), (b'K', &["1"])]),
    ] {
        assert_eq!(script.error(&mut decoder()).kind(), ErrorKind::Protocol);
    }
}

#[test]
fn transactions_keep_their_numbers_in_64_bits() {
    let mut decoder = Decoder::new(
        &Schema { tables: vec![table(1, "t", Key::FullRow)], ..Schema::default() },
        Lsn(0),
        5 << 32,
        Spool::new(SpoolOptions::default()),
    );
    let script = Script::default().begin(u32::MAX).t().truncate(&[1]).commit(16);
    let batch = script.run(&mut decoder).unwrap();
    let Some(Item::Begin(begin)) = batch.items().first() else { panic!("{batch:?}") };
    assert_eq!(begin.xid, Xid((5 << 32) - 1));
}

/// All of a good stream's messages, for breaking them.
fn good() -> Script {
    Script::default()
        .begin(99)
        .t()
        .row(b'I', 1, &[(b'N', &["1", "a", "-"])])
        .row(b'U', 1, &[(b'K', &["1", "-", "-"]), (b'N', &["2", "~", "2.0"])])
        .row(b'D', 1, &[(b'K', &["2", "-", "-"])])
        .truncate(&[1])
        .commit(16)
}

#[test]
fn a_message_cut_at_any_byte_is_an_error_and_adds_nothing() {
    let script = good();
    for (index, range) in script.ranges.iter().enumerate() {
        for end in range.start..range.end {
            let mut decoder = decoder();
            let mut batch = Assembler::new();
            for before in &script.ranges[..index] {
                decoder.decode(&script.bytes, before.clone(), &mut batch).unwrap();
            }
            let error = decoder.decode(&script.bytes, range.start..end, &mut batch).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{index} cut at {end}");
            let native = script.bytes.clone().into();
            assert!(batch.finish(native, Arc::clone(&crate::types::ENCODING), None).is_ok());
        }
        let mut longer = script.bytes[range.clone()].to_vec();
        longer.push(0);
        let mut decoder = decoder();
        for before in &script.ranges[..index] {
            decoder.decode(&script.bytes, before.clone(), &mut Assembler::new()).unwrap();
        }
        assert!(decoder.decode(&longer, 0..longer.len(), &mut Assembler::new()).is_err(), "{index}");
    }
}

fn framed(script: &Script) -> Vec<u8> {
    let mut framed = Vec::new();
    for range in &script.ranges {
        framed.extend(u16::try_from(range.len()).unwrap().to_be_bytes());
        framed.extend(&script.bytes[range.clone()]);
    }
    framed
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        messages(&bytes);
    }

    #[test]
    fn broken_bytes_are_decoded_without_panic(
        breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = framed(&good());
        bytes.extend(framed(&streamed::good()));
        for (at, byte) in breaks {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        messages(&bytes);
    }
}
