//! Indexes, constraints, defaults and counters in another engine's words.

use zdm_core::schema::conversion::{Fit, Outcome};
use zdm_core::schema::{
    Action, Condition, Constraint, ConstraintKind, DataType as T, Equality, Expr, ForeignKey, Function,
    Generated, IdentityColumn, Index, IndexKey, IndexMethod, KeyPart, Operator, Sequence, SequenceRange,
    Trigger, Unmoved, UnmovedKind,
};

use super::*;

fn column(name: &str, native: &str, data_type: T) -> Column {
    Column::new(name, data_type).native(native, 0)
}

fn constraint(name: &str, kind: ConstraintKind) -> Constraint {
    Constraint { name: name.to_owned(), kind, definition: "native".to_owned(), validated: true }
}

fn positive(name: &str) -> Expr {
    let (column, zero) = (Expr::Column(name.into()), Expr::Number("0".to_owned()));
    Expr::Binary(Box::new(column), Operator::More, Box::new(zero))
}

/// A shop as MySQL would describe it.
fn shop() -> Schema {
    let unsigned = T::Integer { bits: 64, unsigned: true };
    let mut id = column("id", "bigint unsigned", unsigned.clone()).not_null();
    id.identity = Some(IdentityColumn::ByDefault);
    let mut mail = column("mail", "varchar(320)", T::Text { length: Some(320), fixed: false });
    mail.equality = Equality { ignores_case: true, ..Equality::EXACT };
    let mut made = column("made", "datetime(3)", T::Timestamp { precision: Some(3), zone: false });
    made.default = Some("CURRENT_TIMESTAMP(3)".to_owned());
    made.neutral = Some(Expr::Call(Function::Now(3), Vec::new()));
    made.on_update = Some("CURRENT_TIMESTAMP(3)".to_owned());
    let mut state =
        column("state", "enum('new','old')", T::Enum { labels: ["new".into(), "old".into()].into() });
    state.default = Some("'new'".to_owned());
    state.neutral = Some(Expr::Text("new".to_owned()));
    let mut lower = column("lower_mail", "varchar(320)", T::Text { length: Some(320), fixed: false });
    lower.generated = Some(Generated { expression: "lower(`mail`)".to_owned(), stored: false });
    lower.neutral = Some(Expr::Call(Function::Lower, vec![Expr::Column("mail".into())]));
    let mut users = table(&MYSQL, "users", vec![id.clone(), mail, made, state, lower]);
    users.key_name = Some("PRIMARY".to_owned());
    users.comment = Some("who's who".to_owned());
    users.constraints = vec![
        constraint("PRIMARY", ConstraintKind::Primary { columns: vec!["id".to_owned()] }),
        constraint("mail", ConstraintKind::Unique { columns: vec!["mail".to_owned()] }),
        constraint("odd", ConstraintKind::Check { neutral: None }),
    ];
    users.triggers = vec![Trigger {
        name: "stamp".to_owned(),
        definition: "CREATE TRIGGER stamp ...".to_owned(),
        mode: None,
    }];
    let mut orders = table(
        &MYSQL,
        "orders",
        vec![
            id,
            column("user_id", "bigint unsigned", unsigned),
            column("total", "decimal(10,2)", T::Decimal { precision: Some(10), scale: Some(2) }),
            column("note", "text", T::text()),
        ],
    );
    orders.key_name = Some("PRIMARY".to_owned());
    orders.constraints = vec![
        constraint("PRIMARY", ConstraintKind::Primary { columns: vec!["id".to_owned()] }),
        constraint(
            "orders_user",
            ConstraintKind::ForeignKey(ForeignKey {
                columns: vec!["user_id".to_owned()],
                references: TableName::new("shop", "users"),
                referenced: vec!["id".to_owned()],
                acts: true,
                on_delete: Action::Cascade,
                on_update: Action::NoAction,
            }),
        ),
        constraint("paid", ConstraintKind::Check { neutral: Some(positive("total")) }),
    ];
    let prefixed = IndexKey { prefix: Some(50), descending: true, ..IndexKey::column("note") };
    orders.indexes = vec![
        // The same name as one of the other table's.
        Index::new("mail", false, vec!["user_id".to_owned(), "total".to_owned()]),
        Index { columns: None, keys: vec![prefixed], ..Index::new("notes", false, Vec::new()) },
        Index { method: IndexMethod::FullText, ..Index::new("words", false, vec!["note".to_owned()]) },
    ];
    let counter = |name: &str| Sequence {
        name: TableName::new("shop", name),
        origin: None,
        increment: 1,
        owner: Some((TableName::new("shop", name), "id".to_owned())),
        identity: true,
        range: None,
        definition: String::new(),
    };
    let mut schema = schema([orders, users]);
    schema.sequences = vec![counter("orders"), counter("users")];
    schema.unmoved = vec![Unmoved {
        kind: UnmovedKind::View,
        name: TableName::new("shop", "report"),
        statement: "CREATE VIEW report AS SELECT 1".to_owned(),
    }];
    schema
}

