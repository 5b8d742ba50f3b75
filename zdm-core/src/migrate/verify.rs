//! A run's own verification.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Migration;
use crate::connect::Phase;
use crate::migrate::cutover::Follower;
use crate::verify::{Difference, Report, Verification, VerifyOptions};
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
        let plan = &self.plan;
        let run = &plan.options.run;
        let phase = plan.checkpoint.load(run).await?.map(|state| state.record.phase);
        if phase.is_some_and(|phase| phase < Phase::Following) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the target is not a whole copy yet: wait until the run follows, then verify",
            )
            .with("run", run)
            .during("verify"));
        }
        let running = plan.durable.is_running();
        if options.repair && (!running || phase != Some(Phase::Following)) {
            return Err(Error::new(
                ErrorKind::Config,
                "only the process that follows a run can repair its target: start the run here first, and before \
                 it is cut over",
            )
            .with("run", run)
            .during("verify"));
        }
        // DDL and TRUNCATE may be in the way for a moment.
        let source = plan.options.retry.run(|| plan.describe()).await?;
        let target = plan.stages.schema(&source)?;
        let repairs = options.repair.then(|| plan.durable.repairs().clone());
        let verification = Verification {
            run,
            phase,
            source: &plan.source,
            source_schema: &source,
            sink: &plan.sink,
            target_schema: &target,
            stages: &plan.stages,
            checkpoint: &plan.checkpoint,
            follower: running.then(|| Arc::clone(plan) as Arc<dyn Follower>),
            repairs,
            throttle: &plan.throttle,
            retry: &plan.options.retry,
            budget: plan.options.budget,
            status: &plan.status,
        };
        verification.run(options, cancel, found).await
    }
}
