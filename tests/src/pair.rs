//! Two servers, and databases that are moved from one to the other.

use zdm_servers::postgres::{Database, PgOptions, Postgres, Version};
use zdm_servers::{Proxy, compare};

use crate::migrator::Plan;

/// Two servers.
#[derive(Debug)]
pub struct Pair {
    /// Where rows come from.
    pub source: Postgres,
    /// Where they go.
    pub target: Postgres,
}

impl Pair {
    /// Starts both, with settings that let tests be quick.
    pub async fn start() -> Self {
        Self::with(|options| options).await
    }

    /// Starts both, the source with more settings.
    pub async fn with(source: impl FnOnce(PgOptions) -> PgOptions) -> Self {
        let (from, to) = (version("ZDM_TEST_PG_SOURCE"), version("ZDM_TEST_PG_TARGET"));
        Self::start_with(from, to, source).await
    }

    /// Starts the oldest source whose partitioned tables can be moved (13), and
    /// the newest target, of those that can be had here.
    pub async fn oldest_to_newest() -> Self {
        let pair = Self::start_with(Version::Oldest, Version::Newest, |options| options).await;
        if pair.source.major().await.unwrap() >= 13 {
            return pair;
        }
        drop(pair);
        Self::start_with(Version::Major(13), Version::Newest, |options| options).await
    }

    async fn start_with(from: Version, to: Version, source: impl FnOnce(PgOptions) -> PgOptions) -> Self {
        // A slot logs a snapshot of what runs at most this often.
        let options =
            PgOptions::new().setting("wal_sender_timeout", "5s").setting("deadlock_timeout", "100ms");
        let (source, target) = tokio::join!(
            Postgres::start(source(options.clone().version(from))),
            Postgres::start(options.version(to))
        );
        Self { source: source.unwrap(), target: target.unwrap() }
    }

    /// Makes a database on both sides, and its tables at the source.
    pub async fn case(&self, name: &str, tables: &str) -> Case {
        let (source, target) =
            tokio::join!(self.source.create_database(name), self.target.create_database(name));
        let case = Case { name: name.to_owned(), source: source.unwrap(), target: target.unwrap() };
        case.source.execute(tables).await.unwrap();
        case
    }
}

/// The major version that a variable chooses for one side.
fn version(variable: &str) -> Version {
    match std::env::var(variable) {
        Ok(major) => {
            Version::Major(major.parse().unwrap_or_else(|_| panic!("{variable} is a major version")))
        }
        Err(_) => Version::Any,
    }
}

/// A database on both sides.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, which the run bears too: slots are the server's, not the database's.
    pub name: String,
    /// Where rows come from.
    pub source: Database,
    /// Where they go.
    pub target: Database,
}

impl Case {
    /// A migration between the two.
    pub fn plan(&self) -> Plan {
        Plan::new(&self.source.url(), &self.target.url()).with("run", &self.name)
    }

    /// The same through two proxies.
    pub fn plan_through(&self, source: &Proxy, target: &Proxy) -> Plan {
        Plan::new(&source.url(&self.source.url()), &target.url(&self.target.url())).with("run", &self.name)
    }

    /// Runs SQL at the source.
    pub async fn sql(&self, sql: &str) {
        self.source.execute(sql).await.unwrap();
    }

    /// The end of the source's log.
    pub async fn head(&self) -> String {
        self.source.value("SELECT pg_current_wal_insert_lsn()").await.unwrap()
    }

    /// What differs, in words; empty when both sides are equal.
    pub async fn differences(&self) -> String {
        let (left, right) = (self.source.connect().await.unwrap(), self.target.connect().await.unwrap());
        let found = compare::compare(&left, &right).await.unwrap();
        assert!(!found.tables.is_empty() || found.differences() > 0, "nothing was compared");
        found.to_string()
    }

    /// Fails unless both sides are equal.
    #[track_caller]
    pub fn equal(&self) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let differences = self.differences().await;
            assert!(differences.is_empty(), "{}, from {at}:\n{differences}", self.name);
        }
    }
}
