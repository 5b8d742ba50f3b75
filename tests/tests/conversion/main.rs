//! Schemas of one engine in another's words, and values there and back, with
//! no server: the type tables of `zdm_core::schema::conversion`.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

mod names;
mod objects;
mod values;

use std::sync::Arc;

use zdm_core::Engine;
use zdm_core::schema::conversion::{Conversion, Dialect, Mapping, convert};
use zdm_core::schema::{Column, Key, Schema, Table, TableName};
use zdm_mysql::MySqlDialect;
use zdm_pg::PgDialect;

const MYSQL: Engine = Engine::new("mysql");
const POSTGRES: Engine = Engine::new("postgresql");

fn to_postgres() -> PgDialect {
    PgDialect::of(150_000)
}

fn to_mysql() -> MySqlDialect {
    MySqlDialect::of("8.4.0", Some("shop")).unwrap()
}

fn to_mariadb() -> MySqlDialect {
    MySqlDialect::of("10.11.6-MariaDB", Some("shop")).unwrap()
}

fn schema(tables: impl IntoIterator<Item = Table>) -> Schema {
    Schema { tables: tables.into_iter().map(Arc::new).collect(), ..Schema::default() }
}

fn table(engine: &Engine, name: &str, columns: Vec<Column>) -> Table {
    Table::new(engine.clone(), TableName::new("shop", name), columns, Key::Columns(vec![0]))
}

fn converted(schema: &Schema, dialect: &dyn Dialect) -> Conversion {
    convert(schema, dialect, &Mapping::new()).unwrap()
}
