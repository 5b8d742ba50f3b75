//! PostgreSQL's language, for schemas of other engines.

mod objects;
mod types;
mod words;

use async_trait::async_trait;
use zdm_core::schema::conversion::{Convert, Dialect, Limit, Mapped, Names, Note, Outcome, Used};
use zdm_core::schema::{Column, Constraint, Expr, Index, Schema, Table};
use zdm_core::{Engine, Result};

pub(crate) use self::words::SYNTAX;
use crate::config::PgConfig;
use crate::connect::Control;
use crate::position::ENGINE;

/// Names are cut at this length by the server (`NAMEDATALEN - 1`).
///
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>
const NAME: Limit = Limit::Octets(63);

/// Offers the language of a PostgreSQL server.
#[derive(Debug, Clone)]
pub struct PgConvert {
    config: std::sync::Arc<PgConfig>,
}

impl PgConvert {
    /// The language of that server.
    pub fn new(config: std::sync::Arc<PgConfig>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Convert for PgConvert {
    async fn dialect(&self) -> Result<Box<dyn Dialect>> {
        let control = Control::connect(&self.config, "convert").await?;
        Ok(Box::new(PgDialect::of(control.server_version_num())))
    }
}

/// The language of PostgreSQL, of one version.
#[derive(Debug, Clone, Copy)]
pub struct PgDialect {
    version: u32,
}

impl PgDialect {
    /// The language of a version, as `server_version_num` gives it: 150018.
    pub fn of(version: u32) -> Self {
        Self { version }
    }
}

impl Dialect for PgDialect {
    fn names(&self) -> Names {
        Names {
            engine: ENGINE,
            limit: NAME,
            fold_tables: false,
            fold_columns: false,
            indexes_share: true,
            constraints_share: false,
            virtual_columns: false,
            hidden_columns: false,
            home: Some("public".into()),
            schemas_like: vec![ENGINE],
        }
    }

    fn column_type(&self, column: &Column, used: Used<'_>) -> Mapped {
        types::column_type(column, used)
    }

    fn parse_type(&self, text: &str, _: Used<'_>) -> Option<Mapped> {
        types::parse(text)
    }

    fn expression(&self, expr: &Expr, default: Option<&Column>) -> Option<String> {
        words::write(expr, default, self.version)
    }

    /// No other engine's crate speaks PostgreSQL's language.
    fn kindred(&self, _: &Engine, _: &str, _: Option<&Column>) -> Option<String> {
        None
    }

    fn index(&self, table: &Table, index: &mut Index) -> Outcome {
        objects::index(table, index)
    }

    fn constraint(&self, table: &Table, constraint: &mut Constraint) -> Outcome {
        objects::constraint(self, table, constraint)
    }

    fn counters(&self, schema: &mut Schema) -> Vec<Note> {
        objects::counters(schema)
    }
}
