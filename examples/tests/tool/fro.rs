//! A cutover with a way back, and what leads there and away again.

use serde_json::json;

use crate::fixture::{Case, SHOP};

fn none() -> Vec<String> {
    Vec::new()
}

#[tokio::test]
async fn a_run_is_switched_rolled_back_and_switched_again() {
    let case = Case::new("fro", SHOP).await;
    let mut follower = case.follow_with(&["--way-back"]).await;
    case.zdm(&["rollback"]).await.fails(&["nothing to roll back", "the source is the active side"]);
    case.source.execute("UPDATE customer SET name = 'before' WHERE id < 50").await.unwrap();
    assert_eq!(case.summary(&["cutover"]).await["state"], "switched");
    follower.until(|event| event["event"] == "switched" && event["active"] == "target").await;
    // The application works there, and the source follows.
    case.target.execute("INSERT INTO customer (name) VALUES ('new')").await.unwrap();
    case.target.execute("DELETE FROM purchase WHERE id % 2 = 0").await.unwrap();
    assert!(case.source.execute("DELETE FROM purchase").await.is_err());

    let rolled = case.summary(&["rollback"]).await;
    assert_eq!(rolled["state"], "rolled_back");
    follower.until(|event| event["event"] == "switched" && event["active"] == "source").await;
    case.equal().await;
    case.source.execute("INSERT INTO customer (name) VALUES ('back')").await.unwrap();
    assert!(case.target.execute("DELETE FROM purchase").await.is_err());
    follower.signal("TERM");
    let (code, stopped) = follower.end().await;
    assert_eq!((code, &stopped["state"]), (Some(0), &json!("stopped")));

    // With nobody following it is done from here; the run needs its way back.
    case.zdm(&["cutover"]).await.fails(&["way back"]);
    assert_eq!(case.summary(&["cutover", "--way-back"]).await["state"], "switched");
    case.equal().await;
    case.target.execute("UPDATE customer SET name = 'kept' WHERE name = 'back'").await.unwrap();
    assert_eq!(case.summary(&["rollback"]).await["state"], "rolled_back");
    case.equal().await;
    case.source.execute("INSERT INTO customer (name) VALUES ('last')").await.unwrap();
    assert_eq!(case.source.value("SELECT count(*) FROM customer WHERE name = 'kept'").await.unwrap(), "1");

    case.summary(&["drop", "--force"]).await;
    assert_eq!(case.traces().await, (none(), vec!["table customer".to_owned(), "table purchase".to_owned()]));
}
