//! Step 0: what can be known before anybody is made to wait.

use std::time::Duration;

use super::assess::refuse_blockers;
use super::{Cutover, CutoverOptions, Lag, Recover, lacks, recover};
use crate::connect::{Phase, SwitchState};
use crate::schema::{Fate, Schema, Selection, Shape, Table};
use crate::{Error, ErrorKind, Identity, Result};

/// How often the lag is looked at while it does not fit.
const LAG_POLL: Duration = Duration::from_millis(50);

/// What the checks expect of the pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forecast {
    /// How far the target was behind.
    pub lag: Lag,
    /// How long the drain will take, if there is a rate to tell from.
    pub drain: Option<Duration>,
    /// How long the hold took to get, when it was tried.
    pub hold: Option<Duration>,
}

impl Cutover {
    pub(super) async fn checks(&self) -> Result<(Forecast, Option<(Identity, Identity)>)> {
        refuse_blockers(&self.findings)?;
        self.check_capabilities()?;
        self.check_record().await?;
        if self.follower.phase() != Phase::Following {
            return Err(Error::new(
                ErrorKind::Config,
                "the target is not a whole copy yet: cut over when the run is following",
            )
            .with("phase", self.follower.phase())
            .during("cutover.check"));
        }
        self.check_shape().await?;
        self.assess().await?;
        if let Some(sequences) = self.source.capabilities().sequences {
            sequences.read(&self.source_schema).await?;
        }
        if let Some(back) = &self.way_back {
            back.make(&self.target_schema).await?;
        }
        let identities = if self.options.certificate {
            self.comparing()?;
            Some(futures::try_join!(self.source.identity(), self.sink.identity())?)
        } else {
            None
        };
        // A lag that cannot do is told before all rows are compared.
        let (mut lag, mut drain) = self.lag_that_fits().await?;
        self.source_fence()?.arm(&self.run, &self.source_schema, self.options.hold).await?;
        let hold = if self.options.try_hold { Some(self.try_hold().await?) } else { None };
        if self.options.verify {
            // The last: what is touched behind it is left for the fence.
            self.comparing()?.ready().await?;
            (lag, drain) = self.lag_that_fits().await?;
        }
        refuse_pause(drain, hold, &self.options)?;
        Ok((Forecast { lag, drain, hold }, identities))
    }

    fn check_capabilities(&self) -> Result<()> {
        self.source_fence()?;
        self.target_fence()?;
        let (source, sink) = (self.source.capabilities(), self.sink.capabilities());
        if !self.source_schema.sequences.is_empty() && source.sequences.is_none() {
            return Err(lacks("source", "read its sequences"));
        }
        if !self.target_schema.sequences.is_empty() && sink.sequences.is_none() {
            return Err(lacks("target", "set its sequences"));
        }
        Ok(())
    }

    /// An unfinished cutover of an earlier start is undone first; one that
    /// has happened is not done again.
    async fn check_record(&self) -> Result<()> {
        match self.source_fence()?.record(&self.run).await? {
            None => Ok(()),
            Some(record) if record.is_history(self.leg) => Ok(()),
            Some(record) if record.state == SwitchState::Switched => Err(Error::new(
                ErrorKind::Conflict,
                "this run has switched already: the source is sealed, point the application at the target",
            )
            .with("target", record.target)
            .during("cutover.check")),
            Some(_) => recover(Recover {
                run: &self.run,
                epoch: self.epoch,
                leg: self.leg,
                source: self.source.as_ref(),
                sink: self.sink.as_ref(),
                target_schema: &self.target_schema,
                gate: self.gate.as_ref(),
                patience: Duration::ZERO,
                lease: self.options.lease,
            })
            .await
            .map(drop),
        }
    }

    /// The source's tables are still those that were copied. Also asked
    /// under the fence: DDL makes no rows.
    pub(super) async fn check_shape(&self) -> Result<()> {
        let names = self.source_schema.tables.iter().map(|t| t.origin.name.to_string());
        let tables = self.tables.clone().map_or_else(|| Selection::new(names), Ok)?;
        let now = self.source.describe(&tables).await?;
        same_shape(&self.source_schema, &now)
    }

    /// The lag, once it fits the drain's budget, which is how long it may take
    /// to: a stream that has just been opened counts as behind until its
    /// server has said that nothing of what is between concerns it. Nobody
    /// is kept waiting yet.
    async fn lag_that_fits(&self) -> Result<(Lag, Option<Duration>)> {
        let until = tokio::time::Instant::now() + self.options.drain;
        loop {
            match refuse_lag(self.follower.lag(), &self.options) {
                Ok(fits) => return Ok(fits),
                Err(error) if tokio::time::Instant::now() >= until => return Err(error),
                Err(_) => tokio::time::sleep(LAG_POLL).await,
            }
        }
    }

