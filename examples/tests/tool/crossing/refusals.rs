//! What goes wrong, told in one message; and nothing is left half done.

use std::os::unix::fs::PermissionsExt;

use zdm_servers::mysql::{MySql, MySqlOptions, User};

use super::{Crossing, Database, MY_SHOP, mysql_to_postgres, servers};
use crate::fixture::done;

#[tokio::test]
async fn a_url_that_leads_nowhere_is_told_at_once() {
    let case = mysql_to_postgres("my_nowhere").await;
    let (from, to) = (case.source.url(), case.target.url());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("mysql://u@{}/d?connect_timeout=1&ssl-mode=disabled", silent.local_addr().unwrap());
    let closed = "mariadb://u:hidden@127.0.0.1:1/d";
    let missing = from.replace("/my_nowhere", "/elsewhere");
    let same = from.replace("127.0.0.1", "localhost");
    for (from, to, says) in [
        (closed, to.as_str(), &["127.0.0.1:1/d", "--from"][..]),
        (&to, closed, &["127.0.0.1:1/d", "--to"]),
        (&silent, &to, &["--from", "connect_timeout"]),
        (&missing, &to, &["elsewhere", "check the name of the database", "--from"]),
        ("mysql://u:hidden@h:99999/d", &to, &["port", "--from"]),
        ("mysql://u:hidden@h1,h2/d", &to, &["one host", "--from"]),
        (&from, &same, &["same"]),
    ] {
        let refused = done(case.between(&["migrate"], from, to)).await;
        refused.fails(says);
        assert!(!refused.err.contains("hidden"), "a password was printed: {}", refused.err);
    }
    assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0));
}

#[tokio::test]
async fn passwords_come_from_the_environment_or_a_file_and_are_never_printed() {
    let case = mysql_to_postgres("my_passwords").await;
    let servers = servers().await;
    servers.mysql.create_user(&User::new("with_password", "s3cret of mine")).await.unwrap();
    let from =
        format!("mysql://with_password@{}:{}/my_passwords", servers.mysql.host(), servers.mysql.port());
    let to = case.target.url();
    let command = || case.between(&["assess"], &from, &to);
    done(command()).await.fails(&["check user and password", "--from"]);

    let mut with = command();
    with.env("MYSQL_PWD", "s3cret of mine");
    assert_eq!(done(with).await.code, Some(0));

    let home = std::env::temp_dir().join(format!("zdm-tool-home-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let file = home.join(".my.cnf");
    std::fs::write(&file, "[client]\npassword = \"s3cret of mine\"\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut with = command();
    with.env("HOME", &home);
    let read = done(with).await;
    std::fs::remove_dir_all(&home).unwrap();
    assert_eq!(read.code, Some(0), "{read:?}");

    let mut wrong = command();
    wrong.env("MYSQL_PWD", "not-the-one").env("ZDM_LOG", "trace");
    let refused = done(wrong).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let all = refused.out + &refused.err;
    assert!(all.contains("check user and password") && !all.contains("not-the-one"), "{all}");
}

#[tokio::test]
async fn what_cannot_be_moved_is_named_with_what_mends_it() {
    let (servers, name) = (servers().await, "my_blocked");
    let source = servers.mariadb.create_database(name).await.unwrap();
    source.execute(MY_SHOP).await.unwrap();
    let target = servers.postgres.create_database(name).await.unwrap();
    let case = Crossing { name, source: Database::MySql(source), target: Database::Postgres(target) };
    case.zdm(&["migrate", "--tables", "nobody.*"]).await.fails(&["no table matches", "nobody.*"]);

    // This server does not log what a foreign key does.
    let cascade = "CREATE TABLE note (id int PRIMARY KEY, customer int, \
                   CONSTRAINT acts FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE)";
    case.source.execute(cascade).await.unwrap();
    let mends = "ALTER TABLE `my_blocked`.`note` DROP FOREIGN KEY `acts`";
    case.zdm(&["migrate"]).await.fails(&["my_blocked.note", mends]);
    let blocked = case.zdm(&["assess", "--json"]).await;
    assert_eq!((blocked.code, &blocked.summary()["state"]), (Some(3), &"blocked".into()), "{blocked:?}");
    assert_eq!(case.zdm(&["migrate", "--dry-run"]).await.code, Some(3));
    case.source.execute("DROP TABLE note").await.unwrap();

    for (table, says) in [
        (
            "CREATE TABLE customer (id int PRIMARY KEY, name varchar(80)); INSERT INTO customer VALUES (1, 'here')",
            "holds rows",
        ),
        ("CREATE TABLE customer (id int PRIMARY KEY, title text)", "another shape"),
    ] {
        case.target.execute(table).await.unwrap();
        case.zdm(&["migrate"]).await.fails(&["public", "customer", says]);
        assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0), "{says}");
        case.target.execute("DROP TABLE customer").await.unwrap();
    }
    assert_eq!(case.summary(&["migrate"]).await["state"], "caught_up");
    case.equal().await;
}

#[tokio::test]
async fn a_target_of_mysql_that_is_not_empty_is_named() {
    let (servers, name) = (servers().await, "my_full");
    let source = servers.postgres.create_database(name).await.unwrap();
    source.execute(crate::fixture::SHOP).await.unwrap();
    let target = servers.mysql.create_database(name).await.unwrap();
    let case = Crossing { name, source: Database::Postgres(source), target: Database::MySql(target) };
    let full =
        "CREATE TABLE customer (id int PRIMARY KEY, name longtext); INSERT INTO customer VALUES (1, 'x')";
    case.target.execute(full).await.unwrap();
    case.zdm(&["migrate"]).await.fails(&["my_full.customer", "holds rows", "DROP TABLE"]);
    assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0));
}

