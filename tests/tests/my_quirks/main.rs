//! Each oddity of `tests/quirks/mysql`, and of `tests/quirks/pg_abroad` to
//! MySQL and MariaDB, is moved, and arrives or is refused.
//!
//! A case is a directory:
//!
//! | file | what is in it |
//! |---|---|
//! | `source.sql` | tables and rows, before the run; parts with a blank line between them are sessions of their own |
//! | `changes.sql` | what is written once the copy is there |
//! | `from` | which servers it is of: `mysql`, `mariadb`, `postgres`; the first two without it |
//! | `to` | where it is moved to: `postgres`, `kin` (MariaDB of MySQL, and the other way), `same`, `mysql`, `mariadb`; the first three without it, and from PostgreSQL the last two |
//! | `settings` | lines for the server's configuration, which gives the case a source of its own; of MySQL and MariaDB |
//! | `target.settings` | the same for targets that are no PostgreSQL |
//! | `mapping` | the user's wishes, as JSON |
//! | `findings` | what the assessment of the source warns of or refuses: severity, rule, subject |
//! | `report` | the same of what the conversion warns of or refuses |
//! | `refused` | words of the error with which the copy or the stream ends; each line must be in it |
//! | `target.sql` | a query and the text that it must give, at targets that are no PostgreSQL |
//! | `except` | tables that are not compared, since `target.sql` tells what they must be |
//! | `as` | columns that are compared in another form: table, column, form |
//!
//! From each source a case goes to one of its targets, the next one with each
//! case, so that every pair of engines has some;
//! `ZDM_TEST_QUIRKS_ALL=1 cargo test -p zdm-tests --test my_quirks` moves every
//! source to every target, and `ZDM_TEST_QUIRK=zero_dates` only the cases with
//! that in their name.
//!
//! Every case ends in equality, by SQL that knows nothing of the crates, or in
//! just that refusal.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

mod case;
mod servers;

use std::path::PathBuf;

use futures::StreamExt as _;

use self::case::Case;
use self::servers::Servers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_oddity_arrives_or_is_refused() {
    let mut folders: Vec<PathBuf> = Vec::new();
    for (engine, least) in [("mysql", 30), ("pg_abroad", 10)] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("quirks").join(engine);
        let cases = std::fs::read_dir(folder).unwrap().map(|case| case.unwrap().path());
        let before = folders.len();
        folders.extend(cases);
        assert!(folders.len() - before >= least, "the cases of {engine} are gone");
    }
    folders.sort();
    let servers = Servers::default();
    let mut cases: Vec<Case> =
        folders.iter().enumerate().map(|(number, folder)| Case::read(number, folder)).collect();
    // One alone, by a part of its name.
    if let Ok(only) = std::env::var("ZDM_TEST_QUIRK") {
        cases.retain(|case| case.name().contains(&only));
        assert!(!cases.is_empty(), "no such case");
    }
    let moves = cases.iter().flat_map(Case::moves);
    let judged = futures::stream::iter(moves).map(|one| one.judge(&servers)).buffered(6);
    let wrong: Vec<String> = judged.filter_map(async |outcome| outcome.err()).collect().await;
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    servers.close().await;
}
