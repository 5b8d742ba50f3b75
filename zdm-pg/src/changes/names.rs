//! What a run's objects on the source are called.

use zdm_core::connect::RunName;

use crate::config::PgConfig;

/// The run's replication slot: as configured, else `zdm_<run>`.
pub(crate) fn slot(config: &PgConfig, run: &RunName) -> String {
    config.slot().map_or_else(|| format!("zdm_{run}"), str::to_owned)
}

/// The run's publication: as configured, else `zdm_<run>`.
pub(crate) fn publication(config: &PgConfig, run: &RunName) -> String {
    config.publication().map_or_else(|| format!("zdm_{run}"), str::to_owned)
}
