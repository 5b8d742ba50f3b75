//! A run's own verification.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::certificate::TableEvidence;
use super::{Migration, Plan};
use crate::connect::{Phase, Reader};
use crate::migrate::cutover::Follower;
use crate::schema::Schema;
use crate::verify::{Again, Difference, Report, Verification, VerifyOptions};
use crate::{Error, ErrorKind, Result};

impl Migration {
    /// Compares what both sides hold, while both change, and gives each
    /// difference to `found` as soon as it is certain. Changes nothing, unless
    /// [repairs](VerifyOptions::repair) are asked for.
    ///
    /// It may run beside the [start](Self::start) of this process, beside
    /// another process that follows the run, behind a cutover, or with no run
    /// at all: [`verify`](crate::verify) has what each means. Its speed is
    /// bounded by [`throttle`](Self::throttle).
    ///
    /// # Errors
    /// `Conflict` before the target is a whole copy; `NotFound` when no table
    /// matches, or the target lacks one; `Config` when repairs are asked for
    /// and the run is not under way in this process; `Cancelled`; others when a
    /// side fails and no retry could help.
    pub async fn verify(
        &self,
        options: VerifyOptions,
        cancel: CancellationToken,
        found: &mut (dyn FnMut(&Difference) + Send),
    ) -> Result<Report> {
        self.plan.verify(options, cancel, found).await
    }
}

impl Plan {
    pub(super) async fn verify(
        self: &Arc<Self>,
        options: VerifyOptions,
        cancel: CancellationToken,
        found: &mut (dyn FnMut(&Difference) + Send),
    ) -> Result<Report> {
        let run = &self.options.run;
        let phase = self.checkpoint.load(run).await?.map(|state| state.record.phase);
        if phase.is_some_and(|phase| phase < Phase::Following) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the target is not a whole copy yet: wait until the run follows, then verify",
            )
            .with("run", run)
            .during("verify"));
        }
        if options.repair && (!self.durable.is_running() || phase != Some(Phase::Following)) {
            return Err(Error::new(
                ErrorKind::Config,
                "only the process that follows a run can repair its target: start the run here first, and before \
                 it is cut over",
            )
            .with("run", run)
            .during("verify"));
        }
        let (source, target) = self.both_schemas().await?;
        let repairs = options.repair.then(|| self.durable.repairs().clone());
        let verification = Verification { repairs, ..self.verification(phase, (&source, &target)) };
        verification.run(options, cancel, found).await
    }

    /// Both sides of what a verification in this process leads on from.
    pub(super) async fn again(self: &Arc<Self>, cancel: &CancellationToken) -> Result<Again> {
        let (source, target) = self.both_schemas().await?;
        let verification = self.verification(Some(Phase::Following), (&source, &target));
        verification.again(VerifyOptions::default(), cancel).await
    }

    /// Counts and digests what readers find on both sides.
    pub(super) async fn counted(
        self: &Arc<Self>,
        source: Arc<dyn Reader>,
        target: Arc<dyn Reader>,
    ) -> Result<BTreeMap<String, TableEvidence>> {
        let cancel = CancellationToken::new();
        let _ends = cancel.clone().drop_guard();
        let (source_schema, target_schema) = self.both_schemas().await?;
        let verification = self.verification(Some(Phase::Switched), (&source_schema, &target_schema));
        verification.count((source, target), &cancel).await
    }

    async fn both_schemas(&self) -> Result<(Schema, Schema)> {
        // DDL and TRUNCATE may be in the way for a moment.
        let source = self.options.retry.run(|| self.describe()).await?;
        let target = self.stages.schema(&source)?;
        Ok((source, target))
    }

    fn verification<'a>(
        self: &'a Arc<Self>,
        phase: Option<Phase>,
        (source_schema, target_schema): (&'a Schema, &'a Schema),
    ) -> Verification<'a> {
        Verification {
            run: &self.options.run,
            phase,
            source: &self.source,
            source_schema,
            sink: &self.sink,
            target_schema,
            stages: &self.stages,
            checkpoint: &self.checkpoint,
            follower: self.durable.is_running().then(|| Arc::clone(self) as Arc<dyn Follower>),
            repairs: None,
            touched: self.durable.touched(),
            throttle: &self.throttle,
            retry: &self.options.retry,
            budget: self.options.budget,
            status: &self.status,
        }
    }
}
