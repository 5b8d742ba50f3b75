//! An application in a process of its own: its requests pass a gate, which
//! goes by the record in the source, as each of many processes could. It
//! outlives the migrating process, and keeps a ledger.
//!
//! Two strays write past the gate, one to each side, all the time: whatever a
//! side acknowledges while the other one does too stands in the ledger.
//!
//! A server may die under it. A write that nobody answered is kept apart: it
//! is there or not, at most once, and never at the source alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use zdm_core::connect::{Fence, RunName, SwitchState};
use zdm_core::gate::{Gate, GateControl as _, GateHold, GateOptions};
use zdm_pg::PgFence;
use zdm_pg::config::PgConfig;
use zdm_servers::postgres::Database;
use zdm_tests::pair::Case;
use zdm_tests::within;

use super::{asked, lost, refused, write};

const WORKERS: usize = 3;

/// How often a worker writes; one that was refused waits as long.
const PACE: Duration = Duration::from_millis(10);

/// Which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Source,
    Target,
}

/// A write that was acknowledged.
#[derive(Debug)]
struct Ack {
    number: String,
    side: Side,
    began: Instant,
    ended: Instant,
}

pub(super) struct Application {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    gate: Gate<Side>,
    stop: AtomicBool,
    ledger: Mutex<Vec<Ack>>,
    /// Writes that nobody answered.
    unknown: Mutex<BTreeSet<String>>,
    /// Requests that the gate let in and a seal refused; they were made again.
    refused: AtomicU64,
    /// Requests that failed in the end.
    failed: AtomicU64,
}

impl Application {
    pub(super) fn start(case: &Case) -> Self {
        let shared = Arc::new(Shared {
            gate: Gate::with(Side::Source, GateOptions::default().patience(Duration::from_secs(60))),
            stop: AtomicBool::new(false),
            ledger: Mutex::default(),
            unknown: Mutex::default(),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for worker in 0..WORKERS {
            tasks.spawn(work(case.clone(), worker, Arc::clone(&shared)));
        }
        tasks.spawn(stray(case.source.clone(), Side::Source, Arc::clone(&shared)));
        tasks.spawn(stray(case.target.clone(), Side::Target, Arc::clone(&shared)));
        tasks.spawn(go_by_the_record(case.clone(), Arc::clone(&shared)));
        Self { shared, tasks }
    }

    /// Waits until so many more writes were acknowledged.
    pub(super) async fn more(&self, count: usize) {
        let goal = self.shared.ledger.lock().await.len() + count;
        let done = async {
            while self.shared.ledger.lock().await.len() < goal {
                tokio::time::sleep(PACE).await;
            }
        };
        within("writes of the application", done).await;
    }

    /// Ends it. Every write that was acknowledged is at the target, once, and
    /// nothing else is; and there was no moment at which both sides took
    /// writes.
    pub(super) async fn stop(mut self, case: &Case) {
        self.shared.stop.store(true, Ordering::Relaxed);
        within("the end of the application", async {
            while let Some(task) = self.tasks.join_next().await {
                task.unwrap();
            }
        })
        .await;
        let ledger = std::mem::take(&mut *self.shared.ledger.lock().await);
        let name = &case.name;
        assert_eq!(self.shared.failed.load(Ordering::Relaxed), 0, "{name}: requests failed");
        let at = |side: Side| ledger.iter().filter(move |ack| ack.side == side);
        let opened = at(Side::Target).map(|ack| ack.ended).min().expect("the target took no write");
        for ack in at(Side::Source) {
            assert!(ack.began < opened, "{name}: {ack:?} went to the source when the target was open");
        }
        let unknown = std::mem::take(&mut *self.shared.unknown.lock().await);
        let known = |written: &BTreeMap<String, u64>| {
            let known = written.iter().filter(|(number, _)| !unknown.contains(*number));
            known.map(|(number, count)| (number.clone(), *count)).collect::<BTreeMap<_, _>>()
        };
        let (there, left) = (written(&case.target).await, written(&case.source).await);
        let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
        ledger.iter().for_each(|ack| *numbers.entry(ack.number.clone()).or_default() += 1);
        assert_eq!(known(&there), numbers, "{name}: what the target has");
        numbers.clear();
        at(Side::Source).for_each(|ack| *numbers.entry(ack.number.clone()).or_default() += 1);
        assert_eq!(known(&left), numbers, "{name}: what the source has");
        for (number, count) in &left {
            assert_eq!(there.get(number), Some(count), "{name}: {number} was left behind");
        }
        for number in &unknown {
            assert!(there.get(number).is_none_or(|count| *count == 1), "{name}: {number} came twice");
        }
        for database in [&case.source, &case.target] {
            let fired = "SELECT count(*) FROM purchase WHERE written <> 1";
            assert_eq!(database.value(fired).await.unwrap(), "0", "{name}: a trigger fired once more");
        }
        let refused = self.shared.refused.load(Ordering::Relaxed);
        println!(
            "{name}: {} writes, {} at the target, {refused} made again, {} without an answer",
            ledger.len(),
            at(Side::Target).count(),
            unknown.len()
        );
    }
}

/// The writes of the application that a database holds, and how often.
async fn written(database: &Database) -> BTreeMap<String, u64> {
    let sql = "SELECT note, count(*) FROM purchase WHERE note <> 'copied' GROUP BY note";
    let rows = database.query(sql).await.unwrap();
    rows.into_iter()
        .map(|row| {
            let mut cells = row.into_iter().flatten();
            (cells.next().unwrap(), cells.next().unwrap().parse().unwrap())
        })
        .collect()
}

/// One worker: each of its requests passes the gate, and one that a seal
/// refused is made again.
async fn work(case: Case, worker: usize, shared: Arc<Shared>) {
    let (mut source, mut target) = (Wire::to(&case.source), Wire::to(&case.target));
    for n in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        tokio::time::sleep(PACE).await;
        let number = format!("worker {worker}, {n}");
        loop {
            let Ok(side) = shared.gate.enter().await else {
                shared.failed.fetch_add(1, Ordering::Relaxed);
                break;
            };
            let wire = if *side == Side::Source { &mut source } else { &mut target };
            match once(wire, *side, &number, &shared).await {
                Answer::Done | Answer::Lost => break,
                Answer::Refused => shared.refused.fetch_add(1, Ordering::Relaxed),
                Answer::Down if shared.stop.load(Ordering::Relaxed) => return,
                Answer::Down => 0,
            };
            drop(side);
            tokio::time::sleep(PACE).await;
        }
    }
}

/// Somebody who knows of no gate.
async fn stray(database: Database, side: Side, shared: Arc<Shared>) {
    let mut wire = Wire::to(&database);
    // At the target there is no table yet.
    let there = async {
        while database.value("SELECT to_regclass('purchase') IS NOT NULL").await.unwrap() != "t" {
            tokio::time::sleep(PACE).await;
        }
        // Nor is it the run's: until it is sealed, nobody may write to it.
        while side == Side::Target
            && database.value("SELECT count(*) FROM pg_trigger WHERE tgname = 'zdm_seal'").await.unwrap()
                == "0"
        {
            tokio::time::sleep(PACE).await;
        }
    };
    within("the tables", there).await;
    for n in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        tokio::time::sleep(PACE).await;
        once(&mut wire, side, &format!("stray at the {side:?}, {n}"), &shared).await;
    }
}

