//! An application that writes: several workers, each with transactions of
//! many kinds, a ledger of what the database has acknowledged, and a pause at
//! which nothing is under way.

mod schema;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use schema::{SCHEMA, seed};
use tokio::sync::{Mutex, OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};
use zdm_servers::postgres::Database;

use crate::within;

/// How an application writes.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Makes the same transactions again, as far as timing lets it.
    pub seed: u64,
    /// Connections, each as fast as its database is.
    pub workers: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { seed: 1, workers: 3 }
    }
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
    /// Starts it on a database with [`SCHEMA`].
    pub fn start(database: &Database, options: LoadOptions) -> Self {
        let shared = Arc::new(Shared {
            pause: Arc::default(),
            stop: AtomicBool::new(false),
            ledger: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let mut workers = JoinSet::new();
        for worker in 0..options.workers {
            workers.spawn(work(database.url(), worker, options, Arc::clone(&shared)));
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
    pub async fn is_in(&self, database: &Database) {
        let client = database.connect().await.unwrap();
        for (worker, numbers) in &self.0 {
            let sql = "SELECT w.n FROM unnest($2::bigint[]) AS w (n)
                       WHERE NOT EXISTS (SELECT FROM ledger l WHERE l.worker = $1 AND l.n = w.n)";
            let missing = client.query(sql, &[worker, numbers]).await.unwrap();
            let missing: Vec<i64> = missing.iter().map(|row| row.get(0)).collect();
            assert!(missing.is_empty(), "acknowledged to worker {worker} and lost: {missing:?}");
        }
    }
}

/// One worker: reconnects as long as it takes.
async fn work(url: String, worker: u64, options: LoadOptions, shared: Arc<Shared>) {
    let mut random = fastrand::Rng::with_seed(options.seed * 1_000 + worker);
    let id = i64::try_from(worker).unwrap();
    let mut number = 0;
    let mut client: Option<Client> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let _running = shared.pause.read().await;
        let session = match client.take() {
            Some(client) if !client.is_closed() => client,
            gone => {
                // Between two transactions nobody else notices it.
                shared.lost.fetch_add(u64::from(gone.is_some()), Ordering::Relaxed);
                match connect(&url).await {
                    Some(client) => client,
                    None => {
                        // The server is down: nothing says when it is back.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                }
            }
        };
        number += 1;
        match work::transaction(&session, &mut random, id, number).await {
            Ok(true) => {
                shared.ledger.lock().await.entry(id).or_default().push(number);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(false) => {}
            // Deadlocks and clashes between workers are part of life.
            Err(error) if error.code().is_some() && !session.is_closed() => {
                if session.batch_execute("ROLLBACK").await.is_err() {
                    continue;
                }
            }
            Err(_) => {
                shared.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        }
        client = Some(session);
    }
}

async fn connect(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(connection);
    client.batch_execute("SET client_min_messages = warning; SET lock_timeout = '5s'").await.ok()?;
    Some(client)
}
