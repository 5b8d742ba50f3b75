//! Random columns of every type, and SQL of random values for them: the odd
//! ones of each type as often as the usual ones.

use fastrand::Rng;
use zdm_servers::mysql::Flavor;

use super::{json, text};

/// A column, and how its values are made.
pub(crate) struct Column {
    /// What follows its name in CREATE TABLE.
    pub(crate) ddl: String,
    /// Whether `noblob` leaves it out of a row that does not change it.
    pub(crate) large: bool,
    /// Whether it can be changed in parts.
    pub(crate) json: bool,
    shape: bool,
    value: Box<dyn Fn(&mut Rng) -> String + Send + Sync>,
}

impl Column {
    /// Whether it holds geometry.
    pub(crate) fn is_shape(&self) -> bool {
        self.shape
    }

    /// SQL of a value, null aside.
    pub(crate) fn value(&self, rng: &mut Rng) -> String {
        (self.value)(rng)
    }
}

/// Which values are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taste {
    /// Whatever the server stores.
    All,
    /// What other engines hold as well: no day of no calendar, no label that
    /// is none, no character U+0000, no number in JSON beyond a double.
    Held,
    /// What the kin of the server holds: no label that is none, since strict
    /// servers take none.
    Kin,
}

impl Taste {
    fn has_any_day(self) -> bool {
        self != Self::Held
    }
}

/// Whose server it is, as far as types depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) flavor: Flavor,
    /// Whether it has vectors.
    pub(crate) vectors: bool,
    pub(crate) taste: Taste,
}

type Maker = fn(&mut Rng, Kinds) -> Column;

/// One maker for each type, of those that the server has.
pub(crate) fn makers(kinds: Kinds) -> Vec<Maker> {
    let mut all: Vec<Maker> = vec![
        integer,
        integer,
        integer,
        decimal,
        decimal,
        float,
        double,
        bit,
        year,
        date,
        date_time,
        date_time,
        timestamp,
        time,
        time,
        character,
        character,
        varying,
        varying,
        large_text,
        large_text,
        binary,
        varbinary,
        blob,
        enumeration,
        set,
        json_document,
        json_document,
        geometry,
        geometry,
    ];
    if kinds.vectors {
        all.push(vector);
    }
    if kinds.flavor == Flavor::MariaDb {
        all.extend([uuid as Maker, uuid, inet]);
    }
    all
}

fn plain(ddl: impl Into<String>, value: impl Fn(&mut Rng) -> String + Send + Sync + 'static) -> Column {
    Column { ddl: ddl.into(), large: false, json: false, shape: false, value: Box::new(value) }
}

fn large(ddl: impl Into<String>, value: impl Fn(&mut Rng) -> String + Send + Sync + 'static) -> Column {
    Column { large: true, ..plain(ddl, value) }
}

/// One of these.
pub(crate) fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())].clone()
}

fn integer(rng: &mut Rng, _: Kinds) -> Column {
    let (name, bits) = one(
        rng,
        &[
            ("TINYINT", 8),
            ("TINYINT(1)", 8),
            ("SMALLINT", 16),
            ("MEDIUMINT", 24),
            ("INT", 32),
            ("BIGINT", 64),
        ],
    );
    let unsigned = rng.bool();
    // It is unsigned by itself, and shown with zeros in front.
    let zerofill = unsigned && rng.u8(..3) == 0;
    let ddl = format!(
        "{name}{}{}",
        if unsigned { " UNSIGNED" } else { "" },
        if zerofill { " ZEROFILL" } else { "" }
    );
    plain(ddl, move |rng| {
        let (least, most) = match unsigned {
            true => (0, (1_i128 << bits) - 1),
            false => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
        };
        let middle = rng.i128(least..=most);
        one(rng, &[least, most, least + 1, most / 2 + 1, 0, 1, middle, middle]).to_string()
    })
}

fn decimal(rng: &mut Rng, _: Kinds) -> Column {
    let precision = one(rng, &[1, 5, 9, 10, 18, 19, 38, 65]);
    let scale = rng.usize(..=precision.min(30));
    let unsigned = rng.u8(..4) == 0;
    let ddl = format!("DECIMAL({precision},{scale}){}", if unsigned { " UNSIGNED" } else { "" });
    plain(ddl, move |rng| {
        let mut digits = |n: usize| -> String {
            let all = rng.u8(..3);
            (0..n)
                .map(|_| {
                    if all == 0 {
                        '9'
                    } else if all == 1 {
                        '0'
                    } else {
                        rng.digit(10)
                    }
                })
                .collect()
        };
        let (whole, fraction) = (digits(precision - scale), digits(scale));
        let sign = if !unsigned && rng.bool() { "-" } else { "" };
        format!("{sign}0{whole}.{fraction}0")
    })
}

