//! Every type of PostgreSQL's goes to MySQL and MariaDB, and comes back.

mod columns;
mod keys;
mod refused;
mod round_trip;
mod values;

/// Types of a user's, which a database needs before the tables come back.
const TYPES: &str = "
CREATE TYPE mood AS ENUM ('sad', 'it''s', 'Sad', 'a,b \"c\" \\ d', '1', 'é🐘');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE DOMAIN word AS varchar(40);
CREATE DOMAIN ids AS int[]";
