//! The application: workers that serve requests as fast as they can, each a
//! transaction on whichever database the gate leads to.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use zdm_core::gate::{Gate, GateControl, GateHold, Toward};

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
        let newest = Arc::new(AtomicI64::new(1_000));
        let workers = (0i64..)
            .take(workers)
            .map(|number| {
                let worker = Worker {
                    gate: gate.clone(),
                    stop: Arc::clone(&stop),
                    newest: Arc::clone(&newest),
                    client: None,
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
    /// The newest order, about.
    newest: Arc<AtomicI64>,
    client: Option<(&'static str, Client)>,
    next: i64,
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
                    self.client = None;
                }
            }
        }
        ledger
    }

    /// One request; whether it was to leave anything behind.
    async fn serve(&mut self, id: i64) -> Result<bool, Failure> {
        let (sql, stays) = self.request(id);
        // The guard lives until the transaction has ended.
        let side = self.gate.enter().await?;
        if self.client.as_ref().is_none_or(|(name, _)| *name != side.name) {
            self.client = Some((side.name, connect(&side.url).await?));
        }
        let Some((_, client)) = &self.client else { return Err("not connected".into()) };
        for _ in 0..10 {
            match client.batch_execute(&sql).await {
                Ok(()) => return Ok(stays),
                // What every application does: a deadlock or a serialization
                // failure is tried again.
                Err(error) if matches!(error.code(), Some(c) if *c == SqlState::T_R_DEADLOCK_DETECTED) => {
                    client.batch_execute("ROLLBACK").await?;
                }
                Err(error) => {
                    let told = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
                    let _ = client.batch_execute("ROLLBACK").await;
                    return Err(told.into());
                }
            }
        }
        Err("ten deadlocks in a row".into())
    }

    fn request(&self, id: i64) -> (String, bool) {
        let order = fastrand::i64(1..self.newest.load(Ordering::Relaxed));
        let (customer, product, kind) =
            (fastrand::u32(1..1_000), fastrand::u32(0..1_900), fastrand::u32(0..100));
        let a_product = format!("(SELECT sku FROM products ORDER BY sku LIMIT 1 OFFSET {product})");
        let (what, sql) = match kind {
            0..45 => {
                self.newest.fetch_add(1, Ordering::Relaxed);
                let order = format!(
                    "UPDATE products SET stock = stock - 1 WHERE sku = {a_product}; \
                     INSERT INTO orders (customer_id, net) VALUES ({customer}, {product}.25); \
                     INSERT INTO order_items VALUES (currval('orders_id_seq'), 1, {a_product}, 1); \
                     INSERT INTO audit (what) VALUES ('order')"
                );
                ("order", order)
            }
            45..65 => (
                "pay",
                format!(
                    "UPDATE orders SET state = 'paid' WHERE id = {order}; \
                     INSERT INTO \"Payments\" SELECT gen_random_uuid(), id, net FROM orders WHERE id = {order}"
                ),
            ),
            65..75 => {
                ("ship", format!("UPDATE orders SET state = 'shipped', note = NULL WHERE id = {order}"))
            }
            75..80 => ("forget", format!("DELETE FROM orders WHERE id = {order}")),
            // A large value that is written, and one that stays as it is.
            80..85 => (
                "manual",
                format!("UPDATE products SET manual = repeat(md5('{id}'), 1500) WHERE sku = {a_product}"),
            ),
            85..90 => ("price", format!("UPDATE products SET price = price + 0.01 WHERE sku = {a_product}")),
            // A key that moves, with all that refers to it.
            90..91 => ("rename", format!("UPDATE products SET sku = 'moved-{id}' WHERE sku = {a_product}")),
            91..94 => (
                "swap",
                format!(
                    "UPDATE customers SET email = 'was-' || {id} WHERE id = {customer}; \
                     UPDATE customers SET email = 'new-' || {id}, tags = tags || '{{é}}'::text[] WHERE id = {customer}"
                ),
            ),
            94..97 => (
                "profile",
                format!(
                    "UPDATE customers SET profile = profile || '{{\"seen\": {id}}}' WHERE id = {customer}"
                ),
            ),
            _ => {
                return (
                    format!(
                        "BEGIN; INSERT INTO requests VALUES ({id}, 'never'); DELETE FROM orders WHERE id = {order}; ROLLBACK"
                    ),
                    false,
                );
            }
        };
        (format!("BEGIN; {sql}; INSERT INTO requests VALUES ({id}, '{what}'); COMMIT"), true)
    }
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A gate that looks at the new database in the instant before it opens to
/// it, so that both sides can be compared as they were at the switch while
/// the application goes on.
pub(crate) struct Witness {
    gate: Toward<Side>,
    url: String,
    snapshot: Arc<Mutex<Option<Client>>>,
}

impl Witness {
    pub(crate) fn new(gate: Toward<Side>, url: String) -> Self {
        Self { gate, url, snapshot: Arc::default() }
    }

    /// The new database as it was when the gate opened to it.
    pub(crate) fn snapshot(&self) -> Result<Client, Failure> {
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.take().ok_or_else(|| "the gate never opened to the new side".into())
    }
}

#[async_trait]
impl GateControl for Witness {
    async fn hold(&self, deadline: Duration) -> zdm_core::Result<Box<dyn GateHold>> {
        let client = connect(&self.url).await.map_err(unseen)?;
        let inner = self.gate.hold(deadline).await?;
        Ok(Box::new(WitnessHold { inner, client: Some(client), snapshot: Arc::clone(&self.snapshot) }))
    }

    async fn open_target(&self) -> zdm_core::Result<()> {
        self.gate.open_target().await
    }
}

struct WitnessHold {
    inner: Box<dyn GateHold>,
    client: Option<Client>,
    snapshot: Arc<Mutex<Option<Client>>>,
}

#[async_trait]
impl GateHold for WitnessHold {
    async fn drained(&mut self, within: Duration) -> zdm_core::Result<()> {
        self.inner.drained(within).await
    }

    async fn pin(&mut self) -> zdm_core::Result<()> {
        self.inner.pin().await
    }

    async fn flip(&mut self) -> zdm_core::Result<()> {
        if let Some(client) = self.client.take() {
            let look = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1";
            client.batch_execute(look).await.map_err(unseen)?;
            *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
        }
        self.inner.flip().await
    }
}

fn unseen(error: tokio_postgres::Error) -> zdm_core::Error {
    zdm_core::Error::new(zdm_core::ErrorKind::Connection, "cannot look at the new database").caused_by(error)
}
