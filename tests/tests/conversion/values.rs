//! Every row of the type tables: each value comes back as it was, or is
//! refused where the report has said so.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use zdm_core::change::{Array, Date, DateTime, Interval, Time, Value};
use zdm_core::schema::DataType as T;
use zdm_core::schema::conversion::{Fit, Policies, Unfit};

use super::*;

type Values = BoxedStrategy<Value<'static>>;

/// A column of the source, the type that it gets, how it fits, and values.
struct Row {
    from: Column,
    to: &'static str,
    fit: &'static str,
    values: Values,
}

fn row(
    from: Column,
    to: &'static str,
    fit: &'static str,
    values: impl Strategy<Value = Value<'static>> + 'static,
) -> Row {
    Row { from, to, fit, values: values.boxed() }
}

fn of(native: &str, data_type: T) -> Column {
    Column::new("v", data_type).native(native, 0)
}

fn integers(bits: u32) -> impl Strategy<Value = Value<'static>> {
    any::<i64>().prop_map(move |n| Value::Int(n >> (64 - bits)))
}

fn naturals(bits: u32) -> impl Strategy<Value = Value<'static>> {
    any::<u64>().prop_map(move |n| Value::UInt(n >> (64 - bits)))
}

fn days(first: i32, last: i32) -> impl Strategy<Value = i32> {
    let day = |year| Date::from_ymd(year, 1, 1).unwrap().days();
    day(first)..day(last)
}

/// A second in some years, to the microsecond.
fn seconds(first: i32, last: i32) -> impl Strategy<Value = DateTime> {
    (days(first, last), 0..86_400_000_000_i64)
        .prop_map(|(day, micros)| DateTime::join(Date::from_days(day), micros * 1_000))
}

fn text(pattern: &'static str) -> impl Strategy<Value = Value<'static>> {
    pattern.prop_map(|text: String| Value::Text(text.into()))
}

fn octets(most: usize) -> impl Strategy<Value = Value<'static>> {
    prop::collection::vec(any::<u8>(), 0..=most).prop_map(|octets| Value::Bytes(octets.into()))
}

fn bits(pattern: &'static str) -> impl Strategy<Value = Value<'static>> {
    pattern.prop_map(|bits: String| Value::Bits(bits.into()))
}

fn decimal(pattern: &'static str) -> impl Strategy<Value = Value<'static>> {
    pattern.prop_map(|digits: String| Value::Decimal(digits.into()))
}

fn labels(names: &[&str]) -> Arc<[String]> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn json() -> impl Strategy<Value = Value<'static>> {
    "\\{\"[a-z]{0,5}\": [1-9][0-9]{0,4}\\}".prop_map(|text: String| Value::Json(text.into()))
}

fn array(of: impl Strategy<Value = Value<'static>> + 'static) -> impl Strategy<Value = Value<'static>> {
    let element = prop_oneof![of, Just(Value::Null)].boxed();
    let flat = prop::collection::vec(element.clone(), 1..5)
        .prop_map(|elements| (vec![(u32::try_from(elements.len()).unwrap(), 1)], elements));
    let square = prop::collection::vec(element, 6).prop_map(|elements| (vec![(2, 1), (3, 1)], elements));
    let empty = Just((Vec::new(), Vec::new()));
    prop_oneof![flat, square, empty]
        .prop_map(|(dimensions, elements)| Value::Array(Box::new(Array { dimensions, elements })))
}

fn int(bits: u8, unsigned: bool) -> T {
    T::Integer { bits, unsigned }
}

fn words(length: Option<u32>, fixed: bool) -> T {
    T::Text { length, fixed }
}

