//! A cutover that fails, or is dropped, at every point where it waits.

mod assess;
mod rehearsal;
mod safeguards;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::connect::*;
use crate::gate::Gate;
use crate::migrate::certificate::TableEvidence;
use crate::schema::{Column, DataType, Key, Selection, Table, TableName};
use crate::{Engine, Identity, Position};

const ENGINE: Engine = Engine::new("fake");

/// Two databases, one record, and a fault to come.
#[derive(Default)]
struct State {
    record: Option<SwitchRecord>,
    source_sealed: bool,
    target_open: bool,
    armed: bool,
    held: bool,
    /// A table of the source is altered while the hold is waited for.
    alters: bool,
    /// What is compared under the fence differs.
    differs: bool,
    altered: bool,
    ready: bool,
    /// The follower applies nothing.
    still: bool,
    /// The source's sequence, which a writer moves until the hold is up.
    last: i64,
    sequences: Vec<SequenceValue>,
    /// The marker has been applied: set by the follower when it was asked.
    drained: bool,
    now: i64,
    /// When the database's clock began to run by itself, if it does.
    ticks: Option<tokio::time::Instant>,
    /// The source answers nobody before.
    silent: Option<tokio::time::Instant>,
    waits: usize,
    /// What the target says when it is assessed, time after time.
    orphans: Vec<&'static str>,
    /// What the source says.
    in_the_way: Option<&'static str>,
    fail: Option<(usize, Fault)>,
    /// A commit that is still under way, and the wait at which it arrives.
    late: Option<(usize, SwitchRecord, SwitchRecord)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The call fails at this wait, before or after its effect.
    Lost,
    /// The commit point answers nothing and happens so many waits later.
    Late(usize),
    /// The commit point happens, and then the source is silent for so long.
    Silent(Duration),
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<State>>);

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Waits once; a fault may strike here.
    async fn wait(&self) -> Result<()> {
        tokio::task::yield_now().await;
        let silent = self.state().silent;
        if let Some(until) = silent {
            tokio::time::sleep_until(until).await;
        }
        let mut state = self.state();
        state.waits += 1;
        if state.late.as_ref().is_some_and(|(at, ..)| *at <= state.waits) {
            let (_, old, new) = state.late.take().unwrap();
            if state.record.as_ref() == Some(&old) {
                state.record = Some(new);
                state.source_sealed = true;
            }
        }
        assert!(state.source_sealed || !state.target_open, "both sides are open for writes");
        match state.fail {
            Some((at, Fault::Lost)) if at == state.waits => Err(Error::new(ErrorKind::Connection, "lost")),
            _ => Ok(()),
        }
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut State) -> Result<T> + Send) -> Result<T>
    where
        T: Send,
    {
        self.wait().await?;
        let done = effect(&mut self.state());
        self.wait().await?;
        done
    }
}

fn fenced() -> Error {
    Error::new(ErrorKind::Fenced, "not as expected")
}

struct Source(World);
struct Target(World);

#[async_trait]
impl Fence for Source {
    async fn now(&self) -> Result<i64> {
        let passed =
            |s: &State| s.ticks.map_or(0, |began| i64::try_from(began.elapsed().as_millis()).unwrap());
        self.0.call(|s| Ok(s.now + passed(s))).await
    }

    async fn record(&self, _: &RunName) -> Result<Option<SwitchRecord>> {
        self.0.call(|s| Ok(s.record.clone())).await
    }

    async fn swap(&self, _: &RunName, old: Option<&SwitchRecord>, new: Option<&SwitchRecord>) -> Result<()> {
        self.0
            .call(|s| {
                if s.record.as_ref() != old {
                    return Err(fenced());
                }
                s.record = new.cloned();
                Ok(())
            })
            .await
    }

    async fn arm(&self, _: &RunName, _: &Schema, _: HoldOptions) -> Result<()> {
        self.0
            .call(|s| {
                s.armed = true;
                Ok(())
            })
            .await
    }

