//! Servers start, answer, stop, crash and come back.

use zdm_servers::postgres::{PgOptions, Postgres};

#[tokio::test]
async fn a_default_server_answers() {
    let server = Postgres::start(PgOptions::new().database("shop")).await.unwrap();
    let shop = server.database("shop");
    shop.execute("create table t (id int, name text); insert into t values (1, 'a'), (2, null)")
        .await
        .unwrap();
    let rows = shop.query("select * from t order by id").await.unwrap();
    assert_eq!(rows, [[Some("1".into()), Some("a".into())], [Some("2".into()), None]]);
    assert_eq!(server.value("show wal_level").await.unwrap(), "logical");
    server.close().await.unwrap();
}