fn from_mysql() -> Vec<Row> {
    let time = T::Time { precision: Some(6), zone: false };
    vec![
        row(of("tinyint(1)", int(8, false)), "smallint", "widened", integers(8)),
        row(of("tinyint unsigned", int(8, true)), "smallint", "widened", naturals(8)),
        row(of("smallint", int(16, false)), "smallint", "exact", integers(16)),
        row(of("smallint unsigned", int(16, true)), "integer", "widened", naturals(16)),
        row(of("mediumint", int(24, false)), "integer", "widened", integers(24)),
        row(of("mediumint unsigned", int(24, true)), "integer", "widened", naturals(24)),
        row(of("int", int(32, false)), "integer", "exact", integers(32)),
        row(of("int unsigned", int(32, true)), "bigint", "widened", naturals(32)),
        row(of("bigint", int(64, false)), "bigint", "exact", integers(64)),
        row(of("bigint unsigned", int(64, true)), "numeric(20,0)", "widened", naturals(64)),
        row(of("float", T::Float32), "real", "exact", any::<f32>().prop_map(Value::Float32)),
        row(of("double", T::Float64), "double precision", "exact", any::<f64>().prop_map(Value::Float64)),
        row(
            of("decimal(10,2)", T::Decimal { precision: Some(10), scale: Some(2) }),
            "numeric(10,2)",
            "exact",
            decimal("-?[1-9][0-9]{0,7}\\.[0-9]{2}"),
        ),
        row(of("bit(9)", T::Bits { length: Some(9), fixed: true }), "bit(9)", "exact", bits("[01]{9}")),
        row(of("year", T::Year), "smallint", "widened", (1901..2156_i64).prop_map(Value::Int)),
        row(
            of("char(5)", words(Some(5), true)),
            "character varying(5)",
            "widened",
            text("[a-zé ]{0,4}[a-z]"),
        ),
        row(of("varchar(20)", words(Some(20), false)), "character varying(20)", "exact", text("[^\0]{0,20}")),
        row(of("longtext", T::text()), "text", "exact", text("[^\0]*")),
        row(of("binary(4)", T::Bytes { length: Some(4), fixed: true }), "bytea", "widened", octets(4)),
        row(of("varbinary(9)", T::Bytes { length: Some(9), fixed: false }), "bytea", "widened", octets(9)),
        row(of("longblob", T::bytes()), "bytea", "exact", octets(40)),
        row(
            of("enum('a','b')", T::Enum { labels: labels(&["a", "b"]) }),
            "public.things_v_enum",
            "lossy",
            prop_oneof![text("a"), text("b")],
        ),
        row(of("set('a','b')", T::Set { labels: labels(&["a", "b"]) }), "text", "widened", text("a|b|a,b|")),
        row(
            of("date", T::Date),
            "date",
            "lossy",
            prop_oneof![
                days(1, 9999).prop_map(|day| Value::Date(Date::from_days(day))),
                Just(Value::Native("0000-00-00".into())),
                Just(Value::Native("2024-02-31".into())),
            ],
        ),
        row(
            of("datetime(6)", T::Timestamp { precision: Some(6), zone: false }),
            "timestamp without time zone",
            "lossy",
            prop_oneof![
                seconds(1, 9999).prop_map(Value::DateTime),
                Just(Value::Native("0000-00-00 00:00:00".into()))
            ],
        ),
        row(
            of("timestamp(3)", T::Timestamp { precision: Some(3), zone: true }),
            "timestamp(3) with time zone",
            "lossy",
            (1..2_147_483_647_i64, 0..1000_u32)
                .prop_map(|(seconds, ms)| Value::Moment(DateTime { seconds, nanos: ms * 1_000_000 })),
        ),
        row(
            of("time(6)", time),
            "interval",
            "widened",
            (-3_020_399_000_000..3_020_399_000_000_i64)
                .prop_map(|micros| Value::Time(Time { nanos: micros * 1_000, offset: None })),
        ),
        row(of("json", T::Json), "json", "widened", json()),
        row(of("point", T::Geometry), "bytea", "widened", octets(25)),
        row(
            of("vector(3)", T::Array(Arc::new(T::Float32))),
            "real[]",
            "widened",
            array(any::<f32>().prop_map(Value::Float32)),
        ),
        row(of("uuid", T::Uuid), "uuid", "exact", any::<[u8; 16]>().prop_map(Value::Uuid)),
        row(of("inet6", T::Native), "text", "widened", Just(Value::Native("::1".into()))),
    ]
}

