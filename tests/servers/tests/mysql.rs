//! MySQL and MariaDB start, answer, stop, crash and come back.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use zdm_servers::mysql::{MySql, MySqlOptions};

/// Every kind of server that zdm is tested with.
fn each() -> [MySqlOptions; 3] {
    [
        MySqlOptions::mariadb().version("10.11"),
        MySqlOptions::mariadb().version("11.8"),
        MySqlOptions::mysql().version("9"),
    ]
}

async fn a_default_server_answers(options: MySqlOptions) {
    let begun = std::time::Instant::now();
    let server = MySql::start(options.database("shop")).await.unwrap();
    println!("{} after {:?}", server.version().await.unwrap(), begun.elapsed());
    let shop = server.database("shop");
    shop.execute("create table t (id int primary key, name text)").await.unwrap();
    let sql = "insert into t values (1, 'a'); insert into t values (2, null); select * from t order by id; \
               select 'é'";
    let rows = shop.query(sql).await.unwrap();
    assert_eq!(rows[..2], [[Some("1".to_owned()), Some("a".into())], [Some("2".into()), None]]);
    assert_eq!(rows[2], [Some("é".to_owned())]);
    let settings = [
        ("log_bin", "1"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("local_infile", "1"),
        ("time_zone", "+00:00"),
        ("performance_schema", "0"),
        ("character_set_server", "utf8mb4"),
    ];
    for (name, value) in settings {
        assert_eq!(server.value(&format!("select @@global.{name}")).await.unwrap(), value, "{name}");
    }
    let mut connection = mysql_async::Conn::from_url(shop.url()).await.unwrap();
    let count: Option<u64> =
        mysql_async::prelude::Queryable::query_first(&mut connection, "select count(*) from t")
            .await
            .unwrap();
    assert_eq!(count, Some(2));
    server.close().await.unwrap();
}

#[tokio::test]
async fn a_default_mariadb_answers() {
    a_default_server_answers(MySqlOptions::mariadb().version("10.11")).await;
}

#[tokio::test]
async fn a_default_mysql_answers() {
    a_default_server_answers(MySqlOptions::mysql()).await;
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_committed() {
    for options in each() {
        let server = MySql::start(options).await.unwrap();
        server.execute("create database d; create table d.t (id int)").await.unwrap();
        for (id, port) in [(1, server.port()), (2, server.port())] {
            server.execute(&format!("insert into d.t values ({id})")).await.unwrap();
            server.kill().await.unwrap();
            assert_eq!(server.pid().unwrap(), None);
            server.query("select 1").await.unwrap_err();
            server.start_again().await.unwrap();
            assert_eq!(
                (server.value("select count(*) from d.t").await.unwrap(), server.port()),
                (id.to_string(), port)
            );
        }
        server.restart().await.unwrap();
        assert_eq!(server.value("select count(*) from d.t").await.unwrap(), "2");
    }
}
