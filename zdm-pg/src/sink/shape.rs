//! A table as the target has it, asked of its catalog: how its columns are
//! written, how its key is compared, and which values must not clash.

use std::sync::Arc;

use tokio_postgres::Client;
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use crate::connect::quote::{quote_ident, quote_table};
use crate::error::OrPg;
use crate::types::{is_enum, passes};

/// A target's table, seen through the columns of the source's.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) table: Arc<Table>,
    /// Its number in the target's catalog.
    pub(super) oid: u32,
    /// Quoted, with its schema.
    pub(super) name: String,
    /// The same where rows are sought: `ONLY` keeps out tables that inherit
    /// from it, whose rows are their own.
    pub(super) only: String,
    /// The columns that are written, in the order of the table's cells.
    pub(super) columns: Vec<Written>,
    /// Indexes into `columns`, in the key's order; empty without a key.
    pub(super) key: Vec<usize>,
    /// The equality of each key column, as its unique index has it:
    /// `OPERATOR("public".=)`.
    pub(super) equals: Vec<String>,
}

/// One column that is written.
#[derive(Debug)]
pub(super) struct Written {
    /// Its index in the source's table.
    pub(super) at: usize,
    /// Quoted.
    pub(super) name: String,
    /// The type, of a domain its base type: a staged cell may be absent, which
    /// a domain may forbid.
    pub(super) base: String,
    /// The same without its modifier: a value is rounded, padded or refused
    /// where it is assigned, and never cut by a cast.
    pub(super) plain: String,
    /// The type of an array of them; `None` where an array of them is not a
    /// list of single values (arrays, composites) or is written another way.
    pub(super) array: Option<String>,
    /// Whether the binary form of the source's column is one of its type.
    pub(super) binary: bool,
    /// An UPDATE cannot set it (`GENERATED ALWAYS AS IDENTITY`).
    pub(super) identity_always: bool,
}

const COLUMNS: &str = "
    WITH RECURSIVE base AS (
        SELECT a.attnum, a.attname::text AS name, a.attidentity = 'a' AS always, a.attgenerated <> '' AS generated,
            a.atttypid AS type, a.atttypmod AS modifier
        FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT b.attnum, b.name, b.always, b.generated, t.typbasetype, t.typtypmod
        FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd')
    SELECT b.name, b.always, b.generated, format_type(b.type, b.modifier), b.attnum, format_type(b.type, -1),
        CASE WHEN t.typtype IN ('b', 'e', 'r', 'm') AND t.typarray <> 0 AND t.typdelim = ','
             THEN format_type(t.typarray, -1) END,
        b.type, t.typtype = 'e'
    FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype <> 'd'";

/// The unique index over exactly these columns, the primary key's if it is
/// one, and the equality of each of its columns.
const KEY: &str = "
    SELECT a.attname::text, n.nspname::text, o.oprname::text
    FROM (SELECT i.* FROM pg_index i
          WHERE i.indrelid = $1 AND i.indisunique AND i.indimmediate AND i.indisvalid
            AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = cardinality($2::int2[])
            AND $2::int2[] @> (i.indkey::int2[])[0:i.indnkeyatts - 1]
          ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) i
    CROSS JOIN generate_series(0, i.indnkeyatts - 1) AS k (at)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.at]
    JOIN pg_opclass c ON c.oid = i.indclass[k.at]
    JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
        AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
    JOIN pg_operator o ON o.oid = m.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace";

