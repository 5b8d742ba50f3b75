//! Arming, holding and sealing, given up at any of their awaits: as if the
//! process were killed there, since all it has are its sessions.

use std::task::Poll;

use zdm_core::connect::{Fence as _, HoldOptions};

use super::fixture::{Home, homes};

/// What comes of so many polls; `None` if that was too few.
async fn polled<T>(work: impl Future<Output = T>, mut polls: usize) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(move |context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// Different places in each run of the test; `ZDM_TEST_EACH_POLL` is for all.
fn steps() -> impl Iterator<Item = usize> {
    let each = std::env::var_os("ZDM_TEST_EACH_POLL").is_some();
    let mut at = 0;
    std::iter::repeat_with(move || {
        at += if each { 1 } else { fastrand::usize(1..8) };
        at
    })
}

#[tokio::test]
async fn arming_that_is_given_up_refuses_nobody_and_is_done_by_the_next() {
    for home in homes("arming").await {
        for polls in steps() {
            let done = polled(home.fence.arm(&home.run, &home.schema, HoldOptions::default()), polls).await;
            assert!(home.is_open().await, "behind {polls} polls");
            if let Some(done) = done {
                done.unwrap();
                break;
            }
        }
        let triggers = format!(
            "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = '{}'",
            home.database.name()
        );
        assert_eq!(home.database.value(&triggers).await.unwrap(), "6");
    }
}

#[tokio::test]
async fn a_hold_that_is_given_up_is_no_hold() {
    for home in homes("holding").await {
        for polls in steps() {
            let hold = polled(home.fence.hold(&home.run, &home.schema, HoldOptions::default()), polls).await;
            let held = hold.is_some();
            drop(hold);
            assert!(home.is_open().await, "behind {polls} polls");
            if held {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_seal_that_is_given_up_is_whole_or_nothing() {
    for home in homes("sealing").await {
        let (old, new) = (home.preparing(), home.switched());
        for polls in steps() {
            home.fence.swap(&home.run, None, Some(&old)).await.unwrap();
            let hold = home.hold().await;
            let done = polled(hold.seal(&old, &new), polls).await;
            whole(&home, &format!("behind {polls} polls")).await;
            if let Some(done) = done {
                done.unwrap();
                break;
            }
            let now = home.fence.record(&home.run).await.unwrap();
            home.fence.unseal(&home.run, &home.schema, 1).await.unwrap();
            home.fence.swap(&home.run, now.as_ref(), None).await.unwrap();
        }
        assert!(!home.is_open().await);
    }
}

/// The record and the tables say the same. A writer waits for what is left of
/// the hold, so his answer is the last word.
async fn whole(home: &Home, when: &str) {
    let open = home.is_open().await;
    let record = home.fence.record(&home.run).await.unwrap().unwrap();
    assert_eq!(open, record == home.preparing(), "{when}: {record:?}");
}
