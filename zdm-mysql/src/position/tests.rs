//! Positions are read, written and compared as the servers do it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(text: &str) -> GtidSet {
    text.parse().unwrap()
}

fn point(text: &str) -> Point {
    text.parse().unwrap()
}

#[test]
fn sets_are_written_in_one_way() {
    for (text, normal) in [
        (String::new(), String::new()),
        (format!("{A}:1-5"), format!("{A}:1-5")),
        (format!("{}:3-5:1-2:9", A.to_uppercase()), format!("{A}:1-5:9")),
        (format!("{B}:1,\n {A}:7 , {A}:1-6"), format!("{A}:1-7,{B}:1")),
        (format!("{A}:1-3:Tag_1:4:2-3:other:1,{A}:tag_1:1"), format!("{A}:1-3:other:1:tag_1:1-4")),
        (format!("{A}:tag:1"), format!("{A}:tag:1")),
    ] {
        assert_eq!(set(&text).to_string(), normal, "{text}");
        assert_eq!(set(&normal), set(&text));
    }
}

#[test]
fn what_is_no_position_is_refused() {
    for text in [
        "x".to_owned(),
        A.to_owned(),
        format!("{A}:"),
        format!("{A}:0"),
        format!("{A}:5-4"),
        format!("{A}:1-"),
        format!("{A}:+1"),
        format!("{A}:01"),
        format!("{A}:9223372036854775807"),
        format!("{A}:99999999999999999999"),
        format!("{A}:1tag:1"),
        format!("{A}:t-g:1"),
        format!("{A}:{}:1", "t".repeat(33)),
        format!("{}:1", &A[1..]),
        format!("{}0:1", &A[..35].replace('-', "0")),
        format!("{}-:1", &A[..35]),
        "0-1".to_owned(),
        "0-1-2-3".to_owned(),
        "0-1-2,0-1-3".to_owned(),
        "0-1-2,0-2-5,0-1-3".to_owned(),
        "0-4294967296-1".to_owned(),
        "1/binlog.000012".to_owned(),
        "1/binlog:4".to_owned(),
        "/binlog.1:4".to_owned(),
        "1/binlog.x1:4".to_owned(),
        "1/a/b.1:4".to_owned(),
        "1/binlog.1:-4".to_owned(),
        "0-1-2;binlog.1:4".to_owned(),
        "1/binlog.1:4;".to_owned(),
        "0-1-2@1/binlog.1:4;".to_owned(),
        format!("0-1-2;{A}:1"),
        format!("{A}:1;0-1-2"),
        format!("1/binlog.1:4;{A}:1"),
        format!("1/{}.1:4", "b".repeat(600)),
    ] {
        let error = text.parse::<Point>().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Unsupported), "{text}: {error}");
    }
    let other = Position::new(Engine::new("postgresql"), "0/0");
    assert_eq!(Point::of(&other).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn a_point_bears_all_that_is_known() {
    for text in [
        "",
        "-",
        "0-1-270,2-3-5",
        "0-3-12,0-7-40,0-1-270,2-3-5",
        "1/binlog.000012:4711",
        "0-1-270@1/mariadb-bin.000012:4711",
        "@1/binlog.000001:4",
        "-@1/binlog.000001:4",
        &format!("{A}:1-77@1/my.host-bin.000012:4711;{A}:70:75"),
        &format!("{A}:1-77;{A}:70"),
        "0-1-270@1/binlog.000012:4711;0-1-268",
        "0-1-1@1/binlog.000001:4711;-",
        "1/binlog.999999:4;binlog.1000000:5000000000",
    ] {
        assert_eq!(point(text).to_string(), text);
        assert_eq!(Point::of(&Position::from(&point(text))).unwrap(), point(text));
    }
}

#[test]
fn a_goal_of_coordinates_is_reached_by_coordinates() {
    let here = point(&format!("{A}:1-77@1/binlog.000012:4711"));
    for (goal, reached) in [
        ("1/binlog.000012:4711", true),
        ("1/binlog.000012:4712", false),
        ("1/binlog.000011:9999", true),
        ("1/binlog.000013:4", false),
        // By number: a name may grow longer.
        ("1/binlog.1000000:4", false),
    ] {
        assert_eq!(here.reached(&point(goal)).unwrap(), reached, "{goal}");
    }
    // Which of two servers' places is further, nobody can say.
    for goal in ["2/binlog.000001:4", "1/other.000001:4"] {
        assert_eq!(here.reached(&point(goal)).unwrap_err().kind(), ErrorKind::Gap, "{goal}");
    }
}

#[test]
fn a_goal_of_gtids_is_reached_by_gtids_on_any_server() {
    let here = point(&format!("{A}:1-77,{B}:1-3@2/binlog.000001:4"));
    assert!(here.reached(&point(&format!("{A}:1-77@1/binlog.000012:4711"))).unwrap());
    assert!(!here.reached(&point(&format!("{A}:1-78@1/binlog.000001:4"))).unwrap());
    assert!(!here.reached(&point(&format!("{A}:tag:1"))).unwrap());
    assert!(here.reached(&point("")).unwrap());
    let here = point("0-2-270,2-3-5");
    assert!(here.reached(&point("0-1-269")).unwrap());
    assert!(!here.reached(&point("0-1-271")).unwrap());
    assert!(!here.reached(&point("1-1-1")).unwrap());
    assert_eq!(here.reached(&point(&format!("{A}:1"))).unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(here.reached(&point("1/binlog.000012:4711")).unwrap_err().kind(), ErrorKind::Config);
    // GTIDs were turned on or off in between: the places still compare.
    let off = point("1/binlog.000012:4711");
    assert!(off.reached(&point(&format!("{A}:1@1/binlog.000012:4711"))).unwrap());
    assert_eq!(off.reached(&point(&format!("{A}:1"))).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn a_set_is_encoded_as_the_server_reads_it() {
    let mut bytes = Vec::new();
    set(&format!("{A}:1-5:7")).encode(&mut bytes);
    let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0];
    expected.extend_from_slice(&[
        0x3e, 0x11, 0xfa, 0x47, 0x71, 0xca, 0x11, 0xe1, 0x9e, 0x33, 0xc8, 0x0a, 0xa9, 0x42, 0x95, 0x62,
    ]);
    for number in [2_u64, 1, 6, 7, 8] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    assert_eq!(bytes, expected);
    bytes.clear();
    set(&format!("{A}:1:ab:2")).encode(&mut bytes);
    assert_eq!(bytes[..8], [1, 2, 0, 0, 0, 0, 0, 1]);
    // No tag, one interval; then the tag, its length doubled.
    assert_eq!((bytes[24], bytes[25]), (0, 1));
    assert_eq!(bytes[8 + 16 + 1 + 8 + 16 + 16..][..3], [4, b'a', b'b']);
}

/// A set in the plainest form there is.
type Plain = BTreeSet<(u8, u8, u64)>;

fn plain_set() -> impl Strategy<Value = Plain> {
    prop::collection::btree_set((0..2_u8, 0..3_u8, 1..20_u64), 0..40)
}

fn built(plain: &Plain) -> GtidSet {
    let mut set = GtidSet::default();
    for (uuid, tag, number) in plain {
        let tag = if *tag == 0 { Tag::default() } else { format!("t{tag}").parse().unwrap() };
        set.add(Uuid([*uuid; 16]), &tag, *number).unwrap();
    }
    set
}

#[test]
fn a_domain_knows_which_servers_have_written_to_it() {
    let mut domains: Domains = "0-2-40,0-1-270,5-1-1".parse().unwrap();
    assert_eq!((domains.number(0, 2), domains.number(0, 9), domains.number(7, 1)), (Some(40), None, None));
    let gtid = |text: &str| text.parse::<MariaGtid>().unwrap();
    assert!(domains.has(gtid("0-2-40")) && domains.has(gtid("0-1-1")) && !domains.has(gtid("0-2-41")));
    domains.advance(gtid("0-2-271"));
    assert_eq!(domains.to_string(), "0-1-270,0-2-271,5-1-1");
    assert_eq!(domains.position(), "0-2-271,5-1-1");
    // As the server lists them: the last one last.
    assert_eq!("5-1-1,0-1-270,0-2-271".parse::<Domains>().unwrap(), domains);
    assert_ne!("5-1-1,0-2-271,0-1-270".parse::<Domains>().unwrap(), domains);
}

proptest! {
    #[test]
    fn a_set_comes_back_from_its_text(plain in plain_set()) {
        let set = built(&plain);
        prop_assert_eq!(&set.to_string().parse::<GtidSet>().unwrap(), &set);
        prop_assert_eq!(set.is_empty(), plain.is_empty());
    }

    #[test]
    fn sets_unite_and_compare_as_sets_do(a in plain_set(), b in plain_set()) {
        let mut united = built(&a);
        united.unite(&built(&b));
        prop_assert_eq!(&united, &built(&a.union(&b).copied().collect()));
        prop_assert_eq!(built(&a).contains(&built(&b)), a.is_superset(&b));
        prop_assert_eq!(built(&a).without(&built(&b)), built(&a.difference(&b).copied().collect()));
        prop_assert!(united.contains(&built(&a)) && united.contains(&built(&b)));
        for (uuid, tag, number) in &b {
            let name = if *tag == 0 { Tag::default() } else { format!("t{tag}").parse().unwrap() };
            prop_assert_eq!(built(&a).has(Uuid([*uuid; 16]), &name, *number), a.contains(&(*uuid, *tag, *number)));
        }
    }

    #[test]
    fn numbers_may_come_in_any_order(mut numbers in prop::collection::vec(1..30_u64, 0..60)) {
        let mut set = GtidSet::default();
        for number in &numbers {
            set.add(Uuid([0; 16]), &Tag::default(), *number).unwrap();
        }
        numbers.sort_unstable();
        let mut sorted = GtidSet::default();
        for number in &numbers {
            sorted.add(Uuid([0; 16]), &Tag::default(), *number).unwrap();
        }
        prop_assert_eq!(set, sorted);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-f:,;@/.-]{0,80}|.*") {
        if let Ok(point) = text.parse::<Point>() {
            prop_assert_eq!(&point.to_string().parse::<Point>().unwrap(), &point);
        }
    }

    #[test]
    fn domains_come_back_and_compare(a in prop::collection::btree_map(0..3_u32, (1..3_u32, 0..9_u64), 0..3),
                                     b in prop::collection::btree_map(0..3_u32, (1..3_u32, 0..9_u64), 0..3)) {
        let built = |of: &std::collections::BTreeMap<u32, (u32, u64)>| {
            let mut domains = Domains::default();
            of.iter().for_each(|(domain, (server, number))| {
                domains.advance(MariaGtid { domain: *domain, server: *server, number: *number });
            });
            domains
        };
        let (ours, theirs) = (built(&a), built(&b));
        prop_assert_eq!(&ours.to_string().parse::<Domains>().unwrap(), &ours);
        let reached = b.iter().all(|(domain, (_, number))| a.get(domain).is_some_and(|(_, have)| have >= number));
        prop_assert_eq!(ours.reached(&theirs), reached);
    }
}