impl Shape {
    /// Asks the target; for its key only where rows are sought by it.
    ///
    /// # Errors
    /// `NotFound` without the table or a column, `Config` without a unique
    /// index over the key.
    pub(super) async fn of(session: &Client, table: &Arc<Table>, keyed: bool) -> Result<Self> {
        let during = "sink.describe";
        let name = quote_table(&table.name.schema, &table.name.name);
        let find = "SELECT oid, relkind = 'p' FROM pg_class WHERE oid = to_regclass($1)";
        let Some(row) = session.query_opt(find, &[&name]).await.during(during)? else {
            return Err(missing("the target has no such table: prepare it first", table));
        };
        let oid: u32 = row.try_get(0).during(during)?;
        let only = if row.try_get(1).during(during)? { name.clone() } else { format!("ONLY {name}") };
        let there = session.query(COLUMNS, &[&oid]).await.during(during)?;
        let mut columns = Vec::new();
        let mut numbers = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            let found = there.iter().find(|row| row.try_get::<_, &str>(0).is_ok_and(|n| n == column.name));
            let Some(row) = found else {
                if column.is_written() {
                    return Err(missing("the target's table lacks a column: make the tables alike", table)
                        .with("column", &column.name));
                }
                continue;
            };
            if !column.is_written() || row.try_get::<_, bool>(2).during(during)? {
                continue;
            }
            columns.push(Written {
                at,
                name: quote_ident(&column.name),
                base: row.try_get(3).during(during)?,
                plain: row.try_get(5).during(during)?,
                array: row.try_get(6).during(during)?,
                binary: passes(column)
                    && match is_enum(column) {
                        true => row.try_get(8).during(during)?,
                        false => row.try_get::<_, u32>(7).during(during)? == column.native.id,
                    },
                identity_always: row.try_get(1).during(during)?,
            });
            numbers.push(row.try_get::<_, i16>(4).during(during)?);
        }
        let mut shape =
            Self { table: Arc::clone(table), oid, name, only, columns, key: Vec::new(), equals: Vec::new() };
        if keyed && table.has_key() {
            shape.find_key(session, oid, &numbers).await?;
        }
        Ok(shape)
    }

    /// The columns that an UPDATE must leave alone: those of these names,
    /// each with its table's number, and identities.
    pub(super) fn fixed(&self, unique: &[(u32, String)]) -> Vec<usize> {
        let is_unique = |name: &str| unique.iter().any(|(oid, unique)| *oid == self.oid && unique == name);
        let fixed = |(at, column): &(usize, &Written)| {
            let name = self.table.columns[column.at].name.as_str();
            !self.key.contains(at) && (column.identity_always || is_unique(name))
        };
        self.columns.iter().enumerate().filter(fixed).map(|(at, _)| at).collect()
    }

    /// `COPY … FROM STDIN` of all written columns.
    pub(super) fn copy(&self) -> String {
        format!("COPY {} ({}) FROM STDIN", self.name, self.names())
    }

    /// The written columns, quoted.
    pub(super) fn names(&self) -> String {
        self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    async fn find_key(&mut self, session: &Client, oid: u32, numbers: &[i16]) -> Result<()> {
        let during = "sink.describe";
        for &at in self.table.key_columns() {
            match self.columns.iter().position(|column| column.at == at) {
                Some(column) => self.key.push(column),
                None => {
                    return Err(missing("a key column of the table is generated at the target", &self.table));
                }
            }
        }
        let wanted: Vec<i16> = self.key.iter().map(|&at| numbers[at]).collect();
        let rows = session.query(KEY, &[&oid, &wanted]).await.during(during)?;
        for &at in &self.key {
            let name = &self.table.columns[self.columns[at].at].name;
            let found = rows.iter().find(|row| row.try_get::<_, &str>(0).is_ok_and(|n| n == name));
            let Some(row) = found else {
                return Err(Error::new(
                    ErrorKind::Config,
                    "the target's table has no unique index over its key: build it before changes are applied",
                )
                .with("table", &self.table.name)
                .during(during));
            };
            let (schema, operator): (&str, &str) =
                (row.try_get(1).during(during)?, row.try_get(2).during(during)?);
            self.equals.push(format!("OPERATOR({}.{operator})", quote_ident(schema)));
        }
        Ok(())
    }
}

fn missing(message: &str, table: &Table) -> Error {
    Error::new(ErrorKind::NotFound, message).with("table", &table.name).during("sink.describe")
}
