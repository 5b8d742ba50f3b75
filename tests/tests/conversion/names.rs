//! Names that are too long or clash, and the user's wishes.

use super::*;
use zdm_core::schema::DataType as T;

fn id() -> Column {
    Column::new("id", T::integer(64)).native("bigint", 0).not_null()
}

fn names(conversion: &Conversion) -> Vec<String> {
    conversion.schema.tables.iter().map(|table| table.name.to_string()).collect()
}

#[test]
fn tables_of_one_schema_go_home_and_others_keep_theirs() {
    let one = schema([table(&MYSQL, "a", vec![id()]), table(&MYSQL, "b", vec![id()])]);
    assert_eq!(names(&converted(&one, &to_postgres())), ["public.a", "public.b"]);
    let mut other = table(&MYSQL, "b", vec![id()]);
    other.name = TableName::new("logs", "b");
    other.origin.name = other.name.clone();
    let two = schema([table(&MYSQL, "a", vec![id()]), other]);
    assert_eq!(names(&converted(&two, &to_postgres())), ["logs.b", "shop.a"]);
    let mapping = Mapping::new().schema("logs", "audit").rename_table("shop.a", "app.first");
    let mapped = convert(&two, &to_postgres(), &mapping).unwrap();
    assert_eq!(names(&mapped), ["app.first", "audit.b"]);
}

#[test]
fn names_that_do_not_fit_are_cut_and_told() {
    let long = "é".repeat(40);
    let column = Column::new(long.clone(), T::text()).native("longtext", 0);
    let source = schema([table(&MYSQL, &long, vec![id(), column])]);
    let first = converted(&source, &to_postgres());
    let again = converted(&source, &to_postgres());
    assert_eq!(first.schema, again.schema, "a restart finds what an earlier start has made");
    let made = &first.schema.tables[0];
    assert!(made.name.name.len() <= 63 && made.columns[1].name.len() <= 63);
    assert!(first.report.to_string().contains(&format!("-> public.{}", made.name.name)));
    assert_eq!(first.schema.by_origin(&source.tables[0].name).unwrap().name, made.name);
}

#[test]
fn names_that_differ_in_case_alone_are_told_apart_in_mysql() {
    let columns = vec![
        id(),
        Column::new("Mail", T::text()).native("text", 25),
        Column::new("mail", T::text()).native("text", 25),
    ];
    let source = schema([table(&POSTGRES, "users", columns)]);
    let columns: Vec<String> =
        converted(&source, &to_mysql()).schema.tables[0].columns.iter().map(|c| c.name.to_string()).collect();
    assert_eq!(columns[..2], ["id", "Mail"]);
    assert!(columns[2].starts_with("mail_"), "{columns:?}");
}

#[test]
fn wishes_are_followed_and_strangers_refused() {
    let columns = vec![
        id(),
        Column::new("flag", T::integer(8)).native("tinyint(1)", 0),
        Column::new("doc", T::Json).native("json", 0),
        Column::new("legacy", T::text()).native("text", 0),
    ];
    let source = schema([table(&MYSQL, "users", columns)]);
    let mapping = Mapping::new()
        .data_type("tinyint(1)", "boolean")
        .column_type("shop.users", "doc", "jsonb")
        .rename_column("shop.users", "doc", "document")
        .drop_column("shop.*", "legacy");
    let mapped = convert(&source, &to_postgres(), &mapping).unwrap();
    let shown: Vec<String> = mapped.schema.tables[0]
        .columns
        .iter()
        .map(|column| format!("{} {}", column.name, column.native.name))
        .collect();
    assert_eq!(shown, ["id bigint", "flag boolean", "document jsonb"]);
    assert!(!mapped.report.is_reversible());
    for (wrong, names) in [
        (Mapping::new().column_type("shop.users", "doc", "no;type"), "no;type"),
        (Mapping::new().drop_column("shop.users", "nobody"), "nobody"),
        (Mapping::new().rename_table("shop.orders", "public.orders"), "shop.orders"),
        (Mapping::new().drop_column("shop.users", "id"), "id"),
        (Mapping::new().rename_column("shop.users", "doc", "id"), "doc"),
        (Mapping::new().schema("nowhere", "x"), "nowhere"),
    ] {
        let error = convert(&source, &to_postgres(), &wrong).unwrap_err();
        assert!(error.to_string().contains(names), "{error}");
    }
}

#[test]
fn a_schema_of_another_engine_is_no_database() {
    let mut loose = schema([table(&POSTGRES, "a", vec![id()])]);
    let nowhere = MySqlDialect::of("8.4.0", None).unwrap();
    let refused = convert(&loose, &nowhere, &Mapping::new()).unwrap_err().to_string();
    assert!(refused.contains("names none") && refused.contains("shop.a"), "{refused}");
    let wished = convert(&loose, &nowhere, &Mapping::new().schema("shop", "store")).unwrap();
    assert_eq!(names(&wished), ["store.a"]);
    let renamed = convert(&loose, &nowhere, &Mapping::new().rename_table("shop.a", "store.b")).unwrap();
    assert_eq!(names(&renamed), ["store.b"]);
    // Its kin's databases are databases.
    let mariadb = zdm_core::Engine::new("mariadb");
    loose = schema([table(&mariadb, "a", vec![id()])]);
    assert_eq!(names(&converted(&loose, &nowhere)), ["shop.a"]);
}
