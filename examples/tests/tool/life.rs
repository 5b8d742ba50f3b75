//! From the assessment to the end of a run.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::{Case, SHOP};

fn none() -> Vec<String> {
    Vec::new()
}

#[tokio::test]
async fn a_run_from_its_assessment_to_its_end() {
    let case = Case::new("whole_life", SHOP).await;
    let ready = case.summary(&["assess"]).await;
    assert_eq!((&ready["state"], &ready["blockers"]), (&json!("ready"), &json!(0)));
    case.zdm(&["status"]).await.fails(&["knows no run", "whole_life"]);

    let copied = case.summary(&["migrate"]).await;
    let fields = ["state", "tables", "rows_copied", "changes_applied", "seconds", "position"];
    assert!(fields.iter().all(|field| !copied[field].is_null()), "{copied}");
    assert_eq!(copied["state"], "caught_up");
    assert_eq!((&copied["tables"], &copied["rows_copied"]), (&json!(2), &json!(2500)));
    case.equal().await;
    assert_eq!(case.summary(&["status"]).await["state"], "following");

    case.source
        .execute("INSERT INTO customer (name) VALUES ('late'); DELETE FROM purchase WHERE id < 9")
        .await
        .unwrap();
    let again = case.summary(&["migrate"]).await;
    assert_eq!(
        (&again["state"], &again["rows_copied"], &again["changes_applied"]),
        (&json!("caught_up"), &json!(2500), &json!(9))
    );
    case.equal().await;

    let switched = case.summary(&["migrate", "--cutover"]).await;
    assert_eq!(switched["state"], "switched");
    case.equal().await;
    let stray =
        case.source.execute("INSERT INTO customer (name) VALUES ('stray')").await.unwrap_err().to_string();
    let place = case.target.url();
    let place = place.split('@').nth(1).unwrap();
    assert!(stray.contains("its data moved to") && stray.contains(place), "{stray}");
    let last: i64 = case.source.value("SELECT max(id) FROM customer").await.unwrap().parse().unwrap();
    let next: i64 = case
        .target
        .value("INSERT INTO customer (name) VALUES ('new') RETURNING id")
        .await
        .unwrap()
        .parse()
        .unwrap();
    assert!(next > last, "{next}");
    case.target.execute("INSERT INTO purchase (customer, cents) VALUES (1, 1)").await.unwrap();
    let status = case.summary(&["status"]).await;
    assert_eq!((&status["state"], &status["switch"]["state"]), (&json!("switched"), &json!("switched")));
    // What has happened is not an error.
    for again in [&["migrate"][..], &["migrate", "--cutover"], &["cutover"]] {
        let summary = case.summary(again).await;
        assert_eq!((&summary["state"], &summary["tables"]), (&json!("switched"), &json!(2)), "{again:?}");
    }

    case.zdm(&["drop"]).await.fails(&["cut over", "--force"]);
    assert!(case.source.execute("DELETE FROM purchase").await.is_err(), "the seal is gone");
    assert_eq!(case.summary(&["drop", "--force"]).await["state"], "dropped");
    let tables = vec!["table customer".to_owned(), "table purchase".to_owned()];
    assert_eq!(case.traces().await, (none(), tables));
    case.source.execute("DELETE FROM purchase").await.unwrap();
}

#[tokio::test]
async fn a_signal_ends_a_follower_at_a_durable_position() {
    let case = Case::new("signals", SHOP).await;
    for signal in ["TERM", "INT"] {
        let follower = case.follow().await;
        case.source.execute("INSERT INTO customer (name) VALUES ('meanwhile')").await.unwrap();
        follower.signal(signal);
        let (code, summary) = follower.end().await;
        assert_eq!((code, &summary["state"]), (Some(0), &json!("stopped")), "{signal}");
        let status = case.summary(&["status"]).await;
        assert_eq!((&status["position"], &status["state"]), (&summary["position"], &json!("following")));
    }
    assert_eq!(case.summary(&["migrate"]).await["state"], "caught_up");
    case.equal().await;
    // A run that was not cut over is dropped without more words.
    assert_eq!(case.summary(&["drop"]).await["state"], "dropped");
    assert_eq!(case.traces().await, (none(), vec!["table customer".to_owned(), "table purchase".to_owned()]));
    case.target.execute("DELETE FROM purchase").await.unwrap();
}