fn float(rng: &mut Rng, _: Kinds) -> Column {
    let ddl = one(rng, &["FLOAT", "FLOAT(7,3)", "FLOAT UNSIGNED"]);
    let unsigned = ddl.ends_with("UNSIGNED");
    plain(ddl, move |rng| {
        let random = f32::from_bits(rng.u32(..));
        let of = [0.0, -0.0, 0.1, -1.5, f32::MAX, f32::MIN_POSITIVE, 16_777_217.0, random, random];
        let value = one(rng, &of);
        let value = if value.is_finite() { value } else { 1.0 };
        format!("{:e}", f64::from(if unsigned { value.abs() } else { value }))
    })
}

fn double(rng: &mut Rng, _: Kinds) -> Column {
    let ddl = one(rng, &["DOUBLE", "DOUBLE(20,5)", "DOUBLE PRECISION"]);
    plain(ddl, |rng| {
        let random = f64::from_bits(rng.u64(..));
        let of = [
            0.0,
            -0.0,
            0.1,
            -1.5,
            f64::MAX,
            f64::MIN_POSITIVE,
            1e15,
            9_007_199_254_740_993.0,
            random,
            random,
        ];
        let value = one(rng, &of);
        // The servers store no number below the least normal one.
        format!("{:e}", if value.is_normal() { value } else { -1.0 })
    })
}

fn bit(rng: &mut Rng, _: Kinds) -> Column {
    let bits = one(rng, &[1_u32, 3, 8, 9, 31, 63, 64]);
    plain(format!("BIT({bits})"), move |rng| {
        let most = u64::MAX >> (64 - bits);
        let random = rng.u64(..=most);
        format!("b'{:b}'", one(rng, &[0, 1, most, random, random]))
    })
}

fn year(_: &mut Rng, _: Kinds) -> Column {
    plain("YEAR", |rng| {
        let random = rng.u32(1901..=2155);
        format!("'{:04}'", one(rng, &[0, 1901, 2155, random]))
    })
}

/// A day, maybe one of no calendar.
fn day(rng: &mut Rng, taste: Taste) -> String {
    let random = format!("{:04}-{:02}-{:02}", rng.u32(1..=9999), rng.u32(1..=12), rng.u32(1..=28));
    let real = ["0001-01-01", "9999-12-31", "2024-02-29", "1582-10-10", "1969-12-31", &random, &random];
    let odd = ["0000-00-00", "2024-00-10", "2024-02-31", "0000-12-31", "2023-02-29", "2024-05-00"];
    if taste.has_any_day() && rng.u8(..3) == 0 { one(rng, &odd).into() } else { one(rng, &real).into() }
}

fn clock(rng: &mut Rng) -> String {
    let random = format!("{:02}:{:02}:{:02}", rng.u32(..24), rng.u32(..60), rng.u32(..60));
    one(rng, &["00:00:00".into(), "23:59:59".into(), random])
}

/// The fraction of a second, of so many digits.
fn fraction(rng: &mut Rng, digits: usize) -> String {
    if digits == 0 {
        return String::new();
    }
    let random: String = (0..digits).map(|_| rng.digit(10)).collect();
    format!(".{}", one(rng, &["0".repeat(digits), "9".repeat(digits), random.clone(), random]))
}

fn sized(name: &str, digits: usize) -> String {
    if digits == 0 { name.into() } else { format!("{name}({digits})") }
}

fn date(_: &mut Rng, kinds: Kinds) -> Column {
    plain("DATE", move |rng| format!("'{}'", day(rng, kinds.taste)))
}

fn date_time(rng: &mut Rng, kinds: Kinds) -> Column {
    let digits = rng.usize(..=6);
    plain(sized("DATETIME", digits), move |rng| {
        let day = day(rng, kinds.taste);
        // A zero day with a time of day is another oddity.
        format!("'{day} {}{}'", clock(rng), fraction(rng, digits))
    })
}

fn timestamp(rng: &mut Rng, kinds: Kinds) -> Column {
    let digits = rng.usize(..=6);
    plain(sized("TIMESTAMP", digits) + " NULL", move |rng| {
        if kinds.taste.has_any_day() && rng.u8(..5) == 0 {
            return "'0000-00-00 00:00:00'".into();
        }
        let seconds = rng.u32(2..=2_147_483_646);
        let seconds = one(rng, &[2, 2_147_483_646, seconds, seconds]);
        format!("FROM_UNIXTIME('{seconds}{}')", fraction(rng, digits))
    })
}

