//! A door for tests and fuzzers of other crates. No part of the library's
//! interface.

#![allow(missing_docs, reason = "hidden, and only for our own tests")]

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zdm_core::connect::{Changes, RunName, StreamOptions};
use zdm_core::schema::Schema;
use zdm_core::{Identity, Position, Result};

use super::{slot, stream, waiting};
use crate::config::PgConfig;
use crate::connect::Control;

pub async fn begin(config: &PgConfig, run: &RunName, schema: &Schema) -> Result<Position> {
    slot::begin(config, run, schema).await
}

pub async fn check(config: &PgConfig, run: &RunName, schema: &Schema, resume: &Position) -> Result<()> {
    slot::check(config, run, schema, resume).await
}

pub async fn release(config: &PgConfig, run: &RunName) -> Result<()> {
    slot::drop(config, run).await
}

pub async fn identity(config: &PgConfig) -> Result<Identity> {
    slot::identity(config).await
}

pub async fn open(config: &Arc<PgConfig>, options: StreamOptions) -> Result<Changes> {
    stream::open(config, options).await
}

pub async fn settle(config: &PgConfig, within: Duration) -> Result<()> {
    waiting::settle(&Control::connect(config, "settle").await?, Instant::now() + within).await
}
