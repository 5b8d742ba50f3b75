//! What stands in the way of a run, told before it starts.
//!
//! Each rule is one question to the catalog and one finding for each answer,
//! with the statement that mends it. Nothing is changed, and a right that we
//! lack to look at something is a finding too.

mod entered;
mod left;
mod server;
mod tables;
mod target;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::connect::{Assess, Finding, Role, RunName};
use zdm_core::schema::Schema;

use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;

/// Assesses a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PgAssess {
    config: Arc<PgConfig>,
}

/// One assessment: a session, and what it is about.
struct Look<'a> {
    control: Control,
    config: &'a PgConfig,
    run: &'a RunName,
    schema: &'a Schema,
    /// Roots and all their partitions, as this database numbers them.
    oids: Vec<Oid>,
}

impl PgAssess {
    /// The assessment of that database.
    pub fn new(config: Arc<PgConfig>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Assess for PgAssess {
    async fn assess(&self, role: Role, run: &RunName, schema: &Schema) -> Result<Vec<Finding>> {
        let control = Control::connect(&self.config, "assess").await?;
        control.batch_execute("SET search_path = ''").await.during("assess.settle")?;
        let mut look = Look { control, config: &self.config, run, schema, oids: Vec::new() };
        let mut findings = Vec::new();
        match role {
            Role::Source => {
                look.oids = tables::with_partitions(&look).await?;
                server::assess(&look, &mut findings).await?;
                tables::assess(&look, &mut findings).await?;
            }
            Role::Target => target::assess(&look, &mut findings).await?,
            Role::Left => {
                look.oids = tables::with_partitions(&look).await?;
                left::assess(&look, &mut findings).await?;
            }
            Role::Entered => entered::assess(&look, &mut findings).await?,
        }
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.subject.cmp(&b.subject)));
        Ok(findings)
    }
}