fn from_postgres() -> Vec<Row> {
    let moments =
        || prop_oneof![seconds(-4000, 20_000), Just(DateTime::INFINITY), Just(DateTime::NEG_INFINITY)];
    let day = prop_oneof![
        days(-4000, 20_000).prop_map(Date::from_days),
        Just(Date::INFINITY),
        Just(Date::NEG_INFINITY)
    ];
    let numeric = || {
        prop_oneof![decimal("-?[1-9][0-9]{0,40}(\\.[0-9]{0,35}[1-9])?"), decimal("NaN|Infinity|-Infinity")]
    };
    vec![
        row(of("smallint", int(16, false)), "smallint", "exact", integers(16)),
        row(of("integer", int(32, false)), "int", "exact", integers(32)),
        row(of("bigint", int(64, false)), "bigint", "exact", integers(64)),
        row(of("oid", int(32, true)), "int unsigned", "exact", naturals(32)),
        row(of("boolean", T::Bool), "tinyint(1)", "widened", any::<bool>().prop_map(Value::Bool)),
        row(of("real", T::Float32), "float", "lossy", any::<f32>().prop_map(Value::Float32)),
        row(of("double precision", T::Float64), "double", "lossy", any::<f64>().prop_map(Value::Float64)),
        row(
            of("numeric(12,3)", T::Decimal { precision: Some(12), scale: Some(3) }),
            "decimal(12,3)",
            "lossy",
            prop_oneof![decimal("-?[1-9][0-9]{0,8}\\.[0-9]{3}"), decimal("NaN")],
        ),
        row(of("numeric", T::decimal()), "decimal(65,30)", "lossy", numeric()),
        row(of("text", T::text()), "longtext", "exact", text(".*")),
        row(of("character varying(30)", words(Some(30), false)), "varchar(30)", "exact", text(".{0,30}")),
        row(of("character(3)", words(Some(3), true)), "char(3)", "widened", text(".{3}")),
        row(of("bytea", T::bytes()), "longblob", "exact", octets(40)),
        row(of("date", T::Date), "date", "lossy", day.clone().prop_map(Value::Date)),
        row(
            of("time", T::Time { precision: None, zone: false }),
            "time(6)",
            "widened",
            (0..=86_400_000_000_i64).prop_map(|us| Value::Time(Time { nanos: us * 1_000, offset: None })),
        ),
        row(
            of("timetz", T::Time { precision: None, zone: true }),
            "varchar(32)",
            "widened",
            (0..=86_400_000_000_i64, -57_599..=57_599_i32)
                .prop_map(|(us, offset)| Value::Time(Time { nanos: us * 1_000, offset: Some(offset) })),
        ),
        row(
            of("timestamp", T::Timestamp { precision: None, zone: false }),
            "datetime(6)",
            "lossy",
            moments().prop_map(Value::DateTime),
        ),
        row(of("timestamptz", T::moment()), "datetime(6)", "lossy", moments().prop_map(Value::Moment)),
        row(
            of("interval", T::Interval),
            "varchar(80)",
            "widened",
            (any::<i32>(), any::<i32>(), any::<i64>()).prop_map(|(months, days, us)| {
                Value::Interval(Interval { months, days, nanos: i128::from(us) * 1_000 })
            }),
        ),
        row(of("uuid", T::Uuid), "char(36)", "widened", any::<[u8; 16]>().prop_map(Value::Uuid)),
        row(of("jsonb", T::Json), "json", "lossy", json()),
        row(of("bit(7)", T::Bits { length: Some(7), fixed: true }), "bit(7)", "exact", bits("[01]{7}")),
        row(
            of("bit varying", T::Bits { length: None, fixed: false }),
            "longtext",
            "widened",
            bits("[01]{0,99}"),
        ),
        row(
            of("mood", T::Enum { labels: labels(&["sad", "it's"]) }),
            "enum('sad','it''s')",
            "exact",
            prop_oneof![text("sad"), text("it's")],
        ),
        row(of("integer[]", T::Array(Arc::new(int(32, false)))), "json", "lossy", array(integers(32))),
        row(of("text[]", T::Array(Arc::new(T::text()))), "json", "lossy", array(text(".*"))),
        row(of("numeric[]", T::Array(Arc::new(T::decimal()))), "json", "lossy", array(numeric())),
        row(of("date[]", T::Array(Arc::new(T::Date))), "json", "lossy", array(day.prop_map(Value::Date))),
        row(
            of("timestamptz[]", T::Array(Arc::new(T::moment()))),
            "json",
            "lossy",
            array(moments().prop_map(Value::Moment)),
        ),
        row(of("inet", T::Native), "longtext", "widened", Just(Value::Native("10.0.0.0/8".into()))),
    ]
}

