//! An application that any engine can serve, with what each has of its own:
//! one set of tables in two languages, one set of statements.

mod schema;
mod statement;
mod transaction;

use super::Dialect;
use crate::engine::Database;

pub(super) use self::transaction::transaction;

/// The tables of the portable application, in a database's own words.
pub fn tables(database: &Database) -> &'static str {
    match database {
        Database::Postgres(_) => schema::POSTGRES,
        Database::MySql(_) => schema::MYSQL,
    }
}

/// Rows that are there when a migration begins; a larger `scale`, up to 100,
/// makes more chunks.
pub fn rows(database: &Database, scale: u32) -> String {
    schema::rows(Dialect::of(&database.url()), scale)
}