fn time(rng: &mut Rng, _: Kinds) -> Column {
    let digits = rng.usize(..=6);
    plain(sized("TIME", digits), move |rng| {
        let sign = one(rng, &["", "-"]);
        let hours = rng.u32(..838);
        let hours = one(rng, &[0, 0, 1, 24, 837, hours, hours]);
        let clock = format!("{sign}{hours:02}:{:02}:{:02}", rng.u32(..60), rng.u32(..60));
        let clock =
            one(rng, &["838:59:59".into(), "-838:59:59".into(), "-00:00:00".into(), clock.clone(), clock]);
        let fraction = if clock.ends_with("838:59:59") { String::new() } else { fraction(rng, digits) };
        format!("'{clock}{fraction}'")
    })
}

fn character(rng: &mut Rng, kinds: Kinds) -> Column {
    let (charset, alphabet) = text::charset(rng);
    let length = rng.usize(1..=60);
    let ddl = format!("CHAR({length}) CHARACTER SET {charset}");
    plain(ddl, move |rng| text::literal(rng, alphabet, length, kinds.taste))
}

fn varying(rng: &mut Rng, kinds: Kinds) -> Column {
    let (charset, alphabet) = text::charset(rng);
    // Up to 255 octets its length takes one, beyond it two.
    let length = one(rng, &[1_usize, 20, 63, 255, 300]);
    let ddl = format!("VARCHAR({length}) CHARACTER SET {charset}");
    plain(ddl, move |rng| text::literal(rng, alphabet, length, kinds.taste))
}

fn large_text(rng: &mut Rng, kinds: Kinds) -> Column {
    let (charset, alphabet) = text::charset(rng);
    let name = one(rng, &["TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT"]);
    large(format!("{name} CHARACTER SET {charset}"), move |rng| {
        let literal = text::literal(rng, alphabet, 60, kinds.taste);
        if name == "TINYTEXT" || rng.bool() {
            literal
        } else {
            format!("REPEAT({literal}, {})", rng.u32(1..200))
        }
    })
}

fn octets(rng: &mut Rng, most: usize) -> String {
    let random = rng.usize(..=most);
    let length = one(rng, &[0, most, random, random]);
    let mut octets: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
    // Zeros at the end, which the log leaves out of a BINARY.
    if rng.u8(..3) == 0 {
        let from = rng.usize(..=length);
        octets[from..].fill(0);
    }
    format!("x'{}'", octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>())
}

fn binary(rng: &mut Rng, _: Kinds) -> Column {
    let length = one(rng, &[1_usize, 16, 100, 255]);
    plain(format!("BINARY({length})"), move |rng| octets(rng, length))
}

fn varbinary(rng: &mut Rng, _: Kinds) -> Column {
    let length = one(rng, &[1_usize, 16, 255, 300]);
    plain(format!("VARBINARY({length})"), move |rng| octets(rng, length))
}

fn blob(rng: &mut Rng, _: Kinds) -> Column {
    let name = one(rng, &["TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"]);
    large(name, |rng| octets(rng, 200))
}

/// Labels that a list of labels could be misread by.
const LABELS: [&str; 10] = ["a", "it''s", "b\\\\c", "(d)", "e f", "é", "\"", "`", ");", "A b"];

fn enumeration(rng: &mut Rng, kinds: Kinds) -> Column {
    let mut labels = LABELS.to_vec();
    labels.push("with,comma");
    // The catalogs show both as `what?`.
    let charset = one(rng, &["utf8mb4", "latin1", "utf16"]);
    if charset != "latin1" {
        labels.extend(["what?", "what🐘"]);
    }
    rng.shuffle(&mut labels);
    labels.truncate(rng.usize(2..=labels.len()));
    let list = labels.join("','");
    let (most, first) = (labels.len(), usize::from(kinds.taste != Taste::All));
    // Number 0 is the empty label of what was refused.
    plain(format!("ENUM('{list}') CHARACTER SET {charset}"), move |rng| rng.usize(first..=most).to_string())
}

fn set(rng: &mut Rng, _: Kinds) -> Column {
    let mut labels = LABELS.to_vec();
    let charset = one(rng, &["utf8mb4", "latin1"]);
    if charset != "latin1" {
        labels.extend(["what?", "what🐘"]);
    }
    rng.shuffle(&mut labels);
    labels.truncate(rng.usize(1..=labels.len()));
    let (list, count) = (labels.join("','"), labels.len());
    plain(format!("SET('{list}') CHARACTER SET {charset}"), move |rng| rng.u32(..1 << count).to_string())
}

