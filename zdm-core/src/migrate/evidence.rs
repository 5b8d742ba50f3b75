//! A run's own evidence: what it compares before its cutover and under the
//! fence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Plan;
use super::certificate::TableEvidence;
use super::cutover::{Evidence, Moment, TableScope};
use super::request::CHECKS;
use crate::connect::{Reader, Verify};
use crate::schema::Selection;
use crate::verify::{Again, Difference, LOOKS, VerifyOptions};
use crate::{Error, ErrorKind, Result};

/// How often all rows of a table are compared, before it is given up that the
/// keys touched meanwhile fit.
const WHOLE: usize = 2;
/// How often what was touched is compared again before the fence...
const PASSES: usize = 6;
/// ... until so few rows are left for it.
const FEW: usize = 100;
/// Differences that an error names.
const NAMED: usize = 10;

/// Compares for one cutover.
pub(super) struct Compared {
    plan: Arc<Plan>,
    cancel: CancellationToken,
    _ends: DropGuard,
    /// Open since step 0.
    again: std::sync::Mutex<Option<Arc<Again>>>,
}

impl Compared {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let cancel = CancellationToken::new();
        Self { plan, _ends: cancel.clone().drop_guard(), cancel, again: std::sync::Mutex::default() }
    }

    /// All rows of the tables that are not known to be equal.
    async fn whole(&self) -> Result<Arc<Again>> {
        for _ in 0..WHOLE {
            let again = self.plan.again(&self.cancel).await?;
            let unknown: Vec<_> = again.tables().into_iter().filter(|table| table.equal.is_none()).collect();
            if unknown.is_empty() {
                return Ok(Arc::new(again));
            }
            let tables =
                Selection::new(unknown.iter().flat_map(|table| &table.sources).map(ToString::to_string))?;
            let mut found = Vec::new();
            let mut tell = |difference: &Difference| found.push(difference.clone());
            let options = VerifyOptions::default().tables(tables);
            let report = self.plan.verify(options, self.cancel.child_token(), &mut tell).await?;
            if !found.is_empty() {
                return Err(differ(&found, "before the cutover"));
            }
            if report.unsettled() > 0 {
                return Err(restless(report.unsettled()));
            }
        }
        let again = self.plan.again(&self.cancel).await?;
        match again.tables().into_iter().find(|table| table.equal.is_none()) {
            Some(table) => Err(Error::new(
                ErrorKind::Timeout,
                "more rows are touched while all are compared than can be kept in mind, or the table is truncated \
                 again and again: cut over when fewer writes come, or without the verification",
            )
            .with("table", table.table)
            .during("cutover.verify")),
            None => Ok(Arc::new(again)),
        }
    }
}

impl Compared {
    /// All rows, and then again those that were touched meanwhile, until few
    /// are left.
    async fn compared(&self) -> Result<()> {
        let again = self.whole().await?;
        again.warm().await?;
        // What is wrong shows in the first pass; the others only have to be
        // quick, since what is touched meanwhile is left.
        let mut looks = LOOKS;
        for _ in 0..PASSES {
            if again.count() <= FEW {
                break;
            }
            let found = again.pass(looks).await?;
            if !found.is_empty() {
                return Err(differ(&found, "before the cutover"));
            }
            looks = 1;
        }
        *self.again.lock().unwrap_or_else(PoisonError::into_inner) = Some(again);
        Ok(())
    }
}

#[async_trait]
impl Evidence for Compared {
    async fn ready(&self) -> Result<()> {
        let mut compared = pin!(self.compared());
        loop {
            // However long it takes, whoever asked for the cutover waits.
            tokio::select! {
                biased;
                done = &mut compared => return done,
                () = tokio::time::sleep(CHECKS / 3) => self.plan.renew_request().await,
            }
        }
    }

    async fn compare(&self) -> Result<BTreeMap<String, TableScope>> {
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(again) = again else {
            return Err(Error::new(ErrorKind::Config, "nothing was compared before the fence"));
        };
        let (mut touched, found) = again.rest().await?;
        if !found.is_empty() {
            return Err(differ(&found, "under the fence"));
        }
        let mut scope = BTreeMap::new();
        for table in again.tables() {
            // Looked at behind the rows: what overflowed meanwhile shows here.
            let Some(equal) = table.equal else { return Err(restless(0).with("table", table.table)) };
            let touched = touched.remove(&table.table).unwrap_or(0);
            let touched = table.is_keyed.then_some(touched);
            scope.insert(table.table, TableScope::new(equal, touched));
        }
        Ok(scope)
    }

    async fn moment(&self) -> Result<Box<dyn Moment>> {
        let (source, target) =
            (verify(self.plan.source.capabilities().verify)?, verify(self.plan.sink.capabilities().verify)?);
        let (source, target) = futures::try_join!(source.moment(), target.moment())?;
        Ok(Box::new(Kept { plan: Arc::clone(&self.plan), source, target }))
    }
}

fn verify(verify: Option<&dyn Verify>) -> Result<&dyn Verify> {
    verify.ok_or_else(|| Error::new(ErrorKind::Unsupported, "a connector cannot say what its tables hold"))
}

/// Both sides as they were under the fence.
struct Kept {
    plan: Arc<Plan>,
    source: Arc<dyn Reader>,
    target: Arc<dyn Reader>,
}

#[async_trait]
impl Moment for Kept {
    async fn tables(&self) -> Result<BTreeMap<String, TableEvidence>> {
        self.plan.counted(Arc::clone(&self.source), Arc::clone(&self.target)).await
    }
}

/// The sides differ, in words that say where.
fn differ(found: &[Difference], when: &str) -> Error {
    let mut words = String::new();
    for difference in found.iter().take(NAMED) {
        // Writing to a string cannot fail.
        let _ = write!(words, "; {difference}");
    }
    if found.len() > NAMED {
        words += "; and others";
    }
    let tables: BTreeSet<_> = found.iter().map(|difference| difference.table.to_string()).collect();
    Error::new(
        ErrorKind::Conflict,
        format!(
            "{when} both sides differ, so nothing was switched: repair what differs (`zdm verify --repair`), and cut \
             over again{words}"
        ),
    )
    .with("differences", found.len())
    .with("tables", tables.into_iter().collect::<Vec<_>>().join(", "))
    .during("cutover.verify")
}

fn restless(rows: u64) -> Error {
    Error::new(
        ErrorKind::Timeout,
        "rows were touched faster than they could be compared, so nothing was switched: cut over when fewer writes \
         come, or without the verification",
    )
    .with("rows", rows)
    .during("cutover.verify")
}

#[cfg(test)]
mod tests;
