//! SQL of random values of PostgreSQL's types, the odd ones as often as the
//! usual ones: of those that the other engines hold. What they do not hold is
//! in `refused`.

use fastrand::Rng;

fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())].clone()
}

/// A literal.
pub(super) fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn list(rng: &mut Rng, of: &[&str]) -> String {
    quoted(one(rng, of))
}

/// Its ends, and what is between them.
fn whole(rng: &mut Rng, least: i128, most: i128) -> String {
    let random = rng.i128(least..=most);
    format!("'{}'", one(rng, &[least, most, 0, 1, random, random]))
}

pub(super) fn int2(rng: &mut Rng) -> String {
    whole(rng, i16::MIN.into(), i16::MAX.into())
}

pub(super) fn int4(rng: &mut Rng) -> String {
    whole(rng, i32::MIN.into(), i32::MAX.into())
}

pub(super) fn int8(rng: &mut Rng) -> String {
    whole(rng, i64::MIN.into(), i64::MAX.into())
}

pub(super) fn oid(rng: &mut Rng) -> String {
    whole(rng, 0, u32::MAX.into())
}

pub(super) fn posint(rng: &mut Rng) -> String {
    format!("'{}'", rng.i32(1..))
}

pub(super) fn truth(rng: &mut Rng) -> String {
    list(rng, &["true", "false"])
}

/// All but NaN and infinities.
pub(super) fn float4(rng: &mut Rng) -> String {
    let random = f32::from_bits(rng.u32(..));
    let random = if random.is_finite() { random } else { 1.5 };
    let ends = [-0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 0.1, 16_777_217.0];
    format!("'{:e}'", if rng.bool() { random } else { one(rng, &ends) })
}

pub(super) fn float8(rng: &mut Rng) -> String {
    let random = f64::from_bits(rng.u64(..));
    let random = if random.is_finite() { random } else { 1.5 };
    let ends = [-0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.1, 1e15, 9_007_199_254_740_993.0];
    format!("'{:e}'", if rng.bool() { random } else { one(rng, &ends) })
}

fn digits(rng: &mut Rng, most: usize) -> String {
    let count = rng.usize(..=most);
    (0..count).map(|_| rng.digit(10)).collect()
}

fn decimal(rng: &mut Rng, whole: usize, fraction: usize) -> String {
    let sign = one(rng, &["", "-"]);
    let (whole, fraction) = match rng.u8(..4) {
        0 => ("9".repeat(whole), "9".repeat(fraction)),
        1 => ("0".to_owned(), format!("{:0>fraction$}", 1)),
        _ => (digits(rng, whole), digits(rng, fraction)),
    };
    if fraction.is_empty() { format!("'{sign}0{whole}'") } else { format!("'{sign}0{whole}.{fraction}'") }
}

pub(super) fn numeric_12_3(rng: &mut Rng) -> String {
    decimal(rng, 9, 3)
}

pub(super) fn numeric_38(rng: &mut Rng) -> String {
    decimal(rng, 35, 0)
}

/// Rounded to hundreds.
pub(super) fn numeric_hundreds(rng: &mut Rng) -> String {
    format!("'{}'", rng.i32(-99_900..=99_900))
}

/// With three zeros behind the point before its digits.
pub(super) fn numeric_small(rng: &mut Rng) -> String {
    format!("'{}0.000{:04}'", one(rng, &["", "-"]), rng.u32(..10_000))
}

pub(super) fn numeric(rng: &mut Rng) -> String {
    let fraction = one(rng, &[0, 1, 30]);
    decimal(rng, 35, fraction)
}

/// A character that a text can have: of any plane, or odd.
fn character(rng: &mut Rng) -> char {
    let odd =
        ['\'', '\\', '"', '\n', '\r', '\t', ' ', '%', '\u{1a}', '\u{1}', '\u{7f}', '\u{fffd}', '\u{feff}'];
    let marked = ['a', 'A', 'á', 'e', '\u{301}', 'ß', '\u{200d}', 'İ', 'ı', 'Å', '\u{212b}'];
    match rng.u8(..4) {
        0 => one(rng, &odd),
        1 => one(rng, &marked),
        _ => {
            let plane = rng.u32(..17) << 16;
            char::from_u32(plane | rng.u32(1..0x1_0000)).unwrap_or('\u{ffff}')
        }
    }
}

