//! The neutral type of a type of PostgreSQL's own. What is made of those
//! (domains, enums, arrays of them) the catalog resolves, in `schema`.

use std::sync::Arc;

use postgres_types::{Kind, Type};
use zdm_core::schema::DataType;

/// The neutral type of a built-in type, an array included; `None` for a type
/// that a user or an extension made. `typmod` is `pg_attribute.atttypmod`, -1
/// for none.
pub(crate) fn neutral(oid: u32, typmod: i32) -> Option<DataType> {
    let native = Type::from_oid(oid)?;
    Some(match native.kind() {
        // The one type whose arrays are not separated by commas.
        Kind::Array(of) if *of != Type::BOX => DataType::Array(Arc::new(scalar(of, typmod))),
        _ => scalar(&native, typmod),
    })
}

fn scalar(native: &Type, typmod: i32) -> DataType {
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
        Type::CHAR => DataType::Text { length: Some(1), fixed: false },
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
        neutral(oid, typmod).unwrap().to_string()
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
        let time = DataType::Time { precision: Some(3), zone: true };
        assert_eq!(neutral(1266, 3), Some(time));
        assert_eq!(neutral(16_384, -1), None);
    }
}