/// What became of a write.
enum Answer {
    Done,
    /// By the seal.
    Refused,
    /// Nobody knows.
    Lost,
    /// It was not sent: the server is down.
    Down,
}

/// A connection that is opened again when it is lost.
struct Wire {
    database: Database,
    client: Option<Client>,
}

impl Wire {
    fn to(database: &Database) -> Self {
        Self { database: database.clone(), client: None }
    }
}

/// One write.
async fn once(wire: &mut Wire, side: Side, number: &str, shared: &Shared) -> Answer {
    if wire.client.as_ref().is_none_or(Client::is_closed) {
        wire.client = wire.database.connect().await.ok();
    }
    let Some(client) = &wire.client else { return Answer::Down };
    let began = Instant::now();
    match within("an answer to a write", client.batch_execute(&write(number))).await {
        Ok(()) => {
            let ack = Ack { number: number.to_owned(), side, began, ended: Instant::now() };
            shared.ledger.lock().await.push(ack);
            Answer::Done
        }
        Err(error) if refused(&error) => Answer::Refused,
        Err(error) => {
            assert!(lost(&error), "{error:?}");
            wire.client = None;
            shared.unknown.lock().await.insert(number.to_owned());
            Answer::Lost
        }
    }
}

/// Holds the gate while a cutover lives, and opens it to the side that the
/// record names.
async fn go_by_the_record(case: Case, shared: Arc<Shared>) {
    let fence = PgFence::new(Arc::new(PgConfig::parse(&case.source.url()).unwrap()));
    let run: RunName = case.name.parse().unwrap();
    let toward = shared.gate.toward(Side::Target);
    let mut hold: Option<Box<dyn GateHold>> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        // While it does not answer, what was last known stands.
        let (Ok(record), Ok(now)) = (fence.record(&run).await, fence.now().await) else { continue };
        let Some(record) = record else {
            hold = None;
            continue;
        };
        match record.state {
            SwitchState::Preparing if record.lease_until > now => {
                if hold.is_none() {
                    hold = Some(toward.hold(Duration::from_secs(60)).await.unwrap());
                }
            }
            SwitchState::Switched if asked(&case.target).await == Some(true) => {
                toward.open_target().await.unwrap();
                return;
            }
            // The source is sealed, and the target is not open yet.
            SwitchState::Switched if hold.is_none() => {
                hold = Some(toward.hold(Duration::from_secs(60)).await.unwrap());
            }
            SwitchState::Switched => {}
            // Asked for, or left by a process that is dead: the source is open.
            _ => hold = None,
        }
    }
}