    async fn hold(&self, _: &RunName, _: &Schema, _: HoldOptions) -> Result<Box<dyn Hold>> {
        self.0.wait().await?;
        {
            let mut state = self.0.state();
            assert!(state.armed, "writers wait for what could have been made ready");
            (state.held, state.altered) = (true, state.alters);
            state.last += 5_000;
        }
        let hold = TheHold(self.0.clone());
        self.0.wait().await?;
        Ok(Box::new(hold))
    }

    async fn seal(&self, _: &RunName, _: &Schema, _: &str) -> Result<()> {
        Err(fenced())
    }

    async fn unseal(&self, _: &RunName, _: &Schema, _: u32) -> Result<()> {
        Err(fenced())
    }
}

struct TheHold(World);

impl Drop for TheHold {
    fn drop(&mut self) {
        self.0.state().held = false;
    }
}

#[async_trait]
impl Hold for TheHold {
    async fn marker(&mut self) -> Result<Position> {
        self.0.call(|s| if s.held { Ok(Position::new(ENGINE, "7")) } else { Err(fenced()) }).await
    }

    async fn check(&mut self) -> Result<()> {
        self.0.call(|s| if s.held { Ok(()) } else { Err(fenced()) }).await
    }

    async fn seal(self: Box<Self>, old: &SwitchRecord, new: &SwitchRecord) -> Result<()> {
        let mut late = None;
        {
            let state = self.0.state();
            assert!(state.drained && state.ready && !state.sequences.is_empty(), "sealed too early");
            if let Some((_, Fault::Late(waits))) = state.fail {
                late = Some(state.waits + waits);
            }
        }
        if let Some(at) = late {
            self.0.state().late = Some((at, old.clone(), new.clone()));
            return Err(Error::new(ErrorKind::Connection, "no answer"));
        }
        self.0
            .call(|s| {
                if s.record.as_ref() != Some(old) || !s.held {
                    return Err(fenced());
                }
                s.record = Some(new.clone());
                s.source_sealed = true;
                if let Some((_, Fault::Silent(time))) = s.fail {
                    s.silent = Some(tokio::time::Instant::now() + time);
                    return Err(Error::new(ErrorKind::Connection, "no answer"));
                }
                Ok(())
            })
            .await
    }

    async fn release(self: Box<Self>) -> Result<()> {
        self.0.wait().await
    }
}

#[async_trait]
impl Fence for Target {
    async fn now(&self) -> Result<i64> {
        Err(fenced())
    }

    async fn record(&self, _: &RunName) -> Result<Option<SwitchRecord>> {
        Err(fenced())
    }

    async fn swap(&self, _: &RunName, _: Option<&SwitchRecord>, _: Option<&SwitchRecord>) -> Result<()> {
        Err(fenced())
    }

    async fn arm(&self, _: &RunName, _: &Schema, _: HoldOptions) -> Result<()> {
        Err(fenced())
    }

    async fn hold(&self, _: &RunName, _: &Schema, _: HoldOptions) -> Result<Box<dyn Hold>> {
        Err(fenced())
    }

    async fn seal(&self, _: &RunName, _: &Schema, _: &str) -> Result<()> {
        Err(fenced())
    }

    async fn unseal(&self, _: &RunName, _: &Schema, _: u32) -> Result<()> {
        self.0
            .call(|s| {
                s.target_open = true;
                Ok(())
            })
            .await
    }
}

#[async_trait]
impl Sequences for Source {
    async fn read(&self, _: &Schema) -> Result<Vec<SequenceValue>> {
        let name = TableName::new("public", "ids");
        let value = |s: &mut State| vec![SequenceValue { name, last: s.last, called: true, increment: 1 }];
        self.0.call(|s| Ok(value(s))).await
    }

    async fn set(&self, _: &Schema, _: &[SequenceValue], _: u32) -> Result<()> {
        Err(fenced())
    }
}

#[async_trait]
impl Sequences for Target {
    async fn read(&self, _: &Schema) -> Result<Vec<SequenceValue>> {
        Err(fenced())
    }

    async fn set(&self, _: &Schema, values: &[SequenceValue], margin: u32) -> Result<()> {
        assert_eq!(margin, 1000);
        self.0
            .call(|s| {
                s.sequences = values.to_vec();
                Ok(())
            })
            .await
    }
}

