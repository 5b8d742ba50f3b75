//! Each oddity of `tests/quirks/pg`: what the assessment says of it.
//!
//! A case is a directory with `source.sql` and `findings`, one a line: role,
//! severity, rule, subject. Parts of the SQL with a blank line between them are
//! transactions of their own. Blockers and warnings must be those of the file,
//! no more and no less; notes must be among those that are found. Besides
//! there may be `target.sql`, `source.options` and `target.options` (how the
//! databases are made), and `settings`, which give the case a server of its
//! own.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::OnceCell;
use zdm_core::connect::{Assess, Role, RunName, Severity};
use zdm_core::schema::Selection;
use zdm_pg::PgAssess;
use zdm_pg::config::PgConfig;
use zdm_pg::schema::describe;
use zdm_servers::postgres::{Database, PgOptions, Postgres};

#[tokio::test]
async fn every_oddity_is_found_and_nothing_else() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("quirks/pg");
    let mut cases: Vec<_> = std::fs::read_dir(folder).unwrap().map(|case| case.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 25, "the cases are gone");
    let judged = futures::stream::iter(&cases).map(async |case| run(case).await).buffered(4);
    let judged: Vec<_> = judged.collect().await;
    let wrong: Vec<_> = judged.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn run(case: &Path) -> Result<(), String> {
    let read = |file: &str| std::fs::read_to_string(case.join(file)).unwrap_or_default();
    let mut own = None;
    if !read("settings").is_empty() {
        let options = read("settings").lines().fold(PgOptions::new(), |options, line| {
            let (name, value) = line.split_once(" = ").unwrap();
            options.setting(name, value)
        });
        own = Some(Postgres::start(options).await.unwrap());
    }
    let server = match &own {
        Some(server) => server,
        None => shared().await,
    };
    let name = case.file_name().unwrap().to_str().unwrap();
    let source = database(server, &format!("{name}_s"), &read("source.options"), &read("source.sql")).await;
    let target = database(server, &format!("{name}_t"), &read("target.options"), &read("target.sql")).await;
    let found = assess(&source, &target).await;
    let expected = read("findings").replace("{source}", source.name()).replace("{target}", target.name());
    let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
    let note = |line: &String| line.split(' ').nth(1) == Some("note");
    let missing: Vec<_> = expected.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&expected).filter(|line| !note(line)).collect();
    if missing.is_empty() && surplus.is_empty() {
        return Ok(());
    }
    Err(format!("{name}: not found {missing:?}, found besides {surplus:?}"))
}

/// What the assessment of both says, a line each.
async fn assess(source: &Database, target: &Database) -> BTreeSet<String> {
    let [from, to] = [source, target].map(|db| Arc::new(PgConfig::parse(&db.url()).unwrap()));
    let schema = describe(&from, &Selection::all()).await.unwrap();
    let mut lines = BTreeSet::new();
    for (role, word, config) in [(Role::Source, "source", from), (Role::Target, "target", to)] {
        for finding in PgAssess::new(config).assess(role, &RunName::default(), &schema).await.unwrap() {
            let mends = finding.remedy.is_some() || finding.message.contains(':');
            assert!(finding.severity == Severity::Note || mends, "nothing mends it: {finding:?}");
            lines.insert(format!("{word} {} {} {}", finding.severity, finding.code, finding.subject));
        }
    }
    lines
}

async fn database(server: &Postgres, name: &str, options: &str, sql: &str) -> Database {
    server.execute(&format!("create database {name} {options}")).await.unwrap();
    let database = server.database(name);
    for part in sql.split("\n\n") {
        database.execute(part).await.unwrap();
    }
    database
}

/// One server for the cases that need nothing special of it.
async fn shared() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER.get_or_init(async || Postgres::start(PgOptions::new()).await.unwrap()).await
}
