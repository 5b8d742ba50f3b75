//! What the portable application does in its transactions.

use fastrand::Rng;

use crate::load::{Application, Dialect};

/// One statement, or some that only make sense together.
pub(super) fn statement(dialect: Dialect, application: Application, random: &mut Rng) -> Vec<String> {
    let id = random.i32(1..4000);
    let other = random.i32(1..4000);
    let plain = word(random);
    let text = dialect.text(&plain);
    let (now, order, line, when, qty) = (
        dialect.now(),
        dialect.name("Sales Order"),
        dialect.name("Order Line"),
        dialect.name("When"),
        dialect.name("Qty"),
    );
    let of = dialect.name("order");
    match random.u8(0..34) {
        0..3 => one(format!(
            "INSERT INTO account (slot, code, note) SELECT coalesce(max(slot), 0) + 1, {}, \
             repeat(concat({text}, 'x'), {}) FROM account",
            dialect.unique(),
            random.i32(1..900)
        )),
        3..6 => one(format!("UPDATE account SET balance = balance + {id}, changed = {now} WHERE id = {id}")),
        6 => one(format!(
            "UPDATE account SET note = repeat(concat({text}, '.'), 800) WHERE id BETWEEN {id} AND {id} + 5"
        )),
        // Unique values that are swapped by way of a third one, and a chain.
        7 => vec![
            format!("UPDATE account SET slot = -{id} - 100000 WHERE slot = {id}"),
            format!("UPDATE account SET slot = {id} WHERE slot = {other}"),
            format!("UPDATE account SET slot = {other} WHERE slot = -{id} - 100000"),
        ],
        8 => vec![
            format!("UPDATE account SET code = 'moving {id}' WHERE id = {id}"),
            format!("UPDATE account SET code = 'c{id}' WHERE id = {other}"),
        ],
        // Keys that move far, with cells that a log need not carry.
        9 => one(format!("UPDATE account SET id = id + 1000000 WHERE id = {id}")),
        10 => one("UPDATE account SET id = id - 1000000 \
                   WHERE id = (SELECT id FROM (SELECT max(id) AS id FROM account WHERE id > 1000000) m)"
            .to_owned()),
        11 => one(format!("DELETE FROM account WHERE id = {id}")),
        12 => vec![
            format!("DELETE FROM account WHERE id = {id}"),
            format!(
                "INSERT INTO account (id, slot, code, feeling) VALUES ({id}, -{id}, 'again {id}', 'sad')"
            ),
        ],
        13 => vec![
            format!(
                "INSERT INTO {order} VALUES ({id}, '2024-02-29', '{{\"x\": [{id}, \"é\"]}}') {}",
                dialect.upsert("id", &format!("{when} = '2024-03-01'"))
            ),
            format!(
                "INSERT INTO {line} VALUES ({id}, {}, 1, NULL) {}",
                other % 5,
                dialect.upsert(&format!("{of}, line"), &format!("{qty} = {other}"))
            ),
        ],
        14 => one(format!("UPDATE {order} SET info = '{{\"b\": 1.50, \"a\": null}}' WHERE id = {id}")),
        15 => vec![
            format!("DELETE FROM {line} WHERE {of} IN ({id}, {other})"),
            format!("DELETE FROM {order} WHERE id IN ({id}, {other})"),
        ],
        16 => one(format!("UPDATE {line} SET line = line + 10, {qty} = {other} WHERE {of} = {id}")),
        17 => one(format!(
            "UPDATE {line} SET data = {} WHERE {of} = {id}",
            dialect.octets("00ff0a5c27", id.unsigned_abs() % 300)
        )),
        // Keys that an engine may hold to be the same.
        18 => one(format!("UPDATE word SET k = 'Word {0}' WHERE k = 'word {0}'", id % 200)),
        19 => one(format!("UPDATE word SET k = lower(k), v = {text} WHERE k = 'Word {}'", id % 200)),
        20 => vec![
            format!("DELETE FROM word WHERE k = 'word {}'", id % 200),
            format!("INSERT INTO word VALUES ('WORD {}', repeat({text}, 400))", id % 200),
        ],
        21..23 => one(format!(
            "INSERT INTO log SELECT {now}, {text}, '{{ \"id\" :{id} }}' FROM {}",
            dialect.numbers(other.unsigned_abs() % 4 + 1)
        )),
        23 => one(format!(
            "INSERT INTO full_row VALUES ({id} % 20, 'b{}', repeat({text}, {}))",
            id % 3,
            other % 600
        )),
        24 => one(format!(
            "UPDATE full_row SET b = {text} {}",
            dialect.one_of("full_row", &format!("a = {id} % 20"))
        )),
        25 => one(format!("DELETE FROM full_row {}", dialect.one_of("full_row", &format!("a = {id} % 20")))),
        // Between partitions.
        26 => one(format!(
            "INSERT INTO part VALUES ({id}, 'north', {text}) {}",
            dialect.upsert("id, region", "body = 'south'")
        )),
        27 => one(format!(
            "UPDATE part SET region = CASE region WHEN 'north' THEN 'east' WHEN 'east' THEN 'south' ELSE 'north' END \
             WHERE id BETWEEN {id} AND {id} + 2"
        )),
        28 => one(format!(
            "INSERT INTO scratch VALUES ({id}, {text}) {}",
            dialect.upsert("id", "v = concat(scratch.v, 'more')")
        )),
        29 => one(format!("INSERT INTO scratch_log VALUES ({text}), ('{id}')")),
        30 if application != Application::Light => match id % 40 {
            0 => one("TRUNCATE TABLE scratch".to_owned()),
            1 => vec!["TRUNCATE TABLE scratch_log".to_owned(), "TRUNCATE TABLE scratch".to_owned()],
            2 => vec![
                "TRUNCATE TABLE scratch_log".to_owned(),
                format!("INSERT INTO scratch_log VALUES ('after {id}')"),
            ],
            3 => one("TRUNCATE TABLE part".to_owned()),
            _ => one(format!("DELETE FROM scratch WHERE id BETWEEN {id} AND {id} + 50")),
        },
        31 if application != Application::Light => match id % 24 {
            0 => one(format!(
                "UPDATE large SET body = repeat('{id}0123456789abcdef', 70000) WHERE id = {other} % 4 + 1"
            )),
            1 => one(format!(
                "INSERT INTO large VALUES ({id} % 4 + 1, 0, repeat('{id}y', 300000), NULL) {}",
                dialect.upsert("id", "id = large.id + 3")
            )),
            2 => one(format!("DELETE FROM large WHERE id > 3 OR id = {other} % 4")),
            3..8 => one(format!("UPDATE large SET more = NULL, n = {id} WHERE id = {other} % 4 + 1")),
            _ => one(format!("UPDATE large SET n = n + 1 WHERE id = {id} % 4 + 1")),
        },
        32 => one(format!(
            "UPDATE kind SET {} WHERE id BETWEEN {id} % 500 AND {id} % 500 + 3",
            kind(dialect, random)
        )),
        _ => one(format!("UPDATE account SET feeling = 'very happy' WHERE id % 500 = {id} % 500")),
    }
}

