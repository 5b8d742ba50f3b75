//! With the rights that the documentation lists, and with less.

use serde_json::json;
use zdm_servers::mysql::User;

use super::{Crossing, Database, MY_SHOP, mysql_to_postgres, servers};
use crate::fixture::{SHOP, certificate, done};

/// As `zdm_mysql::rights` lists them for a source, and a word by which each
/// is asked for where the run cannot begin without it.
fn source_grants(database: &str) -> Vec<(String, &'static str)> {
    vec![
        // Asked for where our database is there already.
        ("GRANT ALL PRIVILEGES ON zdm.*".to_owned(), "ALL PRIVILEGES ON `zdm`"),
        ("GRANT REPLICATION SLAVE ON *.*".to_owned(), "REPLICATION SLAVE"),
        ("GRANT REPLICATION CLIENT ON *.*".to_owned(), "REPLICATION CLIENT"),
        ("GRANT PROCESS ON *.*".to_owned(), "PROCESS"),
        (format!("GRANT LOCK TABLES ON {database}.*"), ""),
        (format!("GRANT TRIGGER ON {database}.*"), ""),
    ]
}

#[tokio::test]
async fn the_rights_of_the_documentation_are_enough_for_a_source() {
    let case = mysql_to_postgres("my_mover").await;
    let server = &servers().await.mysql;
    // One table without a key: its copy takes a lock of a moment.
    case.source.execute("CREATE TABLE heap (a int); INSERT INTO heap VALUES (1), (1)").await.unwrap();
    server.create_user(&User::new("mover", "pw").without_rights()).await.unwrap();
    server.execute("GRANT SELECT, SHOW VIEW ON my_mover.* TO mover").await.unwrap();
    for (grant, _) in source_grants("my_mover") {
        server.execute(&format!("{grant} TO mover")).await.unwrap();
    }
    let Database::MySql(source) = &case.source else { panic!("a MySQL") };
    let (from, to) = (source.url_as("mover", "pw"), case.target.url());
    let zdm = |args: &'static [&'static str]| done(case.between(args, &from, &to));
    let copied = zdm(&["migrate", "--json"]).await;
    assert_eq!(copied.code, Some(0), "{copied:?}");
    case.source
        .execute("UPDATE customer SET name = 'changed' WHERE id < 9; DELETE FROM heap LIMIT 1")
        .await
        .unwrap();
    let file = certificate("my_mover");
    let certified = ["migrate", "--cutover", "--verify", "--certificate", &file, "--json"];
    let switched = done(case.between(&certified, &from, &to)).await;
    assert_eq!(
        (switched.code, &switched.summary()["certificate"]),
        (Some(0), &json!("equal")),
        "{switched:?}"
    );
    case.equal().await;
    assert!(
        case.source.execute("DELETE FROM purchase").await.is_err(),
        "the seal lets the superuser through"
    );
    let dropped = zdm(&["drop", "--force", "--json"]).await;
    assert_eq!(dropped.code, Some(0), "{dropped:?}");
    assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0));
}

#[tokio::test]
async fn each_right_that_is_missing_at_a_source_is_named() {
    // So our database is there.
    mysql_to_postgres("my_poors_neighbour").await.summary(&["migrate", "--cutover"]).await;
    let case = mysql_to_postgres("my_poor").await;
    let server = &servers().await.mysql;
    server.create_user(&User::new("poor", "pw").without_rights()).await.unwrap();
    server.execute("GRANT SELECT, SHOW VIEW ON my_poor.* TO poor").await.unwrap();
    let Database::MySql(source) = &case.source else { panic!("a MySQL") };
    let (from, to) = (source.url_as("poor", "pw"), case.target.url());
    for (grant, says) in source_grants("my_poor") {
        if !says.is_empty() {
            done(case.between(&["migrate"], &from, &to)).await.fails(&["GRANT", says, "poor"]);
            assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0), "before {grant}");
        }
        server.execute(&format!("{grant} TO poor")).await.unwrap();
    }
    assert_eq!(done(case.between(&["migrate"], &from, &to)).await.code, Some(0));
}

#[tokio::test]
async fn the_rights_of_the_documentation_are_enough_for_a_target() {
    let (servers, name) = (servers().await, "my_receiver");
    let source = servers.postgres.create_database(name).await.unwrap();
    source.execute(SHOP).await.unwrap();
    let target = servers.mariadb.create_database(name).await.unwrap();
    servers.mariadb.create_user(&User::new("receiver", "pw").without_rights()).await.unwrap();
    let (from, to) = (source.url(), target.url_as("receiver", "pw"));
    let case = Crossing { name, source: Database::Postgres(source), target: Database::MySql(target) };
    // Each is asked for until it is given.
    for (grant, says) in [
        ("SELECT, INSERT, UPDATE ON my_receiver.*", "grant the right"),
        (
            "DELETE, CREATE, ALTER, INDEX, REFERENCES ON my_receiver.*",
            "GRANT DELETE, CREATE, ALTER, INDEX, REFERENCES, TRIGGER ON `my_receiver`.*",
        ),
        ("TRIGGER ON my_receiver.*", "GRANT TRIGGER ON `my_receiver`.*"),
        ("ALL PRIVILEGES ON zdm.*", "GRANT ALL PRIVILEGES ON `zdm`.*"),
    ] {
        let refused = done(case.between(&["migrate"], &from, &to)).await;
        refused.fails(&[says, "receiver"]);
        assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0), "before {grant}");
        servers.mariadb.execute(&format!("GRANT {grant} TO receiver")).await.unwrap();
    }
    let file = certificate(name);
    let certified = ["migrate", "--cutover", "--verify", "--certificate", &file, "--json"];
    let switched = done(case.between(&certified, &from, &to)).await;
    assert_eq!(
        (switched.code, &switched.summary()["certificate"]),
        (Some(0), &json!("equal")),
        "{switched:?}"
    );
    case.equal().await;
}

/// The shop is not somebody's whose trigger would be in the way.
#[tokio::test]
async fn a_user_without_any_right_is_told_what_to_grant() {
    let (servers, name) = (servers().await, "my_nobody");
    let source = servers.mariadb.create_database(name).await.unwrap();
    source.execute(MY_SHOP).await.unwrap();
    let target = servers.postgres.create_database(name).await.unwrap();
    servers.mariadb.create_user(&User::new("nobody", "pw").without_rights()).await.unwrap();
    let from = source.url_as("nobody", "pw");
    let case = Crossing { name, source: Database::MySql(source), target: Database::Postgres(target) };
    let refused = done(case.between(&["migrate"], &from, &case.target.url())).await;
    refused.fails(&["Access denied", "grant", "--from"]);
}