#[tokio::test]
async fn a_cutover_beside_a_follower_makes_that_one_switch() {
    let case = Case::new("beside", SHOP).await;
    let follower = case.follow().await;
    case.source.execute("UPDATE customer SET name = 'changed' WHERE id < 50").await.unwrap();
    let asked = case.zdm(&["cutover", "--json"]).await;
    assert_eq!(asked.code, Some(0), "{asked:?}");
    assert!(asked.out.contains("\"asked\"") && !asked.out.contains("\"alone\""), "{asked:?}");
    let (code, summary) = follower.end().await;
    assert_eq!((code, &summary["state"]), (Some(0), &json!("switched")));
    assert_eq!(asked.summary()["state"], "switched");
    assert_eq!(asked.summary()["position"], summary["position"]);
    case.equal().await;
    assert!(case.source.execute("DELETE FROM purchase").await.is_err());
    case.target.execute("DELETE FROM purchase").await.unwrap();
}

#[tokio::test]
async fn a_cutover_that_a_follower_gives_up_is_told_to_the_one_that_asked() {
    let case = Case::new("beside_busy", SHOP).await;
    let mut follower = case.follow_with(&["--deadline", "1"]).await;
    let blocker = case.source.connect().await.unwrap();
    blocker.batch_execute("BEGIN; UPDATE customer SET name = 'busy' WHERE id = 1").await.unwrap();
    case.zdm(&["cutover"]).await.fails(&["has given it up", "still the active side", "in the way"]);
    follower.until(|event| event["event"] == "error").await;
    blocker.batch_execute("COMMIT").await.unwrap();
    // It follows on, and does it when it can.
    assert_eq!(case.summary(&["cutover"]).await["state"], "switched");
    assert_eq!(follower.end().await.1["state"], "switched");
    case.equal().await;
}

#[tokio::test]
async fn a_cutover_with_no_follower_is_done_by_itself() {
    let case = Case::new("alone", SHOP).await;
    case.summary(&["migrate"]).await;
    case.source.execute("DELETE FROM purchase WHERE id % 2 = 0").await.unwrap();
    let summary = case.summary(&["cutover"]).await;
    assert_eq!((&summary["state"], &summary["tables"]), (&json!("switched"), &json!(2)));
    case.equal().await;
    assert!(case.source.execute("DELETE FROM purchase").await.is_err());
    case.target.execute("DELETE FROM purchase").await.unwrap();
}

