//! What a group has come to in one table, applied without a staging table:
//! each statement is given its rows as arrays.
//!
//! A staging table costs the target a truncated file for each commit, and the
//! group a round trip for each statement. Here all statements of a table go
//! in one message, which the server does in order and leaves at the first
//! error; and the tables of a group are sent at once.
//!
//! It does what [`stage`](super::stage) does, but for two things: cells that
//! must be carried from one row of the target to another, and rows too large
//! to be in one message. Then [`Direct::can`] is false.

use std::collections::HashMap;

use tokio_postgres::{Client, SimpleQueryMessage};
use zdm_core::apply::{Merged, Outcome, key_is_bytewise};
use zdm_core::change::Format;
use zdm_core::{Error, ErrorKind, Result};

use super::arrays::Arrays;
use super::shape::Shape;
use crate::error::{OrPg, protocol};

/// Bytes of cells in one statement, and in one message, about.
const PIECE: usize = 256 << 10;
/// Rows in one statement.
const ROWS: usize = 10_000;
/// A larger row goes by COPY, piece by piece.
const ROW: usize = 512 << 10;

/// The statements of one table that the session has prepared.
#[derive(Debug)]
pub(super) struct Direct {
    number: u32,
    names: HashMap<String, String>,
}

/// What is to be done, by place among the outcomes.
struct Plan<'o, 'g> {
    shape: &'o Shape,
    outcomes: &'o [Outcome<'g>],
    /// Updates by their absent cells.
    masks: Vec<(Vec<usize>, Vec<usize>)>,
    /// To be inserted.
    puts: Vec<usize>,
}

impl Direct {
    pub(super) fn new(number: u32) -> Self {
        Self { number, names: HashMap::new() }
    }

