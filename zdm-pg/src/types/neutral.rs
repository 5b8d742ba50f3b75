//! The neutral type of a native one.

use std::sync::Arc;

use postgres_types::{Kind as PgKind, Type};
use zdm_core::schema::DataType;

/// What the catalog says about a column's type. Of a domain everything is the
/// *base* type's, its type modifier included.
#[derive(Debug, Clone, Default)]
pub(crate) struct NativeShape<'a> {
    /// `pg_type.oid` of the base type; it belongs into the column's native id
    /// as well, since cells are decoded by it. For an array of a domain it is
    /// the oid of the array of the domain's base type.
    pub(crate) oid: u32,
    /// `pg_attribute.atttypmod`, or `pg_type.typtypmod` of a domain; -1 for
    /// none.
    pub(crate) typmod: i32,
    /// `pg_type.typname` of the base type, or of the element of an array.
    pub(crate) name: &'a str,
    /// Labels in their order, if it is an enum or an array of one; else none.
    pub(crate) labels: &'a [String],
    /// Whether it is an array of a type that is not PostgreSQL's own, its
    /// elements parted by commas (`typdelim`).
    pub(crate) array: bool,
}

/// The neutral type of a native one.
pub(crate) fn neutral(shape: &NativeShape<'_>) -> DataType {
    if let Some(native) = Type::from_oid(shape.oid) {
        return match native.kind() {
            PgKind::Array(of) if *of != Type::BOX => DataType::Array(Arc::new(built_in(of, shape.typmod))),
            _ => built_in(&native, shape.typmod),
        };
    }
    let scalar = match shape.name {
        _ if !shape.labels.is_empty() => DataType::Enum { labels: shape.labels.into() },
        // The one extension type that is text in all but its equality.
        "citext" => DataType::text(),
        _ => DataType::Native,
    };
    if shape.array { DataType::Array(Arc::new(scalar)) } else { scalar }
}

fn built_in(native: &Type, typmod: i32) -> DataType {
    let length = |header: i32| u32::try_from(typmod.saturating_sub(header)).ok().filter(|n| *n > 0);
    let precision = || u8::try_from(typmod).ok();
    match *native {
        Type::BOOL => DataType::Bool,
        Type::INT2 => DataType::integer(16),
        Type::INT4 => DataType::integer(32),
        Type::INT8 => DataType::integer(64),
        Type::OID => DataType::Integer { bits: 32, unsigned: true },
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => decimal(typmod),
        Type::TEXT | Type::NAME => DataType::text(),
        // A type modifier of these counts a header of four bytes.
        Type::VARCHAR => DataType::Text { length: length(4), fixed: false },
        Type::BPCHAR => DataType::Text { length: length(4), fixed: length(4).is_some() },
        Type::BYTEA => DataType::bytes(),
        Type::DATE => DataType::Date,
        Type::TIME => DataType::Time { precision: precision(), zone: false },
        Type::TIMETZ => DataType::Time { precision: precision(), zone: true },
        Type::TIMESTAMP => DataType::Timestamp { precision: precision(), zone: false },
        Type::TIMESTAMPTZ => DataType::Timestamp { precision: precision(), zone: true },
        Type::INTERVAL => DataType::Interval,
        Type::UUID => DataType::Uuid,
        Type::JSON | Type::JSONB => DataType::Json,
        Type::BIT => DataType::Bits { length: length(0), fixed: true },
        Type::VARBIT => DataType::Bits { length: length(0), fixed: false },
        _ => DataType::Native,
    }
}

/// `make_numeric_typmod` of PostgreSQL: precision in the upper half, scale in
/// the lower eleven bits with a sign (since 15; before, it was never negative).
fn decimal(typmod: i32) -> DataType {
    match u32::try_from(typmod.saturating_sub(4)) {
        Ok(bits) => {
            // OK because eleven bits fit.
            let scale = i32::try_from(bits & 0x7ff).unwrap_or(0);
            DataType::Decimal { precision: Some(bits >> 16), scale: Some((scale ^ 1024) - 1024) }
        }
        Err(_) => DataType::decimal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(oid: u32, typmod: i32) -> String {
        neutral(&NativeShape { oid, typmod, ..NativeShape::default() }).to_string()
    }

    /// Type modifiers as PostgreSQL 15 keeps them.
    #[test]
    fn modifiers_are_read() {
        assert_eq!(of(1700, -1), "decimal");
        assert_eq!(of(1700, (14 << 16 | 2) + 4), "decimal(14,2)");
        assert_eq!(of(1700, (3 << 16 | (2048 - 2)) + 4), "decimal(3,-2)");
        assert_eq!(of(1043, 54), "text(50)");
        assert_eq!(of(1042, 9), "char(5)");
        assert_eq!(of(1042, -1), "text");
        assert_eq!(of(1560, 8), "bits(8)");
        assert_eq!(of(1231, (14 << 16 | 2) + 4), "array of decimal(14,2)");
        assert_eq!(of(26, -1), "uint32");
        assert_eq!(of(869, -1), "native");
        assert_eq!(of(1020, -1), "native");
        let time = neutral(&NativeShape { oid: 1266, typmod: 3, ..NativeShape::default() });
        assert_eq!(time, DataType::Time { precision: Some(3), zone: true });
    }

    #[test]
    fn made_types_are_enums_text_or_native() {
        let labels = ["sad".to_owned(), "glad".to_owned()];
        let mut shape = NativeShape { oid: 20_000, typmod: -1, name: "mood", labels: &labels, array: true };
        assert_eq!(neutral(&shape).to_string(), "array of enum of 2");
        shape = NativeShape { oid: 20_000, typmod: -1, name: "citext", labels: &[], array: false };
        assert_eq!(neutral(&shape), DataType::text());
        shape.name = "vector";
        assert_eq!(neutral(&shape), DataType::Native);
    }
}
