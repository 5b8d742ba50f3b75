//! The handle of a server.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_postgres::{Client, Config};

use super::database::{Database, open};
use super::external::External;
use super::find;
use super::instance::Instance;
use super::options::{Auth, PgOptions, Version};
use crate::error::{Doing, Error, Result};
use crate::tls::TlsFiles;

/// The superuser's password on servers that ask for one.
const PASSWORD: &str = "zdm-secret";

/// A PostgreSQL server for a test. It ends when the last handle is dropped, or
/// when this process ends, in whatever way.
///
/// ```no_run
/// # async fn example() -> zdm_servers::Result<()> {
/// use zdm_servers::postgres::{PgOptions, Postgres};
///
/// let server = Postgres::start(PgOptions::new().version(16)).await?;
/// let shop = server.create_database("shop").await?;
/// shop.execute("create table t (id int primary key)").await?;
/// assert_eq!(shop.value("select count(*) from t").await?, "0");
/// println!("{}", shop.url());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Postgres {
    home: Arc<Home>,
}

/// How to stop a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Wait for every client to leave. WAL senders do leave by themselves.
    Smart,
    /// Roll back what is open, disconnect everybody, write a checkpoint.
    Fast,
    /// At once, without a checkpoint: the next start recovers.
    Immediate,
}

/// A user who was created for a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password, which the server asks for unless it is [`Auth::Trust`].
    pub password: String,
}

impl Postgres {
    /// Finds or fetches a server, starts it and waits until it takes connections.
    ///
    /// Takes a fraction of a second once the version is in the cache, a few
    /// seconds for its first start, and a download before that if need be.
    /// The server does not depend on the runtime that it is started from.
    pub async fn start(options: PgOptions) -> Result<Self> {
        if options.version == Version::Any
            && options.is_plain()
            && let Some(external) = External::of_environment()?
        {
            let server = Self { home: Arc::new(Home::External(Box::new(external))) };
            server.create_database("postgres").await?;
            server.create_databases(&options).await?;
            return Ok(server);
        }
        let (options, instance) = tokio::task::spawn_blocking(move || {
            let instance = Instance::prepare(&options);
            (options, instance)
        })
        .await
        .doing(|| "preparing a server".into())?;
        let instance = instance?;
        instance.start_somewhere().await?;
        let password = matches!(options.auth, Auth::Password | Auth::Md5 | Auth::Scram);
        let server = Self { home: Arc::new(Home::Own { instance: Box::new(instance), password }) };
        if password {
            server.execute(&format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'")).await?;
        }
        server.create_databases(&options).await?;
        Ok(server)
    }

    async fn create_databases(&self, options: &PgOptions) -> Result<()> {
        for name in &options.databases {
            self.create_database(name).await?;
        }
        Ok(())
    }

    /// The database that the test calls `name`, which must be there.
    pub fn database(&self, name: &str) -> Database {
        let name = match &*self.home {
            Home::Own { .. } => name.into(),
            Home::External(external) => external.name_of(name),
        };
        Database { home: Arc::clone(&self.home), name }
    }

    /// Creates an empty database.
    pub async fn create_database(&self, name: &str) -> Result<Database> {
        let database = self.database(name);
        let sql = format!("CREATE DATABASE {}", quote(&database.name));
        let client = open(&self.home.config()).await?;
        client.batch_execute(&sql).await.doing(|| format!("creating the database {name}"))?;
        if let Home::External(external) = &*self.home {
            external.made(database.name.clone());
        }
        Ok(database)
    }

    /// Creates a user who can log in and nothing else, but for `rights`: what
    /// `CREATE ROLE` takes, such as `REPLICATION CREATEDB`.
    ///
    /// The password is made of the name. Grant the rest with SQL.
    pub async fn create_user(&self, name: &str, rights: &str) -> Result<User> {
        let password = format!("{name}-secret");
        let literal = password.replace('\'', "''");
        self.execute(&format!("CREATE ROLE {} LOGIN PASSWORD '{literal}' {rights}", quote(name))).await?;
        Ok(User { name: name.into(), password })
    }

    /// The URL of a database, over TCP, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.database(database).url()
    }

    /// [`Database::connect`] in the database `postgres`.
    pub async fn connect(&self) -> Result<Client> {
        self.database("postgres").connect().await
    }