fn one(statement: String) -> Vec<String> {
    vec![statement]
}

/// A word with what needs care in one place or another.
fn word(random: &mut Rng) -> String {
    const ODD: [&str; 8] = ["'", "\\", "\t", "\n", "é", "😀", "\\N", "\""];
    let mut word: String = (0..random.usize(0..12)).map(|_| random.alphanumeric()).collect();
    if random.bool() {
        word.push_str(ODD[random.usize(..ODD.len())]);
    }
    word
}

/// A new value for a column of `kind`.
fn kind(dialect: Dialect, random: &mut Rng) -> String {
    let both: [fn(&mut Rng) -> String; 6] = [
        |r| format!("yes = {}", ["true", "false", "NULL"][r.usize(..3)]),
        |r| format!("single = {}", ["0.1", "-1.5e10", "3.4028235e38", "NULL"][r.usize(..4)]),
        |r| format!("twofold = {}", ["1e-300", "-0.0", "123456789.123456789"][r.usize(..3)]),
        |r| format!("day = {}", ["'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "NULL"][r.usize(..4)]),
        |r| format!("moment = '2024-0{}-01 00:00:0{}.123456'", r.u8(1..10), r.u8(0..10)),
        |r| format!("amount = {}", ["-99999999.99999", "0.00001", "12345678.9"][r.usize(..3)]),
    ];
    let own: [fn(&mut Rng) -> String; 6] = match dialect {
        Dialect::Postgres => [
            |_| "bits = B'000000001'".to_owned(),
            |r| format!("clock = '2{}:59:59.999999'", r.u8(0..4)),
            |_| "mark = gen_random_uuid()".to_owned(),
            |r| format!("short = {}", r.i16(..)),
            |_| "document = '{\"z\": [1, 2.5, \"q\\u00e9\"], \"a\": {}}'".to_owned(),
            |_| "padded = 'a  '".to_owned(),
        ],
        Dialect::MySql => [
            |_| "bits = b'000000001'".to_owned(),
            |r| format!("clock = '-{}:59:59.999'", r.u16(0..839)),
            |r| format!("mark = '{}'", ["a", "a,c", "", "b,c,a"][r.usize(..4)]),
            |r| format!("short = {}", r.u8(..)),
            |_| "document = '{\"z\": [1, 2.5, \"q\\\\u00e9\"], \"a\": {}}'".to_owned(),
            |r| format!("padded = unhex('{}')", ["00", "61000000", "ff00ff"][r.usize(..3)]),
        ],
    };
    let made: Vec<_> = both.iter().chain(&own).collect();
    made[random.usize(..made.len())](random)
}
