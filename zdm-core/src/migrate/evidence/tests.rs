//! A cutover that compares rows, before it and under its fence.

use std::sync::Arc;
use std::time::Duration;

use crate::change::{DateTime, Value};
use crate::connect::{Epoch, Fence as _, RunName, Source as _};
use crate::gate::{GateControl, GateHold, NoGate};
use crate::memory::{ENGINE, MemoryDatabase};
use crate::migrate::certificate::{Certificate, Held};
use crate::migrate::cutover::{CutoverOptions, Switch, Verification};
use crate::migrate::{Migration, Outcome, Running, Side};
use crate::run::Equal;
use crate::schema::{Column, DataType, Key, Table, TableName};
use crate::verify::VerifyOptions;
use crate::{Error, ErrorKind, Identity};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

const ROWS: i64 = 500;

fn name(table: &str) -> TableName {
    TableName::new("public", table)
}

/// `t` with a key and `log` without one.
async fn databases() -> (MemoryDatabase, MemoryDatabase) {
    let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
    for (table, key) in [("t", Key::Columns(vec![0])), ("log", Key::FullRow)] {
        let columns =
            vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("note", DataType::text())];
        old.create_table(Table::new(ENGINE, name(table), columns, key)).unwrap();
        let mut transaction = old.begin();
        for id in 0..ROWS {
            transaction.insert(&name(table), vec![Value::Int(id), Value::from("x")]).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
    (old, new)
}

fn migration(old: &MemoryDatabase, new: &MemoryDatabase) -> Migration {
    Migration::between(old.source(), new.sink()).build().unwrap()
}

async fn follows(migration: &Migration) -> Running {
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    running
}

async fn cut_over(running: &mut Running) -> Result<Switch, Error> {
    running.cutover(Arc::new(NoGate), CutoverOptions::default().verify(true)).await
}

/// The application writes to rows, and the target has applied it.
async fn touch(old: &MemoryDatabase, migration: &Migration, ids: std::ops::Range<i64>) {
    let mut transaction = old.begin();
    for id in ids {
        let new = |row: &mut crate::memory::Row| row[1] = Value::from("touched");
        assert!(transaction.update(&name("t"), &[Value::Int(id)], new).await.unwrap());
    }
    transaction.commit().await.unwrap();
    let head = old.head();
    migration.status().wait_for(|status| status.position.as_ref() == Some(&head)).await.unwrap();
}

/// Alters a row of the target behind the run's back.
async fn plant(new: &MemoryDatabase, id: i64) {
    let mut planted = new.begin_as(Some((RunName::default(), Epoch(0))));
    let wrong = |row: &mut crate::memory::Row| row[1] = Value::from("wrong");
    assert!(planted.update(&name("t"), &[Value::Int(id)], wrong).await.unwrap());
    planted.commit().await.unwrap();
}

async fn is_open(old: &MemoryDatabase) {
    assert_eq!(old.record(&RunName::default()).await.unwrap(), None);
    let mut transaction = old.begin();
    let row = vec![Value::Int(i64::try_from(old.rows(&name("t")).unwrap().len()).unwrap()), Value::Null];
    transaction.insert(&name("t"), row).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_touched_and_is_wrong_is_found_under_the_fence_and_undoes_the_cutover() {
    let (old, new) = databases().await;
    let migration = migration(&old, &new);
    let mut running = follows(&migration).await;
    let whole = VerifyOptions::default();
    let report = migration.verify(whole.clone(), CancellationToken::new(), &mut |_| {}).await.unwrap();
    assert!(report.is_equal());
    touch(&old, &migration, 0..20).await;
    plant(&new, 7).await;
    let error = cut_over(&mut running).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    for words in ["under the fence", "nothing was switched", "public.t id=7: changed note"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    is_open(&old).await;
    // It stays touched until it is right.
    assert_eq!(cut_over(&mut running).await.unwrap_err().kind(), ErrorKind::Conflict);
    let repaired = migration.verify(whole.repair(true), CancellationToken::new(), &mut |_| {}).await.unwrap();
    assert_eq!(repaired.repaired(), 1);
    touch(&old, &migration, 30..34).await;
    let Verification::Touched(tables) = cut_over(&mut running).await.unwrap().verification else {
        panic!("nothing was compared");
    };
    assert_eq!((tables["public.t"].rows, tables["public.t"].touched), (501, Some(4)));
    assert_eq!((tables["public.log"].rows, tables["public.log"].touched), (500, None));
    assert_eq!(old.rows(&name("t")).unwrap(), new.rows(&name("t")).unwrap());
}

/// Without a verification before it, all rows are compared first; and so is
/// what was touched, if that is much. Nobody waits meanwhile.
#[tokio::test(start_paused = true)]
async fn what_is_known_to_be_wrong_before_the_fence_makes_nobody_wait() {
    let (old, new) = databases().await;
    let migration = migration(&old, &new);
    let mut running = follows(&migration).await;
    plant(&new, 9).await;
    let error = cut_over(&mut running).await.unwrap_err();
    assert!(error.to_string().contains("before the cutover both sides differ"), "{error}");
    assert!(error.to_string().contains("public.t id=9"), "{error}");
    is_open(&old).await;
    migration
        .verify(VerifyOptions::default().repair(true), CancellationToken::new(), &mut |_| {})
        .await
        .unwrap();
    touch(&old, &migration, 0..300).await;
    plant(&new, 250).await;
    let error = cut_over(&mut running).await.unwrap_err();
    assert!(error.to_string().contains("before the cutover both sides differ"), "{error}");
    touch(&old, &migration, 250..251).await;
    cut_over(&mut running).await.unwrap();
}

/// What another process has applied meanwhile this one has not seen: it
/// compares all rows.
#[tokio::test(start_paused = true)]
async fn a_run_that_begins_again_leads_on_from_no_verification() {
    let (old, new) = databases().await;
    let ours = migration(&old, &new);
    let running = follows(&ours).await;
    ours.verify(VerifyOptions::default(), CancellationToken::new(), &mut |_| {}).await.unwrap();
    running.stop().await.unwrap();
    let other = migration(&old, &new);
    let running = follows(&other).await;
    touch(&old, &other, 0..3).await;
    assert!(matches!(running.stop().await.unwrap(), Outcome::Stopped { .. }));
    plant(&new, 1).await;
    let error = cut_over(&mut follows(&ours).await).await.unwrap_err();
    assert!(error.to_string().contains("public.t id=1: changed note"), "{error}");
}

/// Counts and digests are those of the switch, though the application goes on
/// while they are taken, and tell later what has changed since.
#[tokio::test(start_paused = true)]
async fn a_certificate_tells_what_both_sides_were_at_the_switch() {
    let (old, new) = databases().await;
    let migration = migration(&old, &new);
    let mut running = follows(&migration).await;
    touch(&old, &migration, 0..9).await;
    let options = CutoverOptions::default().certificate(true);
    let gate = Arc::new(AtWork(new.clone()));
    let certificate = running.cutover(gate, options).await.unwrap().certificate.unwrap();
    assert!(certificate.is_equal(), "{certificate:?}");
    assert_eq!(certificate.tables["public.t"].source.rows, 500);
    let held = certificate.check(Side::Target, &identity(&new).await, &new).await.unwrap();
    assert!(matches!(held["public.t"], Held::Other(count) if count.rows == 501), "{held:?}");
    let mut application = new.begin();
    assert!(application.delete(&name("t"), &[Value::Int(-1)]).await.unwrap());
    application.commit().await.unwrap();
    assert_eq!(certificate.tables["public.log"].columns, ["id", "note"]);
    assert_eq!((&certificate.source, &certificate.target), (&identity(&old).await, &identity(&new).await));

    let text = certificate.to_json();
    assert_eq!(Certificate::parse(&text).unwrap(), certificate);
    for (was, is) in [("\"rows\":500", "\"rows\":501"), ("skipped", "touched"), ("\"leg\":1", "\"leg\":2")] {
        assert_eq!(Certificate::parse(&text.replacen(was, is, 1)).unwrap_err().kind(), ErrorKind::Config);
    }
    let newer = Certificate::parse(&text.replace("\"version\":1", "\"version\":2")).unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::Unsupported);
    assert!(Certificate::parse(&text[..text.len() - 9]).is_err() && Certificate::parse("{}").is_err());

    for (side, db) in [(Side::Source, &old), (Side::Target, &new)] {
        let held = certificate.check(side, &identity(db).await, db).await.unwrap();
        assert!(held.values().all(|held| *held == Held::Same) && held.len() == 2, "{held:?}");
    }
    let mut application = new.begin();
    let swap = |row: &mut crate::memory::Row| row[1] = Value::from("touched since");
    assert!(application.update(&name("t"), &[Value::Int(3)], swap).await.unwrap());
    application.commit().await.unwrap();
    let held = certificate.check(Side::Target, &identity(&new).await, &new).await.unwrap();
    assert_eq!(held["public.log"], Held::Same);
    assert!(matches!(held["public.t"], Held::Other(count) if count.rows == 500), "{held:?}");
    let other = certificate.check(Side::Source, &identity(&new).await, &new).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);
}

/// An application that writes as soon as the gate is open.
struct AtWork(MemoryDatabase);

#[async_trait]
impl GateControl for AtWork {
    async fn hold(&self, _: Duration) -> Result<Box<dyn GateHold>, Error> {
        Ok(Box::new(Self(self.0.clone())))
    }

    async fn open_target(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[async_trait]
impl GateHold for AtWork {
    async fn drained(&mut self, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    async fn pin(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn flip(&mut self) -> Result<(), Error> {
        let mut application = self.0.begin();
        application.insert(&name("t"), vec![Value::Int(-1), Value::Null]).await?;
        application.commit().await
    }
}

/// A verification that runs while the run is being taken over may have missed
/// what another process applied meanwhile.
#[tokio::test(start_paused = true)]
async fn what_was_verified_before_the_run_is_taken_over_is_not_known() {
    let (old, new) = databases().await;
    let ours = migration(&old, &new);
    follows(&ours).await.stop().await.unwrap();
    let other = migration(&old, &new);
    let running = follows(&other).await;
    touch(&old, &other, 0..3).await;
    running.stop().await.unwrap();
    // The run begins here, and has not read its record yet.
    let _running = ours.start(CancellationToken::new());
    let touched = ours.plan.durable.touched();
    touched.begin([(name("t"), None)]);
    touched.equal(&name("t"), Equal { at: DateTime::from_micros(0), rows: 500 });
    assert!(touched.since(&name("t")).is_some());
    let head = old.head();
    ours.status().wait_for(|status| status.position.as_ref() == Some(&head)).await.unwrap();
    assert_eq!(touched.since(&name("t")), None);
}

/// A row that the stream never brought touches nothing, so it passes the fence;
/// and the certificate says so.
#[tokio::test(start_paused = true)]
async fn a_certificate_shows_what_the_stream_never_brought() {
    let (old, new) = databases().await;
    let migration = migration(&old, &new);
    let mut running = follows(&migration).await;
    migration.verify(VerifyOptions::default(), CancellationToken::new(), &mut |_| {}).await.unwrap();
    plant(&new, 11).await;
    let options = CutoverOptions::default().verify(true).certificate(true);
    let certificate = running.cutover(Arc::new(NoGate), options).await.unwrap().certificate.unwrap();
    let differing: Vec<_> = certificate.differing().map(|(table, _)| table).collect();
    assert_eq!((differing, certificate.is_equal()), (vec!["public.t"], false));
    let table = &certificate.tables["public.t"];
    assert_eq!((table.source.rows, table.target.rows), (500, 500));
}

async fn identity(db: &MemoryDatabase) -> Identity {
    db.source().identity().await.unwrap()
}
