//! Every type of PostgreSQL's goes to MySQL and MariaDB, and comes back.

mod columns;
mod extremes;
mod keys;
mod refused;
mod round_trip;
mod values;

use self::columns::TYPES;
