//! The connection is lost around COMMIT: it happened and nobody heard, or it
//! never arrived. Whoever goes on from the progress loses nothing and doubles
//! nothing, also where there is no key.

use std::sync::{Arc, Once};

use zdm_core::change::{BatchBuilder, Field, Value};
use zdm_core::connect::{Epoch, Progress, Purpose, Sink as _, Step, Writer, WriterOptions};
use zdm_core::{ErrorKind, Result};
use zdm_mysql::{MySqlConfig, MySqlSink};
use zdm_servers::Proxy;
use zdm_servers::proxy::Direction;

use super::fixture::{Case, described, position, servers};

const TABLES: &str =
    "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(20)); CREATE TABLE f (a BIGINT, b VARCHAR(20))";

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

async fn writer(case: &Case, sink: &MySqlSink, epoch: u64) -> Box<dyn Writer> {
    let options =
        WriterOptions::new(case.run.clone(), Epoch(epoch), Purpose::Apply, Arc::clone(&case.schema));
    sink.writer(options).await.unwrap()
}

/// Group `n` of changes, from position `n` to the next.
async fn group(case: &Case, sink: &MySqlSink, epoch: u64, number: usize) -> Result<()> {
    let mut writer = writer(case, sink, epoch).await;
    let n = |number: i64| Field::Value(Value::Int(number));
    let s = |text: &'static str| Field::Value(Value::from(text));
    let mut batch = BatchBuilder::new();
    let (t, f) = (case.table("t"), case.table("f"));
    batch.insert(t, [n(i64::try_from(number).unwrap()), s("new")]).unwrap();
    batch.insert(f, [n(0), s("same")]).unwrap();
    batch.insert(f, [n(0), s("same")]).unwrap();
    batch.delete(f, [n(9), s("gone")]).unwrap();
    writer.write(batch.finish()).await.unwrap();
    let (from, to) = (position(number), position(number + 1));
    writer.commit(Progress::Stream { from, to, changes: 4, goals: Vec::new() }).await
}

#[tokio::test]
async fn changes_whose_commit_was_lost_are_there_once() {
    static ARMED: Once = Once::new();
    ARMED.call_once(|| {
        fail::cfg_callback("sink::advanced", || {
            // Others commit too, in tasks that break nothing.
            let _ = AT_COMMIT.try_with(|(proxy, loses)| match loses {
                Loses::Answer => proxy.cut_after(Direction::FromServer, 1),
                Loses::Commit => proxy.cut_after(Direction::ToServer, 0),
            });
        })
        .unwrap();
    });
    for (at, server) in servers().await.into_iter().enumerate() {
        for loses in [Loses::Answer, Loses::Commit] {
            let name = format!("lost_{at}_{}", format!("{loses:?}").to_lowercase());
            let schema = described(&server, &name, TABLES).await;
            let case = Case::new(&server, &name, schema).await;
            case.prepare(Step::Finished).await.unwrap();
            let checkpoint = case.begin().await;
            case.database
                .execute("INSERT INTO f VALUES (9, 'gone'), (9, 'gone'), (9, 'gone')")
                .await
                .unwrap();

            let proxy = Arc::new(Proxy::start(server.host(), server.port()).await.unwrap());
            let through = MySqlSink::new(MySqlConfig::parse(&proxy.url(&server.url(&name))).unwrap());
            let lost = AT_COMMIT.scope((Arc::clone(&proxy), loses), group(&case, &through, 1, 0));
            let error = lost.await.unwrap_err();
            assert!(error.kind() == ErrorKind::Connection && error.is_retryable(), "{name}: {error}");
            proxy.heal().await.unwrap();

            let state = checkpoint.raise(&case.run).await.unwrap();
            let happened = loses == Loses::Answer;
            assert_eq!(state.record.position, Some(position(usize::from(happened))), "{name}");
            assert_eq!(
                case.rows("SELECT COUNT(*) FROM t").await,
                [if happened { "1" } else { "0" }],
                "{name}"
            );
            // On as a run does: whatever is behind the progress.
            for number in usize::from(happened)..2 {
                group(&case, &through, state.record.epoch.0, number).await.unwrap();
            }
            let both = "SELECT 't', id, v FROM t UNION ALL SELECT 'f', a, b FROM f ORDER BY 1, 2, 3";
            let once = ["f|0|same", "f|0|same", "f|0|same", "f|0|same", "f|9|gone", "t|0|new", "t|1|new"];
            assert_eq!(case.rows(both).await, once, "{name}");
        }
    }
}
