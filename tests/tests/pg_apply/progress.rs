//! Progress beside the rows: epochs, chunks, records.

use std::sync::Arc;

use zdm_core::connect::{Checkpoint, Epoch, Phase, Progress, Purpose, Record, RunName, Writer};
use zdm_core::{ErrorKind, Identity};
use zdm_pg::config::PgConfig;

use crate::fixture::*;

#[test]
fn chunks_are_loaded_with_their_progress_and_an_old_epoch_commits_nothing() {
    test(async {
        let (case, t) = (planned(PLAIN).await, plain());
        let one = |id: i64| batch(|log| log.insert(&t, [n(id), n(id), s("\\.")]).unwrap());
        let mut writer = case.writer(Purpose::Load, 1).await.unwrap();
        for number in 0..2 {
            writer.write(one(i64::from(number))).await.unwrap();
            writer.commit(done(number)).await.unwrap();
        }
        // The same chunk again would double its rows.
        writer.write(one(100)).await.unwrap();
        assert_eq!(writer.commit(done(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        assert!(writer.commit(done(2)).await.is_err(), "a writer that has failed is spent");

        let mut old = case.writer(Purpose::Load, 1).await.unwrap();
        old.write(one(2)).await.unwrap();
        let state = case.checkpoint.raise(&case.run).await.unwrap();
        assert_eq!((state.record.epoch, state.record.rows_copied), (Epoch(2), 2));
        assert_eq!(state.chunks.iter().filter(|c| c.done.is_some()).count(), 2);
        assert_eq!(old.commit(done(2)).await.unwrap_err().kind(), ErrorKind::Fenced);
        let opened = case.writer(Purpose::Load, 1).await;
        assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Fenced));
        case.expect("SELECT * FROM t ORDER BY id", &["0|0|\\.", "1|1|\\."]).await;
        let mut new = case.writer(Purpose::Load, 2).await.unwrap();
        new.write(one(2)).await.unwrap();
        new.commit(done(2)).await.unwrap();
        case.expect("SELECT count(*) FROM t", &["3"]).await;
    });
}

#[test]
fn raising_waits_for_a_commit_under_way_and_chunk_writers_do_not_wait_for_each_other() {
    test(async {
        let (case, t) = (planned(PLAIN).await, plain());
        // As a chunk writer stands between its last statement and COMMIT.
        let other = case.database.connect().await.unwrap();
        other.batch_execute("BEGIN; SELECT 1 FROM zdm.run FOR KEY SHARE").await.unwrap();
        let mut writer = case.writer(Purpose::Load, 1).await.unwrap();
        writer.write(batch(|log| log.insert(&t, [n(1), n(1), s("")]).unwrap())).await.unwrap();
        tokio::time::timeout(PATIENCE, writer.commit(done(0))).await.expect("it does not wait").unwrap();

        let (checkpoint, run) = (Arc::clone(&case.checkpoint), case.run.clone());
        let raising = tokio::spawn(async move { checkpoint.raise(&run).await });
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while case.rows(waits).await != ["1"] {
            assert!(!raising.is_finished(), "it does not wait");
            tokio::task::yield_now().await;
        }
        other
            .batch_execute("UPDATE zdm.chunk SET done = true, after = '0/1' WHERE number = 2; COMMIT")
            .await
            .unwrap();
        let state = raising.await.unwrap().unwrap();
        assert!(state.chunks[2].done.is_some(), "what was under way is seen");
    });
}

#[test]
fn progress_from_another_position_or_epoch_commits_nothing() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        let write = |writer: Box<dyn Writer>, progress: Progress| {
            let rows = batch(|log| log.insert(&t, [n(1), n(1), s("")]).unwrap());
            async move {
                let mut writer = writer;
                writer.write(rows).await.unwrap();
                writer.commit(progress).await
            }
        };
        let progress =
            |from, to| Progress::Stream { from: position(from), to: position(to), changes: 1, goals: vec![] };
        let writer = case.writer(Purpose::Apply, 1).await.unwrap();
        assert_eq!(write(writer, progress(5, 6)).await.unwrap_err().kind(), ErrorKind::Fenced);
        let writer = case.writer(Purpose::Apply, 1).await.unwrap();
        case.checkpoint.raise(&case.run).await.unwrap();
        assert_eq!(write(writer, progress(0, 1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        case.expect("SELECT count(*) FROM t", &["0"]).await;
    });
}

#[test]
fn a_connection_that_breaks_at_commit_can_be_tried_again() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        let other = case.database.connect().await.unwrap();
        other.batch_execute("BEGIN; SELECT 1 FROM zdm.run FOR UPDATE").await.unwrap();
        let mut writer = case.writer_beside(&other).await;
        writer.write(batch(|log| log.insert(&t, [n(1), n(1), s("")]).unwrap())).await.unwrap();
        let progress = case.next();
        let committing = tokio::spawn(async move { writer.commit(progress).await });
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while case.rows(kill).await.is_empty() {
            tokio::task::yield_now().await;
        }
        let error = committing.await.unwrap().unwrap_err();
        assert!(error.kind() == ErrorKind::Connection && error.is_retryable(), "{error}");
        other.batch_execute("COMMIT").await.unwrap();
        let state = case.checkpoint.raise(&case.run).await.unwrap();
        assert_eq!(state.record.position, Some(position(0)));
        case.expect("SELECT count(*) FROM t", &["0"]).await;
    });
}

