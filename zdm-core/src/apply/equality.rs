//! Whether the database's equality of keys is that of their bytes.

use crate::schema::{Column, DataType, Table};

/// Whether two keys of this table that differ in their bytes, in one format,
/// differ for every database too.
///
/// Where it is false, a key may be respelled (`1.0` becomes `1.00`) while it
/// stays the same key: work on such a table must not be split by key, and an
/// update writes the key's cells as well. It answers by the neutral type and
/// errs towards false: text is for its collation to decide, a native type
/// for its engine. True for a table without a key.
pub fn key_is_bytewise(table: &Table) -> bool {
    table.key_columns().iter().filter_map(|&at| table.columns.get(at)).all(column_is_bytewise)
}

fn column_is_bytewise(column: &Column) -> bool {
    column.collation.is_none() && type_is_bytewise(&column.data_type)
}

fn type_is_bytewise(data_type: &DataType) -> bool {
    match data_type {
        DataType::Bool
        | DataType::Integer { .. }
        | DataType::Bytes { fixed: false, .. }
        | DataType::Date
        | DataType::Timestamp { .. }
        | DataType::Uuid => true,
        DataType::Array(of) => type_is_bytewise(of),
        // 0 and -0; 1.0 and 1.00; case and blanks; a month and 30 days; an
        // offset; an enumeration's labels under a collation.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;
    use crate::schema::{Key, TableName};

    #[test]
    fn what_can_be_respelled_is_not_bytewise() {
        let is = |data_type| {
            let columns = vec![Column::new("k", data_type)];
            let name = TableName::new("a", "b");
            key_is_bytewise(&Table::new(Engine::new("test"), name, columns, Key::Columns(vec![0])))
        };
        assert!(is(DataType::integer(64)) && is(DataType::Uuid) && is(DataType::moment()));
        assert!(!is(DataType::decimal()) && !is(DataType::text()) && !is(DataType::Float64));
        assert!(!is(DataType::Array(std::sync::Arc::new(DataType::Float32))) && !is(DataType::Native));
    }
}
