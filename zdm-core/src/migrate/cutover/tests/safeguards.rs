//! What keeps a cutover safe, each with the case that it is there for.

use super::*;
use crate::gate::GateOptions;

/// Waits until the gate is held.
async fn held(gate: &Gate<&'static str>) {
    while !gate.stats().held {
        tokio::task::yield_now().await;
    }
}

/// A request that is inside is waited for; as long as that takes, the record
/// says that this process lives.
#[tokio::test(start_paused = true)]
async fn a_step_that_takes_long_keeps_the_lease_alive() {
    let (world, gate) = (World::default(), Gate::new("source"));
    world.state().ticks = Some(tokio::time::Instant::now());
    let lease = Duration::from_secs(10);
    let options = CutoverOptions::default().lease(lease).gate(lease * 6).pause(lease * 12);
    let inside = gate.enter().await.unwrap();
    let run = tokio::spawn(plan(&world, &gate).options(options).run());
    held(&gate).await;
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(recovered(&world, &gate, 4).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert!(!run.is_finished() && *inside == "source");
    }
    drop(inside);
    run.await.unwrap().unwrap();
    assert_whole(&world, &gate, "switched").await;
}

/// The hold of the gate would end by itself while nobody knows whether the
/// source is sealed, and let requests go there to be refused.
#[tokio::test(start_paused = true)]
async fn requests_wait_out_a_commit_point_of_unknown_outcome() {
    let world = World::default();
    let gate = Gate::with("source", GateOptions::default().patience(Duration::from_secs(60)));
    let options = CutoverOptions::default().settle(Duration::from_secs(30));
    // Longer than the gate's own deadline, which is that of pause and gate.
    world.state().fail = Some((0, Fault::Silent(Duration::from_secs(25))));
    assert!(options.pause + options.gate < Duration::from_secs(25));
    let run = tokio::spawn(plan(&world, &gate).options(options).run());
    held(&gate).await;
    assert_eq!(*gate.enter().await.unwrap(), "target");
    run.await.unwrap().unwrap();
    assert!(gate.stats().longest_wait >= Duration::from_secs(25));
    assert_whole(&world, &gate, "settled").await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_fell_makes_the_commit_point_fail() {
    for early in [true, false] {
        let (world, gate) = (World::default(), Gate::new("source"));
        let held =
            plan(&world, &gate).check().await.unwrap().prepare().await.unwrap().hold_gate().await.unwrap();
        let fenced = held.fence().await.unwrap();
        if early {
            world.state().held = false;
            assert_eq!(fenced.drain().await.unwrap_err().kind(), ErrorKind::Fenced);
        } else {
            let verified = fenced.drain().await.unwrap().verify().await.unwrap();
            let armed = verified.finish().await.unwrap().arm().await.unwrap();
            world.state().held = false;
            assert_eq!(armed.switch().await.unwrap_err().kind(), ErrorKind::Fenced);
        }
        assert_whole(&world, &gate, "given back").await;
        assert!(!world.state().target_open);
    }
}

/// The request is what the record of the cutover takes the place of: between
/// the two there is no moment without a record.
#[tokio::test(start_paused = true)]
async fn a_request_becomes_the_record_of_the_cutover() {
    let (world, gate) = (World::default(), Gate::new("source"));
    let request = SwitchRecord {
        run: RunName::default(),
        state: SwitchState::Requested,
        epoch: Epoch(3),
        target: String::new(),
        position: None,
        leg: 1,
        back: None,
        lease_until: 5,
        note: None,
    };
    world.state().record = Some(request.clone());
    let checked = plan(&world, &gate).check().await.unwrap();
    assert_eq!(world.state().record, Some(request));
    let prepared = checked.prepare().await.unwrap();
    assert_eq!(world.state().record.as_ref().unwrap().state, SwitchState::Preparing);
    prepared.abandon().await.unwrap();
    assert_whole(&world, &gate, "given up").await;
}

#[tokio::test(start_paused = true)]
async fn a_lag_that_is_not_known_does_not_count_as_none() {
    let (world, gate) = (World::default(), Gate::new("source"));
    let mut plan = plan(&world, &gate);
    plan.follower = Arc::new(Stream(world.clone(), None));
    let error = plan.check().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.message().contains("not known"), "{error}");
}