#[test]
fn a_shop_of_mysql_speaks_postgresql() {
    let conversion = converted(&shop(), &to_postgres());
    let users = conversion.schema.table(&TableName::new("public", "users")).unwrap();
    let orders = conversion.schema.table(&TableName::new("public", "orders")).unwrap();
    assert!(users.speaks(&POSTGRES) && users.keeps_name());
    assert_eq!(users.origin.engine, MYSQL, "where it comes from stays");
    let types: Vec<&str> = orders.columns.iter().map(|c| c.native.name.as_str()).collect();
    assert_eq!(
        types,
        ["bigint", "bigint", "numeric(10,2)", "text"],
        "what refers to a counter is of its type"
    );
    assert_eq!(users.key_name.as_deref(), Some("users_pkey"));
    assert_eq!(users.columns[2].default.as_deref(), Some("CURRENT_TIMESTAMP(3)"));
    assert_eq!(users.columns[3].default.as_deref(), Some("'new'"));
    assert_eq!(users.columns[4].generated.as_ref().unwrap().expression, r#"lower("mail")"#);
    assert_eq!(conversion.schema.definitions.len(), 1);
    let definitions: Vec<&str> = orders.constraints.iter().map(|c| c.definition.as_str()).collect();
    assert_eq!(
        definitions,
        [
            r#"PRIMARY KEY ("id")"#,
            r#"FOREIGN KEY ("user_id") REFERENCES "public"."users" ("id") ON DELETE CASCADE ON UPDATE NO ACTION"#,
            r#"CHECK (("total" > 0))"#,
        ]
    );
    let indexes: Vec<&str> = orders.indexes.iter().map(|i| i.definition.as_str()).collect();
    assert_eq!(
        indexes,
        [
            r#"CREATE INDEX "mail" ON "public"."orders" ("user_id", "total")"#,
            r#"CREATE INDEX "notes" ON "public"."orders" ((left("note", 50)) DESC)"#,
        ]
    );
    let unique = users.constraints.iter().find(|c| c.definition.starts_with("UNIQUE")).unwrap();
    assert_eq!(unique.name, "users_mail", "names of indexes are one room for a schema");
}

#[test]
fn counters_bear_their_new_names_and_are_read_by_the_old() {
    let conversion = converted(&shop(), &to_postgres());
    let names: Vec<String> = conversion.schema.sequences.iter().map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["public.orders_id_seq", "public.users_id_seq"]);
    let read = zdm_core::connect::SequenceValue {
        name: TableName::new("shop", "users"),
        last: 41,
        called: true,
        increment: 1,
    };
    let here = conversion.schema.counters(&[read]);
    assert_eq!((here[0].name.to_string().as_str(), here[0].last), ("public.users_id_seq", 41));
}

