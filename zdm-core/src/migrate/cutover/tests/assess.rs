//! Both sides are asked again, before anybody waits.

use super::*;

#[async_trait]
impl Assess for Source {
    async fn assess(&self, role: Role, _: &RunName, _: &Schema) -> Result<Vec<Finding>> {
        assert_eq!(role, Role::Left);
        let found = |what| Finding::new(Severity::Blocker, "prepared_transaction", what, "it is not ended");
        self.0.call(|s| Ok(s.in_the_way.map(found).into_iter().collect())).await
    }
}

#[async_trait]
impl Assess for Target {
    async fn assess(&self, role: Role, _: &RunName, _: &Schema) -> Result<Vec<Finding>> {
        assert_eq!(role, Role::Entered);
        let found = |key: &str| Finding::new(Severity::Blocker, ORPHANS, key, "a row has no parent");
        let next = |s: &mut State| (!s.orphans.is_empty()).then(|| s.orphans.remove(0));
        self.0.call(|s| Ok(next(s).filter(|key| !key.is_empty()).map(found).into_iter().collect())).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_either_side_says_stops_it_before_anybody_waits() {
    let (world, gate) = (World::default(), Gate::new("source"));
    world.state().in_the_way = Some("two");
    let error = plan(&world, &gate).run().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("two: it is not ended"), "{error}");
    world.state().in_the_way = None;
    world.state().orphans = vec!["fk", "fk"];
    let error = plan(&world, &gate).run().await.unwrap_err();
    assert!(error.message().contains("fk: a row has no parent"), "{error}");
    assert!(world.state().record.is_none() && !world.state().armed && gate.stats().waited == 0);
}

/// One that has got its parent when the stream has gone on, and one that lacks
/// it only since.
#[tokio::test(start_paused = true)]
async fn a_row_that_lacks_its_parent_for_a_moment_is_no_alarm() {
    for orphans in [vec!["fk", ""], vec!["fk", "another"]] {
        let (world, gate) = (World::default(), Gate::new("source"));
        world.state().orphans = orphans;
        plan(&world, &gate).run().await.unwrap();
        assert!(world.state().orphans.is_empty());
        assert_whole(&world, &gate, "switched").await;
    }
}