/// DDL that came between the checks and the fence, and makes no rows.
#[tokio::test(start_paused = true)]
async fn a_table_that_was_altered_before_the_fence_is_up_stops_the_cutover() {
    let (world, gate) = (World::default(), Gate::new("source"));
    world.state().alters = true;
    let held = plan(&world, &gate).check().await.unwrap().prepare().await.unwrap().hold_gate().await.unwrap();
    assert_eq!(held.fence().await.unwrap_err().kind(), ErrorKind::SchemaChanged);
    assert_whole(&world, &gate, "given back").await;
}

/// The caller may take his time between two steps. Before the one that cannot
/// be renewed in the middle, the record says again that this process lives.
#[tokio::test(start_paused = true)]
async fn the_commit_point_is_not_begun_with_an_old_lease() {
    let (world, gate) = (World::default(), Gate::new("source"));
    let began = tokio::time::Instant::now();
    world.state().ticks = Some(began);
    let lease = Duration::from_secs(10);
    let options = CutoverOptions::default().lease(lease).gate(lease * 6).pause(lease * 12);
    let held = plan(&world, &gate)
        .options(options)
        .check()
        .await
        .unwrap()
        .prepare()
        .await
        .unwrap()
        .hold_gate()
        .await
        .unwrap();
    let verified = held.fence().await.unwrap().drain().await.unwrap().verify().await.unwrap();
    let armed = verified.finish().await.unwrap().arm().await.unwrap();
    tokio::time::sleep(lease * 2).await;
    let mut switched = armed.switch().await.unwrap();
    // The record of the switch has the lease of the one before it.
    let until = world.state().record.as_ref().unwrap().lease_until;
    assert_eq!(Duration::from_millis(u64::try_from(until).unwrap()), began.elapsed() + lease);
    switched.open().await.unwrap();
    assert_whole(&world, &gate, "switched").await;
}

/// Whoever undoes it takes the record first. Else the seal could happen when
/// the target is no longer as the application needs it.
#[tokio::test(start_paused = true)]
async fn a_cutover_that_is_undone_cannot_switch_meanwhile() {
    let mut found = [0, 0];
    for later in 0..12 {
        let (world, gate) = (World::default(), Gate::new("source"));
        let held =
            plan(&world, &gate).check().await.unwrap().prepare().await.unwrap().hold_gate().await.unwrap();
        let verified = held.fence().await.unwrap().drain().await.unwrap().verify().await.unwrap();
        let armed = verified.finish().await.unwrap().arm().await.unwrap();
        // Its process dies, and its last COMMIT is under way.
        drop(armed);
        {
            let mut state = world.state();
            let old = state.record.clone().unwrap();
            let new = SwitchRecord { state: SwitchState::Switched, ..old.clone() };
            state.late = Some((state.waits + later, old, new));
            state.now += 1_000_000;
        }
        let recovered = recovered(&world, &gate, 4).await.unwrap();
        found[usize::from(recovered == Recovered::Released)] += 1;
        assert_whole(&world, &gate, &format!("late by {later}")).await;
    }
    assert!(found.iter().all(|n| *n > 0), "{found:?}");
}

/// What differs under the fence is not switched to.
#[tokio::test(start_paused = true)]
async fn a_difference_under_the_fence_gives_everything_back() {
    let (world, gate) = (World::default(), Gate::new("source"));
    world.state().differs = true;
    let error = plan(&world, &gate).run().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.message().contains("id=7"), "{error}");
    assert_whole(&world, &gate, "given back").await;
    assert!(!world.state().target_open);
    world.state().differs = false;
    let switch = plan(&world, &gate).run().await.unwrap();
    assert!(matches!(switch.verification, Verification::Touched(_)));
    assert_whole(&world, &gate, "switched").await;
}