#[test]
fn the_report_tells_what_is_lost_and_left() {
    let conversion = converted(&shop(), &to_postgres());
    let report = &conversion.report;
    let users = report.tables.iter().find(|t| t.from.name == "users").unwrap();
    let outcome = |object: &str| {
        let tables = report.tables.iter();
        tables.flat_map(|t| &t.objects).find(|o| o.object == object).unwrap().outcome.clone()
    };
    assert!(matches!(outcome("check odd"), Outcome::Dropped(_)));
    assert!(matches!(outcome("index words"), Outcome::Dropped(_)));
    assert!(matches!(outcome("index notes"), Outcome::Changed(_)));
    assert_eq!(outcome("index mail"), Outcome::Kept);
    assert!(matches!(users.columns[0].fit, Fit::Lossy(_)), "a counter beyond 63 bits");
    assert!(users.columns[1].notes.iter().any(|note| note.contains("told apart")), "{:?}", users.columns[1]);
    assert!(users.columns[2].notes.iter().any(|note| note.contains("ON UPDATE")));
    let kinds: Vec<_> = report.unmoved.iter().map(|object| object.kind).collect();
    assert_eq!(kinds, [UnmovedKind::View, UnmovedKind::Trigger]);
    let shown = report.to_string();
    for said in
        ["LOSSY", "NOT MOVED", "CREATE VIEW report", "CREATE TRIGGER stamp", "the way back is not whole"]
    {
        assert!(shown.contains(said), "{said} is not in:\n{shown}");
    }
    let json = serde_json::to_string(report).unwrap();
    assert_eq!(serde_json::from_str::<zdm_core::schema::conversion::Report>(&json).unwrap(), *report);
}

#[test]
fn a_postgresql_table_speaks_mysql() {
    let text = || T::text();
    let mut id = column("id", "integer", T::integer(32)).not_null();
    id.default = Some("nextval('public.things_id_seq'::regclass)".to_owned());
    let mut seen = column("seen", "timestamp with time zone", T::moment());
    seen.default = Some("now()".to_owned());
    seen.neutral = Some(Expr::Call(Function::Now(6), Vec::new()));
    let mut sure = column("sure", "boolean", T::Bool);
    sure.default = Some("true".to_owned());
    sure.neutral = Some(Expr::Bool(true));
    let mut note = column("note", "text", text());
    note.default = Some("'none'::text".to_owned());
    note.neutral = Some(Expr::Text("none".to_owned()));
    let mut things = table(&POSTGRES, "things", vec![id, column("code", "text", text()), seen, sure, note]);
    things.constraints =
        vec![constraint("things_code", ConstraintKind::Unique { columns: vec!["code".to_owned()] })];
    let lower = Expr::Call(Function::Lower, vec![Expr::Column("code".into())]);
    let lower = IndexKey {
        part: KeyPart::Expression(Condition { native: "lower(code)".to_owned(), neutral: Some(lower) }),
        prefix: None,
        descending: false,
    };
    let partial = Condition { native: "sure".to_owned(), neutral: Some(Expr::Column("sure".into())) };
    things.indexes = vec![
        Index::new("things_note", false, vec!["note".to_owned()]),
        Index { columns: None, keys: vec![lower], ..Index::new("things_lower", false, Vec::new()) },
        Index { filter: Some(partial), ..Index::new("things_sure", true, vec!["seen".to_owned()]) },
    ];
    let mut source = schema([things]);
    source.sequences = vec![Sequence {
        name: TableName::new("public", "things_id_seq"),
        origin: None,
        increment: 1,
        owner: Some((TableName::new("shop", "things"), "id".to_owned())),
        identity: false,
        range: None,
        definition: "CREATE SEQUENCE ...".to_owned(),
    }];
    let conversion = converted(&source, &to_mysql());
    let things = &conversion.schema.tables[0];
    assert_eq!(things.columns[0].identity, Some(IdentityColumn::ByDefault));
    assert_eq!(things.columns[0].default, None);
    assert_eq!(things.columns[1].native.name, "varchar(768)");
    assert_eq!(things.columns[1].collation.as_deref(), Some("utf8mb4_0900_bin"));
    let defaults: Vec<_> = things.columns[2..].iter().map(|c| c.default.as_deref().unwrap()).collect();
    assert_eq!(defaults, ["CURRENT_TIMESTAMP(6)", "1", "('none')"]);
    let indexes: Vec<&str> = things.indexes.iter().map(|i| i.definition.as_str()).collect();
    assert_eq!(
        indexes,
        [
            "CREATE INDEX `things_note` ON `shop`.`things` (`note`(255))",
            "CREATE INDEX `things_lower` ON `shop`.`things` ((lower(`code`)))",
        ]
    );
    assert!(matches!(conversion.report.tables[0].objects[3].outcome, Outcome::Dropped(_)));
}

