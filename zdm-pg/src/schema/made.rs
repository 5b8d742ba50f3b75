//! How the types of a database are made of others, read once: domains down to
//! their base types, arrays down to their elements.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::DataType;

use crate::error::OrPg;
use crate::schema::Cells;
use crate::types;

#[derive(Debug)]
struct Made {
    name: String,
    /// What a domain restricts, and with which modifier.
    base: Option<(Oid, i32)>,
    /// What an array holds.
    element: Option<Oid>,
    /// The array of this.
    array: Oid,
    labels: Vec<String>,
    delimiter: String,
}

/// The types of a database.
#[derive(Debug, Default)]
pub(super) struct Types(HashMap<Oid, Made>);

/// All but rows of tables: one question is enough however deep they nest.
const TYPES: &str = "
SELECT t.oid, t.typname, t.typtype = 'd', t.typbasetype, t.typtypmod,
       t.typcategory = 'A' AND t.typelem <> 0 AND t.typlen = -1, t.typelem, t.typarray,
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
              WHERE t.typtype = 'e' AND e.enumtypid = t.oid ORDER BY e.enumsortorder),
       t.typdelim::text
  FROM pg_catalog.pg_type t
 WHERE t.typtype IN ('b', 'e', 'd', 'r', 'm')";

impl Types {
    pub(super) async fn read(tx: &Transaction<'_>) -> Result<Self> {
        let mut types = HashMap::new();
        for row in tx.query(TYPES, &[]).await.during("schema.types")? {
            let (domain, array): (bool, bool) = (row.cell(2)?, row.cell(5)?);
            let base = (row.cell(3)?, row.cell(4)?);
            let element = row.cell(6)?;
            let made = Made {
                name: row.cell(1)?,
                base: domain.then_some(base),
                element: array.then_some(element),
                array: row.cell(7)?,
                labels: row.cell(8)?,
                delimiter: row.cell(9)?,
            };
            types.insert(row.cell(0)?, made);
        }
        Ok(Self(types))
    }

    /// The oid that cells of such a column are decoded by, and its neutral type.
    pub(super) fn neutral(&self, oid: Oid, typmod: i32) -> (Oid, DataType) {
        let (mut oid, mut typmod) = self.below_domains(oid, typmod);
        let mut element = self.0.get(&oid);
        let mut array = false;
        if let Some(inner) = element.and_then(|made| made.element) {
            // The modifier of an array is that of its elements; a domain's
            // elements have the domain's.
            let (base, below) = self.below_domains(inner, typmod);
            element = self.0.get(&base);
            array = element.is_none_or(|made| made.delimiter == ",");
            if base != inner
                && let Some(made) = element
            {
                (oid, typmod) = (made.array, below);
            }
        }
        let data_type = types::neutral(oid, typmod).unwrap_or_else(|| {
            let scalar = match element {
                Some(made) if !made.labels.is_empty() => {
                    DataType::Enum { labels: made.labels.as_slice().into() }
                }
                // The one extension type that is text in all but its equality.
                Some(made) if made.name == "citext" => DataType::text(),
                _ => DataType::Native,
            };
            if array { DataType::Array(Arc::new(scalar)) } else { scalar }
        });
        (oid, data_type)
    }

    /// A catalog has no loops, and nobody nests so deep; rubbish might.
    fn below_domains(&self, mut oid: Oid, mut typmod: i32) -> (Oid, i32) {
        for _ in 0..64 {
            match self.0.get(&oid).and_then(|made| made.base) {
                Some(base) => (oid, typmod) = base,
                None => break,
            }
        }
        (oid, typmod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, base: Option<(Oid, i32)>, element: Option<Oid>, array: Oid) -> Made {
        Made { name: name.to_owned(), base, element, array, labels: Vec::new(), delimiter: ",".to_owned() }
    }

    #[test]
    fn domains_and_arrays_of_them_are_what_they_are_made_of() {
        let typmod = (12 << 16 | 3) + 4;
        let types = Types(HashMap::from([
            (1700, made("numeric", None, None, 1231)),
            (1231, made("_numeric", None, Some(1700), 0)),
            (20_000, made("money_of", Some((1700, typmod)), None, 20_001)),
            (20_001, made("_money_of", None, Some(20_000), 0)),
            (20_002, made("more", Some((20_000, -1)), None, 0)),
            (20_003, made("loop", Some((20_003, -1)), None, 0)),
            (20_004, Made { labels: vec!["a".to_owned()], ..made("mood", None, None, 20_005) }),
            (20_005, made("_mood", None, Some(20_004), 0)),
        ]));
        let shown = |oid| {
            let (id, data_type) = types.neutral(oid, -1);
            format!("{id} {data_type}")
        };
        assert_eq!(shown(20_000), "1700 decimal(12,3)");
        assert_eq!(shown(20_002), "1700 decimal(12,3)");
        assert_eq!(shown(20_001), "1231 array of decimal(12,3)");
        assert_eq!(shown(20_003), "20003 native");
        assert_eq!(shown(20_004), "20004 enum of 1");
        assert_eq!(shown(20_005), "20005 array of enum of 1");
        assert_eq!(shown(99_999), "99999 native");
    }
}
