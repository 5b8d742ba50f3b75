//! What goes wrong, told in one message; and nothing is left half done.

use std::os::unix::fs::PermissionsExt;

use zdm_servers::postgres::{PgOptions, Postgres, StopMode};

use crate::fixture::{Case, SHOP, bare, done, pair};

#[tokio::test]
async fn a_command_line_that_is_wrong_ends_with_2() {
    for args in [
        &["migrate", "--from", "postgres://a@b/c"][..],
        &["move"],
        &["migrate", "--from", "a", "--to", "b", "--max-rate", "fast"],
        &["migrate", "--from", "a", "--to", "b", "--follow", "--cutover"],
    ] {
        let refused = done(bare(args)).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    }
}

#[tokio::test]
async fn a_url_that_leads_nowhere_is_told_at_once() {
    let case = Case::new("nowhere", SHOP).await;
    let (from, to) = (case.source.url(), case.target.url());
    // It takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("postgres://u@{}/d?connect_timeout=1&sslmode=disable", silent.local_addr().unwrap());
    let closed = "postgres://u:hidden@127.0.0.1:1/d";
    let missing = from.replace("/nowhere", "/elsewhere");
    for (from, to, says) in [
        ("nonsense", to.as_str(), &["postgres://", "--from"][..]),
        ("oracle://u:hidden@h/d", &to, &["mysql://", "mariadb://", "--from", "oracle"]),
        ("mysql://u:hidden@127.0.0.1:1/d", &to, &["127.0.0.1:1/d", "--from"]),
        (&from, "mariadb://u:hidden@127.0.0.1:1/d", &["127.0.0.1:1/d", "--to"]),
        (&from, "postgres://u:hidden@h:99999/d", &["port", "--to"]),
        (closed, &to, &["cannot reach the server", "127.0.0.1:1/d", "--from"]),
        (&from, closed, &["cannot reach the server", "127.0.0.1:1/d", "--to"]),
        (&silent, &to, &["--from"]),
        (&missing, &to, &["\"elsewhere\" does not exist", "check the name"]),
        (&from, &from, &["same database"]),
        (&from, &from.replace("127.0.0.1", "localhost"), &["same database"]),
    ] {
        // All begin with the same first contact; that one takes its second.
        let verbs = ["migrate", "assess", "status", "cutover", "drop"];
        for verb in if from == silent { &verbs[..1] } else { &verbs[..] } {
            let refused = done(case.between(&[verb], from, to)).await;
            refused.fails(says);
            assert!(!refused.err.contains("hidden"), "a password was printed: {}", refused.err);
        }
    }
    assert_eq!(case.traces().await, (vec![], vec![]));
}

