//! The types of MySQL and MariaDB: what a native cell decodes to, and how any
//! value is written for a server to read.
//!
//! Nothing else in the crate knows a type. A cell is in the text form of the
//! protocol (format 0) or in the form of the log (format 1; format 2 for the
//! days and times of tables older than MySQL 5.6). What the log leaves out of
//! a cell (sign, character set, digits, the length that a `BINARY` is padded
//! to) comes from the catalog, and is kept, packed, in the column's native id.
//! That the catalog's description still fits is checked against each table map
//! of the log, in `changes`, before its rows are read.
//!
//! ```text
//! native      what the catalog says of a column -> Kind, packed into the native id
//! neutral     native type -> neutral type
//! encoding    MySqlEncoding: bytes -> Value, by format
//! log         form of the log -> Value; decimal, temporal, json: its harder parts
//! text        form of the text protocol -> Value
//! charset     text in any character set of the server -> UTF-8
//! labels      labels of ENUM and SET, from the type's name
//! literal     Value -> SQL; field: -> field of LOAD DATA; plain: what both share
//! ```

mod charset;
mod decimal;
mod encoding;
mod field;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod json;
mod labels;
mod literal;
mod log;
mod native;
mod neutral;
mod plain;
mod temporal;
mod text;

pub(crate) use self::charset::Charset;
pub(crate) use self::decimal::packed_len;
pub use self::encoding::MySqlEncoding;
pub(crate) use self::encoding::{ENCODING, LOG, OLD, TEXT};
pub(crate) use self::field::{load_expression, write_field};
pub(crate) use self::json::apply_diff as apply_json_diff;
pub(crate) use self::labels::labels;
pub(crate) use self::literal::{write_literal, write_value};
pub(crate) use self::native::{Kind, argument, code};
pub(crate) use self::neutral::column_type;
pub(crate) use self::temporal::fraction_len;
pub(crate) use self::text::select;
