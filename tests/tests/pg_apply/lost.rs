//! The connection is lost around COMMIT: it happened and nobody heard, it
//! never arrived, or it is still under way. Whoever goes on from the progress
//! loses nothing and doubles nothing, also where there is no key.

use std::sync::{Arc, Once};

use zdm_core::connect::{Epoch, Progress, Purpose, State};
use zdm_core::schema::{DataType, Key, Table};
use zdm_core::{ErrorKind, Result};
use zdm_pg::PgSink;
use zdm_pg::config::PgConfig;
use zdm_servers::Proxy;
use zdm_servers::proxy::{Cut, Direction};

use crate::fixture::*;

const TABLES: &str = "CREATE TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE, v text NOT NULL);
    CREATE TABLE f (a bigint, b text)";

const BOTH: &str = "SELECT 't', id, v FROM t UNION ALL SELECT 'f', a, b FROM f ORDER BY 1, 2, 3";

/// What two groups leave there when each was applied once.
const ONCE: [&str; 7] = ["f|0|same", "f|0|same", "f|0|same", "f|0|same", "f|9|gone", "t|0|new", "t|1|new"];

/// Its rows are equal to each other, so nothing but progress tells once from
/// twice.
fn keyless() -> Arc<Table> {
    table("f", &[("a", INT), ("b", DataType::text())], Key::FullRow)
}

/// Answers that may still be under way when COMMIT is sent, in bytes:
/// CloseComplete and ReadyForQuery of the statement before it. COMMIT's own
/// answer has 18, CommandComplete and ReadyForQuery.
const CLOSED: u64 = 5 + 6;

/// Where the network breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loses {
    /// COMMIT arrives, its answer does not.
    Answer,
    /// COMMIT does not arrive.
    Commit,
}

tokio::task_local! {
    static AT_COMMIT: (Arc<Proxy>, Loses);
}

/// A case whose writers go through a proxy.
async fn through_proxy(mut case: Case) -> (Case, Arc<Proxy>) {
    let proxy = Arc::new(Proxy::start(server().await.host(), server().await.port()).await.unwrap());
    case.sink = PgSink::new(PgConfig::parse(&proxy.url(&case.database.url())).unwrap());
    (case, proxy)
}

/// Commits while the network breaks between the progress and the answer.
async fn lost(proxy: &Arc<Proxy>, loses: Loses, commit: impl Future<Output = Result<()>>) {
    static ARMED: Once = Once::new();
    ARMED.call_once(|| {
        fail::cfg_callback("sink::advanced", || {
            // Other cases commit too, in tasks that break nothing.
            let _ = AT_COMMIT.try_with(|(proxy, loses)| match loses {
                Loses::Answer => proxy.cut_after(Direction::FromServer, CLOSED + 1),
                Loses::Commit => proxy.cut_after(Direction::ToServer, 0),
            });
        })
        .unwrap();
    });
    let error = AT_COMMIT.scope((Arc::clone(proxy), loses), commit).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Connection && error.is_retryable(), "{loses:?}: {error}");
    proxy.heal().await.unwrap();
}

/// Group `n` of changes, from position `n` to the next.
async fn group(case: &Case, epoch: u64, number: usize) -> impl Future<Output = Result<()>> + use<> {
    let (t, f) = (plain(), keyless());
    let id = i64::try_from(number).unwrap();
    let mut writer = case.writer(Purpose::Apply, epoch).await.unwrap();
    let changes = batch(|log| {
        log.insert(&t, [n(id), n(id), s("new")]).unwrap();
        log.insert(&f, [n(0), s("same")]).unwrap();
        log.insert(&f, [n(0), s("same")]).unwrap();
        log.delete(&f, [n(9), s("gone")]).unwrap();
    });
    writer.write(changes).await.unwrap();
    let (from, to) = (position(number), position(number + 1));
    async move { writer.commit(Progress::Stream { from, to, changes: 4, goals: Vec::new() }).await }
}

/// Goes on as a run does: whatever is behind the progress is applied.
async fn go_on(case: &Case, state: &State, goal: usize) {
    let done = (0..).find(|at| state.record.position == Some(position(*at))).unwrap();
    for number in done..goal {
        group(case, state.record.epoch.0, number).await.await.unwrap();
    }
}

async fn keyless_case() -> Case {
    let case = case(TABLES).await;
    case.database.execute("INSERT INTO f SELECT 9, 'gone' FROM generate_series(1, 3)").await.unwrap();
    case
}

#[test]
fn changes_whose_commit_was_lost_are_there_once() {
    test(async {
        for loses in [Loses::Answer, Loses::Commit] {
            let (case, proxy) = through_proxy(keyless_case().await).await;
            lost(&proxy, loses, group(&case, 1, 0).await).await;
            let state = case.checkpoint.raise(&case.run).await.unwrap();
            let happened = loses == Loses::Answer;
            assert_eq!(state.record.position, Some(position(usize::from(happened))), "{loses:?}");
            case.expect("SELECT count(*) FROM t", &[if happened { "1" } else { "0" }]).await;
            go_on(&case, &state, 2).await;
            case.expect(BOTH, &ONCE).await;
        }
    });
}

