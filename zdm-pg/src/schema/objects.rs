//! What surrounds a table: indexes, constraints, triggers; and the key that
//! follows from them and the replica identity.

use std::collections::HashMap;

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{
    Action, Condition, Constraint, ConstraintKind, ForeignKey, Index, IndexKey, IndexMethod, KeyPart,
    TableName, Trigger,
};

use crate::connect::quote::{quote_ident, quote_table};
use crate::error::OrPg;
use crate::schema::Cells;
use crate::schema::dialect::SYNTAX;

/// What the catalog says of one index, constraints' own included.
#[derive(Debug)]
pub(super) struct RawIndex {
    pub(super) index: Index,
    /// The columns of its key, where all are plain and it can tell rows apart:
    /// unique, over whole rows, checked at once.
    pub(super) key: Option<Vec<String>>,
    pub(super) primary: bool,
    pub(super) identity: bool,
    /// Whether a constraint makes it.
    pub(super) constrained: bool,
}

/// An index attached to a partitioned one is made by that.
const INDEXES: &str = "
SELECT i.indrelid, c.relname, i.indisunique, i.indisprimary, i.indisreplident,
       i.indimmediate AND i.indpred IS NULL, con.oid IS NOT NULL, pg_catalog.pg_get_indexdef(c.oid),
       CASE WHEN i.indexprs IS NULL AND am.amname = 'btree' THEN
            ARRAY(SELECT a.attname::text
                    FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, n)
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
                   WHERE k.n <= i.indnkeyatts ORDER BY k.n) END,
       i.indpred IS NULL AND i.indnkeyatts = i.indnatts,
       am.amname, pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       ARRAY(SELECT (SELECT a.attname::text FROM pg_catalog.pg_attribute a
                      WHERE a.attrelid = i.indrelid AND a.attnum = (i.indkey::int2[])[n])
               FROM generate_series(0, i.indnkeyatts - 1) n ORDER BY n),
       ARRAY(SELECT pg_catalog.pg_get_indexdef(c.oid, n, false) FROM generate_series(1, i.indnkeyatts) n ORDER BY n),
       ARRAY(SELECT (i.indoption::int2[])[n] & 1 = 1 FROM generate_series(0, i.indnkeyatts - 1) n ORDER BY n)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_am am ON am.oid = c.relam
  LEFT JOIN pg_catalog.pg_constraint con
    ON con.conindid = i.indexrelid AND con.conrelid = i.indrelid AND con.contype IN ('p', 'u', 'x')
 WHERE i.indrelid = ANY($1::oid[]) AND i.indisvalid AND i.indislive AND NOT c.relispartition
 ORDER BY i.indrelid, c.relname COLLATE \"C\"";

/// Reads the valid indexes of each table.
pub(super) async fn indexes(tx: &Transaction<'_>, tables: &[Oid]) -> Result<HashMap<Oid, Vec<RawIndex>>> {
    let mut indexes: HashMap<Oid, Vec<RawIndex>> = HashMap::new();
    for row in tx.query(INDEXES, &[&tables]).await.during("schema.indexes")? {
        let (name, unique): (String, bool) = (row.cell(1)?, row.cell(2)?);
        let columns: Option<Vec<String>> = row.cell(8)?;
        let definition = everywhere(row.cell(7)?, &name, unique);
        let (tells_apart, plain): (bool, bool) = (row.cell(5)?, row.cell(9)?);
        let mut index = Index::new(name, unique, Vec::new()).defined(definition);
        index.method = match row.cell::<&str>(10)? {
            "btree" => IndexMethod::Ordered,
            other => IndexMethod::Other(other.to_owned()),
        };
        index.filter = row.cell::<Option<String>>(11)?.map(condition);
        index.keys = keys(row.cell(12)?, row.cell(13)?, &row.cell::<Vec<bool>>(14)?);
        index.columns = columns.clone().filter(|_| plain);
        let raw = RawIndex {
            key: columns.clone().filter(|_| unique && tells_apart),
            index,
            primary: row.cell(3)?,
            identity: row.cell(4)?,
            constrained: row.cell(6)?,
        };
        indexes.entry(row.cell(0)?).or_default().push(raw);
    }
    Ok(indexes)
}

/// What an index is over: columns by name, else what is computed.
fn keys(names: Vec<Option<String>>, texts: Vec<String>, descending: &[bool]) -> Vec<IndexKey> {
    let parts = names.into_iter().zip(texts).map(|(name, text)| match name {
        Some(name) => KeyPart::Column(name),
        None => KeyPart::Expression(condition(text)),
    });
    parts.zip(descending).map(|(part, down)| IndexKey { part, prefix: None, descending: *down }).collect()
}

fn condition(native: String) -> Condition {
    Condition { neutral: SYNTAX.read(&native), native }
}

/// `pg_constraint.confdeltype` and its like.
fn action(letter: &str) -> Action {
    match letter {
        "r" => Action::Restrict,
        "c" => Action::Cascade,
        "n" => Action::SetNull,
        "d" => Action::SetDefault,
        _ => Action::NoAction,
    }
}