    /// Whether these can be applied here, as far as is known before the
    /// target is asked.
    pub(super) fn can(shape: &Shape, outcomes: &[Outcome<'_>], rereads: bool) -> bool {
        outcomes.iter().all(|outcome| match outcome {
            Outcome::Delete(_) => true,
            Outcome::Put(row) => (rereads || row.is_complete()) && is_small(shape, row),
            Outcome::Update(row) => is_small(shape, row),
        })
    }

    /// Applies them and gives the rows that must be read again; `None`, and
    /// nothing was done, if cells must be carried.
    pub(super) async fn apply<'g>(
        &mut self,
        session: &Client,
        shape: &Shape,
        fixed: &[usize],
        outcomes: &[Outcome<'g>],
        rereads: bool,
    ) -> Result<Option<Vec<Merged<'g>>>> {
        let mut again: Vec<Merged<'g>> = Vec::new();
        let mut plan = Plan { shape, outcomes, masks: Vec::new(), puts: Vec::new() };
        let mut deletes = Vec::new();
        for (n, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Outcome::Delete(_) => deletes.push(n),
                Outcome::Put(row) => {
                    deletes.push(n);
                    if rereads && !row.is_complete() {
                        again.push(*row);
                    } else {
                        plan.puts.push(n);
                    }
                }
                Outcome::Update(row) => plan.update(n, row),
            }
        }
        let turned = self.turned(session, &plan, fixed).await?;
        if !turned.is_empty() {
            if plan.masks.iter().any(|(absent, rows)| {
                !absent.is_empty() && rows.iter().any(|n| turned.binary_search(n).is_ok())
            }) {
                return Ok(None);
            }
            for (_, rows) in &mut plan.masks {
                rows.retain(|n| turned.binary_search(n).is_err());
            }
            deletes.extend(&turned);
            plan.puts.extend(&turned);
        }
        fail::fail_point!("apply::staged");
        let mut script = Script::new(session, self);
        script.deletes(&plan, &deletes).await?;
        script.updates(&plan).await?;
        script.inserts(&plan, &plan.puts).await?;
        let counts = script.finish().await?;
        fail::fail_point!("apply::deleted");
        fail::fail_point!("apply::updated");
        fail::fail_point!("apply::inserted");
        if counts.updated < plan.masks.iter().map(|(_, rows)| rows.len() as u64).sum() {
            self.find_missing(session, &plan, rereads, &mut again).await?;
        }
        Ok(Some(again))
    }

    /// The updates that change what an UPDATE must not, in their order.
    async fn turned(&mut self, session: &Client, plan: &Plan<'_, '_>, fixed: &[usize]) -> Result<Vec<usize>> {
        let mut script = Script::new(session, self);
        for (absent, rows) in &plan.masks {
            let fixed: Vec<usize> = fixed.iter().copied().filter(|at| !absent.contains(at)).collect();
            if fixed.is_empty() {
                continue;
            }
            let mut columns = plan.shape.key.clone();
            columns.extend(&fixed);
            let sql = plan.shape.changes(&columns, &fixed);
            script.rows(plan, &sql, true, &columns, rows, Counted::Not).await?;
        }
        let mut found = script.finish().await?.found;
        found.sort_unstable();
        Ok(found)
    }

    /// Inserts the complete ones of the updates whose row is not there; the
    /// incomplete ones join `again`.
    async fn find_missing<'g>(
        &mut self,
        session: &Client,
        plan: &Plan<'_, 'g>,
        rereads: bool,
        again: &mut Vec<Merged<'g>>,
    ) -> Result<()> {
        let mut script = Script::new(session, self);
        let sql = plan.shape.absent();
        for (_, rows) in &plan.masks {
            script.rows(plan, &sql, true, &plan.shape.key, rows, Counted::Not).await?;
        }
        let mut puts = Vec::new();
        for n in script.finish().await?.found {
            let Some(Outcome::Update(row)) = plan.outcomes.get(n) else {
                return Err(protocol("the server named a row that it was not given"));
            };
            if absent(plan.shape, row).is_empty() {
                puts.push(n);
            } else if rereads {
                again.push(*row);
            } else {
                return Err(super::apply::gone(row));
            }
        }
        let mut script = Script::new(session, self);
        script.inserts(plan, &puts).await?;
        script.finish().await.map(drop)
    }

    /// The name of a prepared statement; `true` if it must be prepared yet.
    fn name(&mut self, sql: &str) -> (String, bool) {
        if let Some(name) = self.names.get(sql) {
            return (name.clone(), false);
        }
        let name = format!("zdm_{}_{}", self.number, self.names.len());
        self.names.insert(sql.to_owned(), name.clone());
        (name, true)
    }
}

impl Plan<'_, '_> {
    fn update(&mut self, n: usize, row: &Merged<'_>) {
        let absent = absent(self.shape, row);
        match self.masks.iter_mut().find(|(mask, _)| *mask == absent) {
            Some((_, rows)) => rows.push(n),
            None => self.masks.push((absent, vec![n])),
        }
    }
}

/// The cells of a row that are not known, as indexes of the written columns.
fn absent(shape: &Shape, row: &Merged<'_>) -> Vec<usize> {
    if row.is_complete() {
        return Vec::new();
    }
    (0..shape.columns.len())
        .filter(|at| !shape.key.contains(at) && row.cell(shape.columns[*at].at).is_none())
        .collect()
}

/// Whether a row has room in a message, which is UTF-8: what a source without
/// an encoding sends may not be.
fn is_small(shape: &Shape, row: &Merged<'_>) -> bool {
    let mut bytes = 0;
    shape.columns.iter().filter_map(|column| row.cell(column.at)?.raw()).all(|(format, cell)| {
        bytes += cell.len();
        bytes <= ROW && (!matches!(format, Format::Native(_)) || std::str::from_utf8(cell).is_ok())
    })
}

/// Statements that are sent together.
struct Script<'s> {
    session: &'s Client,
    direct: &'s mut Direct,
    sql: String,
    /// What the answers of the statements count as.
    counted: Vec<Counted>,
    counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Not,
    Updated,
}

#[derive(Default)]
struct Counts {
    updated: u64,
    /// The numbers that were selected.
    found: Vec<usize>,
}

