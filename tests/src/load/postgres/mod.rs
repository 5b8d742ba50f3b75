//! An application that uses what PostgreSQL has and others have not.

mod schema;
mod work;

pub use schema::{BALANCE, SCHEMA, seed};
pub(super) use work::transaction;