    async fn try_hold(&self) -> Result<Duration> {
        let began = tokio::time::Instant::now();
        let hold = self.source_fence()?.hold(&self.run, &self.source_schema, self.options.hold).await?;
        let took = began.elapsed();
        hold.release().await?;
        Ok(took)
    }
}

/// Refuses a drain that will not fit its budget; gives what it will take.
fn refuse_lag(lag: Option<Lag>, options: &CutoverOptions) -> Result<(Lag, Option<Duration>)> {
    let Some(lag) = lag else {
        return Err(Error::new(
            ErrorKind::Timeout,
            "how far the target is behind is not known, since the stream of changes is not open or its server has not \
             said where the log ends: cut over when it is",
        )
        .during("cutover.check"));
    };
    let drain = lag.drain();
    let budget = options.drain.min(options.pause);
    let fits = match drain {
        Some(drain) => drain <= budget,
        None => lag.bytes <= options.lag,
    };
    if fits {
        return Ok((lag, drain));
    }
    let how = match (drain, lag.bytes_per_second) {
        (Some(drain), Some(rate)) => {
            format!("which takes {drain:?} at the {rate} bytes a second that it was last seen to apply")
        }
        _ => format!("and without a known rate {} are the most to begin with", options.lag),
    };
    let error = Error::new(
        ErrorKind::Timeout,
        format!(
            "the target is too far behind to drain within the budget of {budget:?}: {} bytes, {how}; wait until it \
             has caught up, cut over when fewer writes come, or allow a longer drain and pause",
            lag.bytes
        ),
    )
    .with("bytes_behind", lag.bytes)
    .with("budget_ms", budget.as_millis());
    let error = match drain {
        Some(drain) => error.with("predicted_ms", drain.as_millis()),
        None => error,
    };
    Err(error.during("cutover.check"))
}

/// Refuses a pause of which hold and drain alone take more than it may last.
fn refuse_pause(drain: Option<Duration>, hold: Option<Duration>, options: &CutoverOptions) -> Result<()> {
    let predicted = drain.unwrap_or_default().saturating_add(hold.unwrap_or_default());
    if predicted <= options.pause {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Timeout,
        format!(
            "writers would wait for {predicted:?}, by the hold that was tried and the drain that is to come, and may \
             for {:?}: cut over when fewer and shorter transactions come, or allow a longer pause",
            options.pause
        ),
    )
    .with("predicted_ms", predicted.as_millis())
    .with("budget_ms", options.pause.as_millis())
    .during("cutover.check"))
}

fn same_shape(was: &Schema, now: &Schema) -> Result<()> {
    if let Some(added) = now.tables.iter().find(|table| was.by_origin(&table.origin.name).is_none()) {
        return Err(Error::new(
            ErrorKind::SchemaChanged,
            "a table that the run does not move has been added to the selection: exclude it, or drop the run and \
             start anew",
        )
        .with("table", &added.origin.name)
        .during("cutover.check"));
    }
    let changed = |table: &Table, what: &str| {
        Err(Error::new(
            ErrorKind::SchemaChanged,
            format!(
                "the table {} {what} since it was described: bring the target's table in step, then \
                 start the run again",
                table.origin.name
            ),
        )
        .during("cutover.check"))
    };
    for table in &was.tables {
        let Some(found) = now.by_origin(&table.origin.name) else {
            return changed(table, "has gone");
        };
        let columns = |t: &Table| -> Vec<_> {
            t.columns.iter().map(|c| (c.name.clone(), c.native.clone(), c.nullable)).collect()
        };
        if columns(table) != columns(found) || table.key != found.key {
            return changed(table, "has other columns or another key");
        }
        match Shape::of(table).fate(&Shape::of(found)) {
            Fate::Same | Fate::Grown => {}
            Fate::Shrunk => return changed(table, "has lost a partition"),
            Fate::Changed => return changed(table, "has another shape"),
        }
        if table.origin.id != found.origin.id {
            return changed(table, "was made anew");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_and_drain_together_must_fit_the_pause() {
        let options = CutoverOptions::default().pause(Duration::from_secs(10));
        let seconds = |n| Some(Duration::from_secs(n));
        for (drain, hold, fits) in [
            (seconds(4), seconds(6), true),
            (seconds(4), seconds(7), false),
            (None, seconds(11), false),
            (None, None, true),
        ] {
            let refused = refuse_pause(drain, hold, &options);
            assert_eq!(refused.is_ok(), fits, "{drain:?} and {hold:?}");
            if let Err(error) = refused {
                assert_eq!(error.kind(), ErrorKind::Timeout);
                assert!(error.message().contains("may for 10s"), "{error}");
            }
        }
    }
}
