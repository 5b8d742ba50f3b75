//! The language of MySQL and MariaDB, for schemas of other engines.

mod collation;
mod functions;
mod kin;
mod objects;
mod parse;
mod types;
mod words;

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use smol_str::SmolStr;
use zdm_core::schema::conversion::{Convert, Dialect, Limit, Mapped, Names, Note, Outcome, Used};
use zdm_core::schema::{Column, Constraint, Expr, Index, Schema, Table};
use zdm_core::{Engine, Result};

use crate::config::MySqlConfig;
use crate::connect::{Control, MARIADB, Server};
use crate::error::OrMy;
use crate::position::ENGINE;

pub(crate) use self::words::SYNTAX;

/// Offers the language of a MySQL or MariaDB server.
#[derive(Debug, Clone)]
pub struct MySqlConvert {
    config: Arc<MySqlConfig>,
}

impl MySqlConvert {
    /// The language of that server.
    pub fn new(config: Arc<MySqlConfig>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Convert for MySqlConvert {
    async fn dialect(&self) -> Result<Box<dyn Dialect>> {
        let mut control = Control::connect(&self.config, "convert").await?;
        let folds: Option<u8> =
            control.query_first("SELECT @@lower_case_table_names").await.during("convert.dialect")?;
        Ok(Box::new(MySqlDialect {
            server: control.server(),
            folds: folds != Some(0),
            home: self.config.database().map(SmolStr::from),
        }))
    }
}

/// The language of one server.
#[derive(Debug, Clone)]
pub struct MySqlDialect {
    server: Server,
    /// Whether names of tables that differ in case alone are one.
    folds: bool,
    home: Option<SmolStr>,
}

impl MySqlDialect {
    /// The language of a server of that version, as `SELECT VERSION()` gives
    /// it, whose tables' names differ by case, with this database for tables
    /// of a single schema.
    ///
    /// # Errors
    /// `Protocol` when it is no version.
    pub fn of(version: &str, home: Option<&str>) -> Result<Self> {
        Ok(Self { server: Server::read(version)?, folds: false, home: home.map(SmolStr::from) })
    }

    /// Whether a default can be computed, and be of a text without limit.
    fn computes_defaults(&self) -> bool {
        self.server.is_mariadb() || self.server.is_mysql_since(8, 0, 13)
    }
}

impl Dialect for MySqlDialect {
    /// <https://dev.mysql.com/doc/refman/8.4/en/identifier-length.html>
    fn names(&self) -> Names {
        Names {
            engine: self.server.engine(),
            limit: Limit::Characters(64),
            fold_tables: self.folds,
            fold_columns: true,
            indexes_share: false,
            constraints_share: true,
            virtual_columns: true,
            hidden_columns: self.server.is_mariadb() || self.server.is_mysql_since(8, 0, 23),
            home: self.home.clone(),
            // What another engine calls a schema is none of these servers'
            // databases: a run would make one called `public`.
            schemas_like: vec![ENGINE, MARIADB],
        }
    }

    fn column_type(&self, column: &Column, used: Used<'_>) -> Mapped {
        let kin = kin::column_type(&self.server, column, used);
        kin.unwrap_or_else(|| types::column_type(&self.server, column, used))
    }

    fn parse_type(&self, text: &str, _: Used<'_>) -> Option<Mapped> {
        parse::parse(&self.server, text)
    }

    fn expression(&self, expr: &Expr, default: Option<&Column>) -> Option<String> {
        words::write(expr, default, self.computes_defaults())
    }

    fn kindred(&self, from: &Engine, text: &str, default: Option<&Column>) -> Option<String> {
        kin::text(&self.server, from, text, default, self.computes_defaults())
    }

    fn index(&self, table: &Table, index: &mut Index) -> Outcome {
        objects::index(&self.server, table, index)
    }

    fn constraint(&self, table: &Table, constraint: &mut Constraint) -> Outcome {
        objects::constraint(&self.server, table, constraint)
    }

    fn counters(&self, schema: &mut Schema) -> Vec<Note> {
        objects::counters(&self.server, schema)
    }
}
