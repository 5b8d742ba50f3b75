//! The rights that each step needs, as statements. Documentation only.
//!
//! No step needs SUPER, if the server lets users make triggers beside a binary
//! log (`log_bin_trust_function_creators = 1`). `mover` is the user that the
//! run logs in as, `shop` the database.
//!
//! # Source
//!
//! ```sql
//! -- assess, copy and follow: read the log and the tables
//! GRANT REPLICATION SLAVE, REPLICATION CLIENT, PROCESS ON *.* TO mover;   -- MariaDB: BINLOG MONITOR
//! GRANT SELECT, SHOW VIEW ON shop.* TO mover;
//! GRANT LOCK TABLES ON shop.* TO mover;   -- MySQL, for tables without a key: a lock of a moment
//! GRANT CREATE TEMPORARY TABLES ON shop.* TO mover;   -- for labels of ENUM and SET with a '?'
//! -- hold and seal: a trigger of each table, and a database of our own
//! GRANT TRIGGER ON shop.* TO mover;
//! GRANT ALL PRIVILEGES ON zdm.* TO mover;
//! ```
//!
//! `SELECT` on `performance_schema` is not needed either: with it a cutover's
//! first step tells which of the long transactions write to the run's tables.
//! `RELOAD` is not needed: no global lock is taken. `XA_RECOVER_ADMIN` lets the
//! assessment name prepared transactions by their xid.
//!
//! The triggers work with the rights of `mover`, whoever writes to their
//! tables: while a run keeps them there, do not drop that user.
//!
//! # Target
//!
//! ```sql
//! -- prepare, load, apply, seal
//! GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES, TRIGGER ON shop.* TO mover;
//! -- keep progress
//! GRANT ALL PRIVILEGES ON zdm.* TO mover;
//! -- triggers of the source that work with the rights of other accounts
//! GRANT SET_ANY_DEFINER ON *.* TO mover;   -- MySQL 8.0: SET_USER_ID; MariaDB: SET USER; else SUPER
//! ```
