//! From the assessment to the end of a run.

use serde_json::json;
use zdm_servers::mysql::{MySql, MySqlOptions};

use super::{Crossing, Database, MY_SHOP, mysql_to_postgres, servers, words};
use crate::fixture::{Follower, SHOP, bare, certificate, done};

/// A run from its assessment to its end, whatever the engines.
async fn whole_life(case: Crossing, rows: u64) {
    let ready = case.zdm(&["assess", "--json"]).await;
    assert_eq!(ready.code, Some(0), "{ready:?}");
    assert_eq!((&ready.summary()["state"], &ready.summary()["blockers"]), (&json!("ready"), &json!(0)));
    assert!(ready.out.contains("\"event\":\"conversion\"") && ready.out.contains("\"one_way\""), "{ready:?}");
    let told = case.zdm(&["assess"]).await;
    assert!(told.out.contains("purchase") && told.out.contains("the way back"), "{told:?}");
    assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0), "assessed");
    case.zdm(&["status"]).await.fails(&["knows no run", case.name]);

    let copied = case.summary(&["migrate"]).await;
    assert_eq!(copied["state"], "caught_up");
    assert_eq!((&copied["tables"], &copied["rows_copied"]), (&json!(2), &json!(rows)));
    case.equal().await;
    let status = case.summary(&["status"]).await;
    assert_eq!((&status["state"], &status["tables"]), (&json!("following"), &json!(2)));

    case.source
        .execute("INSERT INTO customer (name) VALUES ('late'); DELETE FROM purchase WHERE id < 9")
        .await
        .unwrap();
    let again = case.summary(&["migrate"]).await;
    assert_eq!((&again["state"], &again["changes_applied"]), (&json!("caught_up"), &json!(9)));
    case.equal().await;
    assert!(
        case.target.execute("DELETE FROM purchase").await.is_err(),
        "the target was open before the switch"
    );

    let rehearsed = case.summary(&["rehearse", "--verify"]).await;
    assert_eq!(rehearsed["state"], "rehearsed");
    case.source.execute("UPDATE customer SET name = 'last' WHERE id = 1").await.unwrap();
    let file = certificate(case.name);
    let switched = case.summary(&["migrate", "--cutover", "--verify", "--certificate", &file]).await;
    assert_eq!((&switched["state"], &switched["certificate"]), (&json!("switched"), &json!("equal")));
    case.equal().await;
    // Behind a conversion the source's rows are certified as they arrived.
    let (from, to) = (case.source.url(), case.target.url());
    let held = done(bare(&["certificate", "check", &file, "--from", &from, "--to", &to, "--json"])).await;
    assert_eq!((held.code, &held.summary()["state"]), (Some(0), &json!("holds")), "{held:?}");
    assert_eq!(held.summary()["not_checked"].as_array().unwrap().len(), 2, "{held:?}");
    let stray = case.source.execute("INSERT INTO customer (name) VALUES ('stray')").await.unwrap_err();
    let place = case.target.url();
    let (_, place) = place.split_once('@').unwrap();
    assert!(
        words(&stray).contains("its data moved to") && words(&stray).contains(place),
        "{}",
        words(&stray)
    );
    let last = case.source.number("SELECT max(id) FROM customer").await;
    case.target.execute("INSERT INTO customer (name) VALUES ('new')").await.unwrap();
    let next = case.target.number("SELECT id FROM customer WHERE name = 'new'").await;
    assert!(next > last, "{next} behind {last}");
    let orphan = case.target.execute("INSERT INTO purchase (customer, cents) VALUES (-1, 1)").await;
    assert!(orphan.is_err(), "the foreign key is gone");
    for again in [&["migrate"][..], &["migrate", "--cutover"], &["cutover"]] {
        assert_eq!(case.summary(again).await["state"], "switched", "{again:?}");
    }

    case.zdm(&["drop"]).await.fails(&["cut over", "--force"]);
    assert!(case.source.execute("DELETE FROM purchase").await.is_err(), "the seal is gone");
    assert_eq!(case.summary(&["drop", "--force"]).await["state"], "dropped");
    assert_eq!((case.source.traces().await, case.target.traces().await), (0, 0), "dropped");
    case.source.execute("DELETE FROM purchase").await.unwrap();
}

#[tokio::test]
async fn a_run_from_mysql_to_postgres() {
    whole_life(mysql_to_postgres("from_mysql").await, 20).await;
}

#[tokio::test]
async fn a_run_from_postgres_to_mariadb() {
    let (servers, name) = (servers().await, "from_postgres");
    let source = servers.postgres.create_database(name).await.unwrap();
    source.execute(SHOP).await.unwrap();
    let target = servers.mariadb.create_database(name).await.unwrap();
    let case = Crossing { name, source: Database::Postgres(source), target: Database::MySql(target) };
    whole_life(case, 2500).await;
}

#[tokio::test]
async fn a_cutover_beside_a_follower_makes_that_one_switch() {
    let case = mysql_to_postgres("my_beside").await;
    let follower = Follower::start(case.command(&["migrate", "--follow", "--json"])).await;
    case.source.execute("UPDATE customer SET name = 'changed' WHERE id < 5").await.unwrap();
    let asked = case.summary(&["cutover"]).await;
    assert_eq!(asked["state"], "switched");
    let (code, summary) = follower.end().await;
    assert_eq!((code, &summary["state"]), (Some(0), &json!("switched")));
    case.equal().await;
    assert!(case.source.execute("DELETE FROM purchase").await.is_err());
    case.target.execute("DELETE FROM purchase").await.unwrap();
}