impl<'s> Script<'s> {
    fn new(session: &'s Client, direct: &'s mut Direct) -> Self {
        Self { session, direct, sql: String::new(), counted: Vec::new(), counts: Counts::default() }
    }

    async fn deletes(&mut self, plan: &Plan<'_, '_>, rows: &[usize]) -> Result<()> {
        let sql = plan.shape.delete_given();
        self.rows(plan, &sql, false, &plan.shape.key, rows, Counted::Not).await
    }

    async fn updates(&mut self, plan: &Plan<'_, '_>) -> Result<()> {
        let with_key = !key_is_bytewise(&plan.shape.table);
        for (absent, rows) in &plan.masks {
            let columns: Vec<usize> =
                (0..plan.shape.columns.len()).filter(|at| !absent.contains(at)).collect();
            // A row of which nothing can be set counts as one that is there.
            match plan.shape.update_given(&columns, with_key) {
                Some(sql) => self.rows(plan, &sql, false, &columns, rows, Counted::Updated).await?,
                None => self.counts.updated += rows.len() as u64,
            }
        }
        Ok(())
    }

    async fn inserts(&mut self, plan: &Plan<'_, '_>, rows: &[usize]) -> Result<()> {
        let columns: Vec<usize> = (0..plan.shape.columns.len()).collect();
        let sql = plan.shape.insert_given();
        self.rows(plan, &sql, false, &columns, rows, Counted::Not).await
    }

    /// Runs a statement on the cells of some rows, in as many pieces as it
    /// takes.
    async fn rows(
        &mut self,
        plan: &Plan<'_, '_>,
        sql: &str,
        numbered: bool,
        columns: &[usize],
        rows: &[usize],
        counted: Counted,
    ) -> Result<()> {
        let mut arrays = Arrays::new(columns.len() + usize::from(numbered));
        for &n in rows {
            let number = numbered.then_some(n);
            match &plan.outcomes[n] {
                Outcome::Delete(key) => arrays.key(plan.shape, number, *key)?,
                Outcome::Put(row) | Outcome::Update(row) => {
                    arrays.cells(plan.shape, number, columns, row)?;
                }
            }
            if arrays.bytes() >= PIECE || arrays.rows() >= ROWS {
                self.execute(plan.shape, sql, numbered, columns, &mut arrays, counted).await?;
            }
        }
        if arrays.rows() > 0 {
            self.execute(plan.shape, sql, numbered, columns, &mut arrays, counted).await?;
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        shape: &Shape,
        sql: &str,
        numbered: bool,
        columns: &[usize],
        arrays: &mut Arrays,
        counted: Counted,
    ) -> Result<()> {
        let (name, new) = self.direct.name(sql);
        if new {
            let types = shape.given_types(numbered, columns);
            self.sql.push_str(&format!("PREPARE {name} ({types}) AS {sql};\n"));
            self.counted.push(Counted::Not);
        }
        self.sql.push_str(&format!("EXECUTE {name} ({});\n", arrays.take()));
        self.counted.push(counted);
        if self.sql.len() >= PIECE { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<()> {
        let mut counted = std::mem::take(&mut self.counted).into_iter();
        let answers = self.session.simple_query(&self.sql).await.during("sink.apply")?;
        self.sql.clear();
        let lost = || protocol("the server answered other statements than it was given");
        for answer in answers {
            match answer {
                SimpleQueryMessage::CommandComplete(rows) => {
                    let updated = counted.next().ok_or_else(lost)? == Counted::Updated;
                    self.counts.updated += if updated { rows } else { 0 };
                }
                SimpleQueryMessage::Row(row) => {
                    let number = row.try_get(0).during("sink.apply")?.and_then(|n| n.parse().ok());
                    self.counts.found.push(number.ok_or_else(lost)?);
                }
                _ => {}
            }
        }
        counted.next().is_none().then_some(()).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server answered fewer statements than it was given")
        })
    }

    async fn finish(mut self) -> Result<Counts> {
        if !self.sql.is_empty() {
            self.send().await?;
        }
        Ok(self.counts)
    }
}