/// Converts a table of that one column beside its key.
fn one(engine: &Engine, row: &Row, dialect: &dyn Dialect) -> Conversion {
    let id = Column::new("id", int(64, false)).native("bigint", 20).not_null();
    converted(&schema([table(engine, "things", vec![id, row.from.clone()])]), dialect)
}

fn fit(fit: &Fit) -> &'static str {
    match fit {
        Fit::Exact => "exact",
        Fit::Widened(_) => "widened",
        Fit::Lossy(_) => "lossy",
        Fit::Impossible(_) => "impossible",
    }
}

fn there_and_back(engine: &Engine, rows: Vec<Row>, dialect: &dyn Dialect) {
    for row in rows {
        let conversion = one(engine, &row, dialect);
        let told = &conversion.report.tables[0].columns[1];
        let name = row.from.native.name.as_str();
        assert_eq!((told.to_type.as_str(), fit(&told.fit)), (row.to, row.fit), "{name}");
        let rows = &conversion.rows[0];
        let (forth, back) = (&rows.cells[1].1, &rows.back[1]);
        let mut runner = TestRunner::new(Config::with_cases(256));
        runner
            .run(&row.values, |value| {
                let there = match forth {
                    None => value.clone(),
                    Some(cast) => match cast.apply(&value) {
                        Ok(changed) => changed.unwrap_or_else(|| value.clone()),
                        Err(misfit) => {
                            prop_assert_eq!(
                                row.fit,
                                "lossy",
                                "{}: {} was refused: {:?}",
                                name,
                                value,
                                misfit
                            );
                            return Ok(());
                        }
                    },
                };
                let again = match back {
                    None => there.clone(),
                    Some(cast) => cast
                        .apply(&there)
                        .map_err(|misfit| TestCaseError::fail(format!("{name}: {there}: {misfit:?}")))?
                        .unwrap_or_else(|| there.clone()),
                };
                prop_assert_eq!(&again, &value, "{} became {}", name, there);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn values_of_mysql_come_back_from_postgresql() {
    there_and_back(&MYSQL, from_mysql(), &to_postgres());
}

#[test]
fn values_of_postgresql_come_back_from_mysql() {
    there_and_back(&POSTGRES, from_postgres(), &to_mysql());
}

#[test]
fn mariadb_has_types_of_its_own() {
    let rows = vec![
        row(of("uuid", T::Uuid), "uuid", "lossy", any::<[u8; 16]>().prop_map(Value::Uuid)),
        row(of("jsonb", T::Json), "longtext", "exact", json()),
    ];
    there_and_back(&POSTGRES, rows, &to_mariadb());
}

fn apply(conversion: &Conversion, value: &Value<'static>) -> Result<Value<'static>, String> {
    let cast = conversion.rows[0].cells[1].1.as_ref().unwrap();
    match cast.apply(value) {
        Ok(changed) => Ok(changed.unwrap_or_else(|| value.clone())),
        Err(misfit) => Err(misfit.reason),
    }
}

#[test]
fn what_does_not_fit_goes_by_the_policies() {
    let id = Column::new("id", int(64, false)).native("bigint", 20).not_null();
    let with = |column: Column, policies: Policies, dialect: &dyn Dialect| {
        let source = schema([table(&POSTGRES, "things", vec![id.clone(), column.not_null()])]);
        convert(&source, dialect, &Mapping::new().policies(policies)).unwrap()
    };
    let all = |unfit| {
        let mut policies = Policies::default();
        (policies.zero_date, policies.out_of_range) = (unfit, unfit);
        policies
    };
    let zero = Value::Native("0000-00-00".into());
    let stops = with(of("date", T::Date), Policies::default(), &to_mysql());
    assert!(apply(&stops, &zero).unwrap_err().contains("no calendar"));
    let nulls = with(of("date", T::Date), all(Unfit::Null), &to_mysql());
    assert_eq!(apply(&nulls, &zero), Ok(Value::Null));
    assert!(nulls.schema.tables[0].columns[1].nullable, "a column that gets nulls can hold them");
    let near = with(of("date", T::Date), all(Unfit::Nearest), &to_mysql());
    assert_eq!(apply(&near, &zero), Ok(Value::Date(Date::from_days(0))));
    let last = Date::from_ymd(9999, 12, 31).unwrap();
    assert_eq!(apply(&near, &Value::Date(Date::INFINITY)), Ok(Value::Date(last)));
    let floats = with(of("real", T::Float64), all(Unfit::Nearest), &to_mysql());
    assert_eq!(apply(&floats, &Value::Float64(f64::NEG_INFINITY)), Ok(Value::Float64(f64::MIN)));
    assert!(apply(&floats, &Value::Float64(f64::NAN)).is_err(), "nothing is near to NaN");
}

#[test]
fn what_the_server_would_refuse_is_refused_with_its_place() {
    let id = Column::new("id", int(64, false)).native("bigint", 20).not_null();
    let with = |column: Column, wish: Option<&str>| {
        let source = schema([table(&MYSQL, "things", vec![id.clone(), column])]);
        let mapping = Mapping::new();
        let mapping = match wish {
            Some(wish) => mapping.column_type("shop.things", "v", wish),
            None => mapping,
        };
        convert(&source, &to_postgres(), &mapping).unwrap()
    };
    let zero = Value::from("a\0b");
    for wish in [None, Some("text"), Some("varchar(20)")] {
        let texts = with(of("varchar(20)", words(Some(20), false)), wish);
        assert!(apply(&texts, &zero).unwrap_err().contains("U+0000"), "{wish:?}");
        assert_eq!(apply(&texts, &Value::from("ab")), Ok(Value::from("ab")));
        // The report tells of it once, and no type is lossy for it.
        assert!(!matches!(texts.report.tables[0].columns[1].fit, Fit::Lossy(_)), "{wish:?}");
        let told = texts.report.findings().into_iter().filter(|finding| finding.code == "no_nul").count();
        assert_eq!((told, texts.report.to_string().matches("U+0000").count()), (1, 1), "{wish:?}");
    }
    let kin =
        converted(&schema([table(&MYSQL, "things", vec![id.clone(), of("text", T::text())])]), &to_mariadb());
    assert!(!kin.report.no_nul && kin.rows[0].cells[1].1.is_none(), "its kin holds every character");

    let labelled = |names: &[&str]| with(of("enum", T::Enum { labels: labels(names) }), None);
    let empty = Value::from("");
    assert!(apply(&labelled(&["a"]), &empty).unwrap_err().contains("labels"));
    assert_eq!(apply(&labelled(&["a"]), &Value::from("a")), Ok(Value::from("a")));
    assert_eq!(apply(&labelled(&["", "a"]), &empty), Ok(empty));
}

#[test]
fn an_array_is_read_from_json_text_and_from_labels() {
    let array = |labels: &[&str]| {
        let elements: Vec<Value<'static>> =
            labels.iter().map(|label| Value::Text((*label).to_owned().into())).collect();
        Value::Array(Box::new(Array {
            dimensions: vec![(u32::try_from(labels.len()).unwrap(), 1)],
            elements,
        }))
    };
    let id = Column::new("id", int(64, false)).native("bigint", 20).not_null();
    let with = |column: Column| {
        let source = schema([table(&MYSQL, "things", vec![id.clone(), column])]);
        convert(&source, &to_postgres(), &Mapping::new().column_type("shop.things", "v", "text[]")).unwrap()
    };
    // MariaDB's JSON is a text, in which a comma is no end of a label.
    let json = with(of("longtext", T::text()));
    assert_eq!(apply(&json, &Value::from(r#"["a","b,c"]"#)), Ok(array(&["a", "b,c"])));
    assert!(apply(&json, &Value::from("a,b")).unwrap_err().contains("JSON"));
    let set = with(of("set('[1]','b')", T::Set { labels: labels(&["[1]", "b"]) }));
    assert_eq!(apply(&set, &Value::from("[1]")), Ok(array(&["[1]"])));
    assert_eq!(apply(&set, &Value::from("[1],b")), Ok(array(&["[1]", "b"])));
}
