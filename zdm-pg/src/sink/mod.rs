//! PostgreSQL as a target.

pub mod prepare;
