//! One transaction of the application.

use fastrand::Rng;

use crate::load::Transaction;

/// One transaction of a worker, which the ledger has under that number.
pub(in crate::load) fn transaction(random: &mut Rng, worker: i64, number: i64) -> Transaction {
    let mut statements =
        vec![if random.u8(..) < 40 { "BEGIN ISOLATION LEVEL REPEATABLE READ" } else { "BEGIN" }.to_owned()];
    let (from, to, cents) = (random.u8(1..=60), random.u8(1..=60), random.u16(1..1000));
    // As far apart as they can be.
    statements.push(format!("UPDATE till SET cents = cents - {cents} WHERE id = {from}"));
    for _ in 0..random.usize(1..5) {
        if random.u8(..) < 40 {
            // What a subtransaction did comes back, or goes with it.
            let end = if random.bool() { "RELEASE" } else { "ROLLBACK TO" };
            statements.push("SAVEPOINT s".to_owned());
            statements.push(statement(random));
            statements.push(format!("{end} s"));
        } else {
            statements.push(statement(random));
        }
    }
    statements.push(format!("UPDATE \"Sales Dept\".\"Safe\" SET cents = cents + {cents} WHERE id = {to}"));
    statements.push(format!("INSERT INTO ledger VALUES ({worker}, {number})"));
    let commits = random.u8(..) >= 25;
    statements.push(if commits { "COMMIT" } else { "ROLLBACK" }.to_owned());
    Transaction { statements, commits }
}