#[async_trait]
impl crate::connect::Source for Source {
    async fn identity(&self) -> Result<Identity> {
        Ok(Identity::new(ENGINE))
    }

    async fn describe(&self, _: &Selection) -> Result<Schema> {
        let columns = |altered: bool| {
            let added = Column::new("added", DataType::text());
            Vec::from_iter(altered.then_some(added))
        };
        self.0.call(|s| Ok(schema(columns(s.altered)))).await
    }

    async fn snapshot(&self, _: &RunName, _: &Schema, _: Option<&Position>) -> Result<Arc<dyn Snapshot>> {
        Err(fenced())
    }

    async fn changes(&self, _: StreamOptions) -> Result<Changes> {
        Err(fenced())
    }

    fn reached(&self, _: &Position, _: &Position) -> Result<bool> {
        Err(fenced())
    }

    async fn release(&self, _: &RunName) -> Result<()> {
        Err(fenced())
    }

    fn capabilities(&self) -> SourceCapabilities<'_> {
        let (fence, sequences, assess) = (Some(self as _), Some(self as _), Some(self as _));
        SourceCapabilities { fence, sequences, assess, ..SourceCapabilities::default() }
    }
}

#[async_trait]
impl Sink for Target {
    async fn identity(&self) -> Result<Identity> {
        Ok(Identity::new(ENGINE))
    }

    async fn prepare(&self, _: &RunName, _: &Schema, step: Step) -> Result<()> {
        self.0
            .call(|s| {
                assert!(!s.target_open, "the target's tables change while it is open");
                assert!(s.still || step < Step::Ready, "made ready while changes are applied");
                s.ready = step == Step::Ready;
                Ok(())
            })
            .await
    }

    async fn adopt(&self, _: &RunName, _: &Schema) -> Result<()> {
        Ok(())
    }

    async fn writer(&self, _: WriterOptions) -> Result<Box<dyn Writer>> {
        Err(fenced())
    }

    fn checkpoint(&self) -> Option<Arc<dyn Checkpoint>> {
        None
    }

    fn capabilities(&self) -> SinkCapabilities<'_> {
        let (fence, sequences, assess) = (Some(self as _), Some(self as _), Some(self as _));
        SinkCapabilities { fence, sequences, assess, ..SinkCapabilities::default() }
    }
}

struct Stream(World, Option<Lag>);

#[async_trait]
impl Follower for Stream {
    async fn applied_past(&self, goal: &Position) -> Result<Position> {
        if goal.as_str() == "head" {
            return self.0.wait().await.map(|()| goal.clone());
        }
        assert_eq!(goal.as_str(), "7");
        self.0
            .call(|s| {
                assert!(s.held, "drained without a fence");
                s.drained = true;
                Ok(Position::new(ENGINE, "8"))
            })
            .await
    }

    async fn stand_still(&self) -> Result<()> {
        self.0
            .call(|s| {
                s.still = true;
                Ok(())
            })
            .await
    }

    fn stepped_back(&self) {
        let mut state = self.0.state();
        assert!(!state.ready, "changes are applied to a target that is ready");
        state.still = false;
    }

    fn lag(&self) -> Option<Lag> {
        self.1
    }

    fn head(&self) -> Option<Position> {
        Some(Position::new(ENGINE, "head"))
    }

    fn phase(&self) -> Phase {
        Phase::Following
    }
}

struct Comparing(World);

#[async_trait]
impl Evidence for Comparing {
    async fn ready(&self) -> Result<()> {
        self.0.call(|s| if s.held { Err(fenced()) } else { Ok(()) }).await
    }

    async fn compare(&self) -> Result<std::collections::BTreeMap<String, TableScope>> {
        let compared = self.0.call(|s| {
            assert!(s.held && s.drained && !s.ready, "what changes is compared");
            match s.differs {
                true => Err(Error::new(ErrorKind::Conflict, "public.t id=7: changed note")),
                false => Ok(std::collections::BTreeMap::new()),
            }
        });
        compared.await
    }

