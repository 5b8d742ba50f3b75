//! A door for tests of other crates: what `wire` and `connect` do, with plain
//! types. No part of the library's interface.

#![allow(missing_docs, reason = "hidden, and only for our own tests")]

use mysql_async::prelude::Queryable;
use zdm_core::{Position, Result};

use super::{Connection, Dump, From, Request};
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::error::{self, OrMy};
use crate::position::{ENGINE, Gtids, Point};

/// A replication connection.
#[derive(Debug)]
pub struct Replication(Connection, MySqlConfig);

impl Replication {
    pub async fn connect(config: &MySqlConfig) -> Result<Self> {
        Ok(Self(Connection::connect(config).await?, config.clone()))
    }

    pub fn version(&self) -> &str {
        self.0.version()
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The first column of the rows.
    pub async fn query(&mut self, statement: &str) -> Result<Vec<Option<String>>> {
        let rows = self.0.query(statement).await?;
        Ok(rows.iter().map(|row| row.get(0).map(str::to_owned)).collect())
    }

    /// Asks for the log behind a position, written as ours are.
    pub async fn dump(self, server_id: u32, from: &str) -> Result<Log> {
        let point = Point::of(&Position::new(ENGINE, from))?;
        let from = match (point.gtids, point.at) {
            (Some(Gtids::Set(set)), _) => From::Set(set),
            (Some(Gtids::Domains(domains)), _) => From::Domains(domains),
            (None, Some(at)) => From::File(at.point),
            (None, None) => return Err(error::protocol("no position")),
        };
        let request = Request { server_id, heartbeat: self.1.heartbeat(), from };
        self.0.dump(&request).await.map(Log)
    }
}

/// The log as it streams in.
#[derive(Debug)]
pub struct Log(Dump);

impl Log {
    /// The next events, at least one, as they are.
    pub async fn read(&mut self) -> Result<Vec<Vec<u8>>> {
        loop {
            let mut events = Vec::new();
            let mut end = 0;
            while let Some(range) = self.0.next()? {
                end = range.end;
                events.push(self.0.buffer()[range].to_vec());
            }
            drop(self.0.split(end));
            if !events.is_empty() {
                return Ok(events);
            }
            self.0.fill().await?;
        }
    }
}

/// A session for SQL.
#[derive(Debug)]
pub struct Sql(Control);

impl Sql {
    pub async fn connect(config: &MySqlConfig) -> Result<Self> {
        Control::connect(config, "probe").await.map(Self)
    }

    pub fn server(&self) -> String {
        self.0.server().to_string()
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub async fn value(&mut self, statement: &str) -> Result<Option<String>> {
        let value: Option<Option<String>> = self.0.query_first(statement).await.during("probe")?;
        Ok(value.flatten())
    }
}