/// An index of a partitioned table is shown with ONLY, and so made it would
/// stay invalid; without it, it is made on every partition.
fn everywhere(definition: String, name: &str, unique: bool) -> String {
    let rest = |quoted: &str| {
        let head = format!("CREATE {}INDEX {quoted} ON ", if unique { "UNIQUE " } else { "" });
        let rest = definition.strip_prefix(&format!("{head}ONLY "))?;
        Some(format!("{head}{rest}"))
    };
    rest(name).or_else(|| rest(&quote_ident(name))).unwrap_or(definition)
}

/// Not NOT NULL (`n`, since 18), which is the column's; not constraint
/// triggers (`t`), which are triggers; not what a partition or child inherits.
const CONSTRAINTS: &str = "
SELECT k.conrelid, k.conname, k.contype::text, pg_catalog.pg_get_constraintdef(k.oid), k.convalidated,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY c(num, n)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.num ORDER BY c.n),
       fn.nspname, f.relname,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY c(num, n)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.num ORDER BY c.n),
       k.confdeltype::text, k.confupdtype::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid)
  FROM pg_catalog.pg_constraint k
  LEFT JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
  LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
 WHERE k.conrelid = ANY($1::oid[]) AND k.contype IN ('p', 'u', 'c', 'x', 'f') AND k.conparentid = 0
 ORDER BY k.conrelid, k.conname COLLATE \"C\"";

/// Reads the constraints of each table.
pub(super) async fn constraints(
    tx: &Transaction<'_>,
    tables: &[Oid],
) -> Result<HashMap<Oid, Vec<Constraint>>> {
    let mut constraints: HashMap<Oid, Vec<Constraint>> = HashMap::new();
    for row in tx.query(CONSTRAINTS, &[&tables]).await.during("schema.constraints")? {
        let columns: Vec<String> = row.cell(5)?;
        let references: (Option<&str>, Option<&str>) = (row.cell(6)?, row.cell(7)?);
        let kind = match (row.cell(2)?, references) {
            ("p", _) => ConstraintKind::Primary { columns },
            ("u", _) => ConstraintKind::Unique { columns },
            ("x", _) => ConstraintKind::Exclusion,
            ("f", (Some(schema), Some(name))) => ConstraintKind::ForeignKey(ForeignKey {
                columns,
                references: TableName::new(schema, name),
                referenced: row.cell(8)?,
                acts: action(row.cell(9)?).acts() || action(row.cell(10)?).acts(),
                on_delete: action(row.cell(9)?),
                on_update: action(row.cell(10)?),
            }),
            _ => ConstraintKind::Check {
                neutral: row.cell::<Option<&str>>(11)?.and_then(|text| SYNTAX.read(text)),
            },
        };
        constraints.entry(row.cell(0)?).or_default().push(Constraint {
            name: row.cell(1)?,
            kind,
            definition: row.cell(3)?,
            validated: row.cell(4)?,
        });
    }
    Ok(constraints)
}

/// Users' triggers: those of foreign keys and of partitions are internal, and
/// the seal (`$2`) is ours.
const TRIGGERS: &str = "
SELECT t.tgrelid, t.tgname, pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled::text, n.nspname, c.relname
  FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE t.tgrelid = ANY($1::oid[]) AND NOT t.tgisinternal AND t.tgname <> $2
 ORDER BY t.tgrelid, t.tgname COLLATE \"C\"";

/// Reads the triggers of each table.
pub(super) async fn triggers(
    tx: &Transaction<'_>,
    tables: &[Oid],
    seal: &str,
) -> Result<HashMap<Oid, Vec<Trigger>>> {
    let mut triggers: HashMap<Oid, Vec<Trigger>> = HashMap::new();
    for row in tx.query(TRIGGERS, &[&tables, &seal]).await.during("schema.triggers")? {
        let name: String = row.cell(1)?;
        let mode = match row.cell(3)? {
            "D" => Some("DISABLE"),
            "R" => Some("ENABLE REPLICA"),
            "A" => Some("ENABLE ALWAYS"),
            _ => None,
        };
        let table = quote_table(row.cell(4)?, row.cell(5)?);
        let mode = mode.map(|mode| format!("ALTER TABLE {table} {mode} TRIGGER {}", quote_ident(&name)));
        triggers.entry(row.cell(0)?).or_default().push(Trigger { name, definition: row.cell(2)?, mode });
    }
    Ok(triggers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_of_a_partitioned_table_is_made_on_every_partition() {
        for (given, name, unique, expected) in [
            (
                "CREATE INDEX i ON ONLY s.t USING btree (a)",
                "i",
                false,
                "CREATE INDEX i ON s.t USING btree (a)",
            ),
            (
                r#"CREATE UNIQUE INDEX "I ON" ON ONLY s.t USING btree (a)"#,
                "I ON",
                true,
                r#"CREATE UNIQUE INDEX "I ON" ON s.t USING btree (a)"#,
            ),
            ("CREATE INDEX i ON s.t USING btree (a)", "i", false, "CREATE INDEX i ON s.t USING btree (a)"),
        ] {
            assert_eq!(everywhere(given.to_owned(), name, unique), expected);
        }
    }
}