#[test]
fn a_target_that_tells_fewer_keys_apart_is_refused() {
    let old = MySqlDialect::of("5.7.44", Some("shop")).unwrap();
    let code = column("code", "text", T::text()).not_null();
    let source = schema([table(&POSTGRES, "things", vec![code.clone()])]);
    let blockers = |dialect: &dyn Dialect| {
        let findings = converted(&source, dialect).report.findings();
        findings.into_iter().filter(|f| f.severity == zdm_core::connect::Severity::Blocker).count()
    };
    assert_eq!((blockers(&old), blockers(&to_mysql()), blockers(&to_mariadb())), (1, 0, 0));
}

#[test]
fn what_is_computed_in_words_of_its_own_blocks() {
    let mut odd = column("odd", "text", T::text());
    odd.generated = Some(Generated { expression: "my_function(id)".to_owned(), stored: true });
    let id = column("id", "bigint", T::integer(64)).not_null();
    let source = schema([table(&POSTGRES, "things", vec![id, odd])]);
    let conversion = converted(&source, &to_mysql());
    assert!(matches!(conversion.report.tables[0].columns[1].fit, Fit::Impossible(_)));
    let mapping = Mapping::new().drop_column("shop.things", "odd");
    let dropped = convert(&source, &to_mysql(), &mapping).unwrap();
    assert_eq!(dropped.schema.tables[0].columns.len(), 1);
}

#[test]
fn sequences_that_are_no_column_s_are_made_or_told() {
    let range = SequenceRange { start: 5, least: 1, most: i64::MAX, cache: 1, cycle: true };
    let mut source = schema([table(&POSTGRES, "things", vec![column("id", "bigint", T::integer(64))])]);
    source.sequences = vec![Sequence {
        name: TableName::new("shop", "loose"),
        origin: None,
        increment: 3,
        owner: None,
        identity: false,
        range: Some(range),
        definition: "CREATE SEQUENCE shop.loose".to_owned(),
    }];
    let to = |dialect: &dyn Dialect| converted(&source, dialect);
    let mariadb = to(&MySqlDialect::of("10.11.6-MariaDB", Some("store")).unwrap());
    let made = &mariadb.schema.sequences[0];
    assert_eq!(
        made.definition,
        "CREATE SEQUENCE `store`.`loose` START WITH 5 INCREMENT BY 3 MINVALUE 1 \
         MAXVALUE 9223372036854775806 CACHE 1 CYCLE"
    );
    assert_eq!((made.name.to_string().as_str(), mariadb.report.unmoved.len()), ("store.loose", 0));
    assert_eq!(made.origin, Some(TableName::new("shop", "loose")));
    let mysql = to(&to_mysql());
    assert!(mysql.schema.sequences.is_empty());
    let left = &mysql.report.unmoved[0];
    assert_eq!(
        (left.name.to_string().as_str(), left.statement.as_str()),
        ("shop.loose", "CREATE SEQUENCE shop.loose")
    );
    let postgres = to(&to_postgres());
    assert_eq!(
        postgres.schema.sequences[0].definition,
        r#"CREATE SEQUENCE "public"."loose" AS bigint START WITH 5 INCREMENT BY 3 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1 CYCLE"#
    );
}
