//! Whether two servers order a key alike.
//!
//! It decides how a table is divided and nothing else: see
//! [the module](super) for why no difference is missed where it is wrong.

use crate::schema::{Column, DataType, Table};

/// Whether the keys of both tables are in one order, as far as their types
/// tell.
pub(super) fn alike(staged: &Table, there: &Table) -> bool {
    let one_engine = staged.origin.engine == there.origin.engine;
    staged.has_key()
        && staged.key_columns().iter().all(|at| {
            let column = &staged.columns[*at];
            there
                .position(&column.name)
                .is_some_and(|found| column_alike(column.decoded_by(), &there.columns[found], one_engine))
        })
}

fn column_alike(one: &Column, other: &Column, one_engine: bool) -> bool {
    use DataType as T;
    if one_engine && one.data_type == other.data_type && one.native.name == other.native.name {
        // Also texts: their collation is the same where nobody has changed it.
        return one.collation == other.collation;
    }
    match (&one.data_type, &other.data_type) {
        (
            T::Bool | T::Integer { .. } | T::Decimal { .. } | T::Year | T::Float32 | T::Float64,
            T::Bool | T::Integer { .. } | T::Decimal { .. } | T::Year | T::Float32 | T::Float64,
        )
        | (T::Date | T::Timestamp { .. }, T::Date | T::Timestamp { .. })
        | (T::Bytes { fixed: false, .. }, T::Bytes { fixed: false, .. })
        | (T::Time { zone: false, .. }, T::Time { zone: false, .. }) => true,
        // PostgreSQL orders them by their octets; MariaDB's own type does not.
        (T::Uuid, T::Bytes { .. }) | (T::Bytes { .. }, T::Uuid) => true,
        (T::Enum { labels: one }, T::Enum { labels: other }) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;
    use crate::schema::{Key, TableName};

    #[test]
    fn numbers_and_clocks_are_ordered_alike_and_texts_only_within_an_engine() {
        let table = |engine: &'static str, to: DataType| {
            let column = Column::new("k", to).not_null();
            Table::new(Engine::new(engine), TableName::new("a", "b"), vec![column], Key::Columns(vec![0]))
        };
        let text = || DataType::text();
        for (one, other, expected) in [
            (table("a", DataType::integer(32)), table("b", DataType::decimal()), true),
            (
                table("a", DataType::moment()),
                table("b", DataType::Timestamp { precision: None, zone: false }),
                true,
            ),
            (table("a", DataType::Uuid), table("b", DataType::bytes()), true),
            (table("a", DataType::Uuid), table("b", DataType::Uuid), false),
            (table("a", text()), table("b", text()), false),
            (table("a", text()), table("a", text()), true),
            (table("a", DataType::integer(32)), table("b", text()), false),
        ] {
            assert_eq!(alike(&one, &other), expected, "{:?}", (&one.columns, &other.columns));
        }
    }
}
