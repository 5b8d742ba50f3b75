//! The types of a database that are not built in, read once.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::DataType;

use crate::error::OrPg;
use crate::schema::Cells;

/// How a type is made of others.
#[derive(Debug)]
enum Made {
    Enum(Arc<[String]>),
    Domain { base: Oid, typmod: i32 },
    Array(Oid),
}

/// The types that columns of these tables use, with the types below them.
#[derive(Debug, Default)]
pub(super) struct Types(HashMap<Oid, Made>);

/// Enums, domains and arrays of the whole database: few, and this way one
/// question is enough however deep they nest.
const TYPES: &str = "
SELECT t.oid, t.typtype::text, t.typbasetype, t.typtypmod, t.typelem,
       CASE WHEN t.typtype = 'e' THEN
            ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
                   WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) END
  FROM pg_catalog.pg_type t
 WHERE t.typtype IN ('e', 'd')
    OR t.typcategory = 'A' AND t.typelem <> 0 AND t.typlen = -1";

impl Types {
    pub(super) async fn read(tx: &Transaction<'_>) -> Result<Self> {
        let mut types = HashMap::new();
        for row in tx.query(TYPES, &[]).await.during("schema.types")? {
            let made = match row.cell::<&str>(1)? {
                "e" => Made::Enum(row.cell::<Vec<String>>(5)?.into()),
                "d" => Made::Domain { base: row.cell(2)?, typmod: row.cell(3)? },
                _ => Made::Array(row.cell(4)?),
            };
            types.insert(row.cell(0)?, made);
        }
        Ok(Self(types))
    }

    /// The neutral type of a column of this type.
    pub(super) fn neutral(&self, oid: Oid, typmod: i32) -> DataType {
        self.below(oid, typmod, 64)
    }

    /// A catalog has no loops and no such depth; rubbish might.
    fn below(&self, oid: Oid, typmod: i32, depth: u8) -> DataType {
        let Some(depth) = depth.checked_sub(1) else { return DataType::Native };
        match self.0.get(&oid) {
            Some(Made::Enum(labels)) => DataType::Enum { labels: Arc::clone(labels) },
            Some(Made::Domain { base, typmod }) => self.below(*base, *typmod, depth),
            // The modifier of an array is that of its elements.
            Some(Made::Array(element)) => DataType::Array(Arc::new(self.below(*element, typmod, depth))),
            None => built_in(oid, typmod),
        }
    }
}

/// The types that every server has, by their fixed oids
/// (`src/include/catalog/pg_type.dat`).
fn built_in(oid: Oid, typmod: i32) -> DataType {
    let modifier = u32::try_from(typmod).ok();
    // Lengths of characters are kept with the size of a header added.
    let length = modifier.and_then(|modifier| modifier.checked_sub(4));
    let precision = u8::try_from(typmod).ok();
    match oid {
        16 => DataType::Bool,
        17 => DataType::bytes(),
        18 => DataType::Text { length: Some(1), fixed: false },
        19 | 25 => DataType::text(),
        20 => DataType::integer(64),
        21 => DataType::integer(16),
        23 => DataType::integer(32),
        26 => DataType::Integer { bits: 32, unsigned: true },
        114 | 3802 => DataType::Json,
        700 => DataType::Float32,
        701 => DataType::Float64,
        1042 => DataType::Text { length, fixed: length.is_some() },
        1043 => DataType::Text { length, fixed: false },
        1082 => DataType::Date,
        1083 => DataType::Time { precision, zone: false },
        1114 => DataType::Timestamp { precision, zone: false },
        1184 => DataType::Timestamp { precision, zone: true },
        1186 => DataType::Interval,
        1266 => DataType::Time { precision, zone: true },
        1560 => DataType::Bits { length: modifier, fixed: true },
        1562 => DataType::Bits { length: modifier, fixed: false },
        1700 => decimal(length),
        2950 => DataType::Uuid,
        _ => DataType::Native,
    }
}

/// 16 bits of precision above 11 bits of signed scale
/// (`make_numeric_typmod` in `numeric.c`; before 15 the scale had no sign).
fn decimal(modifier: Option<u32>) -> DataType {
    let Some(modifier) = modifier else { return DataType::decimal() };
    let scale = i32::try_from(modifier & 0x7ff).unwrap_or(0);
    DataType::Decimal { precision: Some(modifier >> 16), scale: Some((scale ^ 1024) - 1024) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_read_as_the_server_writes_them() {
        let numeric = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        for (scale, precision) in [(2, 14), (-3, 5), (0, 1000), (-1000, 1)] {
            assert_eq!(
                built_in(1700, numeric(precision, scale)),
                DataType::Decimal { precision: u32::try_from(precision).ok(), scale: Some(scale) }
            );
        }
        assert_eq!(built_in(1700, -1), DataType::decimal());
        assert_eq!(built_in(1043, 54), DataType::Text { length: Some(50), fixed: false });
        assert_eq!(built_in(1042, -1), DataType::text());
        assert_eq!(built_in(1184, 3), DataType::Timestamp { precision: Some(3), zone: true });
        assert_eq!(built_in(1560, 8), DataType::Bits { length: Some(8), fixed: true });
        assert_eq!(built_in(600, -1), DataType::Native);
    }
}
