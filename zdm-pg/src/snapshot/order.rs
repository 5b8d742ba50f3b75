//! By which operators the server orders a key.
//!
//! They are those of the key's own index, named with their schema: `<` alone
//! means another operator where an extension's type (`citext`) is compared in
//! a session that does not see the extension's schema, and then bounds that
//! were picked by one order would be compared by another.

use tokio_postgres::Row;
use zdm_core::Result;
use zdm_core::schema::Table;

use crate::connect::Control;
use crate::connect::quote::quote_ident;
use crate::error::OrPg;

/// A key, with the order of its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyOrder {
    pub(super) columns: Vec<KeyColumn>,
}

/// One column of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyColumn {
    /// Its name, quoted.
    pub(super) name: String,
    /// Its type, as a cast writes it.
    pub(super) cast: String,
    /// Its operators, each as `OPERATOR(schema.name)`.
    pub(super) operators: Operators,
}

/// The operators of one column's class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operators {
    pub(super) less: String,
    pub(super) at_most: String,
    pub(super) equal: String,
    pub(super) greater: String,
}

/// The B-tree strategies 1, 2, 3 and 5 of each column of each index that could
/// be a key. <https://www.postgresql.org/docs/current/btree.html#BTREE-SUPPORT-FUNCS>
const OPERATORS: &str = "
SELECT i.indexrelid, a.attname::text,
       max(format('OPERATOR(%I.%s)', n.nspname, o.oprname)) FILTER (WHERE ao.amopstrategy = 1),
       max(format('OPERATOR(%I.%s)', n.nspname, o.oprname)) FILTER (WHERE ao.amopstrategy = 2),
       max(format('OPERATOR(%I.%s)', n.nspname, o.oprname)) FILTER (WHERE ao.amopstrategy = 3),
       max(format('OPERATOR(%I.%s)', n.nspname, o.oprname)) FILTER (WHERE ao.amopstrategy = 5)
  FROM pg_index i
 CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS k (attnum, opclass, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_opclass c ON c.oid = k.opclass
  JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
  JOIN pg_amop ao ON ao.amopfamily = c.opcfamily AND ao.amoppurpose = 's'
                 AND ao.amoplefttype = c.opcintype AND ao.amoprighttype = c.opcintype
  JOIN pg_operator o ON o.oid = ao.amopopr
  JOIN pg_namespace n ON n.oid = o.oprnamespace
 WHERE i.indrelid = $1 AND i.indisunique AND i.indpred IS NULL AND k.place <= i.indnkeyatts
 GROUP BY i.indisprimary, i.indexrelid, k.place, a.attname
 ORDER BY i.indisprimary DESC, i.indexrelid, k.place";

impl KeyOrder {
    /// The order of a table's key; `None` if it has no key, or no index that
    /// would order it.
    pub(crate) async fn of(control: &Control, table: &Table) -> Result<Option<Self>> {
        if !table.has_key() {
            return Ok(None);
        }
        let rows = control.query(OPERATORS, &[&table.origin.id]).await.during("snapshot.order")?;
        let rows = rows.iter().map(Ordered::of).collect::<Result<Vec<_>, _>>().during("snapshot.order")?;
        let key: Vec<_> = table.key_columns().iter().filter_map(|at| table.columns.get(*at)).collect();
        let of_key = |index: &&[Ordered]| index.iter().map(|row| &row.name).eq(key.iter().map(|c| &*c.name));
        let Some(index) = rows.chunk_by(|a, b| a.index == b.index).find(of_key) else { return Ok(None) };
        let columns = index.iter().zip(key).map(|(row, column)| KeyColumn {
            name: quote_ident(&column.name),
            cast: column.native.name.to_string(),
            operators: row.operators.clone(),
        });
        Ok(Some(Self { columns: columns.collect() }))
    }

    /// `ORDER BY` of the key, over these names for its columns.
    pub(super) fn by(&self, names: impl Iterator<Item = String>) -> String {
        let columns = self.columns.iter().zip(names);
        let parts: Vec<_> =
            columns.map(|(column, name)| format!("{name} USING {}", column.operators.less)).collect();
        parts.join(", ")
    }

    /// Whether one operator compares all columns, so that a row comparison is
    /// the same as one column after the other, and an index serves it.
    pub(super) fn is_uniform(&self) -> bool {
        self.columns.windows(2).all(|pair| pair[0].operators == pair[1].operators)
    }
}

/// A column of an index, as the catalog tells it.
struct Ordered {
    index: u32,
    name: String,
    operators: Operators,
}

impl Ordered {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let operators = Operators {
            less: row.try_get(2)?,
            at_most: row.try_get(3)?,
            equal: row.try_get(4)?,
            greater: row.try_get(5)?,
        };
        Ok(Self { index: row.try_get(0)?, name: row.try_get(1)?, operators })
    }
}
