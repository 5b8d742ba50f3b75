use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use futures::poll;
use tokio::task::JoinSet;

use super::*;

const SOON: Duration = Duration::from_secs(1);

async fn pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    matches!(poll!(future), Poll::Pending)
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_go_on_in_their_order_to_the_new_side() {
    let gate = Gate::new(1);
    let held = gate.hold(SOON).unwrap();
    let order = AtomicUsize::new(0);
    let request = || async {
        let side = *gate.enter().await.unwrap();
        (side, order.fetch_add(1, SeqCst))
    };
    let mut requests: Vec<_> = (0..100).map(|_| Box::pin(request())).collect();
    for request in &mut requests {
        assert!(pending(request.as_mut()).await);
    }
    assert_eq!(gate.stats().waiting, 100);
    held.release_to(2);
    // One that comes now does not take the place of one that waits.
    assert_eq!(*gate.enter().await.unwrap(), 2);
    assert_eq!(gate.stats().in_flight, 100);
    for (i, request) in requests.into_iter().enumerate() {
        assert_eq!(request.await, (2, i));
    }
    let stats = gate.stats();
    assert_eq!((stats.requests, stats.waited, stats.gave_up, stats.in_flight), (101, 100, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_those_inside_and_no_longer_than_asked() {
    let gate = Gate::new(());
    let inside = gate.enter().await.unwrap();
    let mut held = gate.hold(Duration::from_secs(60)).unwrap();
    let error = held.drained(SOON).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("in_flight: 1"), "{error}");
    {
        let mut drained = std::pin::pin!(held.drained(SOON));
        assert!(pending(drained.as_mut()).await);
        drop(inside);
        drained.await.unwrap();
    }
    assert!(held.is_up());
}

#[tokio::test(start_paused = true)]
async fn an_impatient_request_fails_with_words_and_leaves_the_line() {
    let gate = Gate::with((), GateOptions::default().patience(SOON));
    let held = gate.hold(Duration::from_secs(60)).unwrap();
    let error = gate.enter().await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some("gate.enter")));
    let stats = gate.stats();
    assert_eq!((stats.waiting, stats.gave_up, stats.longest_wait), (0, 1, SOON));
    held.release();
    drop(gate.enter().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_overstays_opens_to_the_old_side() {
    let gate = Gate::new("old");
    let mut held = gate.hold(SOON).unwrap();
    assert_eq!(*gate.enter().await.unwrap(), "old");
    assert!(!held.is_up());
    assert_eq!(held.pin().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(held.drained(SOON).await.unwrap_err().kind(), ErrorKind::Timeout);

    // Also when nobody waits for it, and when its holder is lost.
    std::mem::forget(gate.hold(SOON).unwrap());
    tokio::time::advance(SOON).await;
    let mut enter = std::pin::pin!(gate.enter());
    assert!(!pending(enter.as_mut()).await);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_pinned_hold_outlasts_its_deadline_and_its_requests_wait_on() {
    let gate = Gate::with("old", GateOptions::default().patience(Duration::from_secs(30)));
    let mut held = gate.hold(SOON).unwrap();
    let mut request = std::pin::pin!(gate.enter());
    assert!(pending(request.as_mut()).await);
    held.pin().unwrap();
    tokio::time::advance(SOON * 20).await;
    assert!(pending(request.as_mut()).await);
    assert!(held.is_up());
    held.release_to("new");
    assert_eq!(*request.await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_hold_opens_to_the_old_side_and_ends_no_other() {
    let gate = Gate::new(1);
    let first = gate.hold(SOON).unwrap();
    assert_eq!(gate.hold(SOON).unwrap_err().kind(), ErrorKind::Conflict);
    let mut request = std::pin::pin!(gate.enter());
    assert!(pending(request.as_mut()).await);
    tokio::time::advance(SOON).await;
    assert_eq!(*request.await.unwrap(), 1);
    let second = gate.hold(SOON).unwrap();
    drop(first);
    assert!(second.is_up());
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_in_the_line_or_at_the_door_is_not_inside() {
    let gate = Gate::new(());
    let held = gate.hold(SOON).unwrap();
    let mut early = Box::pin(gate.enter());
    let mut late = Box::pin(gate.enter());
    assert!(pending(early.as_mut()).await && pending(late.as_mut()).await);
    drop(early);
    assert_eq!(gate.stats().waiting, 1);
    held.release();
    assert_eq!(gate.stats().in_flight, 1);
    drop(late);
    assert_eq!(gate.stats().in_flight, 0);
    let stats = gate.stats();
    assert_eq!((stats.requests, stats.gave_up), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_control_flips_once_and_again() {
    let gate = Gate::new(1);
    let control: Box<dyn GateControl> = Box::new(gate.toward(2));
    let mut held = control.hold(SOON).await.unwrap();
    held.drained(SOON).await.unwrap();
    held.pin().await.unwrap();
    held.flip().await.unwrap();
    held.flip().await.unwrap();
    drop(held);
    assert_eq!(*gate.enter().await.unwrap(), 2);

    // Somebody holds it still, and the record says that we have switched.
    let stuck = gate.hold(SOON).unwrap();
    gate.toward(3).open_target().await.unwrap();
    assert_eq!(*gate.enter().await.unwrap(), 3);
    drop(stuck);
    assert_eq!(*gate.enter().await.unwrap(), 3);
}

/// Many requests, holds that end in every way, and requests dropped in the
/// middle: nobody is inside a side that was drained, and the books balance.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stress_nobody_is_inside_a_drained_side() {
    for seed in 0..8 {
        stress(seed).await;
    }
}

async fn stress(seed: u64) {
    const WORKERS: u64 = 64;
    let gate = Gate::with(0_u64, GateOptions::default().patience(Duration::from_secs(20)));
    // How many requests are inside, and which side was given up for good.
    let inside = Arc::new(AtomicUsize::new(0));
    let drained = Arc::new(AtomicBool::new(false));
    let entered = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (gate, inside, drained) = (gate.clone(), Arc::clone(&inside), Arc::clone(&drained));
        let (entered, stop) = (Arc::clone(&entered), Arc::clone(&stop));
        let mut random = fastrand::Rng::with_seed(seed * 1000 + worker);
        workers.spawn(async move {
            while !stop.load(SeqCst) {
                let enter = gate.enter();
                let guard = if random.u8(0..4) == 0 {
                    let limit = Duration::from_micros(random.u64(0..300));
                    match tokio::time::timeout(limit, enter).await {
                        Ok(guard) => guard.unwrap(),
                        Err(_) => continue,
                    }
                } else {
                    enter.await.unwrap()
                };
                inside.fetch_add(1, SeqCst);
                assert!(!drained.load(SeqCst), "inside while the gate is held and drained");
                entered.fetch_add(1, SeqCst);
                for _ in 0..random.u8(0..3) {
                    tokio::task::yield_now().await;
                }
                inside.fetch_sub(1, SeqCst);
                drop(guard);
            }
        });
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut side = 0;
    for _ in 0..100 {
        let before = entered.load(SeqCst);
        while entered.load(SeqCst) == before {
            tokio::task::yield_now().await;
        }
        let mut held = gate.hold(Duration::from_secs(20)).unwrap();
        if random.bool() {
            held.drained(Duration::from_secs(20)).await.unwrap();
            drained.store(true, SeqCst);
            assert_eq!(inside.load(SeqCst), 0);
            for _ in 0..random.u8(0..4) {
                tokio::task::yield_now().await;
            }
            assert_eq!((inside.load(SeqCst), gate.stats().in_flight), (0, 0));
            drained.store(false, SeqCst);
            side += 1;
            held.release_to(side);
        } else {
            drop(held);
        }
        assert_eq!(*gate.side(), side);
    }
    stop.store(true, SeqCst);
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let stats = gate.stats();
    assert_eq!((stats.in_flight, stats.waiting, inside.load(SeqCst)), (0, 0, 0));
    assert!(stats.requests >= entered.load(SeqCst) && entered.load(SeqCst) > 0);
}
