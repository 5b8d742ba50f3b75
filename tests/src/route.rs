//! Databases that are moved from one engine to another, or to the same.

use std::sync::atomic::{AtomicU64, Ordering};

use zdm_servers::Proxy;
use zdm_servers::compare::Across;

use crate::engine::{Database, Server};
use crate::migrator::{Migrator, Plan};

/// A database on both sides, of the same name.
#[derive(Debug)]
pub struct Route {
    /// Its name, and the run's.
    pub name: String,
    /// Where rows come from.
    pub source: Database,
    /// Where they go.
    pub target: Database,
    /// Marks that were made, so that each is another.
    marks: AtomicU64,
}

impl Route {
    /// Makes a database on both servers.
    pub async fn new(name: &str, from: &Server, to: &Server) -> Self {
        let (source, target) = tokio::join!(from.create_database(name), to.create_database(name));
        Self { name: name.to_owned(), source, target, marks: AtomicU64::new(0) }
    }

    /// A move of the target to yet another server, as a run of that name.
    pub async fn on(&self, name: &str, to: &Server) -> Self {
        let target = to.create_database(self.target.name()).await;
        Self { name: name.to_owned(), source: self.target.clone(), target, marks: AtomicU64::new(0) }
    }

    /// A migration between the two.
    pub fn plan(&self) -> Plan {
        self.between(&self.source.url(), &self.target.url())
    }

    /// The same through two proxies.
    pub fn plan_through(&self, source: &Proxy, target: &Proxy) -> Plan {
        self.between(&source.url(&self.source.url()), &target.url(&self.target.url()))
    }

    fn between(&self, from: &str, to: &str) -> Plan {
        Plan::new(from, to).with("run", &self.name).with("tables", self.source.tables())
    }

    /// Waits until the run follows and everything that the source has
    /// committed so far is at the target: a row that is written behind it
    /// all, into a table `mark (n bigint primary key)`, has arrived.
    pub async fn arrived(&self, migrator: &mut Migrator) {
        let mark = self.marks.fetch_add(1, Ordering::Relaxed);
        self.source.execute(&format!("INSERT INTO mark VALUES ({mark})")).await.unwrap();
        let look = format!("SELECT count(*) FROM mark WHERE n = {mark}");
        // Its status is told behind each commit at the target.
        while migrator.last_status()["phase"] != "following"
            || self.target.value(&look).await.ok().as_deref() != Some("1")
        {
            assert!(migrator.status(|_| true).await, "{}: the process ended", self.name);
        }
    }

    /// Fails unless both sides are equal, by independent SQL.
    #[track_caller]
    pub fn equal(&self) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let found = Across::between(&self.source, &self.target).run().await.unwrap();
            assert!(found.is_empty(), "{}, from {at}:\n{found}", self.name);
        }
    }
}
