//! One table's staging table: what is staged, and the statements that were
//! prepared for it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::{Client, Statement};
use zdm_core::Result;
use zdm_core::apply::{Merged, Outcome};

use super::copy::Copy;
use super::shape::Shape;
use crate::error::OrPg;

/// A temporary table of the session, kept for the session's life.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) shape: Arc<Shape>,
    pub(super) name: String,
    /// Whether this transaction has used it.
    used: bool,
    prepared: HashMap<String, Statement>,
}

/// What was staged by one flush.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) deletes: u64,
    pub(super) puts: u64,
    /// By mask: absent cells, updates, puts. The first has none absent.
    pub(super) masks: Vec<Mask>,
}

#[derive(Debug, Default)]
pub(super) struct Mask {
    pub(super) absent: Vec<usize>,
    pub(super) updates: u64,
    pub(super) puts: u64,
}

impl Stage {
    pub(super) async fn make(session: &Client, shape: Arc<Shape>, number: u32) -> Result<Self> {
        let name = format!("pg_temp.zdm_stage_{number}");
        session.batch_execute(&shape.make_stage(&name)).await.during("sink.stage")?;
        Ok(Self { shape, name, used: false, prepared: HashMap::new() })
    }

    /// The transaction has ended, and what was staged with it.
    pub(super) fn reset(&mut self) {
        self.used = false;
    }

    /// Runs a statement that was prepared when it was first run.
    pub(super) async fn execute(&mut self, session: &Client, sql: String, mask: Option<i32>) -> Result<u64> {
        let statement = match self.prepared.get(&sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = session.prepare(&sql).await.during("sink.apply")?;
                self.prepared.insert(sql, statement.clone());
                statement
            }
        };
        match mask {
            Some(mask) => session.execute(&statement, &[&mask]).await.during("sink.apply"),
            None => session.execute(&statement, &[]).await.during("sink.apply"),
        }
    }

    /// Stages what a group has come to. `again` says which puts are read
    /// again from the source; of them only the key is staged, as a delete.
    pub(super) async fn fill(
        &mut self,
        session: &Client,
        outcomes: &[Outcome<'_>],
        again: impl Fn(&Merged<'_>) -> bool,
    ) -> Result<Staged> {
        if std::mem::replace(&mut self.used, true) {
            session.batch_execute(&format!("TRUNCATE {}", self.name)).await.during("sink.stage")?;
        }
        let mut staged = Staged { masks: vec![Mask::default()], ..Staged::default() };
        let mut copy = Copy::start(session, &self.shape.copy_stage(&self.name)).await?;
        for (n, outcome) in outcomes.iter().enumerate() {
            copy.plain(&n.to_string());
            match outcome {
                Outcome::Delete(key) => {
                    staged.deletes += 1;
                    self.key_row(&mut copy, *key).await?;
                }
                Outcome::Put(row) if again(row) => {
                    staged.deletes += 1;
                    self.key_row(&mut copy, row.key()).await?;
                }
                Outcome::Put(row) => {
                    let mask = self.mask(&mut staged, row);
                    staged.puts += 1;
                    staged.masks[mask].puts += 1;
                    self.row(&mut copy, "p", mask, row).await?;
                }
                Outcome::Update(row) => {
                    let mask = self.mask(&mut staged, row);
                    staged.masks[mask].updates += 1;
                    self.row(&mut copy, "u", mask, row).await?;
                }
            }
            copy.end_row();
        }
        copy.finish().await?;
        Ok(staged)
    }

    async fn key_row(&self, copy: &mut Copy, key: zdm_core::apply::KeyRef<'_>) -> Result<()> {
        copy.plain("d");
        copy.plain("0");
        for _ in &self.shape.key {
            copy.plain("\\N");
        }
        let columns = self.shape.table.key_columns();
        for column in &self.shape.columns {
            copy.field(columns.contains(&column.at).then(|| key.cell(column.at))).await?;
        }
        Ok(())
    }

    async fn row(&self, copy: &mut Copy, op: &str, mask: usize, row: &Merged<'_>) -> Result<()> {
        copy.plain(op);
        copy.plain(&mask.to_string());
        let from = if mask == 0 { None } else { row.carry_from() };
        let columns = self.shape.table.key_columns();
        for &column in columns {
            copy.field(from.map(|key| key.cell(column))).await?;
        }
        for column in &self.shape.columns {
            let cell = if columns.contains(&column.at) {
                Some(row.key().cell(column.at))
            } else {
                row.cell(column.at)
            };
            copy.field(cell).await?;
        }
        Ok(())
    }

    /// The number of the mask of a row's absent cells.
    fn mask(&self, staged: &mut Staged, row: &Merged<'_>) -> usize {
        if row.is_complete() {
            return 0;
        }
        let keys = self.shape.table.key_columns();
        let absent: Vec<usize> = (0..self.shape.columns.len())
            .filter(|&at| {
                let column = self.shape.columns[at].at;
                !keys.contains(&column) && row.cell(column).is_none()
            })
            .collect();
        if absent.is_empty() {
            return 0;
        }
        let found = staged.masks.iter().position(|mask| mask.absent == absent);
        found.unwrap_or_else(|| {
            staged.masks.push(Mask { absent, ..Mask::default() });
            staged.masks.len() - 1
        })
    }
}