fn words(rng: &mut Rng, most: usize) -> String {
    let random = rng.usize(..=most);
    let length = one(rng, &[0, 1, most, random]);
    let mut text: String = (0..length).map(|_| character(rng)).collect();
    if !text.is_empty() && rng.u8(..3) == 0 {
        text.pop();
        text.push(' ');
    }
    text
}

pub(super) fn text(rng: &mut Rng) -> String {
    quoted(&words(rng, 40))
}

pub(super) fn varchar_30(rng: &mut Rng) -> String {
    quoted(&words(rng, 30))
}

pub(super) fn char_3(rng: &mut Rng) -> String {
    quoted(&words(rng, 3))
}

pub(super) fn char_300(rng: &mut Rng) -> String {
    quoted(&words(rng, 300))
}

pub(super) fn long_text(rng: &mut Rng) -> String {
    quoted(&words(rng, 20).repeat(rng.usize(1..250)))
}

/// At most 63 octets.
pub(super) fn name(rng: &mut Rng) -> String {
    quoted(&words(rng, 15))
}

pub(super) fn letter(rng: &mut Rng) -> String {
    list(rng, &["a", " ", "\\", "'", "\u{1}", ""])
}

pub(super) fn bytea(rng: &mut Rng) -> String {
    let random = rng.usize(..300);
    let length = one(rng, &[0, 1, random, random]);
    let hex: String = (0..length).map(|_| format!("{:02x}", rng.u8(..))).collect();
    format!("'\\x{hex}'")
}

fn day(rng: &mut Rng) -> String {
    let random = format!("{:04}-{:02}-{:02}", rng.u32(1..=9999), rng.u32(1..=12), rng.u32(1..=28));
    one(rng, &["0001-01-01", "9999-12-31", "2024-02-29", "1582-10-10", "1970-01-01", &random, &random])
        .to_owned()
}

fn clock(rng: &mut Rng) -> String {
    let random =
        format!("{:02}:{:02}:{:02}.{:06}", rng.u8(..24), rng.u8(..60), rng.u8(..60), rng.u32(..1_000_000));
    one(rng, &["00:00:00", "23:59:59.000001", "12:00:00.5", &random, &random]).to_owned()
}

pub(super) fn date(rng: &mut Rng) -> String {
    quoted(&day(rng))
}

pub(super) fn time(rng: &mut Rng) -> String {
    if rng.u8(..5) == 0 { "'24:00:00'".to_owned() } else { quoted(&clock(rng)) }
}

pub(super) fn timetz(rng: &mut Rng) -> String {
    let clock = if rng.u8(..5) == 0 { "24:00:00".to_owned() } else { clock(rng) };
    quoted(&(clock + one(rng, &["+15:59:59", "-15:59:59", "+00", "+05:30", "-00:00:01"])))
}

pub(super) fn timestamp(rng: &mut Rng) -> String {
    quoted(&format!("{} {}", day(rng), clock(rng)))
}

/// Also in hours that a zone's clock skips or shows twice.
pub(super) fn timestamptz(rng: &mut Rng) -> String {
    let odd = [
        "0001-01-01 00:00:00+00",
        "9999-12-31 23:59:59.999+00",
        "2024-03-31 02:30:00 Europe/Berlin",
        "2024-10-27 02:30:00 Europe/Berlin",
        "2024-10-27 02:30:00+01",
        "1880-01-01 00:00:00+00:19:32",
        "2038-01-19 03:14:08+00",
        "1969-12-31 23:59:59.999999+00",
    ];
    if rng.bool() {
        return list(rng, &odd);
    }
    let random = format!("{:04}-{:02}-{:02}", rng.u32(2..=9998), rng.u32(1..=12), rng.u32(1..=28));
    quoted(&format!("{random} {}{}", clock(rng), one(rng, &["+00", "-03:30", "+05:45"])))
}

pub(super) fn interval(rng: &mut Rng) -> String {
    let odd = [
        "0",
        "1 year 2 mons 3 days 04:05:06.789",
        "-1 year -2 mons +3 days -04:05:06.000001",
        "178956970 years 7 mons 2147483647 days",
        "-178956970 years -8 mons",
        "1 mon -1 day",
        "-1 day +00:00:00.5",
        "-00:00:00.000001",
        "2562047788 hours",
    ];
    if rng.bool() {
        return list(rng, &odd);
    }
    quoted(&format!("{} mons {} days {} us", rng.i32(..), rng.i32(..), rng.i64(..) / 8))
}