fn json_document(_: &mut Rng, kinds: Kinds) -> Column {
    let mysql = kinds.flavor == Flavor::MySql;
    let taste = kinds.taste;
    Column { json: mysql, ..large("JSON", move |rng| json::expression(rng, mysql, taste)) }
}

fn point(rng: &mut Rng) -> String {
    format!("{:?} {:?}", f64::from(rng.i16(-90..=90)) / 4.0, f64::from(rng.i16(-90..=90)) / 8.0)
}

fn points(rng: &mut Rng, count: usize) -> String {
    (0..count).map(|_| point(rng)).collect::<Vec<_>>().join(", ")
}

fn shape(rng: &mut Rng, kind: &str) -> String {
    let ring = "((0 0, 0 5, 5 5, 5 0, 0 0), (1 1, 1 2, 2 2, 1 1))";
    match kind {
        "POINT" => format!("POINT({})", point(rng)),
        "LINESTRING" => format!("LINESTRING({})", {
            let n = rng.usize(2..20);
            points(rng, n)
        }),
        "POLYGON" => format!("POLYGON{ring}"),
        "MULTIPOINT" => format!("MULTIPOINT({})", points(rng, 3)),
        "MULTILINESTRING" => format!("MULTILINESTRING(({}), ({}))", points(rng, 2), points(rng, 4)),
        "MULTIPOLYGON" => format!("MULTIPOLYGON({ring}, ((10 10, 10 15, 15 15, 10 10)))"),
        _ => format!("GEOMETRYCOLLECTION(POINT({}), LINESTRING({}))", point(rng), points(rng, 3)),
    }
}

fn geometry(rng: &mut Rng, _: Kinds) -> Column {
    let kinds = [
        "POINT",
        "LINESTRING",
        "POLYGON",
        "MULTIPOINT",
        "MULTILINESTRING",
        "MULTIPOLYGON",
        "GEOMETRYCOLLECTION",
    ];
    let kind = one(rng, &kinds);
    let name = one(rng, &[kind, kind, "GEOMETRY"]);
    let shape = large(name, move |rng| {
        let kind = if name == "GEOMETRY" { one(rng, &kinds) } else { name };
        let shape = shape(rng, kind);
        format!("ST_GeomFromText('{shape}', {})", one(rng, &[0, 4326]))
    });
    Column { shape: true, ..shape }
}

fn vector(rng: &mut Rng, kinds: Kinds) -> Column {
    let length = rng.usize(1..8);
    let read = if kinds.flavor == Flavor::MySql { "STRING_TO_VECTOR" } else { "VEC_FromText" };
    large(format!("VECTOR({length})"), move |rng| {
        let numbers: Vec<String> = (0..length).map(|_| format!("{:?}", rng.f32() * 100.0 - 50.0)).collect();
        format!("{read}('[{}]')", numbers.join(","))
    })
}

fn uuid(_: &mut Rng, _: Kinds) -> Column {
    plain("UUID", |rng| {
        let mut octets = rng.u128(..).to_be_bytes();
        // Of every version and variant, since the server orders some by time.
        if rng.bool() {
            octets[6] = octets[6] & 0x0f | rng.u8(..9) << 4;
            octets[8] = octets[8] & 0x3f | 0x80;
        }
        if rng.u8(..4) == 0 {
            octets[rng.usize(..16)..].fill(0);
        }
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("'{}-{}-{}-{}-{}'", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    })
}

fn inet(rng: &mut Rng, _: Kinds) -> Column {
    if rng.bool() {
        return plain("INET4", |rng| {
            format!("'{}'", std::net::Ipv4Addr::from(rng.u32(..) & one(rng, &[u32::MAX, 0xffff_0000])))
        });
    }
    plain("INET6", |rng| {
        let random = std::net::Ipv6Addr::from(rng.u128(..) & one(rng, &[u128::MAX, u128::MAX << 64]));
        let odd = [
            "::",
            "::1",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "1::2:0:0:3",
            "0:0:1::",
            "1:0:2:3:4:5:6:7",
            "::ffff:0:1",
            "::2",
            "::1:0",
            "::ffff:0:0",
            "0:0:1:0:0:1:0:0",
            "1:0:0:2:0:0:0:3",
            "1::",
            "::ffff:ffff",
        ];
        let odd = one(rng, &odd).to_owned();
        format!("'{}'", one(rng, &[odd, random.to_string()]))
    })
}