#[tokio::test]
async fn a_server_that_cannot_be_read_from_says_why() {
    let target = servers().await.postgres.create_database("my_unreadable").await.unwrap();
    let unlogged = MySqlOptions::mariadb().version("10.11").durable(false).binlog(false);
    let server = MySql::start(unlogged).await.unwrap();
    let source = server.create_database("my_unreadable").await.unwrap();
    source.execute(MY_SHOP).await.unwrap();
    let mut case = Crossing {
        name: "my_unreadable",
        source: Database::MySql(source),
        target: Database::Postgres(target),
    };
    case.zdm(&["migrate"]).await.fails(&["no binary log", "log_bin", "restart"]);

    let server = MySql::start(MySqlOptions::mariadb().version("10.11")).await.unwrap();
    let source = server.create_database("my_unreadable").await.unwrap();
    source.execute(MY_SHOP).await.unwrap();
    case.source = Database::MySql(source);
    for (set, says, back) in [
        (
            "binlog_format = 'STATEMENT'",
            &["binlog_format is STATEMENT", "binlog_format = 'ROW'"][..],
            "'ROW'",
        ),
        ("binlog_format = 'MIXED'", &["binlog_format is MIXED", "binlog_format = 'ROW'"], "'ROW'"),
        ("binlog_row_image = 'MINIMAL'", &["binlog_row_image = 'FULL'"], "'FULL'"),
    ] {
        server.execute(&format!("SET GLOBAL {set}")).await.unwrap();
        case.zdm(&["migrate"]).await.fails(says);
        assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0), "{set}");
        let name = set.split(' ').next().unwrap();
        server.execute(&format!("SET GLOBAL {name} = {back}")).await.unwrap();
    }
    // Nothing tells its rows apart when the log does not carry all of them.
    case.source.execute("CREATE TABLE heap (a int, b longtext)").await.unwrap();
    server.execute("SET GLOBAL binlog_row_image = 'NOBLOB'").await.unwrap();
    case.zdm(&["migrate"]).await.fails(&["my_unreadable.heap", "no key", "binlog_row_image = 'FULL'"]);
    server.execute("SET GLOBAL binlog_row_image = 'FULL'").await.unwrap();
    assert_eq!(case.summary(&["migrate", "--cutover"]).await["state"], "switched");
}
