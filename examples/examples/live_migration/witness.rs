//! What is seen of the new database in the instant of the switch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Client;
use zdm_core::gate::{GateControl, GateHold, Toward};
use zdm_servers::postgres::Database;

use crate::Failure;
use crate::app::Side;

/// A gate that looks at the new database in the instant before it opens to
/// it, so that both sides can be compared as they were at the switch while
/// the application goes on.
pub(crate) struct Witness {
    gate: Toward<Side>,
    new: Database,
    seen: Arc<Mutex<Option<Seen>>>,
}

/// A state of the new database: a transaction that sees it, and by whose name
/// others see the same.
pub(crate) struct Seen {
    pub(crate) client: Client,
    pub(crate) snapshot: String,
}

impl Witness {
    pub(crate) fn new(gate: Toward<Side>, new: Database) -> Self {
        Self { gate, new, seen: Arc::default() }
    }

    /// The new database as it was when the gate opened to it.
    pub(crate) fn seen(&self) -> Result<Seen, Failure> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take().ok_or_else(|| "the gate never opened to the new side".into())
    }
}

#[async_trait]
impl GateControl for Witness {
    async fn hold(&self, deadline: Duration) -> zdm_core::Result<Box<dyn GateHold>> {
        let client = self.new.connect().await.map_err(unseen)?;
        let inner = self.gate.hold(deadline).await?;
        Ok(Box::new(WitnessHold { inner, client: Some(client), seen: Arc::clone(&self.seen) }))
    }

    async fn open_target(&self) -> zdm_core::Result<()> {
        self.gate.open_target().await
    }
}

struct WitnessHold {
    inner: Box<dyn GateHold>,
    client: Option<Client>,
    seen: Arc<Mutex<Option<Seen>>>,
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
            client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(unseen)?;
            let row = client.query_one("SELECT pg_export_snapshot()", &[]).await.map_err(unseen)?;
            let seen = Seen { client, snapshot: row.get(0) };
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        }
        self.inner.flip().await
    }
}

fn unseen(error: impl std::error::Error + Send + Sync + 'static) -> zdm_core::Error {
    zdm_core::Error::new(zdm_core::ErrorKind::Connection, "cannot look at the new database").caused_by(error)
}
