//! The log reader: the binlog of MySQL and MariaDB, as batches.
//!
//! ```text
//! decoder      events -> rows of a batch, and what means something else
//! event        headers and bodies; reader: an event's bytes, front to back
//! table_map    a table as the log shows it, matched with the catalog's
//! rows         rows events -> cells
//! payload      compressed events -> events
//! ```

mod decoder;
mod event;
mod payload;
mod reader;
mod rows;
mod table_map;
