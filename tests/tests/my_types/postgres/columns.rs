//! PostgreSQL's types: what each is to be again, and how its values are made.

use fastrand::Rng;

use super::values as of;

/// Types of a user's, which a database needs before the tables come back.
pub(super) const TYPES: &str = "
CREATE TYPE mood AS ENUM ('sad', 'it''s', 'Sad', 'a,b \"c\" \\ d', '1', 'é🐘');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE DOMAIN word AS varchar(40);
CREATE DOMAIN ids AS int[]";

/// A type, and its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// What follows a column's name in CREATE TABLE.
    pub(super) ddl: &'static str,
    /// The type that is wished on the way back, where it is not the one that
    /// the other engine's column becomes by itself.
    pub(super) back: Option<&'static str>,
    /// How what went out is looked at, where the report names a loss: `{}` is
    /// the column.
    pub(super) seen: &'static str,
    /// Whether both servers say a value in one way, so that they can be
    /// compared by SQL. What is JSON or ISO 8601 there is not, nor what
    /// PostgreSQL's cast to text changes.
    pub(super) alike: bool,
    /// SQL of a value, with no type.
    pub(super) value: fn(&mut Rng) -> String,
}

const fn kind(ddl: &'static str, value: fn(&mut Rng) -> String) -> Kind {
    Kind { ddl, back: None, seen: "{}::text", alike: true, value }
}

impl Kind {
    const fn back(self, back: &'static str) -> Self {
        Self { back: Some(back), ..self }
    }

    /// Comes back by its own name.
    const fn same(self) -> Self {
        self.back(self.ddl)
    }

    const fn seen(self, seen: &'static str) -> Self {
        Self { seen, ..self }
    }

    const fn unlike(self) -> Self {
        Self { alike: false, ..self }
    }
}

/// A cast to text leaves the blanks at the end out.
const PADDED: &str = "concat(octet_length({}), ' ', {})";

/// Each type of the documented table, and more of those that are texts to
/// everybody else.
pub(super) const KINDS: &[Kind] = &[
    kind("smallint", of::int2),
    kind("integer", of::int4),
    kind("bigint", of::int8),
    kind("oid", of::oid).same(),
    kind("boolean", of::truth).same(),
    kind("real", of::float4),
    kind("double precision", of::float8),
    kind("numeric(12,3)", of::numeric_12_3),
    kind("numeric(38,0)", of::numeric_38),
    kind("numeric(3,-2)", of::numeric_hundreds).same(),
    kind("numeric(4,7)", of::numeric_small).same(),
    kind("numeric", of::numeric).back("numeric").seen("trim_scale({})::text"),
    kind("numeric(80,2)", of::numeric_38).same(),
    kind("character(3)", of::char_3).same().seen(PADDED),
    kind("character(300)", of::char_300).same().seen(PADDED).unlike(),
    kind("bpchar", of::text).back("bpchar").seen(PADDED).unlike(),
    kind("varchar(30)", of::varchar_30),
    kind("varchar(5000)", of::long_text),
    kind("text", of::text),
    kind("text", of::long_text),
    kind("name", of::name).same(),
    kind("\"char\"", of::letter).same(),
    kind("bytea", of::bytea),
    kind("date", of::date),
    kind("time", of::time).same(),
    kind("time(3)", of::time).same(),
    kind("timetz", of::timetz).same(),
    kind("timestamp", of::timestamp),
    kind("timestamp(0)", of::timestamp),
    kind("timestamptz", of::timestamptz).same(),
    kind("timestamptz(3)", of::timestamptz).same(),
    kind("interval", of::interval).same().unlike(),
    kind("uuid", of::uuid).same(),
    kind("json", of::json).same().seen("{}::jsonb::text"),
    kind("jsonb", of::json).same(),
    kind("bit(7)", of::bit_7),
    kind("bit(64)", of::bit_64),
    kind("bit(80)", of::bit_80).same(),
    kind("bit varying(9)", of::varbit_9).same(),
    kind("bit varying", of::bit_80).same(),
    kind("mood", of::mood),
    kind("posint", of::posint),
    kind("word", of::varchar_30),
    kind("ids", of::int_array).back("integer[]").unlike(),
    kind("integer[]", of::int_array).same().unlike(),
    kind("bigint[]", of::int_array).same().unlike(),
    kind("text[]", of::text_array).same().unlike(),
    kind("numeric[]", of::numeric_array).same().unlike(),
    kind("double precision[]", of::float_array).same().unlike(),
    kind("boolean[]", of::truth_array).same().unlike(),
    kind("timestamptz[]", of::moment_array).same().unlike(),
    kind("date[]", of::date_array).same().unlike(),
    kind("time[]", of::time_array).same().unlike(),
    kind("interval[]", of::interval_array).same().unlike(),
    kind("uuid[]", of::uuid_array).same().unlike(),
    kind("jsonb[]", of::json_array).same().unlike(),
    kind("mood[]", of::mood_array).back("public.mood[]").unlike(),
    kind("inet[]", of::inet_array).same().unlike(),
    kind("inet", of::inet).same().unlike(),
    kind("cidr", of::cidr).same(),
    kind("macaddr", of::macaddr).same(),
    kind("macaddr8", of::macaddr8).same(),
    kind("money", of::money).same(),
    kind("xml", of::xml).same(),
    kind("tsvector", of::tsvector).same(),
    kind("tsquery", of::tsquery).same(),
    kind("jsonpath", of::jsonpath).same(),
    kind("pg_lsn", of::lsn).same(),
    kind("int4range", of::int_range).same(),
    kind("numrange", of::num_range).same(),
    kind("tstzrange", of::moment_range).same(),
    kind("int4multirange", of::multirange).same(),
    kind("point", of::point).same(),
    kind("lseg", of::lseg).same(),
    kind("box", of::lseg).same(),
    kind("path", of::path).same(),
    kind("polygon", of::polygon).same(),
    kind("line", of::line).same(),
    kind("circle", of::circle).same(),
    kind("pair", of::pair).back("public.pair"),
];
