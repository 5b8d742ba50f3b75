//! Two servers, and databases that are moved from one to the other, by a role
//! with the rights that the documentation lists and no other.

use zdm_servers::postgres::{Database, PgOptions, Postgres, Version};
use zdm_servers::{Proxy, compare};

use crate::migrator::Plan;

/// Who owns the tables of the source.
const OWNER: &str = "app_owner";

/// Who moves them.
const MOVER: &str = "mover";

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
        let pair = Self { source: source.unwrap(), target: target.unwrap() };
        pair.source.create_user(OWNER, "").await.unwrap();
        pair.source.create_user(MOVER, "REPLICATION").await.unwrap();
        pair.source.execute(&format!("GRANT {OWNER} TO {MOVER}")).await.unwrap();
        pair.target.create_user(MOVER, "").await.unwrap();
        pair
    }

    /// Makes a database on both sides, its tables at the source, and the
    /// grants of the documentation.
    pub async fn case(&self, name: &str, tables: &str) -> Case {
        let (source, target) =
            tokio::join!(self.source.create_database(name), self.target.create_database(name));
        let case = Case {
            name: name.to_owned(),
            source: source.unwrap(),
            target: target.unwrap(),
            superuser: false,
        };
        case.make(tables).await;
        case.target
            .execute(&format!(
                "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON DATABASE \"{}\" TO {MOVER};
                 GRANT USAGE, CREATE ON SCHEMA public TO {MOVER}",
                case.target.name()
            ))
            .await
            .unwrap();
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
    /// Whether superusers move it.
    superuser: bool,
}

impl Case {
    /// The owner makes the tables. What it needs for that alone goes again,
    /// so that it does not come to the mover by membership.
    async fn make(&self, tables: &str) {
        let database = self.source.name();
        let owner = self.source.connect().await.unwrap();
        let rights = format!(
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO {OWNER};
             GRANT CREATE ON DATABASE \"{database}\" TO {OWNER}; SET ROLE {OWNER}"
        );
        owner.batch_execute(&rights).await.unwrap();
        owner.batch_execute(tables).await.unwrap();
        let rights = format!(
            "RESET ROLE; REVOKE CREATE ON DATABASE \"{database}\" FROM {OWNER};
             GRANT CREATE ON DATABASE \"{database}\" TO {MOVER}"
        );
        owner.batch_execute(&rights).await.unwrap();
        let schemas =
            "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'";
        for row in owner.query(schemas, &[]).await.unwrap() {
            let schema: &str = row.get(0);
            let rights = format!(
                "GRANT USAGE ON SCHEMA {schema} TO {MOVER}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {MOVER};
                 GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {MOVER}"
            );
            owner.batch_execute(&rights).await.unwrap();
        }
    }

    /// The same, moved by superusers: they switch triggers and foreign keys
    /// off, whatever the tables have.
    #[must_use]
    pub fn by_superusers(mut self) -> Self {
        self.superuser = true;
        self
    }

    /// Where the migrating process logs in, at source and target.
    pub fn urls(&self) -> (String, String) {
        let of = |database: &Database| {
            if self.superuser { database.url() } else { database.url_as(MOVER, "unasked") }
        };
        (of(&self.source), of(&self.target))
    }

    /// A migration between the two.
    pub fn plan(&self) -> Plan {
        let (source, target) = self.urls();
        Plan::new(&source, &target).with("run", &self.name)
    }

    /// The same through two proxies.
    pub fn plan_through(&self, source: &Proxy, target: &Proxy) -> Plan {
        let (from, to) = self.urls();
        Plan::new(&source.url(&from), &target.url(&to)).with("run", &self.name)
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
