//! The shop: a schema with what real ones have (foreign keys, numbered
//! columns, an enum, a generated column, JSON, large values, mixed case), and
//! its rows, in the words of the engine that it begins on.

mod mysql;
mod postgres;

use std::error::Error;

use zdm_servers::compare::{Across, Side, compare};
use zdm_servers::mysql::{Flavor, MySql, MySqlOptions};
use zdm_servers::postgres::Postgres;
use zdm_servers::{PgOptions, mysql as my, postgres as pg};

use crate::witness::Seen;
use crate::{Failure, From};

/// The database that the shop begins on. It keeps its server running.
#[derive(Debug, Clone)]
pub(crate) enum Old {
    Postgres(pg::Database),
    MySql(my::Database, Flavor),
}

impl Old {
    /// Starts a server with an empty database.
    pub(crate) async fn start(from: From) -> Result<Self, Failure> {
        let flavor = match from {
            From::Postgres => {
                let server = Postgres::start(PgOptions::new().durable(true)).await?;
                return Ok(Self::Postgres(server.create_database("shop").await?));
            }
            From::Mysql => Flavor::MySql,
            From::Mariadb => Flavor::MariaDb,
        };
        let server = match MySql::start(MySqlOptions::new(flavor)).await {
            Err(error) if flavor == Flavor::MySql => {
                let why = error.source().map(ToString::to_string).unwrap_or_default();
                println!("no MySQL can be had here, so it is MariaDB: {error} {why}");
                MySql::start(MySqlOptions::mariadb()).await?
            }
            started => started?,
        };
        Ok(Self::MySql(server.create_database("shop").await?, server.flavor()))
    }

    /// Makes the shop, with so many orders.
    pub(crate) async fn load(&self, orders: u32) -> Result<(), Failure> {
        match self {
            Self::Postgres(database) => postgres::load(database, orders).await?,
            Self::MySql(database, _) => mysql::load(database, orders).await?,
        }
        Ok(())
    }

    pub(crate) fn engine(&self) -> String {
        match self {
            Self::Postgres(_) => "PostgreSQL".to_owned(),
            Self::MySql(_, flavor) => flavor.to_string(),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url(),
            Self::MySql(database, _) => database.url(),
        }
    }

    /// Compares it by plain SQL with the new database as that was seen: the
    /// rows that were compared, and the differences, which it prints.
    pub(crate) async fn compare(&self, new: &pg::Database, seen: &Seen) -> Result<(u64, u64), Failure> {
        match self {
            Self::Postgres(old) => {
                let found = compare(&old.connect().await?, &seen.client).await?;
                print!("{found}");
                Ok((found.rows(), found.differences()))
            }
            Self::MySql(old, _) => {
                let new = Side::from(new).as_seen_by(&seen.snapshot);
                let found = Across::between(old, new).run().await?;
                print!("{found}");
                // No table is a difference, too.
                Ok((found.rows, found.count.max(u64::from(found.tables == 0))))
            }
        }
    }
}
