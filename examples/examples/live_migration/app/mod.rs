//! The application: workers that serve requests as fast as they can, each a
//! transaction on whichever database the gate leads to.

mod request;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use zdm_core::gate::Gate;

use self::request::request;
use self::session::{Session, Trouble};
use crate::Failure;

/// A database that the application can be served by.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    name: &'static str,
    url: String,
}

impl Side {
    pub(crate) fn new(name: &'static str, url: String) -> Self {
        Self { name, url }
    }
}

/// The workers.
pub(crate) struct App {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Ledger>>,
    began: Instant,
}

/// What the application knows of its requests.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) time: Duration,
    /// Requests that were told that they are done.
    done: Vec<i64>,
}

impl App {
    pub(crate) fn start(gate: Gate<Side>, workers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let newest = Newest(Arc::new(AtomicI64::new(1_000)));
        let workers = (0i64..)
            .take(workers)
            .map(|number| {
                let worker = Worker {
                    gate: gate.clone(),
                    stop: Arc::clone(&stop),
                    newest: newest.clone(),
                    session: None,
                    next: number * 1_000_000_000,
                };
                tokio::spawn(worker.run())
            })
            .collect();
        Self { stop, workers, began: Instant::now() }
    }

    pub(crate) async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Ledger { time: self.began.elapsed(), ..Ledger::default() };
        for worker in self.workers {
            match worker.await {
                Ok(ledger) => {
                    all.requests += ledger.requests;
                    all.failed += ledger.failed;
                    all.first_failure = all.first_failure.or(ledger.first_failure);
                    all.done.extend(ledger.done);
                }
                Err(error) => {
                    all.failed += 1;
                    all.first_failure.get_or_insert(error.to_string());
                }
            }
        }
        all
    }
}

impl Ledger {
    /// How many requests are in the ledger and not in the database, or in the
    /// database and not in the ledger.
    pub(crate) async fn missing(&self, database: &Client) -> Result<u64, Failure> {
        let mut ours = self.done.clone();
        ours.sort_unstable();
        let rows = database.query("SELECT id FROM requests ORDER BY id", &[]).await?;
        let theirs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let only = |a: &[i64], b: &[i64]| a.iter().filter(|id| b.binary_search(id).is_err()).count() as u64;
        Ok(only(&ours, &theirs) + only(&theirs, &ours))
    }
}

struct Worker {
    gate: Gate<Side>,
    stop: Arc<AtomicBool>,
    newest: Newest,
    session: Option<(&'static str, Session)>,
    next: i64,
}

/// The newest order, about.
#[derive(Debug, Clone)]
struct Newest(Arc<AtomicI64>);

impl Newest {
    fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Worker {
    async fn run(mut self) -> Ledger {
        let mut ledger = Ledger::default();
        while !self.stop.load(Ordering::Relaxed) {
            self.next += 1;
            ledger.requests += 1;
            match self.serve(self.next).await {
                Ok(true) => ledger.done.push(self.next),
                Ok(false) => {}
                Err(error) => {
                    ledger.failed += 1;
                    ledger.first_failure.get_or_insert(error.to_string());
                    self.session = None;
                }
            }
        }
        ledger
    }

    /// One request; whether it was to leave anything behind.
    async fn serve(&mut self, id: i64) -> Result<bool, Failure> {
        // The guard lives until the transaction has ended.
        let side = self.gate.enter().await?;
        if self.session.as_ref().is_none_or(|(name, _)| *name != side.name) {
            self.session = Some((side.name, Session::open(&side.url).await?));
        }
        let Some((_, session)) = &mut self.session else { return Err("not connected".into()) };
        let (sql, stays) = request(session, id, &self.newest);
        for _ in 0..10 {
            match session.run(&sql).await {
                Ok(()) => return Ok(stays),
                Err(trouble) => {
                    let rolled_back = session.run("ROLLBACK").await;
                    match (trouble, rolled_back) {
                        (Trouble::Deadlock, Ok(())) => {}
                        (Trouble::Other(error), _) | (_, Err(Trouble::Other(error))) => return Err(error),
                        (_, Err(Trouble::Deadlock)) => return Err("a deadlock in a rollback".into()),
                    }
                }
            }
        }
        Err("ten deadlocks in a row".into())
    }
}