impl Case {
    /// A writer that was opened before `other` took the run's row.
    async fn writer_beside(&self, other: &tokio_postgres::Client) -> Box<dyn Writer> {
        other.batch_execute("ROLLBACK").await.unwrap();
        let writer = self.writer(Purpose::Apply, 1).await.unwrap();
        other.batch_execute("BEGIN; SELECT 1 FROM zdm.run FOR UPDATE").await.unwrap();
        writer
    }
}

#[test]
fn records_are_created_once_swapped_when_as_expected_and_removed() {
    test(async {
        let case = case("").await;
        let state = case.checkpoint.load(&case.run).await.unwrap().unwrap();
        let (old, mut new) = (state.record.clone(), state.record);
        assert_eq!(case.checkpoint.create(&old).await.unwrap_err().kind(), ErrorKind::Conflict);
        new.phase = Phase::Copying;
        new.start = Some(position(1));
        new.goals = vec![position(3)];
        new.tables.insert("public.t".into(), "shape".into());
        case.checkpoint.swap(&old, &new).await.unwrap();
        assert_eq!(case.checkpoint.load(&case.run).await.unwrap().unwrap().record, new);
        assert_eq!(case.checkpoint.swap(&old, &new).await.unwrap_err().kind(), ErrorKind::Fenced);
        case.database.execute("UPDATE zdm.run SET version = 99").await.unwrap();
        for outcome in [
            case.checkpoint.load(&case.run).await.map(drop),
            case.checkpoint.raise(&case.run).await.map(drop),
        ] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        case.checkpoint.remove(&case.run).await.unwrap();
        case.checkpoint.remove(&case.run).await.unwrap();
        assert_eq!(case.checkpoint.load(&case.run).await.unwrap(), None);
        assert_eq!(case.checkpoint.raise(&case.run).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn many_make_the_tables_at_once() {
    test(async {
        let name = "case_race";
        let database = server().await.create_database(name).await.unwrap();
        let config = PgConfig::parse(&database.url()).unwrap();
        let creations = (0..6).map(|number| {
            let checkpoint = zdm_pg::PgCheckpoint::new(config.clone());
            let run: RunName = format!("run_{number}").parse().unwrap();
            async move { checkpoint.create(&Record::new(run, Identity::new(ENGINE))).await }
        });
        for outcome in futures::future::join_all(creations).await {
            outcome.unwrap();
        }
        assert_eq!(database.value("SELECT count(*) FROM zdm.run").await.unwrap(), "6");
    });
}
