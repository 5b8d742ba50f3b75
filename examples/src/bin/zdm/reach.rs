//! The first contact with both sides, before anything is begun.

use zdm_core::connect::{RunName, State, SwitchRecord};
use zdm_core::{Error, ErrorKind, Result};

use crate::databases::Databases;

/// What both sides know of a run.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Its progress, as the target keeps it.
    pub(crate) state: Option<State>,
    /// Its cutover, as the source keeps it.
    pub(crate) switch: Option<SwitchRecord>,
}

impl Reached {
    /// The progress of a run that must be there.
    pub(crate) fn known(&self, run: &RunName) -> Result<&State> {
        self.state.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "the target knows no run of that name: check --run and --to, or begin with `zdm migrate`",
            )
            .with("run", run)
        })
    }
}

impl Databases {
    /// What both sides know of the run. One attempt each, so that a wrong URL
    /// is told at once and not after minutes of retries.
    pub(crate) async fn reach(&self, run: &RunName) -> Result<Reached> {
        let (source, sink) = (self.from.source(), self.to.sink());
        let switch = async {
            match source.capabilities().fence {
                Some(fence) => fence.record(run).await,
                None => Ok(None),
            }
        };
        let state = async {
            match sink.checkpoint() {
                Some(checkpoint) => checkpoint.load(run).await,
                None => Ok(None),
            }
        };
        let switch = switch.await.map_err(|error| error.with("flag", "--from"))?;
        let state = state.await.map_err(|error| error.with("flag", "--to"))?;
        if self.are_one().await? {
            let message = "--from and --to are the same database: give two";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Reached { state, switch })
    }

    /// Refuses to begin a run that the source keeps something for already: a
    /// mistaken `--to` would take it from the run that needs it.
    pub(crate) async fn refuse_taken(&self, run: &RunName, reached: &Reached) -> Result<()> {
        if reached.state.is_some() || !self.from.keeps(run).await? {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "the source keeps a slot for a run of that name, and this target does not know it: check --to, choose \
             another --run, or remove the old one with `zdm drop`",
        )
        .with("run", run))
    }
}
