//! A cutover that is rehearsed, verified under its fence, and certified.

use std::time::Duration;

use serde_json::json;

use crate::fixture::{Case, SHOP, bare, certificate, done};

/// Waits until a row of the target is what the source has made it.
async fn applied(case: &Case, name: &str) {
    let arrived = format!("SELECT count(*) FROM customer WHERE id = 3 AND name = '{name}'");
    let applied = async {
        while case.target.value(&arrived).await.unwrap() != "1" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), applied).await.expect("it does not arrive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_is_rehearsed_verified_and_certified() {
    let case = Case::new("rehearsed", SHOP).await;
    case.zdm(&["rehearse"]).await.fails(&["knows no run"]);
    let follower = case.follow_with(&["--way-back"]).await;
    let before = case.traces().await;
    let rehearsed = case.summary(&["rehearse", "--verify", "--deadline", "20"]).await;
    assert_eq!((&rehearsed["state"], &rehearsed["leg"]), (&json!("rehearsed"), &json!(1)));
    let pause = &rehearsed["pause"];
    assert!(
        pause["fence_ms"].as_f64().unwrap() > 0.0 && pause["drain_ms"].as_f64().unwrap() > 0.0,
        "{pause}"
    );
    assert_eq!(rehearsed["verification"]["touched"]["public.customer"]["rows"], 500);
    // Nothing is left but the empty table of records, and the source is written
    // to as before.
    let (mut source, target) = case.traces().await;
    source.retain(|trace| trace != "schema zdm");
    assert_eq!((source, target), before);
    assert_eq!(case.source.value("SELECT count(*) FROM zdm.switch").await.unwrap(), "0");
    case.source.execute("UPDATE customer SET name = 'touched' WHERE id < 5").await.unwrap();
    applied(&case, "touched").await;

    // What was touched, and is wrong.
    case.target
        .execute("SET zdm.run = 'rehearsed'; UPDATE customer SET name = 'wrong' WHERE id = 3")
        .await
        .unwrap();
    for command in ["rehearse", "cutover"] {
        let refused = case.zdm(&[command, "--verify"]).await;
        refused.fails(&["under the fence both sides differ", "public.customer id=3: changed name"]);
    }
    case.source.execute("UPDATE customer SET name = 'again' WHERE id = 3").await.unwrap();
    assert!(case.target.execute("DELETE FROM purchase").await.is_err(), "the target was opened");
    applied(&case, "again").await;

    let file = certificate("rehearsed");
    case.zdm(&["cutover", "--certificate", "/nowhere/c.json"]).await.fails(&["folder"]);
    let switched = case.summary(&["cutover", "--verify", "--certificate", &file]).await;
    assert_eq!((&switched["state"], &switched["certificate"]), (&json!("switched"), &json!("equal")));
    let (from, to) = (case.source.url(), case.target.url());
    let check = async |file: &str, more: &[&str]| {
        done(bare(&[&["certificate", "check", file][..], more].concat())).await
    };
    let whole = check(&file, &[]).await;
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.out.contains("not checked: target: give --to"), "{whole:?}");
    let held = check(&file, &["--from", &from, "--to", &to, "--json"]).await;
    assert_eq!((held.code, &held.summary()["not_checked"]), (Some(0), &json!([])), "{held:?}");
    // The application works on the target; the source is what was certified
    // until the way back has brought that.
    case.target.execute("UPDATE customer SET name = 'later' WHERE id = 9").await.unwrap();
    let later = check(&file, &["--to", &to]).await;
    assert_eq!(later.code, Some(1), "{later:?}");
    assert!(later.out.contains("public.customer: the target holds other rows by now (500 rows"), "{later:?}");
    assert!(later.out.contains("public.purchase: the target holds what is certified"), "{later:?}");
    let other = check(&file, &["--from", &from.replace("/rehearsed", "/postgres")]).await;
    other.fails(&["not the database that was certified"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let altered = certificate("rehearsed_altered");
    std::fs::write(&altered, text.replacen("\"rows\": 500", "\"rows\": 499", 1)).unwrap();
    check(&altered, &[]).await.fails(&["not as it was issued"]);

    // It is kept with the switch, for whoever comes later. What comes next is a
    // rehearsal of the way back.
    let again = certificate("rehearsed_again");
    case.summary(&["cutover", "--way-back", "--certificate", &again]).await;
    assert_eq!(std::fs::read_to_string(&again).unwrap(), text);
    let back = case.summary(&["rehearse", "--way-back"]).await;
    assert_eq!((&back["state"], &back["leg"]), (&json!("rehearsed"), &json!(2)));
    let rolled = case.summary(&["rollback", "--deadline", "20", "--verify", "--certificate", &again]).await;
    assert_eq!((&rolled["state"], &rolled["certificate"]), (&json!("rolled_back"), &json!("equal")));
    case.equal().await;
    follower.signal("TERM");
    assert_eq!(follower.code().await, Some(0));
}