/// The tables of the database that a URL names are moved into the one that
/// the other names, and no other tables.
#[tokio::test]
async fn a_url_names_the_database_that_is_moved() {
    let (servers, name) = (servers().await, "one_of_many");
    let other = servers.mysql.create_database("one_beside_it").await.unwrap();
    other.execute("CREATE TABLE other (id int PRIMARY KEY)").await.unwrap();
    let source = servers.mysql.create_database(name).await.unwrap();
    source.execute(MY_SHOP).await.unwrap();
    let target = servers.postgres.create_database(name).await.unwrap();
    let case = Crossing { name, source: Database::MySql(source), target: Database::Postgres(target) };
    let planned = case.summary(&["migrate", "--dry-run"]).await;
    assert_eq!((&planned["state"], &planned["tables"]), (&json!("planned"), &json!(2)));
    let case = Crossing { target: case.target, ..case };
    assert_eq!(case.summary(&["migrate", "--exclude", "*.purchase"]).await["tables"], 1);
    assert_eq!(case.target.number("SELECT count(*) FROM public.customer").await, 10);
}

#[tokio::test]
async fn a_mapping_chooses_names_and_types() {
    let case = mysql_to_postgres("my_mapped").await;
    let file = std::env::temp_dir().join(format!("zdm-map-{}.toml", std::process::id()));
    let map = "
        [tables.\"my_mapped.customer\"]
        name = \"app.person\"
        [tables.\"my_mapped.customer\".columns.name]
        name = \"full_name\"
        type = \"text\"
        [tables.\"my_mapped.purchase\"]
        drop = [\"at\"]
    ";
    std::fs::write(&file, map).unwrap();
    let path = file.to_str().unwrap();
    let assessed = case.zdm(&["assess", "--map", path]).await;
    assert!(assessed.out.contains("app.person") && assessed.out.contains("full_name"), "{assessed:?}");
    assert_eq!(case.summary(&["migrate", "--map", path]).await["state"], "caught_up");
    let sql = "SELECT count(*) FROM app.person p JOIN public.purchase b ON b.customer = p.id
               WHERE p.full_name LIKE 'customer %'";
    assert_eq!(case.target.number(sql).await, 10);
    std::fs::write(&file, "[tables.\"my_mapped.nobody\"]\nname = \"a.b\"").unwrap();
    let refused = case.zdm(&["assess", "--map", path]).await;
    assert!(refused.code != Some(0) && (refused.out + &refused.err).contains("my_mapped.nobody"));
    std::fs::remove_file(&file).unwrap();
}

/// Between servers of one engine nothing is converted, and a database may get
/// another name all the same.
#[tokio::test]
async fn a_database_gets_the_name_that_the_target_url_has() {
    let options = MySqlOptions::mariadb().version("10.11");
    let server = MySql::start(options.setting("log_bin_trust_function_creators", 1)).await.unwrap();
    let source = servers().await.mariadb.create_database("my_old_name").await.unwrap();
    source.execute(MY_SHOP).await.unwrap();
    let target = server.create_database("my_new_name").await.unwrap();
    let (source, target) = (Database::MySql(source), Database::MySql(target));
    let case = Crossing { name: "renamed", source, target };
    case.summary(&["migrate"]).await;
    case.source.execute("UPDATE purchase SET cents = cents + 1").await.unwrap();
    assert_eq!(case.summary(&["migrate", "--cutover"]).await["state"], "switched");
    case.equal().await;
    assert!(case.source.execute("DELETE FROM purchase").await.is_err());
    let orphan = case.target.execute("INSERT INTO purchase (customer, cents) VALUES (-1, 1)").await;
    assert!(orphan.is_err(), "the foreign key is gone");
    case.target.execute("INSERT INTO purchase (customer, cents) VALUES (1, 1)").await.unwrap();
    // With other names, by the file.
    let source = servers().await.mariadb.create_database("my_source").await.unwrap();
    source.execute(MY_SHOP).await.unwrap();
    let target = server.create_database("my_target").await.unwrap();
    let case = Crossing { name: "named", source: Database::MySql(source), target: Database::MySql(target) };
    let file = std::env::temp_dir().join(format!("zdm-map-my-{}.toml", std::process::id()));
    let map = "
        [tables.\"my_source.customer\"]
        name = \"my_target.person\"
        columns.name.name = \"full_name\"
        [tables.\"my_source.purchase\"]
        drop = [\"at\"]
    ";
    std::fs::write(&file, map).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(case.summary(&["migrate", "--map", path]).await["state"], "caught_up");
    case.source
        .execute("UPDATE customer SET name = 'new' WHERE id < 4; DELETE FROM purchase WHERE id = 5")
        .await
        .unwrap();
    assert_eq!(case.summary(&["migrate", "--cutover", "--map", path]).await["state"], "switched");
    let sum = "SELECT SUM(CRC32(CONCAT_WS(',', p.id, p.customer, p.cents, c.id, c.{n}))) FROM purchase p \
               JOIN {c} c ON c.id = p.customer";
    let (here, there) =
        (sum.replace("{n}", "name").replace("{c}", "customer"), sum.replace("{n}", "full_name"));
    assert_eq!(case.source.number(&here).await, case.target.number(&there.replace("{c}", "person")).await);
    assert_eq!(case.target.number("SELECT COUNT(*) FROM purchase").await, 9);
    std::fs::write(&file, "[types]\nint = \"bigint\"").unwrap();
    let refused = case.zdm(&["assess", "--map", path]).await;
    assert!(refused.code != Some(0) && (refused.out + &refused.err).contains("[types] int"));
    std::fs::remove_file(&file).unwrap();
}