#[test]
fn a_chunk_whose_commit_was_lost_is_there_once() {
    test(async {
        for keyed in [true, false] {
            for loses in [Loses::Answer, Loses::Commit] {
                let (case, proxy) = through_proxy(planned(TABLES).await).await;
                let (t, f) = (plain(), keyless());
                let rows = |log: &mut zdm_core::change::BatchBuilder| {
                    if keyed {
                        log.insert(&t, [n(1), n(1), s("a")]).unwrap();
                    } else {
                        log.insert(&f, [n(0), s("same")]).unwrap();
                        log.insert(&f, [n(0), s("same")]).unwrap();
                    }
                };
                let mut writer = case.writer(Purpose::Load, 1).await.unwrap();
                writer.write(batch(rows)).await.unwrap();
                lost(&proxy, loses, writer.commit(done(0))).await;
                let state = case.checkpoint.raise(&case.run).await.unwrap();
                assert_eq!(state.chunks[0].done.is_some(), loses == Loses::Answer, "{loses:?}");
                // As a run does: a chunk that is not done is written again.
                if state.chunks[0].done.is_none() {
                    let mut writer = case.writer(Purpose::Load, 2).await.unwrap();
                    writer.write(batch(rows)).await.unwrap();
                    writer.commit(done(0)).await.unwrap();
                }
                let once: &[&str] = if keyed { &["t|1|a"] } else { &["f|0|same", "f|0|same"] };
                case.expect(BOTH, once).await;
            }
        }
    });
}

/// COMMIT waits, at the server, for the lock that `held` has.
const SLOW: &str = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON f DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION slow();
    ALTER TABLE f ENABLE ALWAYS TRIGGER slow";

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

async fn waiting(case: &Case, sessions: &str) {
    while case.rows(WAITING).await != [sessions] {
        tokio::task::yield_now().await;
    }
}

#[test]
fn whoever_goes_on_waits_for_a_commit_that_is_still_under_way() {
    test(async {
        let (case, proxy) = through_proxy(keyless_case().await).await;
        case.database.execute(SLOW).await.unwrap();
        let held = case.database.connect().await.unwrap();
        held.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
        let committing = tokio::spawn(group(&case, 1, 0).await);
        waiting(&case, "1").await;
        proxy.cut(Cut::Reset).await;
        let error = committing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        // Nobody is there to hear it, and it will happen all the same.
        let (checkpoint, run) = (Arc::clone(&case.checkpoint), case.run.clone());
        let raising = tokio::spawn(async move { checkpoint.raise(&run).await });
        tokio::time::timeout(PATIENCE, waiting(&case, "2")).await.expect("it waits for what is under way");
        assert!(!raising.is_finished());
        held.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
        let state = raising.await.unwrap().unwrap();
        assert_eq!((&state.record.position, state.record.epoch), (&Some(position(1)), Epoch(2)));
        go_on(&case, &state, 2).await;
        case.expect(BOTH, &ONCE).await;
    });
}

/// Else it would be taken for one that is not done, and copied again.
#[test]
fn whoever_goes_on_waits_for_a_chunk_that_is_still_under_way() {
    test(async {
        let (case, proxy) = through_proxy(planned(TABLES).await).await;
        case.database.execute(SLOW).await.unwrap();
        let held = case.database.connect().await.unwrap();
        held.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
        let f = keyless();
        let mut writer = case.writer(Purpose::Load, 1).await.unwrap();
        writer.write(batch(|log| log.insert(&f, [n(0), s("same")]).unwrap())).await.unwrap();
        let committing = tokio::spawn(async move { writer.commit(done(0)).await });
        waiting(&case, "1").await;
        proxy.cut(Cut::Reset).await;
        committing.await.unwrap().unwrap_err();
        let (checkpoint, run) = (Arc::clone(&case.checkpoint), case.run.clone());
        let raising = tokio::spawn(async move { checkpoint.raise(&run).await });
        tokio::time::timeout(PATIENCE, waiting(&case, "2")).await.expect("it waits for what is under way");
        held.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
        let state = raising.await.unwrap().unwrap();
        assert!(state.chunks[0].done.is_some());
        case.expect("SELECT * FROM f", &["0|same"]).await;
    });
}

#[test]
fn whoever_did_not_wait_can_double_nothing() {
    test(async {
        let (case, proxy) = through_proxy(keyless_case().await).await;
        case.database.execute(SLOW).await.unwrap();
        let held = case.database.connect().await.unwrap();
        held.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
        let first = tokio::spawn(group(&case, 1, 0).await);
        waiting(&case, "1").await;
        proxy.cut(Cut::Reset).await;
        first.await.unwrap().unwrap_err();
        // Of the same epoch, from progress that was read too early: the key
        // would make good what came twice, and there is none.
        let f = keyless();
        let mut writer = case.writer(Purpose::Apply, 1).await.unwrap();
        writer.write(batch(|log| log.insert(&f, [n(0), s("same")]).unwrap())).await.unwrap();
        let again = Progress::Stream { from: position(0), to: position(1), changes: 1, goals: Vec::new() };
        let again = tokio::spawn(async move { writer.commit(again).await });
        waiting(&case, "2").await;
        held.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
        assert_eq!(again.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
        case.expect("SELECT count(*) FROM f WHERE b = 'same'", &["2"]).await;
    });
}