/// One statement, or two that only make sense together.
fn statement(random: &mut Rng) -> String {
    let id = random.i32(1..4000);
    let other = random.i32(1..4000);
    let text: String = (0..random.usize(0..12)).map(|_| random.alphanumeric()).collect();
    match random.u8(0..34) {
        0..3 => format!(
            "INSERT INTO account (slot, code, note) SELECT coalesce(max(slot), 0) + 1, gen_random_uuid()::text, \
             repeat('{text}x', {}) FROM account",
            random.i32(1..900)
        ),
        3..6 => format!(
            "UPDATE account SET balance = balance + {id}, changed = clock_timestamp() WHERE id = {id}"
        ),
        6 => format!("UPDATE account SET note = repeat('{text}.', 800) WHERE id BETWEEN {id} AND {id} + 5"),
        // A swap in one statement, a chain, and one by way of a third value.
        7 => format!(
            "UPDATE account a SET slot = b.slot FROM account b \
             WHERE a.id IN ({id}, {other}) AND b.id IN ({id}, {other}) AND a.id <> b.id"
        ),
        8 => format!(
            "SET CONSTRAINTS ALL DEFERRED; UPDATE account SET slot = slot + 1 WHERE slot BETWEEN {id} AND {id} + 3; \
             UPDATE account SET slot = {id} WHERE slot = {id} + 4 AND changed < clock_timestamp()"
        ),
        9 => format!(
            "UPDATE account SET code = 'moving {id}' WHERE id = {id}; \
             UPDATE account SET code = 'c{id}' WHERE id = {other} AND NOT EXISTS (SELECT FROM account WHERE code = 'c{id}')"
        ),
        // Keys that move far, with cells that the log does not carry.
        10 => format!("UPDATE account SET id = id + 1000000 WHERE id = {id}"),
        11 => {
            "UPDATE account SET id = id - 1000000 WHERE id = (SELECT max(id) FROM account WHERE id > 1000000)"
                .to_owned()
        }
        12 => format!("DELETE FROM account WHERE id = {id}"),
        13 => format!(
            "WITH gone AS (DELETE FROM account WHERE id = {id} RETURNING *) SELECT count(*) FROM gone; \
             INSERT INTO account (id, slot, code) VALUES ({id}, -{id}, 'again {id}')"
        ),
        14 => format!(
            "INSERT INTO \"Sales Dept\".\"Order\" VALUES ({id}, '2024-02-29', '{{\"x\": [{id}, \"{text}\"]}}') \
             ON CONFLICT (id) DO UPDATE SET info = excluded.info; \
             INSERT INTO \"Sales Dept\".\"Order Line\" VALUES ({id}, {}, 1, NULL) ON CONFLICT DO NOTHING",
            other % 5
        ),
        15 => format!("UPDATE \"Sales Dept\".\"Order\" SET id = -id WHERE id = {id}"),
        16 => format!("DELETE FROM \"Sales Dept\".\"Order\" WHERE id IN ({id}, -{id}, {other})"),
        17 => format!(
            "UPDATE \"Sales Dept\".\"Order Line\" SET line = line + 10, \"Qty\" = {other} WHERE \"order\" = {id}"
        ),
        18 => format!("UPDATE number_key SET k = k * 1.0 WHERE k = {id} % 200 AND scale(k) < 20"),
        19 => format!("UPDATE number_key SET k = trim_scale(k), v = '{text}' WHERE k = {id} % 200"),
        20 => format!(
            "DELETE FROM number_key WHERE k = {id} % 200; \
             INSERT INTO number_key VALUES ({id} % 200 + 0.000, '{text}', repeat('{text}', 400))"
        ),
        21..23 => format!(
            "INSERT INTO audit.log SELECT clock_timestamp(), '{text}', '{{ \"id\" :{id} }}' FROM generate_series(0, {other} % 4)"
        ),
        23 => format!(
            "INSERT INTO audit.full_row VALUES ({id} % 20, 'b{}', repeat('{text}', {other} % 600))",
            id % 3
        ),
        24 => format!(
            "UPDATE audit.full_row SET b = '{text}' WHERE ctid = (SELECT min(ctid) FROM audit.full_row WHERE a = {id} % 20)"
        ),
        25 => format!(
            "DELETE FROM audit.full_row WHERE ctid = (SELECT max(ctid) FROM audit.full_row WHERE a = {id} % 20)"
        ),
        26 => format!(
            "INSERT INTO part VALUES ({id}, 'north', '{text}') ON CONFLICT (id, region) DO UPDATE SET region = 'south', body = excluded.body"
        ),
        27 => format!(
            "UPDATE part SET region = CASE region WHEN 'north' THEN 'east' WHEN 'east' THEN 'south' ELSE 'north' END \
             WHERE id BETWEEN {id} AND {id} + 2"
        ),
        28 => format!(
            "INSERT INTO scratch VALUES ({id}, '{text}') ON CONFLICT (id) DO UPDATE SET v = scratch.v || excluded.v"
        ),
        29 => format!("INSERT INTO scratch_log VALUES ('{text}'), ('{id}')"),
        30 => match id % 40 {
            0 => "TRUNCATE scratch".to_owned(),
            1 => "TRUNCATE scratch, scratch_log".to_owned(),
            2 => format!(
                "TRUNCATE scratch_log; INSERT INTO scratch_log VALUES ('after {id}'); INSERT INTO scratch VALUES ({id}, 'x') ON CONFLICT DO NOTHING"
            ),
            3 => "TRUNCATE part".to_owned(),
            _ => format!("DELETE FROM scratch WHERE id BETWEEN {id} AND {id} + 50"),
        },
        31 => format!("UPDATE blob SET n = n + 1 WHERE id = {id} % 4 + 1"),
        32 => match id % 48 {
            0 => format!(
                "UPDATE blob SET body = repeat('{text}0123456789abcdef', 70000) WHERE id = {other} % 4 + 1"
            ),
            1 => format!(
                "INSERT INTO blob VALUES ({id} % 4 + 1, 0, repeat('{text}y', 300000)) ON CONFLICT (id) DO UPDATE SET id = 3 + blob.id"
            ),
            2 => format!("DELETE FROM blob WHERE id > 3 OR id = {other} % 4"),
            _ => format!("UPDATE blob SET more = NULL, n = {id} WHERE id = {other} % 4 + 1"),
        },
        _ => format!(
            "UPDATE account SET tags = tags || '{text}'::text, feeling = 'very happy' WHERE id % 500 = {id} % 500"
        ),
    }
}
