//! The network or a server fails in the middle of a cutover, under load. The
//! migrating process lives on and settles what it can; whatever it leaves is
//! settled by the next start. Never are both sides open, and no write that
//! was acknowledged is lost.
//!
//! By default at some of the points, by the seed; `ZDM_TEST_KILLS=20` and
//! more at all of them.

use std::sync::Arc;

use futures::StreamExt;
use zdm_servers::Proxy;
use zdm_servers::proxy::{Cut, Direction};
use zdm_tests::migrator::{End, Migrator};
use zdm_tests::pair::{Case, Pair};
use zdm_tests::seeded::some_of;
use zdm_tests::within;

use super::application::Application;
use super::killed::{POINTS, name_of};
use super::{TABLES, sides};

/// A cutover that is held at one of its points.
struct Cutover {
    case: Case,
    behind: bool,
    application: Application,
    migrator: Migrator,
    source: Arc<Proxy>,
    target: Arc<Proxy>,
}

fn switched() -> End {
    End::Done("switched".to_owned())
}

impl Cutover {
    /// A run that follows and will be held there.
    async fn new(pair: &Pair, what: &str, (point, behind): (&str, bool)) -> Self {
        let case = pair.case(&format!("{what}_{}", name_of(point)), TABLES).await;
        let application = Application::start(&case);
        application.more(20).await;
        let source = Arc::new(Proxy::start(pair.source.host(), pair.source.port()).await.unwrap());
        let target = Arc::new(Proxy::start(pair.target.host(), pair.target.port()).await.unwrap());
        let plan = case.plan_through(&source, &target).with("hold-at", format!("{point}:1"));
        let mut migrator = plan.start();
        migrator.following().await;
        Self { case, behind, application, migrator, source, target }
    }

    async fn held(&mut self) {
        self.migrator.order("cutover").await;
        self.migrator.held().await;
    }

    /// Lets it go on, and then the next start.
    async fn settles(self) {
        let Self { case, behind, application, migrator, .. } = self;
        let name = &case.name;
        let end = migrator.end().await;
        let (source, target) = sides(&case).await;
        assert!(!(source && target), "{name}: both sides are open behind {end:?}");
        assert!(!(behind && source), "{name}: the source was opened behind the commit point, {end:?}");
        match &end {
            End::Done(_) => assert_eq!((&end, source, target), (&switched(), false, true), "{name}"),
            End::Failed(..) => {}
            End::Killed => panic!("{name}: nobody killed it"),
        }
        // Also one that finds the switch done says that it has followed.
        let mut next = case.plan().start();
        next.following().await;
        let open = sides(&case).await;
        assert!(open.0 != open.1, "{name}: {open:?} behind the next start");
        if open.0 {
            assert!(!behind && end != switched(), "{name}: the source is open behind a switch");
            application.more(20).await;
            next.order("cutover").await;
            assert!(next.event("switched").await.is_some(), "{name}: the second cutover");
        }
        assert_eq!(next.end().await, switched(), "{name}: the next start");
        assert_eq!(sides(&case).await, (false, true), "{name}: in the end");
        println!("{name}: the outage ended in {end:?}");
        application.more(20).await;
        application.stop(&case).await;
    }
}

async fn links_are_cut(pair: &Pair, point: (&str, bool)) {
    let mut cutover = Cutover::new(pair, "cut", point).await;
    cutover.held().await;
    cutover.source.cut(Cut::Reset).await;
    cutover.target.cut(Cut::Reset).await;
    cutover.migrator.go().await;
    cutover.settles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_cut_in_a_cutover_lose_no_write_and_leave_one_side_open() {
    let pair = Pair::start().await;
    let cases = futures::stream::iter(some_of(POINTS, 3, 0));
    cases.for_each_concurrent(3, |point| links_are_cut(&pair, point)).await;
}

/// One server dies while cutovers are held at these points, and comes back
/// while they go on.
async fn server_dies(pair: &Pair, what: &str, points: &[(&'static str, bool)]) {
    let cutovers = points.iter().map(|point| Cutover::new(pair, what, *point));
    let mut cutovers = futures::future::join_all(cutovers).await;
    futures::future::join_all(cutovers.iter_mut().map(Cutover::held)).await;
    let server = if what == "source" { &pair.source } else { &pair.target };
    server.kill().await.unwrap();
    for cutover in &mut cutovers {
        cutover.migrator.go().await;
    }
    server.start_again().await.unwrap();
    futures::future::join_all(cutovers.into_iter().map(Cutover::settles)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_die_in_a_cutover_lose_no_write_and_leave_one_side_open() {
    let pair = Pair::start().await;
    for what in ["source", "target"] {
        for points in some_of(POINTS, 3, 0).chunks(3) {
            server_dies(&pair, what, points).await;
        }
    }
}

/// The seal happens, and nobody hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_whose_answer_is_lost_has_switched() {
    let pair = Pair::start().await;
    let mut cutover = Cutover::new(&pair, "unheard", ("fence::sealing", true)).await;
    cutover.held().await;
    // Longer than anybody waits: what the source says does not arrive.
    cutover.source.delay(Direction::FromServer, zdm_tests::PATIENCE);
    cutover.migrator.go().await;
    let state = "SELECT state FROM zdm.switch";
    within("the seal", async {
        while cutover.case.source.value(state).await.unwrap() != "switched" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cutover.source.cut(Cut::Reset).await;
    cutover.source.heal().await.unwrap();
    let Cutover { case, application, migrator, .. } = cutover;
    assert_eq!(migrator.end().await, switched());
    assert_eq!(sides(&case).await, (false, true));
    application.more(20).await;
    application.stop(&case).await;
}

/// It does not happen, and the process that asked for it undoes the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_never_arrives_is_undone_at_once() {
    let pair = Pair::start().await;
    let mut cutover = Cutover::new(&pair, "unasked", ("fence::sealing", false)).await;
    cutover.held().await;
    cutover.source.cut(Cut::Reset).await;
    cutover.migrator.go().await;
    let end = cutover.migrator.end().await;
    assert_eq!(end.error().0, "Connection", "{end:?}");
    let case = cutover.case;
    assert_eq!(case.source.value("SELECT count(*) FROM zdm.switch").await.unwrap(), "0");
    assert_eq!(sides(&case).await, (true, false));
    cutover.application.more(20).await;
    assert_eq!(case.plan().with("cutover", "following").run().await, switched());
    assert_eq!(sides(&case).await, (false, true));
    cutover.application.more(20).await;
    cutover.application.stop(&case).await;
}
