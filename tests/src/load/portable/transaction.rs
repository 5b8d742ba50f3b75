//! One transaction of the portable application.

use fastrand::Rng;

use super::statement::statement;
use crate::load::{Application, Dialect, LoadOptions, Transaction};

/// One transaction of a worker, which the ledger has under that number.
pub(in crate::load) fn transaction(
    dialect: Dialect,
    options: LoadOptions,
    random: &mut Rng,
    worker: i64,
    number: i64,
) -> Transaction {
    let ledger = format!("INSERT INTO ledger VALUES ({worker}, {number})");
    if dialect == Dialect::MySql && random.u8(..) < 12 {
        return prepared(random, worker, ledger);
    }
    let begin = dialect.begin(random.u8(..) < 128);
    let mut statements: Vec<String> = begin.iter().map(|&sql| sql.to_owned()).collect();
    for _ in 0..random.usize(1..5) {
        if random.u8(..) < 40 {
            // What came behind a savepoint stays, or goes with it.
            let end = if random.bool() { "RELEASE SAVEPOINT s" } else { "ROLLBACK TO SAVEPOINT s" };
            statements.push("SAVEPOINT s".to_owned());
            statements.extend(statement(dialect, options.application, random));
            statements.push(end.to_owned());
        } else {
            statements.extend(statement(dialect, options.application, random));
        }
    }
    statements.push(ledger);
    let commits = random.u8(..) >= 25;
    statements.push(if commits { "COMMIT" } else { "ROLLBACK" }.to_owned());
    Transaction { statements, commits }
}

/// One in two phases: its rows are in the log before it is decided.
fn prepared(random: &mut Rng, worker: i64, ledger: String) -> Transaction {
    let xid = format!("'worker {worker}'");
    let mut statements = vec![format!("XA START {xid}")];
    statements.extend(statement(Dialect::MySql, Application::Light, random));
    statements.extend([ledger, format!("XA END {xid}"), format!("XA PREPARE {xid}")]);
    let commits = random.u8(..) >= 60;
    statements.push(format!("XA {} {xid}", if commits { "COMMIT" } else { "ROLLBACK" }));
    Transaction { statements, commits }
}