    async fn moment(&self) -> Result<Box<dyn Moment>> {
        let kept = self.0.call(|s| {
            assert!(s.held && s.drained && s.ready && !s.source_sealed, "it is kept too early or too late");
            Ok(Box::new(Kept(self.0.clone())) as Box<dyn Moment>)
        });
        kept.await
    }
}

struct Kept(World);

#[async_trait]
impl Moment for Kept {
    async fn tables(&self) -> Result<std::collections::BTreeMap<String, TableEvidence>> {
        self.0
            .call(|s| {
                assert!(s.target_open, "the application waits while rows are counted");
                Ok(std::collections::BTreeMap::new())
            })
            .await
    }
}

fn schema(columns: Vec<Column>) -> Schema {
    let mut schema = Schema::default();
    schema.tables.push(Arc::new(Table::new(ENGINE, TableName::new("public", "t"), columns, Key::FullRow)));
    schema
}

fn plan(world: &World, gate: &Gate<&'static str>) -> Cutover {
    let schema = Arc::new(schema(Vec::new()));
    let (source, target) = (Arc::new(Source(world.clone())), Arc::new(Target(world.clone())));
    let follower = Arc::new(Stream(world.clone(), Some(Lag::default())));
    Cutover::new(RunName::default(), Epoch(3), (source, Arc::clone(&schema)), (target, schema), follower)
        .gate(Arc::new(gate.toward("target")))
        .target("db2/shop")
        .evidence(Arc::new(Comparing(world.clone())))
        .options(CutoverOptions::default().settle(Duration::from_secs(3)).verify(true).certificate(true))
}

async fn recovered(world: &World, gate: &Gate<&'static str>, epoch: u64) -> Result<Recovered> {
    world.state().fail = None;
    let run = RunName::default();
    let (source, target) = (Source(world.clone()), Target(world.clone()));
    recover(Recover {
        run: &run,
        epoch: Epoch(epoch),
        leg: 1,
        source: &source,
        sink: &target,
        target_schema: &schema(Vec::new()),
        gate: &gate.toward("target"),
        patience: Duration::ZERO,
        lease: Duration::from_secs(30),
    })
    .await
}

/// Polls so often and no more.
struct Dies<F> {
    future: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Dies<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.future.as_mut().poll(cx).map(Some)
    }
}

/// What must hold when all is over: one side open, and all agree which.
async fn assert_whole(world: &World, gate: &Gate<&'static str>, what: &str) {
    let side = *gate.enter().await.unwrap();
    let state = world.state();
    assert!(!state.held, "{what}");
    assert_ne!(!state.source_sealed, state.target_open, "{what}: not exactly one side is open");
    if state.target_open {
        assert!(state.ready && state.drained && side == "target", "{what}");
        assert_eq!(state.sequences[0].last, state.last, "{what}: sequences were read before the hold");
        assert_eq!(state.record.as_ref().unwrap().state, SwitchState::Switched, "{what}");
    } else {
        assert!(!state.ready && side == "source" && state.record.is_none(), "{what}: {:?}", state.record);
    }
}

#[tokio::test(start_paused = true)]
async fn all_steps_lead_to_the_target() {
    let (world, gate) = (World::default(), Gate::new("source"));
    let switch = plan(&world, &gate).run().await.unwrap();
    assert_eq!(switch.position.as_str(), "7");
    assert_eq!(switch.sequences, world.state().sequences);
    let certificate = switch.certificate.unwrap();
    assert_eq!((certificate.fence.as_str(), certificate.drained.as_str()), ("7", "8"));
    assert_whole(&world, &gate, "done").await;
    assert!(!gate.stats().held);
    let again = plan(&world, &gate).run().await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    assert!(matches!(recovered(&world, &gate, 4).await.unwrap(), Recovered::Switched(_)));
    assert_whole(&world, &gate, "recovered").await;
}