    /// [`Database::query`] in the database `postgres`.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.database("postgres").query(sql).await
    }

    /// [`Database::value`] in the database `postgres`.
    pub async fn value(&self, sql: &str) -> Result<String> {
        self.database("postgres").value(sql).await
    }

    /// [`Database::execute`] in the database `postgres`.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.database("postgres").execute(sql).await
    }

    /// Where it listens: `127.0.0.1`, unless the server is external.
    pub fn host(&self) -> String {
        self.home.host()
    }

    /// The port it listens on, the same for as long as it is there.
    pub fn port(&self) -> u16 {
        self.home.port()
    }

    /// The superuser.
    pub fn user(&self) -> String {
        self.home.user()
    }

    /// The superuser's password, if the server asks for one.
    pub fn password(&self) -> Option<String> {
        self.home.password()
    }

    /// Whether `ZDM_TEST_PG_URL` names the server, so that it is not ours to stop.
    pub fn is_external(&self) -> bool {
        matches!(&*self.home, Home::External(_))
    }

    /// The folder of its unix socket.
    pub fn socket_dir(&self) -> Result<PathBuf> {
        Ok(self.instance("finding the socket")?.socket_dir())
    }

    /// Its data folder, which only its account (and root) can read.
    pub fn data_dir(&self) -> Result<PathBuf> {
        Ok(self.instance("finding the data folder")?.data())
    }

    /// Its log.
    pub fn log_file(&self) -> Result<PathBuf> {
        Ok(self.instance("finding the log")?.log_file())
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        Ok(self.instance("reading the log")?.log())
    }

    /// Its certificates, if it speaks TLS.
    pub fn tls(&self) -> Option<&TlsFiles> {
        match &*self.home {
            Home::Own { instance, .. } => instance.tls.as_ref(),
            Home::External(_) => None,
        }
    }

    /// Its major version.
    pub async fn major(&self) -> Result<u16> {
        let number = self.value("SHOW server_version_num").await?;
        let number: u32 = number.parse().doing(|| format!("reading the version {number}"))?;
        u16::try_from(number / 10_000).doing(|| format!("reading the version {number}"))
    }

    /// The process id of its postmaster, while it runs.
    pub fn pid(&self) -> Result<Option<u32>> {
        Ok(self.instance("finding the process")?.guardian.state().pid)
    }

    /// Stops it, and waits until it has ended. Its data stays.
    pub async fn stop(&self, mode: StopMode) -> Result<()> {
        let signal = match mode {
            StopMode::Smart => "TERM",
            StopMode::Fast => "INT",
            StopMode::Immediate => "QUIT",
        };
        self.instance("stopping a server")?.end(signal).await
    }

    /// Kills its postmaster with `SIGKILL`: a crash. Its backends notice soon.
    pub async fn kill(&self) -> Result<()> {
        self.instance("killing a server")?.end("KILL").await
    }

    /// Starts it again on the same port, and waits until it takes connections,
    /// after recovery if it needs that.
    pub async fn start_again(&self) -> Result<()> {
        self.instance("starting a server again")?.start().await
    }

    /// Stops it and starts it again.
    pub async fn restart(&self, mode: StopMode) -> Result<()> {
        self.stop(mode).await?;
        self.start_again().await
    }

    /// Adds a line to `postgresql.conf`, for the next start or `pg_reload_conf()`.
    pub fn set(&self, name: &str, value: impl ToString) -> Result<()> {
        self.instance("changing a setting")?.set(name, &value.to_string())
    }

    /// Ends it now, whoever else has a handle, and waits until its folder is gone.
    pub async fn close(self) -> Result<()> {
        if let Home::Own { instance, .. } = &*self.home {
            instance.guardian.finish().await;
        }
        Ok(())
    }

    /// The path of one of PostgreSQL's programs (`pg_dump`, `psql`), of this
    /// version, or of a later one that is installed here.
    ///
    /// Servers out of npm packages come without client programs.
    pub fn bin(&self, program: &str) -> Result<PathBuf> {
        let instance = match &*self.home {
            Home::Own { instance, .. } => Some(instance),
            Home::External(_) => None,
        };
        let major = instance.map_or(0, |instance| instance.binaries.major);
        let own = instance.map(|instance| instance.binaries.clone());
        own.into_iter()
            .chain(find::installed().into_iter().filter(|other| other.major >= major))
            .find(|binaries| binaries.has(program))
            .map(|binaries| binaries.dir.join(program))
            .ok_or_else(|| {
                Error::new(format!("finding {program}"))
                    .because(format!("no installed PostgreSQL {major} or later has it"))
                    .advise("install the client programs (Debian: apt-get install postgresql-client)")
            })
    }

    fn instance(&self, doing: &str) -> Result<&Instance> {
        match &*self.home {
            Home::Own { instance, .. } => Ok(instance),
            Home::External(_) => External::refuse(doing),
        }
    }
}

/// Where databases live.
#[derive(Debug)]
pub(crate) enum Home {
    /// In a server that we started.
    Own { instance: Box<Instance>, password: bool },
    /// In a server that was there.
    External(Box<External>),
}

impl Home {
    /// How this crate itself connects.
    pub(crate) fn config(&self) -> Config {
        match self {
            Self::Own { instance, .. } => {
                let mut config = Config::new();
                config.host_path(instance.socket_dir()).port(instance.port());
                config.user("postgres").dbname("postgres").application_name("zdm-servers");
                config
            }
            Self::External(external) => external.config(),
        }
    }

    pub(crate) fn host(&self) -> String {
        match self {
            Self::Own { .. } => "127.0.0.1".into(),
            Self::External(external) => external.host(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Own { instance, .. } => instance.port(),
            Self::External(external) => external.port(),
        }
    }

    pub(crate) fn user(&self) -> String {
        match self {
            Self::Own { .. } => "postgres".into(),
            Self::External(external) => external.user(),
        }
    }

    pub(crate) fn password(&self) -> Option<String> {
        match self {
            Self::Own { password, .. } => password.then(|| PASSWORD.into()),
            Self::External(external) => external.password(),
        }
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