#[tokio::test]
async fn passwords_come_from_the_environment_or_a_file_and_are_never_printed() {
    let case = Case::new("passwords", SHOP).await;
    let plain = |url: String| {
        let (head, tail) = url.split_once('@').unwrap();
        format!("{}@{tail}", head.rsplit_once(':').unwrap().0)
    };
    let (from, to) = (plain(case.source.url()), plain(case.target.url()));
    let command = || case.between(&["assess"], &from, &to);
    let password = pair().await.source.password().unwrap();
    done(command()).await.fails(&["password", "--from"]);

    let mut with = command();
    with.env("PGPASSWORD", &password);
    assert_eq!(done(with).await.code, Some(0));

    let file = std::env::temp_dir().join(format!("zdm-pgpass-{}", std::process::id()));
    std::fs::write(&file, format!("127.0.0.1:*:passwords:postgres:{password}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut with = command();
    with.env("PGPASSFILE", &file);
    let read = done(with).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(read.code, Some(0), "{read:?}");

    for json in [&["migrate"][..], &["migrate", "--json"]] {
        let mut wrong = case.between(json, &from, &to);
        wrong.env("PGPASSWORD", "not-the-one").env("ZDM_LOG", "trace");
        let refused = done(wrong).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let all = refused.out + &refused.err;
        assert!(all.contains("check user and password"), "{all}");
        assert!(!all.contains("not-the-one"), "the password was printed: {all}");
    }
    assert_eq!(case.traces().await, (vec![], vec![]));
}

#[tokio::test]
async fn what_cannot_be_moved_is_named_with_what_mends_it() {
    let case = Case::new("blocked", SHOP).await;
    case.zdm(&["migrate", "--tables", "shop.*"]).await.fails(&["no table matches", "shop.*"]);
    case.zdm(&["assess", "--tables", "shop.*"]).await.fails(&["no table matches", "shop.*"]);

    case.source.execute("CREATE TABLE heap (a int)").await.unwrap();
    let mends = "ALTER TABLE \"public\".\"heap\" REPLICA IDENTITY FULL";
    case.zdm(&["migrate"]).await.fails(&["public.heap", mends]);
    let blocked = case.zdm(&["assess", "--json"]).await;
    assert_eq!(blocked.code, Some(3), "{blocked:?}");
    assert_eq!((&blocked.summary()["state"], &blocked.summary()["blockers"]), (&"blocked".into(), &1.into()));
    assert!(
        blocked.out.contains("REPLICA IDENTITY FULL") && blocked.out.contains("\"severity\":\"blocker\"")
    );
    assert_eq!(case.zdm(&["migrate", "--dry-run"]).await.code, Some(3));
    assert_eq!(case.traces().await, (vec![], vec![]));
    case.source.execute(&mends.replace("\"", "")).await.unwrap();

    for (table, says) in [
        (
            "CREATE TABLE customer (id int PRIMARY KEY, name text); INSERT INTO customer VALUES (1, 'here')",
            "holds rows",
        ),
        ("CREATE TABLE customer (id int PRIMARY KEY, title text)", "another shape"),
    ] {
        case.target.execute(table).await.unwrap();
        case.zdm(&["migrate"]).await.fails(&["public", "customer", says]);
        assert_eq!(case.traces().await, (vec![], vec!["table customer".to_owned()]));
        case.target.execute("DROP TABLE customer").await.unwrap();
    }
    case.summary(&["migrate"]).await;
    case.equal().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_read_from_says_why() {
    let options = PgOptions::new().setting("wal_level", "replica").setting("max_replication_slots", 1);
    let server = Postgres::start(options).await.unwrap();
    let mut case = Case::new("unreadable", "").await;
    case.source = server.create_database("unreadable").await.unwrap();
    case.source.execute(SHOP).await.unwrap();
    case.zdm(&["migrate"]).await.fails(&["wal_level is replica", "wal_level = logical", "restart"]);
    assert_eq!(case.traces().await, (vec![], vec![]));

    server.set("wal_level", "logical").unwrap();
    server.restart(StopMode::Fast).await.unwrap();
    case.source.execute("SELECT pg_create_logical_replication_slot('taken', 'pgoutput')").await.unwrap();
    case.zdm(&["migrate"]).await.fails(&["no replication slot is free", "max_replication_slots"]);
    assert_eq!(case.traces().await, (vec!["slot taken".to_owned()], vec![]));

    case.source.execute("SELECT pg_drop_replication_slot('taken')").await.unwrap();
    assert_eq!(case.summary(&["migrate", "--cutover"]).await["state"], "switched");
}

#[tokio::test]
async fn a_run_is_not_taken_from_its_target() {
    let mut case = Case::new("taken", SHOP).await;
    case.summary(&["migrate"]).await;
    let (home, elsewhere) =
        (case.target.clone(), pair().await.target.create_database("taken_else").await.unwrap());
    case.target = elsewhere;
    let before = case.traces().await;
    for args in [&["migrate"][..], &["migrate", "--dry-run"], &["assess"]] {
        case.zdm(args).await.fails(&["does not know it", "--to", "--run"]);
    }
    assert_eq!(case.traces().await, before);
    case.target = home;
    case.source.execute("DELETE FROM purchase WHERE id < 9").await.unwrap();
    assert_eq!(case.summary(&["migrate"]).await["changes_applied"], 8);
    case.equal().await;
}