#[tokio::test]
async fn a_cutover_that_is_given_up_leaves_the_source_open() {
    let case = Case::new("given_up", SHOP).await;
    let blocker = case.source.connect().await.unwrap();
    case.summary(&["migrate"]).await;
    blocker.batch_execute("BEGIN; UPDATE customer SET name = 'busy' WHERE id = 1").await.unwrap();
    case.zdm(&["migrate", "--cutover", "--deadline", "1"]).await.fails(&["customer"]);
    case.source.execute("INSERT INTO customer (name) VALUES ('served')").await.unwrap();
    assert!(case.target.execute("DELETE FROM customer").await.is_err(), "the target was opened");
    blocker.batch_execute("COMMIT").await.unwrap();
    assert_eq!(case.summary(&["migrate", "--cutover"]).await["state"], "switched");
    case.equal().await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_patterns_choose() {
    let case = Case::new("patterns", SHOP).await;
    case.source
        .execute("CREATE SCHEMA other; CREATE TABLE other.t (id int PRIMARY KEY); CREATE TABLE public.tmp_x (id int PRIMARY KEY)")
        .await
        .unwrap();
    let args = ["migrate", "--tables", "public.*", "--exclude", "public.tmp_*"];
    let before = case.traces().await;
    let planned = case.summary(&[&args[..], &["--dry-run"]].concat()).await;
    assert_eq!((&planned["state"], &planned["tables"]), (&json!("planned"), &json!(2)));
    assert_eq!(case.traces().await, before);

    // Lines for people, where stderr is no terminal and nobody asked for JSON.
    let lines = case.zdm(&args).await;
    assert_eq!(lines.code, Some(0), "{lines:?}");
    assert!(
        lines.out.lines().last().unwrap().starts_with("caught up: 2 tables, 2,500 rows copied"),
        "{lines:?}"
    );
    assert!(!lines.out.contains('\u{1b}') && lines.err.is_empty(), "{lines:?}");
    let (_, target) = case.traces().await;
    assert!(!target.contains(&"table tmp_x".to_owned()) && target.contains(&"table purchase".to_owned()));
    assert_eq!(
        case.target.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'other'").await.unwrap(),
        "0"
    );
}

#[tokio::test]
async fn killed_in_the_middle_of_the_copy_the_same_command_resumes() {
    let case = Case::new("killed", SHOP).await;
    case.source
        .execute(
            "CREATE TABLE big (id int PRIMARY KEY, payload text);
             INSERT INTO big SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 40000) i",
        )
        .await
        .unwrap();
    let mut command = case.command(&["migrate", "--json", "--jobs", "1", "--max-rate", "3M"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let planned = "SELECT count(*) FROM pg_tables WHERE schemaname = 'zdm' AND tablename = 'chunk'";
    let copied = "SELECT count(*) FROM zdm.chunk WHERE done";
    let under_way = async {
        while case.target.value(planned).await.unwrap() == "0"
            || case.target.value(copied).await.unwrap() == "0"
        {
            assert_eq!(child.try_wait().unwrap(), None, "it was not killed in the middle of its copy");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), under_way).await.expect("no chunk is ever done");
    child.kill().await.unwrap();
    let status = case.summary(&["status"]).await;
    assert_eq!(status["state"], "copying", "{status}");
    case.source
        .execute("UPDATE big SET payload = 'new' WHERE id % 1000 = 0; DELETE FROM big WHERE id % 999 = 0")
        .await
        .unwrap();
    case.zdm(&["cutover"]).await.fails(&["not a whole copy", "zdm status"]);
    let resumed: Value = case.summary(&["migrate", "--jobs", "1"]).await;
    assert_eq!(resumed["state"], "caught_up");
    case.equal().await;
}

/// Names and columns to leave behind; types are another matter.
#[tokio::test]
async fn a_mapping_gives_names_within_one_engine() {
    let case = Case::new("named", SHOP).await;
    let file = std::env::temp_dir().join(format!("zdm-map-named-{}.toml", std::process::id()));
    let path = file.to_str().unwrap();
    for (map, says) in [
        ("[types]\n\"text\" = \"varchar(80)\"", "[types] text"),
        ("[tables.\"public.customer\".columns.name]\ntype = \"varchar(80)\"", "columns.name] type"),
        ("[policies]\nzero_date = \"null\"", "[policies]"),
        ("[tables.\"public.nobody\"]\nname = \"a.b\"", "public.nobody"),
        ("[tables.\"public.customer\"]\ndrop = [\"age\"]", "public.customer.age"),
        ("[tables.\"public.customer\"]\nname = \"public.purchase\"", "two tables one name"),
    ] {
        std::fs::write(&file, map).unwrap();
        let refused = case.zdm(&["migrate", "--map", path]).await;
        assert!(refused.code != Some(0) && refused.err.contains(says), "{map}: {refused:?}");
    }
    let map = "
        [schemas]
        public = \"app\"
        [tables.\"public.customer\"]
        name = \"crm.person\"
        [tables.\"public.customer\".columns.name]
        name = \"full_name\"
        [tables.\"public.*\"]
        drop = [\"cents\"]
        columns.id.name = \"number\"
    ";
    std::fs::write(&file, map).unwrap();
    assert_eq!(case.summary(&["migrate", "--map", path]).await["state"], "caught_up");
    let change = "UPDATE customer SET name = 'new', id = 1000 WHERE id = 7; DELETE FROM purchase WHERE customer = 9; \
                  DELETE FROM customer WHERE id = 9; INSERT INTO purchase (customer, cents) VALUES (1000, 5)";
    let moved = change.replacen("UPDATE", "DELETE FROM purchase WHERE customer = 7; UPDATE", 1);
    case.source.execute(&moved).await.unwrap();
    assert_eq!(case.summary(&["migrate", "--cutover", "--map", path]).await["state"], "switched");
    let rows =
        async |database: &zdm_servers::postgres::Database, sql: &str| database.query(sql).await.unwrap();
    for (there, here) in [
        ("SELECT number, full_name FROM crm.person ORDER BY 1", "SELECT id, name FROM customer ORDER BY 1"),
        (
            "SELECT number, customer FROM app.purchase ORDER BY 1",
            "SELECT id, customer FROM purchase ORDER BY 1",
        ),
    ] {
        let found = rows(&case.target, there).await;
        assert!(found.len() > 400 && found == rows(&case.source, here).await, "{there}");
    }
    // Numbers go on, and the foreign key leads to the new name.
    case.target.execute("INSERT INTO crm.person (full_name) VALUES ('x')").await.unwrap();
    let orphan = case.target.execute("INSERT INTO app.purchase (customer) VALUES (9)").await;
    assert!(orphan.unwrap_err().to_string().contains("customer"), "the foreign key is gone");
    std::fs::remove_file(&file).unwrap();
}