pub(super) fn uuid(rng: &mut Rng) -> String {
    // Of the versions that MariaDB has as well.
    let versions = !(8 << 76);
    let random = rng.u128(..);
    let uuid = one(rng, &[0, u128::MAX, random, random]) & versions;
    let random = format!("{uuid:032x}");
    quoted(&random)
}

/// Numbers as every engine writes them.
pub(super) fn json(rng: &mut Rng) -> String {
    let number = one(rng, &["0", "-1", "0.5", "9223372036854775807", "-12.25"]);
    let word = words(rng, 12).replace('\\', "\\\\").replace('"', "\\\"");
    let word: String = word.chars().filter(|c| !c.is_control()).collect();
    let of = [
        "null".to_owned(),
        "\"\"".to_owned(),
        format!("\"{word}\""),
        number.to_owned(),
        format!("{{\"b\": {number}, \"a\": [null, true, \"{word}\"], \"{word}x\": {{}}}}"),
        format!("[[], [{number}], \"\\u00e9\\n\\t\\\\\"]"),
    ];
    quoted(&one(rng, &of))
}

fn bits(rng: &mut Rng, count: usize) -> String {
    let all = rng.u8(..4);
    let bits = (0..count).map(|_| match all {
        0 => '1',
        1 => '0',
        _ => rng.digit(2),
    });
    format!("'{}'", bits.collect::<String>())
}

pub(super) fn bit_7(rng: &mut Rng) -> String {
    bits(rng, 7)
}

pub(super) fn bit_64(rng: &mut Rng) -> String {
    bits(rng, 64)
}

pub(super) fn bit_80(rng: &mut Rng) -> String {
    bits(rng, 80)
}

pub(super) fn varbit_9(rng: &mut Rng) -> String {
    let count = rng.usize(..=9);
    bits(rng, count)
}

pub(super) fn mood(rng: &mut Rng) -> String {
    list(rng, &["sad", "it's", "Sad", "a,b \"c\" \\ d", "1", "é🐘"])
}

/// One or two dimensions, some elements null, or nothing at all.
fn array(rng: &mut Rng, name: &str, of: fn(&mut Rng) -> String) -> String {
    let mut element = || {
        if rng.u8(..5) == 0 { format!("NULL::{name}") } else { format!("{}::{name}", of(rng)) }
    };
    let four = [element(), element(), element(), element()];
    match rng.u8(..4) {
        0 => format!("ARRAY[]::{name}[]"),
        1 => format!("ARRAY[ARRAY[{}], ARRAY[{}]]", four[..2].join(", "), four[2..].join(", ")),
        _ => format!("ARRAY[{}]", four[..rng.usize(1..=4)].join(", ")),
    }
}

pub(super) fn int_array(rng: &mut Rng) -> String {
    array(rng, "int", int4)
}

pub(super) fn text_array(rng: &mut Rng) -> String {
    match rng.u8(..3) {
        0 => r#"ARRAY[NULL, 'NULL', 'null', '', 'a,b', '{', E'q"\\', '[1]']"#.to_owned(),
        _ => array(rng, "text", text),
    }
}

pub(super) fn numeric_array(rng: &mut Rng) -> String {
    match rng.u8(..3) {
        0 => "'{1.0,1.00,-0.000,NaN,123456789012345678901234567890.0987654321}'".to_owned(),
        _ => array(rng, "numeric", numeric),
    }
}

pub(super) fn float_array(rng: &mut Rng) -> String {
    match rng.u8(..3) {
        0 => "'{NaN,Infinity,-Infinity,-0,5e-324}'".to_owned(),
        _ => array(rng, "double precision", float8),
    }
}

pub(super) fn truth_array(rng: &mut Rng) -> String {
    array(rng, "boolean", truth)
}

pub(super) fn moment_array(rng: &mut Rng) -> String {
    match rng.u8(..3) {
        0 => "'{infinity,-infinity,0044-03-15 12:00:00+00 BC,294276-12-31 23:59:59.999999+00}'".to_owned(),
        _ => array(rng, "timestamptz", timestamptz),
    }
}

pub(super) fn date_array(rng: &mut Rng) -> String {
    match rng.u8(..3) {
        0 => "'{infinity,-infinity,0044-03-15 BC,5874897-12-31}'".to_owned(),
        _ => array(rng, "date", date),
    }
}

pub(super) fn time_array(rng: &mut Rng) -> String {
    array(rng, "time", time)
}

