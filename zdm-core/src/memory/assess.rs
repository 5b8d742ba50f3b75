//! What stands in the way of a run with a memory database.

use async_trait::async_trait;

use super::MemoryDatabase;
use super::constraints::check_references;
use super::state::State;
use crate::Result;
use crate::connect::{Assess, Finding, ORPHANS, Role, RunName, Severity};
use crate::schema::{Key, Schema, Table, TableName};

#[async_trait]
impl Assess for MemoryDatabase {
    async fn assess(&self, role: Role, run: &RunName, schema: &Schema) -> Result<Vec<Finding>> {
        let state = self.lock();
        let mut findings = Vec::new();
        for table in &schema.tables {
            match role {
                Role::Source | Role::Left => findings.extend(key(table)),
                Role::Entered => findings.extend(orphans(&state, &table.name)),
                Role::Target => {
                    let ours = state.runs.load(run)?.is_some();
                    let rows = state.tables.get(&table.name).map_or(0, |stored| stored.rows.len());
                    if rows > 0 && !ours {
                        let message = format!("the table already holds {rows} rows");
                        findings.push(
                            Finding::new(Severity::Blocker, "not_empty", &table.name, message)
                                .remedy("empty the table, or leave it out"),
                        );
                    }
                }
            }
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(findings)
    }
}

/// Rows that its foreign keys would refuse.
fn orphans(state: &State, table: &TableName) -> Option<Finding> {
    let stored = state.tables.get(table)?;
    let error = check_references(state, stored).err()?;
    Some(Finding::new(Severity::Blocker, ORPHANS, table, error.to_string()))
}

fn key(table: &Table) -> Option<Finding> {
    let (severity, message) = match table.key {
        Key::Columns(_) => return None,
        Key::FullRow => (
            Severity::Warning,
            "the table has no key: it is one chunk, and each change is looked up by its whole row",
        ),
        Key::Nothing => (
            Severity::Blocker,
            "the table has no key, and its updates and deletes do not say which row they mean",
        ),
    };
    Some(Finding::new(severity, "no_key", &table.name, message).remedy("give the table a primary key"))
}
