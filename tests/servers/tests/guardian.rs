//! A server ends with its owner, however that ends.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zdm_servers::mysql::{MySql, MySqlOptions};
use zdm_servers::postgres::{PgOptions, Postgres};

/// Set for the process that plays the owner.
const ROLE: &str = "ZDM_SERVERS_TEST_OWNER";

/// Not a test but the owner, when it runs as the child of one: it starts
/// servers, tells where they are, and waits to be killed.
#[tokio::test]
async fn owner() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // A setting, so that they are servers of ours whatever the environment says.
    let postgres = Postgres::start(PgOptions::new().setting("work_mem", "5MB")).await.unwrap();
    let mariadb = MySql::start(MySqlOptions::mariadb().durable(false)).await.unwrap();
    let mysql = MySql::start(MySqlOptions::mysql().durable(false)).await.unwrap();
    println!();
    for (pid, data) in [
        (postgres.pid().unwrap(), postgres.data_dir().unwrap()),
        (mariadb.pid().unwrap(), mariadb.data_dir().unwrap()),
        (mysql.pid().unwrap(), mysql.data_dir().unwrap()),
    ] {
        println!("server {} {}", pid.unwrap(), data.display());
    }
    match role.as_str() {
        "waits" => std::future::pending().await,
        "exits" => std::process::exit(3),
        "panics" => panic!("as it should"),
        _ => {}
    }
}

fn start(role: &str) -> (Child, Vec<(u32, PathBuf)>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["owner", "--exact", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let servers: Vec<(u32, PathBuf)> = lines
        .map_while(Result::ok)
        .filter_map(|line| {
            let (pid, data) = line.strip_prefix("server ")?.split_once(' ')?;
            Some((pid.parse().unwrap(), data.into()))
        })
        .take(3)
        .collect();
    assert_eq!(servers.len(), 3, "it starts its servers");
    (child, servers)
}

fn assert_gone(pid: u32, data: &Path) {
    let begun = Instant::now();
    let process = PathBuf::from(format!("/proc/{pid}"));
    // Nobody tells us when a grandchild has ended: look.
    while process.exists() || data.parent().unwrap().exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{pid} or {} is still there", data.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn servers_end_when_their_owner_is_killed() {
    let (mut owner, servers) = start("waits");
    for (pid, data) in &servers {
        assert!(data.exists() && Path::new(&format!("/proc/{pid}")).exists());
    }
    // On Unix this is SIGKILL.
    owner.kill().unwrap();
    owner.wait().unwrap();
    servers.iter().for_each(|(pid, data)| assert_gone(*pid, data));
}

#[test]
fn servers_end_when_their_owner_exits_panics_or_returns() {
    for role in ["exits", "panics", "returns"] {
        let (mut owner, servers) = start(role);
        owner.wait().unwrap();
        servers.iter().for_each(|(pid, data)| assert_gone(*pid, data));
    }
}

#[tokio::test]
async fn a_frozen_server_ends_too() {
    let server = Postgres::start(PgOptions::new().setting("work_mem", "5MB")).await.unwrap();
    let (pid, data) = (server.pid().unwrap().unwrap(), server.data_dir().unwrap());
    assert!(Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
    server.close().await.unwrap();
    assert_gone(pid, &data);
    let server = MySql::start(MySqlOptions::mariadb().durable(false)).await.unwrap();
    let (pid, data) = (server.pid().unwrap().unwrap(), server.data_dir().unwrap());
    assert!(Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
    server.close().await.unwrap();
    assert_gone(pid, &data);
}