pub(super) fn interval_array(rng: &mut Rng) -> String {
    array(rng, "interval", interval)
}

pub(super) fn uuid_array(rng: &mut Rng) -> String {
    array(rng, "uuid", uuid)
}

pub(super) fn json_array(rng: &mut Rng) -> String {
    array(rng, "jsonb", json)
}

pub(super) fn mood_array(rng: &mut Rng) -> String {
    array(rng, "mood", mood)
}

pub(super) fn inet_array(rng: &mut Rng) -> String {
    array(rng, "inet", inet)
}

pub(super) fn inet(rng: &mut Rng) -> String {
    list(
        rng,
        &["::1", "10.0.0.1/8", "255.255.255.255", "2001:db8::ff00:42:8329/64", "::ffff:1.2.3.4", "0.0.0.0/0"],
    )
}

pub(super) fn cidr(rng: &mut Rng) -> String {
    list(rng, &["10.0.0.0/8", "::/0", "192.168.1.1/32", "2001:db8::/32"])
}

pub(super) fn macaddr(rng: &mut Rng) -> String {
    format!("'{:012x}'", rng.u64(..1 << 48))
}

pub(super) fn macaddr8(rng: &mut Rng) -> String {
    format!("'{:016x}'", rng.u64(..))
}

pub(super) fn money(rng: &mut Rng) -> String {
    list(rng, &["-12.34", "0", "92233720368547758.07", "-92233720368547758.08", "1234567.89"])
}

pub(super) fn xml(rng: &mut Rng) -> String {
    list(rng, &["<a>&amp;</a>", "", "<a b=\"1\"> é🐘 \n<!-- c --></a>", "text <b/>", "<![CDATA[ <> ]]>"])
}

pub(super) fn tsvector(rng: &mut Rng) -> String {
    list(rng, &["'a b':1 c", "", "it''s:3A,4B é:16383", "'\\\\':1"])
}

pub(super) fn tsquery(rng: &mut Rng) -> String {
    list(rng, &["'a b':AB & !c <2> d:*", "a | b"])
}

pub(super) fn jsonpath(rng: &mut Rng) -> String {
    list(rng, &["$.\"a b\"[*] ? (@ > 1)", "strict $", "$.x.type()"])
}

pub(super) fn lsn(rng: &mut Rng) -> String {
    list(rng, &["16/B374D848", "0/0", "FFFFFFFF/FFFFFFFF"])
}

pub(super) fn int_range(rng: &mut Rng) -> String {
    list(rng, &["[1,5)", "empty", "(,)", "[-2147483648,]", "(3,9]"])
}

pub(super) fn num_range(rng: &mut Rng) -> String {
    list(rng, &["[1.10,1.100]", "(NaN,)", "empty", "(-1e30,0.000]"])
}

pub(super) fn moment_range(rng: &mut Rng) -> String {
    list(
        rng,
        &[
            "[-infinity,infinity)",
            "(2024-01-01 00:00:00.000001+05:45,)",
            "[0044-03-15 BC,2024-10-27 02:30+01]",
        ],
    )
}

pub(super) fn multirange(rng: &mut Rng) -> String {
    list(rng, &["{}", "{[1,3),[5,)}", "{(,)}"])
}

pub(super) fn point(rng: &mut Rng) -> String {
    list(rng, &["(1.5,-2)", "(-0,1e300)", "(NaN,Infinity)", "(0.1,5e-324)"])
}

/// Two corners: a segment, or a box.
pub(super) fn lseg(rng: &mut Rng) -> String {
    list(rng, &["((0,0),(1e300,-0))", "((1,2),(3,4.1))"])
}

pub(super) fn path(rng: &mut Rng) -> String {
    list(rng, &["((0,0),(1,1))", "[(0,0),(1,1.1)]"])
}

pub(super) fn polygon(rng: &mut Rng) -> String {
    list(rng, &["((0,0),(1,1),(2,0))", "((0.1,-0))"])
}

pub(super) fn line(rng: &mut Rng) -> String {
    list(rng, &["{1,-1,0.5}", "{0,1,0.1}"])
}

pub(super) fn circle(rng: &mut Rng) -> String {
    list(rng, &["<(0,0),1e-300>", "<(1.5,-2),0>"])
}

pub(super) fn pair(rng: &mut Rng) -> String {
    list(rng, &["(1,\"a \"\"b\"\" \\\\ c\")", "(,)", "(-5,\" é🐘,\")"])
}
