//! The handle of a server.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use mysql_async::{Conn, Opts};

use super::database::{Database, asking, quote, rows};
use super::external::External;
use super::instance::Instance;
use super::options::{Flavor, MySqlOptions};
use super::user::User;
use crate::error::{Doing, Result};
use crate::tls::TlsFiles;

/// A MySQL or MariaDB server for a test. It ends when the last handle is
/// dropped, or when this process ends, in whatever way.
///
/// ```no_run
/// # async fn example() -> zdm_servers::Result<()> {
/// use zdm_servers::mysql::{MySql, MySqlOptions};
///
/// let server = MySql::start(MySqlOptions::mariadb().version("10.11")).await?;
/// let shop = server.create_database("shop").await?;
/// shop.execute("create table t (id int primary key)").await?;
/// assert_eq!(shop.value("select count(*) from t").await?, "0");
/// println!("{}", shop.url());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MySql {
    home: Arc<Home>,
}

impl MySql {
    /// Finds or fetches a server, starts it and waits until it takes connections.
    ///
    /// Takes a second once the version is in the cache, some seconds for its
    /// first start, and a download before that if need be. The server does not
    /// depend on the runtime that it is started from. What this does (users and
    /// databases that were asked for) is not in the binlog.
    pub async fn start(options: MySqlOptions) -> Result<Self> {
        if options.is_plain()
            && let Some(external) = External::of_environment(options.flavor)?
        {
            let home = Home { flavor: options.flavor, kind: Kind::External(Box::new(external)) };
            let server = Self { home: Arc::new(home) };
            for name in &options.databases {
                server.create_database(name).await?;
            }
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
        let home = Home { flavor: options.flavor, kind: Kind::Own(Box::new(instance)) };
        let server = Self { home: Arc::new(home) };
        server.furnish(&options).await?;
        Ok(server)
    }

    async fn furnish(&self, options: &MySqlOptions) -> Result<()> {
        let mut sql = vec!["SET sql_log_bin = 0".to_owned()];
        sql.extend(options.databases.iter().map(|name| format!("CREATE DATABASE {}", quote(name))));
        sql.extend(options.users.iter().flat_map(|user| user.statements(options.flavor)));
        if sql.len() > 1 {
            let mut connection = self.connect().await?;
            for sql in sql {
                rows(&mut connection, &sql).await.doing(|| asking(&sql))?;
            }
            connection.disconnect().await.doing(|| "preparing a server".into())?;
        }
        Ok(())
    }

    /// The database that the test calls `name`, which must be there.
    pub fn database(&self, name: &str) -> Database {
        let name = match &self.home.kind {
            Kind::Own(_) => name.into(),
            Kind::External(external) => external.name_of(name),
        };
        Database { home: Arc::clone(&self.home), name }
    }

    /// Creates an empty database.
    pub async fn create_database(&self, name: &str) -> Result<Database> {
        let database = self.database(name);
        self.execute(&format!("CREATE DATABASE {}", quote(&database.name))).await?;
        if let Kind::External(external) = &self.home.kind {
            external.made(database.name.clone());
        }
        Ok(database)
    }

    /// Creates a user.
    pub async fn create_user(&self, user: &User) -> Result<()> {
        self.execute(&user.statements(self.home.flavor).join("; ")).await
    }

    /// The URL of a database, over TCP, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.database(database).url()
    }

    fn none(&self) -> Database {
        Database { home: Arc::clone(&self.home), name: String::new() }
    }

    /// [`Database::connect`], with no database chosen, like the rest that follow.
    pub async fn connect(&self) -> Result<Conn> {
        self.none().connect().await
    }

    /// [`Database::query`].
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.none().query(sql).await
    }

    /// [`Database::value`].
    pub async fn value(&self, sql: &str) -> Result<String> {
        self.none().value(sql).await
    }

    /// [`Database::execute`].
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.none().execute(sql).await
    }

    /// Whose server it is.
    pub fn flavor(&self) -> Flavor {
        self.home.flavor
    }

    /// Its version, as it tells it: `10.11.18-MariaDB-…`.
    pub async fn version(&self) -> Result<String> {
        self.value("SELECT VERSION()").await
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

    /// The superuser's password, if there is one: ours have none.
    pub fn password(&self) -> Option<String> {
        self.home.password()
    }

    /// Whether the environment names the server, so that it is not ours to stop.
    pub fn is_external(&self) -> bool {
        matches!(self.home.kind, Kind::External(_))
    }

    /// Its unix socket.
    pub fn socket(&self) -> Result<PathBuf> {
        Ok(self.instance("finding the socket")?.socket())
    }

    /// Its data folder, with its binlog `binlog.000001`, which only its account
    /// (and root) can read.
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
        match &self.home.kind {
            Kind::Own(instance) => instance.tls.as_ref(),
            Kind::External(_) => None,
        }
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Result<Option<u32>> {
        Ok(self.instance("finding the process")?.guardian.state().pid)
    }

    /// Stops it in order, and waits until it has ended. Its data stays.
    pub async fn stop(&self) -> Result<()> {
        self.instance("stopping a server")?.end("TERM").await
    }

    /// Kills it with `SIGKILL`: a crash.
    pub async fn kill(&self) -> Result<()> {
        self.instance("killing a server")?.end("KILL").await
    }

    /// Starts it again on the same port, and waits until it takes connections,
    /// after recovery if it needs that.
    pub async fn start_again(&self) -> Result<()> {
        self.instance("starting a server again")?.start().await
    }

    /// Stops it and starts it again.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Adds a line to its configuration file, for the next start.
    pub fn set(&self, name: &str, value: impl ToString) -> Result<()> {
        self.instance("changing a setting")?.set(name, &value.to_string())
    }

    /// The command of a program that came with it: `mariadb-binlog`, `mysqldump`.
    ///
    /// It runs as this process's account, and still has to be told where the
    /// server is. It is an error where no such program came.
    pub fn program(&self, name: &str) -> Result<Command> {
        self.instance(&format!("finding {name}"))?.programs.client(name)
    }

    /// Ends it now, whoever else has a handle, and waits until its folder is gone.
    pub async fn close(self) -> Result<()> {
        if let Kind::Own(instance) = &self.home.kind {
            instance.guardian.finish().await;
        }
        Ok(())
    }

    fn instance(&self, doing: &str) -> Result<&Instance> {
        match &self.home.kind {
            Kind::Own(instance) => Ok(instance),
            Kind::External(external) => external.refuse(doing),
        }
    }
}

/// Where databases live.
#[derive(Debug)]
pub(crate) struct Home {
    flavor: Flavor,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// In a server that we started.
    Own(Box<Instance>),
    /// In a server that was there.
    External(Box<External>),
}

impl Home {
    /// How this crate itself connects.
    pub(crate) fn opts(&self) -> Opts {
        match &self.kind {
            Kind::Own(instance) => instance.opts(),
            Kind::External(external) => external.opts(),
        }
    }

    pub(crate) fn host(&self) -> String {
        match &self.kind {
            Kind::Own(_) => "127.0.0.1".into(),
            Kind::External(external) => external.opts().ip_or_hostname().into(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match &self.kind {
            Kind::Own(instance) => instance.port(),
            Kind::External(external) => external.opts().tcp_port(),
        }
    }

    pub(crate) fn user(&self) -> String {
        self.opts().user().unwrap_or("root").into()
    }

    pub(crate) fn password(&self) -> Option<String> {
        self.opts().pass().map(Into::into)
    }
}
