//! One oddity, and its moves to each target.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zdm_core::connect::{Sink, Source};
use zdm_core::migrate::{Migration, Until};
use zdm_core::schema::Selection;
use zdm_core::schema::conversion::Mapping;
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_pg::config::PgConfig;
use zdm_pg::{PgSink, PgSource};
use zdm_servers::compare::{Across, Kind, Side};
use zdm_servers::mysql::{self, Flavor, MySql};
use zdm_servers::postgres;

use super::servers::{Servers, options};

/// A directory.
#[derive(Debug)]
pub(crate) struct Case {
    folder: PathBuf,
    name: String,
    /// Its place among all cases.
    number: usize,
}

/// Where a case comes from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    Server(Flavor),
}

/// The database of a case at its source.
#[derive(Debug)]
enum Home {
    Postgres(postgres::Database),
    Server(mysql::Database),
}

/// A case from one kind of server to others.
#[derive(Debug)]
pub(crate) struct Moves<'a> {
    case: &'a Case,
    from: Engine,
    to: Vec<String>,
}

/// A case from one server to another.
#[derive(Debug)]
struct Moved<'a> {
    case: &'a Case,
    to: Engine,
    /// The names of its databases.
    name: String,
}

impl Case {
    pub(crate) fn read(number: usize, folder: &Path) -> Self {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(folder.join("source.sql").exists(), "{name} has no source.sql");
        Self { folder: folder.to_owned(), name, number }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(name)).ok()
    }

    /// The server of its own that a file of settings gives it.
    async fn own(&self, file: &str, flavor: Flavor) -> Result<Option<MySql>, String> {
        let Some(settings) = self.file(file) else { return Ok(None) };
        let options = settings.lines().fold(options(flavor), |options, line| {
            let (name, value) = line.split_once('=').unwrap();
            options.setting(name.trim(), value.trim())
        });
        MySql::start(options).await.map(Some).map_err(|error| format!("{}: {error}", self.name))
    }

    pub(crate) fn moves(&self) -> Vec<Moves<'_>> {
        let from = self.file("from").unwrap_or_else(|| "mysql mariadb".to_owned());
        let moves = from.split_whitespace().map(engine).map(|from| {
            let (kin, all) = match from {
                Engine::Postgres => ("", "mysql mariadb"),
                Engine::Server(Flavor::MySql) => ("mariadb", "postgres kin same"),
                Engine::Server(Flavor::MariaDb) => ("mysql", "postgres kin same"),
            };
            let to = self.file("to").unwrap_or_else(|| all.to_owned());
            let to = to.replace("kin", kin).replace("same", word(from));
            let mut to: Vec<String> = to.split_whitespace().map(str::to_owned).collect();
            // The next one with each case, unless all are asked for.
            let every = from == Engine::Postgres || std::env::var_os("ZDM_TEST_QUIRKS_ALL").is_some();
            if !every {
                let shift = usize::from(from == Engine::Server(Flavor::MariaDb));
                to = vec![to.swap_remove((self.number + shift) % to.len())];
            }
            Moves { case: self, from, to }
        });
        moves.collect()
    }
}

fn engine(word: &str) -> Engine {
    match word {
        "postgres" => Engine::Postgres,
        "mysql" => Engine::Server(Flavor::MySql),
        "mariadb" => Engine::Server(Flavor::MariaDb),
        other => panic!("there is no server {other}"),
    }
}

fn word(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "postgres",
        Engine::Server(Flavor::MySql) => "mysql",
        Engine::Server(Flavor::MariaDb) => "mariadb",
    }
}

impl Home {
    /// Writes SQL, each part in a session of its own.
    async fn write(&self, sql: Option<String>) -> Result<(), String> {
        for part in sql.unwrap_or_default().split("\n\n").filter(|part| !part.trim().is_empty()) {
            match self {
                Self::Postgres(database) => database.execute(part).await.map_err(|error| causes(&error))?,
                Self::Server(database) => {
                    let part = part.replace("{source}", database.name());
                    database.execute(&part).await.map_err(|error| causes(&error))?;
                }
            }
        }
        Ok(())
    }

    fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::Postgres(database) => Arc::new(PgSource::new(PgConfig::parse(&database.url()).unwrap())),
            Self::Server(database) => {
                Arc::new(MySqlSource::new(MySqlConfig::parse(&database.url()).unwrap()))
            }
        }
    }

    fn tables(&self) -> Selection {
        match self {
            Self::Postgres(_) => Selection::new(["public.*"]).unwrap(),
            Self::Server(database) => Selection::new([format!("{}.*", database.name())]).unwrap(),
        }
    }

    fn side(&self) -> Side {
        match self {
            Self::Postgres(database) => database.into(),
            Self::Server(database) => database.into(),
        }
    }
}

impl Moves<'_> {
    /// Moves it to each of its targets. What is wrong is told with its name.
    pub(crate) async fn judge(self, servers: &Servers) -> Result<(), String> {
        let own = match self.from {
            Engine::Postgres => None,
            Engine::Server(from) => self.case.own("settings", from).await?,
        };
        let server = match (&own, self.from) {
            (Some(server), _) => Some(server),
            (None, Engine::Server(from)) => Some(servers.of(from).await),
            (None, Engine::Postgres) => None,
        };
        let mut wrong = Vec::new();
        for to in &self.to {
            let name = format!("{}_{}_{to}", self.case.name, word(self.from));
            let to = engine(to);
            let target = match to {
                Engine::Postgres => None,
                Engine::Server(to) => self.case.own("target.settings", to).await?,
            };
            let moved = Moved { case: self.case, to, name };
            if let Err(why) = moved.run(server, target.as_ref(), servers).await {
                wrong.push(format!("{}: {why}", moved.name));
            }
            if let Some(target) = target {
                target.close().await.unwrap();
            }
        }
        if let Some(server) = own {
            server.close().await.unwrap();
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}

impl Moved<'_> {
    /// From that server, or from PostgreSQL; to that one, or to one for all.
    async fn run(
        &self,
        server: Option<&MySql>,
        target: Option<&MySql>,
        servers: &Servers,
    ) -> Result<(), String> {
        let short: String = self.name.chars().take(50).collect();
        let home = match server {
            Some(server) => {
                Home::Server(server.create_database(&short).await.map_err(|error| error.to_string())?)
            }
            None => Home::Postgres(servers.postgres().await.create_database(&short).await.unwrap()),
        };
        home.write(self.case.file("source.sql")).await?;
        let (sink, side): (Arc<dyn Sink>, Side) = match self.to {
            Engine::Postgres => {
                let name = short.to_lowercase();
                let target = servers.postgres().await.create_database(&name).await.unwrap();
                (Arc::new(PgSink::new(PgConfig::parse(&target.url()).unwrap())), (&target).into())
            }
            Engine::Server(to) => {
                // Tables keep their database's name at a server of the same engine.
                let target = match target {
                    Some(own) => own,
                    None if server.is_some_and(|from| from.flavor() == to) => servers.second(to).await,
                    None => servers.of(to).await,
                };
                let target = target.create_database(&short).await;
                let target = target.map_err(|error| error.to_string())?;
                (Arc::new(MySqlSink::new(MySqlConfig::parse(&target.url()).unwrap())), (&target).into())
            }
        };
        let from = home.source();
        let mapping: Mapping = match self.case.file("mapping") {
            Some(json) => serde_json::from_str(&json).map_err(|error| error.to_string())?,
            None => Mapping::new(),
        };
        let migration = || {
            Migration::between_shared(Arc::clone(&from), Arc::clone(&sink))
                .named(format!("q{}", fingerprint(&self.name)).parse().unwrap())
                .tables(home.tables())
                .mapping(mapping.clone())
                .build()
                .unwrap()
        };
        self.findings(&*from, &home.tables(), &short).await?;
        self.report(&migration()).await?;
        let refused = self.case.file("refused");
        let moved = async {
            migration().run_until(Until::CaughtUp, CancellationToken::new()).await?;
            home.write(self.case.file("changes.sql")).await.map_err(|error| {
                zdm_core::Error::new(zdm_core::ErrorKind::Other, format!("changes.sql: {error}"))
            })?;
            migration().run_until(Until::CaughtUp, CancellationToken::new()).await
        };
        match (moved.await, refused) {
            (Err(error), Some(words)) if words.lines().all(|words| chain(&error).contains(words)) => {
                return Ok(());
            }
            (Err(error), _) => return Err(format!("failed: {}", chain(&error))),
            (Ok(_), Some(words)) => return Err(format!("arrived, and was to be refused with: {words}")),
            (Ok(_), None) => {}
        }
        self.asked(&side).await?;
        let mut across = Across::between(home.side(), side);
        for table in self.case.file("except").unwrap_or_default().lines() {
            across = across.except(table);
        }
        for line in self.case.file("as").unwrap_or_default().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            across = across.read_as(words[0], words[1], kind(words[2]));
        }
        let found = across.run().await.map_err(|error| error.to_string())?;
        if found.is_empty() { Ok(()) } else { Err(format!("differs:\n{found}")) }
    }

    /// What the assessment says of the source, if the case tells it.
    async fn findings(&self, source: &dyn Source, only: &Selection, database: &str) -> Result<(), String> {
        let Some(expected) = self.case.file("findings") else { return Ok(()) };
        let schema = source.describe(only).await.map_err(|error| chain(&error))?;
        let assess = source.capabilities().assess.unwrap();
        let run = "run".parse().unwrap();
        let found = assess.assess(zdm_core::connect::Role::Source, &run, &schema).await;
        let found: BTreeSet<String> = found
            .map_err(|error| chain(&error))?
            .iter()
            .filter(|finding| finding.severity != zdm_core::connect::Severity::Note)
            .map(|finding| format!("{} {} {}", finding.severity, finding.code, finding.subject))
            .map(|line| line.replace(database, "{source}"))
            .collect();
        let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
        if found == expected { Ok(()) } else { Err(format!("found {found:?} and not {expected:?}")) }
    }

    /// What the conversion warns of or refuses, if the case tells it.
    async fn report(&self, migration: &Migration) -> Result<(), String> {
        let Some(expected) = self.case.file("report") else { return Ok(()) };
        let report = migration.conversion().await.map_err(|error| chain(&error))?;
        let found: BTreeSet<String> = report
            .ok_or("there is no conversion")?
            .findings()
            .iter()
            .filter(|finding| finding.severity != zdm_core::connect::Severity::Note)
            .map(|finding| format!("{} {} {}", finding.severity, finding.code, finding.subject))
            .collect();
        let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
        if found == expected { Ok(()) } else { Err(format!("reports {found:?} and not {expected:?}")) }
    }

    /// The query of `target.sql`, which a `-- ` and the expected text follow.
    async fn asked(&self, side: &Side) -> Result<(), String> {
        let (Some(asked), Side::MySql(target)) = (self.case.file("target.sql"), side) else { return Ok(()) };
        for line in asked.lines() {
            let (sql, expected) = line.split_once(" -- ").unwrap();
            let found = target.value(sql).await.map_err(|error| error.to_string())?;
            if found != expected {
                return Err(format!("{sql} gives {found:?} and not {expected:?}"));
            }
        }
        Ok(())
    }
}

/// An error and what it comes from.
fn chain(error: &zdm_core::Error) -> String {
    causes(error)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

fn kind(word: &str) -> Kind {
    match word {
        "geometry" => Kind::Geometry,
        "number" => Kind::Number,
        "text" => Kind::Text,
        other => panic!("there is no form {other}"),
    }
}

/// A short name for a run.
fn fingerprint(name: &str) -> String {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}
