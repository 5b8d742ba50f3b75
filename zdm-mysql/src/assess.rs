//! What stands in the way of a run, told before it starts.
//!
//! Each rule is one question to the server and one finding for each answer,
//! with the statement that mends it. Nothing is changed, and a right that we
//! lack to look at something is a finding too.

mod durable;
mod entered;
mod grants;
mod left;
mod log;
mod server;
mod tables;
mod target;
mod topology;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{Assess, Finding, Role, RunName};
use zdm_core::schema::Schema;

use self::grants::Grants;
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::error::OrMy;

/// Assesses a MySQL or MariaDB server.
#[derive(Debug, Clone)]
pub struct MySqlAssess {
    config: Arc<MySqlConfig>,
}

/// One assessment: a session, and what it is about.
struct Look<'a> {
    control: Control,
    config: &'a MySqlConfig,
    run: &'a RunName,
    schema: &'a Schema,
    grants: Grants,
    /// The server's global variables, by their names in small letters.
    settings: HashMap<String, String>,
}

impl MySqlAssess {
    /// The assessment of that server.
    pub fn new(config: Arc<MySqlConfig>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Assess for MySqlAssess {
    async fn assess(&self, role: Role, run: &RunName, schema: &Schema) -> Result<Vec<Finding>> {
        let mut control = Control::connect(&self.config, "assess").await?;
        let grants = Grants::read(&mut control).await?;
        let settings: Vec<(String, String)> =
            control.query("SHOW GLOBAL VARIABLES").await.during("assess.settings")?;
        let settings = settings.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        let mut look = Look { control, config: &self.config, run, schema, grants, settings };
        let mut findings = Vec::new();
        match role {
            Role::Source => {
                log::assess(&mut look, &mut findings).await?;
                server::assess(&mut look, &mut findings).await?;
                topology::assess(&mut look, &mut findings).await?;
                grants::source(&look, &mut findings);
                tables::assess(&mut look, &mut findings).await?;
            }
            Role::Target => target::assess(&mut look, &mut findings).await?,
            Role::Left => left::assess(&mut look, &mut findings).await?,
            Role::Entered => entered::assess(&mut look, &mut findings).await?,
        }
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.subject.cmp(&b.subject)));
        Ok(findings)
    }
}

impl Look<'_> {
    /// A setting; empty where this server has none of that name.
    fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// Whether a setting is on, however it is written.
    fn is_on(&self, name: &str) -> bool {
        matches!(self.setting(name).to_ascii_uppercase().as_str(), "ON" | "1" | "YES" | "TRUE")
    }
}
