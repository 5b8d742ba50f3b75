//! The traffic gate: requests go on while the side that they reach changes.
//!
//! Needs nothing: the two databases are names.
//!
//!     cargo run -p zdm-examples --example 05_gate

use std::time::Duration;

use tokio::task::JoinSet;
use zdm_core::Result;
use zdm_core::gate::Gate;

#[tokio::main]
async fn main() -> Result<()> {
    // In life, a connection pool for each side.
    let gate = Gate::new("old");

    // Ten clients, each with a hundred requests. A guard lives as long as
    // its request uses the database.
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        let gate = gate.clone();
        clients.spawn(async move {
            let (mut old, mut new) = (0, 0);
            for _ in 0..100 {
                let side = gate.enter().await?;
                tokio::time::sleep(Duration::from_millis(1)).await; // a query
                if **side.side() == "old" { old += 1 } else { new += 1 }
            }
            Ok::<_, zdm_core::Error>((old, new))
        });
    }

    // In the middle of it, a cutover: hold, wait for who is inside, switch.
    // A hold that is dropped, or outlives its deadline, goes back to the old
    // side by itself.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut held = gate.hold(Duration::from_secs(5))?;
    held.drained(Duration::from_secs(1)).await?;
    held.release_to("new");

    let (mut old, mut new) = (0, 0);
    while let Some(client) = clients.join_next().await {
        // OK because no client panics and none is aborted.
        let (a, b) = client.expect("a client ends by itself")?;
        (old, new) = (old + a, new + b);
    }
    println!("requests that reached the old side: {old}, the new side: {new}, failed: 0");
    println!("{:?}", gate.stats());
    Ok(())
}
