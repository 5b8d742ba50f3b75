//! How the tool ends when it is told to, and what it shows until then.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::fixture::{Case, Follower, SHOP, bare, done};

/// Copied in some seconds at [`SLOW`], in many chunks.
const BIG: &str = "CREATE TABLE big (id int PRIMARY KEY, payload text);
    INSERT INTO big SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 20000) i; ANALYZE";
const SLOW: &[&str] = &["--jobs", "1", "--max-rate", "2M"];

/// The first signal waits for a commit that cannot end; the second does not.
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let case = Case::new("second_signal", SHOP).await;
    let follower = case.follow().await;
    let blocker = case.target.connect().await.unwrap();
    blocker.batch_execute("BEGIN; LOCK TABLE customer IN ACCESS EXCLUSIVE MODE").await.unwrap();
    case.source.execute("INSERT INTO customer (name) VALUES ('late')").await.unwrap();
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'customer'::regclass AND NOT granted";
    until(&case.target, waits, "1").await;
    // Of two kinds: two of one kind may come as one.
    follower.signal("INT");
    follower.signal("TERM");
    assert_eq!(follower.code().await, Some(130));
    blocker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(case.summary(&["migrate"]).await["state"], "caught_up");
    case.equal().await;
}

#[tokio::test]
async fn a_signal_ends_the_copy_and_the_same_command_resumes() {
    let case = Case::new("signal_in_copy", BIG).await;
    for signal in ["INT", "TERM"] {
        let mut copying = Follower::spawn(case.command(&[&["migrate", "--json"], SLOW].concat()));
        copying.until(|event| event["phase"] == "copying" && event["rows_written"].as_u64() > Some(0)).await;
        copying.signal(signal);
        let (code, summary) = copying.end().await;
        assert_eq!((code, &summary["state"]), (Some(0), &json!("stopped")), "{signal}");
        assert!(summary["position"].is_string() && summary["tables"] == 1, "{summary}");
        let status = case.summary(&["status"]).await;
        assert_eq!((&status["state"], &status["position"]), (&json!("copying"), &summary["position"]));
    }
    assert_eq!(case.summary(&["migrate"]).await["state"], "caught_up");
    case.equal().await;
}

/// The last line, and the only one of its kind; nothing beside it.
#[tokio::test]
async fn with_json_an_error_is_an_event() {
    let case = Case::new("json_error", SHOP).await;
    let (from, to) = (case.source.url(), case.target.url());
    let closed = "postgres://u:hidden@127.0.0.1:1/d";
    for (args, from, kind, says) in [
        (&["migrate", "--tables", "shop.*"][..], from.as_str(), "not found", "no table matches"),
        (&["status"], &from, "not found", "knows no run"),
        (&["migrate"], closed, "connection", "cannot reach the server"),
        (&["assess"], "oracle://u:hidden@h/d", "configuration", "--from"),
    ] {
        let refused = done(case.between(&[args, &["--json"]].concat(), from, &to)).await;
        assert_eq!((refused.code, refused.err.as_str()), (Some(1), ""), "{refused:?}");
        let events: Vec<Value> =
            refused.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = events.last().unwrap();
        let errors = events.iter().filter(|event| event["event"] == "error").count();
        assert_eq!((&last["event"], errors), (&json!("error"), 1), "{refused:?}");
        assert_eq!(last["kind"], kind, "{refused:?}");
        assert!(last["message"].as_str().unwrap().contains(says), "{refused:?}");
        let fields: Vec<_> = last.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["event", "kind", "message"]);
    }
}

/// On a terminal, which `script` makes one; plain lines elsewhere.
#[tokio::test]
async fn a_terminal_is_shown_bars_and_a_file_is_not() {
    let case = Case::new("bars", BIG).await;
    let tool = case.command(&[&["migrate"], SLOW].concat());
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap());
    let words = [quoted(tool.as_std().get_program())].into_iter().chain(tool.as_std().get_args().map(quoted));
    let words = words.collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    bare(&[]).as_std().get_envs().for_each(|(name, value)| match value {
        Some(value) => drop(script.env(name, value)),
        None => drop(script.env_remove(name)),
    });
    script.env("TERM", "xterm").args(["--quiet", "--return", "--command", &words, "/dev/null"]);
    script.stdin(Stdio::null()).kill_on_drop(true);
    let shown = done(script).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.out.contains('\u{1b}'), "nothing is drawn: {shown:?}");
    let bar = |line: &str| line.contains("public.big") && line.contains("[=") && line.contains("of about");
    assert!(shown.out.split(['\r', '\n']).any(bar), "no bar: {shown:?}");
    assert!(shown.out.contains("caught up: 1 tables, 20,000 rows copied"), "{shown:?}");
    case.equal().await;

    case.summary(&["drop"]).await;
    case.target.execute("DROP TABLE big").await.unwrap();
    let plain = case.zdm(&[&["migrate"], SLOW].concat()).await;
    assert_eq!((plain.code, plain.err.as_str()), (Some(0), ""), "{plain:?}");
    assert!(!plain.out.contains(['\u{1b}', '\r']) && !plain.out.contains("of about"), "{plain:?}");
    assert!(plain.out.lines().any(|line| line.starts_with("copying: ")), "{plain:?}");
}

async fn until(database: &zdm_servers::postgres::Database, sql: &str, wanted: &str) {
    let came = async {
        while database.value(sql).await.unwrap() != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), came).await.expect("it never comes there");
}
