//! An application that writes: several workers, each with transactions of
//! many kinds, a ledger of what the database has acknowledged, and a pause at
//! which nothing is under way.

mod dialect;
pub mod portable;
pub mod postgres;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::{Mutex, OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;

use self::dialect::Dialect;
use self::session::{Session, Trouble};
use crate::engine::Database;
use crate::within;

/// How an application writes.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Makes the same transactions again, as far as timing lets it.
    pub seed: u64,
    /// Connections, each as fast as its database is.
    pub workers: u64,
    /// What it does.
    pub application: Application,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { seed: 1, workers: 3, application: Application::Postgres }
    }
}

/// What an application does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// What only PostgreSQL can: [`postgres`].
    Postgres,
    /// What every engine can: [`portable`].
    Portable,
    /// The same at the pace of people, without what no seal hinders at MySQL
    /// (TRUNCATE) and without values of a megabyte: one that can be cut over.
    Light,
}

/// One transaction: its statements, and whether the last one commits it.
#[derive(Debug)]
struct Transaction {
    statements: Vec<String>,
    commits: bool,
}

/// An application that is writing. Ends when it is dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    /// Held for reading by each transaction.
    pause: Arc<RwLock<()>>,
    stop: AtomicBool,
    /// The last number that was acknowledged to each worker.
    ledger: Mutex<BTreeMap<i64, Vec<i64>>>,
    acknowledged: AtomicU64,
    lost: AtomicU64,
}

impl Load {
    /// Starts it on a database with its tables.
    pub fn start(database: impl Into<Database>, options: LoadOptions) -> Self {
        let url = database.into().url();
        let shared = Arc::new(Shared {
            pause: Arc::default(),
            stop: AtomicBool::new(false),
            ledger: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let mut workers = JoinSet::new();
        for worker in 0..options.workers {
            workers.spawn(work(url.clone(), worker, options, Arc::clone(&shared)));
        }
        Self { shared, workers }
    }

    /// How many transactions were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// How many connections were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Waits until so many more transactions are acknowledged.
    pub async fn more(&self, count: u64) {
        let goal = self.acknowledged() + count;
        let done = async {
            while self.acknowledged() < goal {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within("transactions of the application", done).await;
    }

    /// Lets transactions under way end, and no other begin until the guard is dropped.
    pub async fn pause(&self) -> OwnedRwLockWriteGuard<()> {
        within("the end of transactions", Arc::clone(&self.shared.pause).write_owned()).await
    }

    /// Ends it, and gives what was acknowledged.
    pub async fn stop(mut self) -> Ledger {
        self.shared.stop.store(true, Ordering::Relaxed);
        within("the end of the application", async {
            while let Some(worker) = self.workers.join_next().await {
                worker.unwrap();
            }
        })
        .await;
        Ledger(std::mem::take(&mut *self.shared.ledger.lock().await))
    }
}

/// The numbers of the transactions that were acknowledged, by worker.
#[derive(Debug, Clone)]
pub struct Ledger(BTreeMap<i64, Vec<i64>>);

impl Ledger {
    /// How many transactions it has.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether nothing was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fails unless the database holds every transaction of the ledger.
    pub async fn is_in(&self, database: impl Into<Database>) {
        let rows = database.into().query("SELECT worker, n FROM ledger").await.unwrap();
        let number = |cell: Option<String>| cell.unwrap().parse::<i64>().unwrap();
        let mut there: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for row in rows {
            let [worker, n] = <[_; 2]>::try_from(row).unwrap().map(number);
            there.entry(worker).or_default().insert(n);
        }
        for (worker, numbers) in &self.0 {
            let there = there.get(worker);
            let missing = |n: &&i64| there.is_none_or(|there| !there.contains(n));
            let missing: Vec<_> = numbers.iter().filter(missing).collect();
            assert!(missing.is_empty(), "acknowledged to worker {worker} and lost: {missing:?}");
        }
    }
}

/// One worker: reconnects as long as it takes.
async fn work(url: String, worker: u64, options: LoadOptions, shared: Arc<Shared>) {
    let mut random = Rng::with_seed(options.seed * 1_000 + worker);
    let (id, dialect) = (i64::try_from(worker).unwrap(), Dialect::of(&url));
    let mut number = 0;
    let mut open: Option<Session> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let _running = shared.pause.read().await;
        let mut session = match open.take() {
            Some(session) if !session.is_closed() => session,
            gone => {
                // Between two transactions nobody else notices it.
                shared.lost.fetch_add(u64::from(gone.is_some()), Ordering::Relaxed);
                match Session::open(&url, id).await {
                    Some(session) => session,
                    None => {
                        // The server is down: nothing says when it is back.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                }
            }
        };
        if options.application == Application::Light {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        number += 1;
        let transaction = match options.application {
            Application::Postgres => postgres::transaction(&mut random, id, number),
            Application::Portable | Application::Light => {
                portable::transaction(dialect, options, &mut random, id, number)
            }
        };
        match run(&mut session, &transaction).await {
            Ok(()) if transaction.commits => {
                shared.ledger.lock().await.entry(id).or_default().push(number);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(()) => {}
            Err(Trouble::Refused(why)) => {
                tracing::trace!(worker, number, why, "refused");
                match session.run("ROLLBACK").await {
                    Ok(()) => {}
                    // A server that goes says so first.
                    Err(Trouble::Lost) => {
                        shared.lost.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    // One in two phases cannot be ended so; its session ends instead.
                    Err(Trouble::Refused(_)) => continue,
                }
            }
            Err(Trouble::Lost) => {
                shared.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        }
        open = Some(session);
    }
}

async fn run(session: &mut Session, transaction: &Transaction) -> Result<(), Trouble> {
    for statement in &transaction.statements {
        session.run(statement).await?;
    }
    Ok(())
}
