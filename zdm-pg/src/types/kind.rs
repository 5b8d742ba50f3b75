//! Which decoder a column needs.

use postgres_types::Type;
use zdm_core::schema::{Column, DataType};

/// What the text of a scalar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Bits,
    /// Known to PostgreSQL alone.
    Native,
}

/// A scalar, or an array of scalars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Scalar(Kind),
    Array(Kind),
}

impl Shape {
    /// Of a column: by the oid of its type where that is one of PostgreSQL's
    /// own, else (a domain, an enum, an extension's type) by its neutral type.
    pub(super) fn of(column: &Column) -> Self {
        Self::of_oid(column.native.id).unwrap_or_else(|| match &column.data_type {
            DataType::Array(of) => Self::Array(Kind::of_made(of)),
            data_type => Self::Scalar(Kind::of_made(data_type)),
        })
    }

    /// Of a type of PostgreSQL's own.
    pub(super) fn of_oid(oid: u32) -> Option<Self> {
        if let Some(kind) = Kind::of_oid(oid) {
            return Some(Self::Scalar(kind));
        }
        let native = Type::from_oid(oid)?;
        Some(match native.kind() {
            // The one type whose arrays are not separated by commas.
            postgres_types::Kind::Array(of) if *of != Type::BOX => {
                Self::Array(Kind::of_oid(of.oid()).unwrap_or(Kind::Native))
            }
            _ => Self::Scalar(Kind::Native),
        })
    }
}

impl Kind {
    /// The oids are fixed by `pg_type.dat`.
    fn of_oid(oid: u32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            26 => Self::Oid,
            // `"char"`, `name`, `text`, `bpchar`, `varchar`.
            18 | 19 | 25 | 1042 | 1043 => Self::Text,
            114 => Self::Json,
            700 => Self::Float4,
            701 => Self::Float8,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            1266 => Self::TimeTz,
            1560 | 1562 => Self::Bits,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => return None,
        })
    }

    /// Of a domain by what it is made of; of an enum, or of a type that is
    /// text in all but name.
    fn of_made(data_type: &DataType) -> Self {
        match data_type {
            DataType::Bool => Self::Bool,
            DataType::Integer { unsigned: true, .. } => Self::Oid,
            DataType::Integer { bits: 16, .. } => Self::Int2,
            DataType::Integer { bits: 32, .. } => Self::Int4,
            DataType::Integer { .. } => Self::Int8,
            DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal { .. } => Self::Numeric,
            DataType::Enum { .. } | DataType::Text { .. } => Self::Text,
            DataType::Bytes { .. } => Self::Bytea,
            DataType::Date => Self::Date,
            DataType::Time { zone: false, .. } => Self::Time,
            DataType::Time { zone: true, .. } => Self::TimeTz,
            DataType::Timestamp { zone: false, .. } => Self::Timestamp,
            DataType::Timestamp { zone: true, .. } => Self::TimestampTz,
            DataType::Interval => Self::Interval,
            DataType::Uuid => Self::Uuid,
            // Whether `json` or `jsonb` matters to the binary form alone.
            DataType::Json => Self::Json,
            DataType::Bits { .. } => Self::Bits,
            _ => Self::Native,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_array_of_a_known_scalar_is_known() {
        for (array, kind) in [
            (Type::INT4_ARRAY, Kind::Int4),
            (Type::NUMERIC_ARRAY, Kind::Numeric),
            (Type::TIMESTAMPTZ_ARRAY, Kind::TimestampTz),
            (Type::JSONB_ARRAY, Kind::Jsonb),
            (Type::INET_ARRAY, Kind::Native),
        ] {
            assert_eq!(Shape::of_oid(array.oid()), Some(Shape::Array(kind)));
        }
        assert_eq!(Shape::of_oid(Type::BOX_ARRAY.oid()), Some(Shape::Scalar(Kind::Native)));
        assert_eq!(Shape::of_oid(16_384), None);
    }

    #[test]
    fn made_types_go_by_their_neutral_type() {
        let mood = DataType::Enum { labels: ["a".to_owned()].into() };
        let column = Column::new("c", DataType::Array(mood.into())).native("public.mood[]", 16_400);
        assert_eq!(Shape::of(&column), Shape::Array(Kind::Text));
        let column = Column::new("c", DataType::decimal()).native("public.price", 16_402);
        assert_eq!(Shape::of(&column), Shape::Scalar(Kind::Numeric));
        let column = Column::new("c", DataType::Native).native("public.vector", 16_401);
        assert_eq!(Shape::of(&column), Shape::Scalar(Kind::Native));
    }
}
