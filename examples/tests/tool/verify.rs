//! `zdm verify`, as its users run it.

use serde_json::{Value, json};

use crate::fixture::{Case, Done, SHOP};

/// What was told of rows.
fn differences(done: &Done) -> Vec<Value> {
    let events = done.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found: Vec<Value> = events.filter(|event| event["event"] == "difference").collect();
    found.sort_by_key(|found| found["key"].to_string());
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_compared_and_made_equal() {
    let case = Case::new("verified", SHOP).await;
    let done = case.zdm(&["verify", "--json"]).await;
    assert_eq!(done.code, Some(4), "no table is there to compare with: {done:?}");
    let follower = case.follow().await;
    let summary = case.summary(&["verify"]).await;
    assert_eq!((&summary["state"], &summary["rows"]), (&json!("equal"), &json!(2500)));
    let plant = "SET zdm.run = 'verified'; DELETE FROM purchase WHERE id = 3;
                 INSERT INTO customer VALUES (9001, 'alien'); UPDATE customer SET name = 'x' WHERE id = 5";
    case.target.execute(plant).await.unwrap();
    let done = case.zdm(&["verify", "--json"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    let found = differences(&done);
    let difference = |table: &str, id: i64, kind: &str, columns: &[&str]| {
        json!({
            "event": "difference", "table": format!("public.{table}"), "key": { "id": id },
            "kind": kind, "columns": columns, "rows": 1,
        })
    };
    assert_eq!(
        found,
        [
            difference("purchase", 3, "missing", &[]),
            difference("customer", 5, "changed", &["name"]),
            difference("customer", 9001, "extra", &[]),
        ]
    );
    let last = done.summary();
    assert_eq!((&last["state"], &last["differences"]), (&json!("different"), &json!(3)));
    // Of the tables that are chosen, in words.
    let done = case.zdm(&["verify", "--tables", "public.purchase"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.out.contains("public.purchase id=3: missing"), "{done:?}");
    assert!(!done.out.contains("customer"), "{done:?}");
    drop(follower);
    let summary = case.summary(&["verify", "--repair"]).await;
    assert_eq!((&summary["state"], &summary["repaired"]), (&json!("equal"), &json!(3)));
    case.equal().await;
    let summary = case.summary(&["verify", "--follow"]).await;
    assert_eq!((&summary["state"], &summary["differences"]), (&json!("equal"), &json!(0)));
}
