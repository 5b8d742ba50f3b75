//! A rehearsal, and what fails in it: the source is open ever after.

use super::*;

fn is_as_before(world: &World, what: &str) {
    let state = world.state();
    assert!(!state.held && !state.ready && !state.source_sealed && !state.target_open, "{what}");
    assert!(state.sequences.is_empty(), "{what}: the target's sequences were set");
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_measures_the_pause_and_leaves_nothing() {
    let (world, gate) = (World::default(), Gate::new("source"));
    let report = plan(&world, &gate).rehearse().await.unwrap();
    assert_eq!((report.position.as_str(), report.epoch, report.leg), ("7", Epoch(3), 1));
    assert!(matches!(report.verification, Verification::Touched(_)));
    assert_eq!((report.pause.finish_ms, report.pause.switch_ms), (0.0, 0.0));
    assert!(world.state().drained);
    is_as_before(&world, "rehearsed");
    assert_whole(&world, &gate, "rehearsed").await;
    // As often as one likes; and the cutover behind it is none the worse.
    plan(&world, &gate).rehearse().await.unwrap();
    plan(&world, &gate).run().await.unwrap();
    assert_whole(&world, &gate, "switched").await;
    assert_eq!(plan(&world, &gate).rehearse().await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_dropped_anywhere_is_made_good_by_the_next_start() {
    for polls in 0.. {
        let (world, gate) = (World::default(), Gate::new("source"));
        let rehearsal = Dies { future: Box::pin(plan(&world, &gate).rehearse()), left: polls };
        let done = rehearsal.await;
        world.state().now += 1_000_000;
        recovered(&world, &gate, 4).await.unwrap();
        is_as_before(&world, &format!("dropped after {polls} polls"));
        assert_whole(&world, &gate, &format!("dropped after {polls} polls")).await;
        if done.is_some() {
            assert!(polls > 20, "{polls} polls");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_anywhere_in_a_rehearsal_leaves_the_source_open() {
    for at in 1.. {
        let (world, gate) = (World::default(), Gate::new("source"));
        world.state().fail = Some((at, Fault::Lost));
        let result = plan(&world, &gate).rehearse().await;
        let (what, waits) = (format!("lost at {at}: {result:?}"), world.state().waits);
        world.state().now += 1_000_000;
        recovered(&world, &gate, 4).await.unwrap();
        is_as_before(&world, &what);
        assert_whole(&world, &gate, &what).await;
        if at > waits {
            assert!(result.is_ok() && at > 20, "{at}: {result:?}");
            return;
        }
    }
}

/// Whoever asked is told by a record in the place of the one before: there is
/// no moment without one in which he would take it for given up.
#[tokio::test(start_paused = true)]
async fn whoever_asked_is_answered() {
    let asked = SwitchRecord {
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
    for differs in [false, true] {
        let (world, gate) = (World::default(), Gate::new("source"));
        (world.state().record, world.state().differs) = (Some(asked.clone()), differs);
        let rehearsed = plan(&world, &gate).rehearse().await;
        assert_eq!(rehearsed.is_err(), differs);
        is_as_before(&world, "answered");
        let record = world.state().record.clone().unwrap();
        assert_eq!(record.state, SwitchState::Answered);
        match serde_json::from_str(&record.note.unwrap()).unwrap() {
            Answer::Rehearsed(report) => assert_eq!(*report, rehearsed.unwrap()),
            Answer::GivenUp { message, .. } => assert!(message.contains("id=7"), "{message}"),
        }
        // An answer is in nobody's way.
        assert_eq!(recovered(&world, &gate, 4).await.unwrap(), Recovered::Clear);
        world.state().differs = false;
        plan(&world, &gate).run().await.unwrap();
        assert_whole(&world, &gate, "switched").await;
    }
}