#[tokio::test(start_paused = true)]
async fn dropped_anywhere_it_is_made_good_by_the_next_start() {
    let mut released = 0;
    for polls in 0.. {
        let (world, gate) = (World::default(), Gate::new("source"));
        let run = Dies { future: Box::pin(plan(&world, &gate).run()), left: polls };
        let done = run.await;
        let what = format!("dropped after {polls} polls");
        world.state().now += 1_000_000;
        let found = recovered(&world, &gate, 4).await.unwrap();
        released += usize::from(found == Recovered::Released);
        assert_whole(&world, &gate, &what).await;
        if done.is_some() {
            assert!(polls > 30 && released > 15, "{polls} polls, {released} released");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_anywhere_is_undone_or_driven_forward() {
    for at in 1.. {
        let (world, gate) = (World::default(), Gate::new("source"));
        world.state().fail = Some((at, Fault::Lost));
        let result = plan(&world, &gate).run().await;
        let what = format!("lost at {at}: {result:?}");
        let waits = world.state().waits;
        world.state().now += 1_000_000;
        // Undone at once, or by the next start if undoing failed.
        recovered(&world, &gate, 4).await.unwrap();
        assert_whole(&world, &gate, &what).await;
        if at > waits {
            assert!(result.is_ok() && at > 30, "{at}: {result:?}");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_late_is_never_both() {
    let mut outcomes = [0, 0];
    for waits in 0..12 {
        let (world, gate) = (World::default(), Gate::new("source"));
        world.state().fail = Some((0, Fault::Late(waits)));
        let result = plan(&world, &gate).run().await;
        // What comes later still, comes before this.
        for _ in 0..20 {
            world.wait().await.unwrap();
        }
        assert_whole(&world, &gate, &format!("late by {waits}")).await;
        outcomes[usize::from(result.is_ok())] += 1;
    }
    assert!(outcomes.iter().all(|n| *n > 0), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn another_live_process_is_left_alone() {
    let (world, gate) = (World::default(), Gate::new("source"));
    let prepared = plan(&world, &gate).check().await.unwrap().prepare().await.unwrap();
    assert_eq!(recovered(&world, &gate, 4).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(recovered(&world, &gate, 2).await.unwrap_err().kind(), ErrorKind::Fenced);
    // Its lease runs out, another start undoes it: the seal cannot happen.
    world.state().now += 31_000;
    assert_eq!(recovered(&world, &gate, 4).await.unwrap(), Recovered::Released);
    let held = prepared.hold_gate().await.unwrap().fence().await.unwrap();
    let armed = held.drain().await.unwrap().verify().await.unwrap();
    let armed = armed.finish().await.unwrap().arm().await.unwrap();
    assert_eq!(armed.switch().await.unwrap_err().kind(), ErrorKind::Fenced);
    assert!(!world.state().source_sealed && !world.state().target_open);
    assert_eq!(*gate.enter().await.unwrap(), "source");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_cutover_leaves_nothing() {
    let (world, gate) = (World::default(), Gate::new("source"));
    let held = plan(&world, &gate).check().await.unwrap().prepare().await.unwrap().hold_gate().await.unwrap();
    assert!(gate.stats().held);
    held.fence().await.unwrap().drain().await.unwrap().abandon().await.unwrap();
    assert_whole(&world, &gate, "abandoned").await;
    assert_eq!(recovered(&world, &gate, 4).await.unwrap(), Recovered::Clear);
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_way_is_said_before_anybody_waits() {
    let (world, gate) = (World::default(), Gate::new("source"));
    let blocker = Finding::new(Severity::Blocker, "no_key", "public.t", "it has no key");
    let error = plan(&world, &gate).findings(vec![blocker]).run().await.unwrap_err();
    assert!(error.message().contains("public.t: it has no key"));
    for (bytes, rate, budget_ok) in
        [(1 << 30, Some(1 << 20), false), (1 << 20, Some(1 << 20), true), (1 << 30, None, false)]
    {
        let mut plan = plan(&world, &gate);
        plan.follower = Arc::new(Stream(world.clone(), Some(Lag { bytes, bytes_per_second: rate })));
        let checked = plan.check().await;
        assert_eq!(checked.is_ok(), budget_ok, "{bytes} at {rate:?}");
    }
    assert!(world.state().record.is_none() && gate.stats().waited == 0);
}
