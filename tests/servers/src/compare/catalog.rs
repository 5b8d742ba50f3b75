//! The tables of a side, out of its catalog.

use std::collections::BTreeMap;

use super::across::Side;
use super::kind::Family;
use crate::error::{Error, Result};

/// One table.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) columns: BTreeMap<String, Family>,
    /// The columns of its primary key, in its order.
    pub(super) key: Vec<String>,
}

pub(super) type Tables = BTreeMap<String, Table>;

const POSTGRES: &str = "SELECT c.relname, a.attname, \
       CASE WHEN t.typtype = 'e' THEN 'text' WHEN t.typcategory = 'A' THEN 'array' \
         WHEN t.typtype = 'd' THEN format_type(t.typbasetype, NULL) ELSE t.typname::text END, \
       array_position(i.indkey::int[], a.attnum::int)::text \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
       JOIN pg_type t ON t.oid = a.atttypid \
       LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
     WHERE n.nspname = '{schema}' AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
     ORDER BY 1, a.attnum";

const MYSQL: &str = "SELECT c.TABLE_NAME, c.COLUMN_NAME, LOWER(c.DATA_TYPE), \
       CAST((SELECT s.SEQ_IN_INDEX FROM information_schema.STATISTICS s \
         WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME \
           AND s.COLUMN_NAME = c.COLUMN_NAME AND s.INDEX_NAME = 'PRIMARY') AS CHAR) \
     FROM information_schema.COLUMNS c JOIN information_schema.TABLES t \
       ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME \
     WHERE c.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'BASE TABLE' \
     ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION";

pub(super) async fn tables(side: &Side) -> Result<Tables> {
    let rows = match side {
        Side::Postgres(database, schema) | Side::Seen(database, schema, _) => {
            database.query(&POSTGRES.replace("{schema}", &schema.replace('\'', "''"))).await?
        }
        Side::MySql(database) => database.query(MYSQL).await?,
    };
    let mut tables = Tables::new();
    let mut keys: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
    for row in rows {
        let [Some(table), Some(column), Some(native), place] = row.as_slice() else {
            return Err(Error::new("reading a catalog").because(format!("it has a row {row:?}")));
        };
        let family = match side {
            Side::Postgres(..) | Side::Seen(..) => postgres(native),
            Side::MySql(_) => mysql(native),
        };
        tables.entry(table.clone()).or_default().columns.insert(column.clone(), family);
        if let Some(place) = place.as_ref().and_then(|place| place.parse().ok()) {
            keys.entry(table.clone()).or_default().insert(place, column.clone());
        }
    }
    for (name, key) in keys {
        tables.entry(name).or_default().key = key.into_values().collect();
    }
    Ok(tables)
}

fn postgres(native: &str) -> Family {
    match native {
        "int2" | "int4" | "int8" | "numeric" | "smallint" | "integer" | "bigint" => Family::Number,
        "float4" | "float8" | "real" | "double precision" => Family::Float,
        "bool" | "boolean" => Family::Bool,
        "bytea" => Family::Bytes,
        "date" => Family::Date,
        "timestamp" | "timestamp without time zone" => Family::Moment,
        "timestamptz" | "timestamp with time zone" => Family::Instant,
        "time" | "time without time zone" => Family::Time,
        "interval" => Family::Interval,
        "bit" | "varbit" => Family::Bit,
        "json" | "jsonb" => Family::Json,
        "uuid" => Family::Uuid,
        "array" => Family::List,
        _ => Family::Text,
    }
}

fn mysql(native: &str) -> Family {
    match native {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" => Family::Number,
        "float" | "double" => Family::Float,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => Family::Bytes,
        "date" => Family::Date,
        "datetime" | "timestamp" => Family::Moment,
        "time" => Family::Time,
        "bit" => Family::Bit,
        "set" => Family::Set,
        "json" => Family::Json,
        "uuid" => Family::Uuid,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => Family::Geometry,
        _ => Family::Text,
    }
}
