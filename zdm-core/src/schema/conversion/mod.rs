//! A schema of one engine as if another engine had described it.
//!
//! [`convert`] takes a [`Schema`](crate::schema::Schema) as a source described
//! it and the stages left it, and the [`Dialect`] of a target. What comes out
//! is in the target's words from end to end: native types, defaults, computed
//! columns, indexes, constraints, identities, comments, collations; so that
//! the target's sink makes it with the code that makes its own. Each table
//! says so ([`Table::written`](crate::schema::Table::written)), and each
//! column keeps what it was ([`Column::origin`](crate::schema::Column::origin)),
//! by which the cells of its source are decoded.
//!
//! Who does what:
//!
//! * a source's crate describes, and fills the neutral parts beside its own
//!   statements: types, [`Expr`](crate::schema::Expr)essions, keys of indexes,
//!   actions of foreign keys, and what is [not
//!   moved](crate::schema::Schema::unmoved);
//! * a target's crate offers a [`Dialect`], and never sees another engine's
//!   language: N dialects, not N² pairs;
//! * the core walks the schema, makes names fit, follows the user's
//!   [`Mapping`], and writes the [`Report`];
//! * the values follow by neutral types alone ([`Cast`]), in a last stage
//!   that copy, stream, rereads and verification all pass through.
//!
//! Between two servers of one engine nothing of this happens; who wants other
//! names or types there uses stages.
//!
//! # What becomes of a type
//!
//! *Exact*: every value, in the like of its type. *Widened*: every value, in
//! a type that holds others too. *Lossy*: what is named is refused when it
//! comes, with table, column and key, or treated by the user's
//! [`Policies`]; nothing is cut or rounded in silence.
//!
//! ## MySQL and MariaDB → PostgreSQL
//!
//! | MySQL | PostgreSQL | fit |
//! |---|---|---|
//! | `TINYINT`, also `TINYINT(1)` and `BOOL` | `smallint` | widened; say `boolean` where only 0 and 1 come |
//! | `SMALLINT`, `INT`, `BIGINT` | `smallint`, `integer`, `bigint` | exact |
//! | `MEDIUMINT` | `integer` | widened |
//! | `TINYINT`, `SMALLINT`, `MEDIUMINT`, `INT UNSIGNED` | `smallint`, `integer`, `integer`, `bigint` | widened |
//! | `BIGINT UNSIGNED` | `numeric(20,0)` | widened |
//! | `BIGINT UNSIGNED AUTO_INCREMENT`, and what refers to one | `bigint` | lossy: numbers beyond 63 bits |
//! | `FLOAT`, `DOUBLE` | `real`, `double precision` | exact |
//! | `DECIMAL(p,s)` | `numeric(p,s)` | exact |
//! | `BIT(n)` | `bit(n)` | exact |
//! | `YEAR` | `smallint` | widened |
//! | `CHAR(n)` | `character varying(n)` | widened: MySQL drops blanks at the end, PostgreSQL's `char` would show them |
//! | `VARCHAR(n)` | `character varying(n)` | exact; lossy: U+0000 |
//! | `TINYTEXT` … `LONGTEXT` | `text` | widened; lossy: U+0000 |
//! | `BINARY(n)`, `VARBINARY(n)`, `TINYBLOB` … `LONGBLOB` | `bytea` | widened: no limit |
//! | `ENUM` | an enumeration `table_column_enum` | lossy: the error value `''` |
//! | `SET` | `text`, labels with commas between them | widened |
//! | `DATE` | `date` | lossy: `0000-00-00` and days of no calendar |
//! | `DATETIME(f)` | `timestamp(f)` | lossy: the same |
//! | `TIMESTAMP(f)` | `timestamptz(f)` | lossy: the zero date |
//! | `TIME(f)` | `interval(f)` | widened; say `time` where all are between 00:00 and 24:00 |
//! | `JSON` | `json`, its text as it is | widened; say `jsonb` where the order of keys does not matter |
//! | `GEOMETRY` and its kinds | `bytea`: SRID in four octets, then WKB | widened |
//! | `VECTOR(n)` | `real[]` | widened |
//! | `UUID`; `INET4`, `INET6` (MariaDB) | `uuid`; `text` | exact; widened |
//!
//! ## PostgreSQL → MySQL and MariaDB
//!
//! | PostgreSQL | MySQL | fit |
//! |---|---|---|
//! | `smallint`, `integer`, `bigint` | `SMALLINT`, `INT`, `BIGINT` | exact |
//! | `oid` | `INT UNSIGNED` | exact |
//! | `boolean` | `TINYINT(1)` | widened |
//! | `real`, `double precision` | `FLOAT`, `DOUBLE` | lossy: NaN, infinities |
//! | `numeric(p,s)` up to 65 digits, 30 behind the point | `DECIMAL(p,s)` | lossy: NaN |
//! | other `numeric` | `DECIMAL(65,30)` | lossy: more digits, NaN, infinities, zeros at the end |
//! | `char(n)` up to 255 | `CHAR(n)` | widened: blanks at the end, which are its padding, are not shown |
//! | `varchar(n)` | `VARCHAR(n)`; `LONGTEXT` where the row would be too long | exact, widened |
//! | `text` | `LONGTEXT` | exact |
//! | `text` in a key | `VARCHAR(n)`, as long as a key may be | lossy: longer ones |
//! | `bytea`; in a key | `LONGBLOB`; `VARBINARY(n)` | exact; lossy: longer ones |
//! | `date` | `DATE` | lossy: infinities, before the year 1, after 9999 |
//! | `time(f)` | `TIME(f)` | widened |
//! | `timetz` | `VARCHAR(32)` | widened |
//! | `timestamp(f)` | `DATETIME(f)` | lossy: infinities, before the year 1, after 9999 |
//! | `timestamptz(f)` | `DATETIME(f)` in UTC | lossy: the same, and that it is UTC is not in the type; `timestamp` goes from 1970 to 2038 alone |
//! | `interval` | `VARCHAR(80)`, ISO 8601 | widened |
//! | `uuid` | `CHAR(36)`; MariaDB's `UUID` since 10.7 | widened; exact |
//! | `json`, `jsonb` | `JSON`; `LONGTEXT` on MariaDB | lossy on MySQL: order of keys, repeated keys, numbers beyond a double; exact on MariaDB |
//! | `bit(n)` up to 64 | `BIT(n)` | exact |
//! | `bit varying`, longer `bit` | `VARCHAR(n)` of `0` and `1`, or `LONGTEXT` | widened |
//! | enumerations | `ENUM` | exact; `VARCHAR(255)` where a label ends in a blank |
//! | arrays | `JSON`; `LONGTEXT` on MariaDB | lossy: indexes that do not begin at 1 |
//! | `inet`, `cidr`, `macaddr`, `money`, `xml`, `hstore`, `tsvector`, ranges, composite and all other types | `LONGTEXT`, their text form; in a key `VARCHAR(n)` | widened |
//!
//! Text keeps its equality: a target column is compared octet by octet, as
//! the source's default collations do, wherever the target's server has such
//! a collation. A source column that ignores case is compared octet by octet
//! at PostgreSQL, and the report says so. A target that counts more texts as
//! equal than the source does would lose rows of a key, and is refused.

mod cast;
mod dialect;
mod mapping;
mod names;
mod report;
mod walk;

pub use cast::{Cast, Misfit, MisfitKind};
pub use dialect::{Bounds, Convert, Dialect, Fit, Limit, Mapped, Names, Note, Outcome, Used};
pub use mapping::{ColumnMapping, Mapping, NulCharacter, Policies, TableMapping, Unfit};
pub use report::{ColumnReport, ObjectReport, Report, TableReport};
pub use walk::{Conversion, Rows, convert};
