//! A verification that is killed goes on where it was.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zdm_core::connect::ChunkSize;
use zdm_core::verify::{Difference, VerifyOptions};
use zdm_tests::engine::Engine;

use crate::fixture::{followed, migration, plant, route, told, verify};

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_goes_on_and_finds_all() {
    const TABLES: &str = "
        CREATE TABLE many (id bigint PRIMARY KEY, v text NOT NULL);
        CREATE TABLE few (id bigint PRIMARY KEY);
        INSERT INTO many SELECT i, repeat('v', 50) FROM generate_series(1, 60000) i;
        INSERT INTO few VALUES (1)";
    let route = route("resumed", Engine::Postgres, Engine::Postgres, TABLES).await;
    let migration = migration(&route);
    let following = followed(&migration).await;
    plant(&route, "DELETE FROM many WHERE id % 1000 = 7; UPDATE many SET v = '' WHERE id % 1000 = 8").await;
    let folder = std::env::temp_dir().join(format!("zdm-resumed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("state.json");
    let options = || -> VerifyOptions {
        VerifyOptions::default().part(ChunkSize { bytes: 64 << 10 }).state(Some(file.clone())).jobs(1)
    };
    let found: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let mut kills = 0;
    let report = loop {
        let (running, all) = (migration.clone(), Arc::clone(&found));
        let options = options();
        let task = tokio::spawn(async move {
            let mut tell = |difference: &Difference| _ = all.lock().unwrap().insert(told(difference));
            running.verify(options, CancellationToken::new(), &mut tell).await
        });
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..700))).await;
        if !task.is_finished() && kills < 12 {
            task.abort();
            let _ = task.await;
            kills += 1;
            continue;
        }
        break task.await.unwrap().unwrap();
    };
    assert!(kills > 0, "it was over too soon to be killed");
    assert_eq!(found.lock().unwrap().len(), 120, "after {kills} kills");
    let many = &report.tables["public.many"];
    assert_eq!((many.missing, many.changed, many.extra), (60, 60, 0));
    assert_eq!((many.source_rows, many.target_rows), (60_000, 59_940), "each part was counted once");
    assert!(!file.exists(), "all is compared: the next one begins anew");
    // Of another run it is refused.
    std::fs::write(&file, "{}").unwrap();
    let error = migration.verify(options(), CancellationToken::new(), &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("does not tell how far a verification is"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
    let (report, _) = verify(&migration, VerifyOptions::default()).await;
    assert_eq!(report.differences(), 120);
    following.stop().await.unwrap();
}
