//! The initial copy of a memory database: chunks by ranges of the encoded key.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;

use super::MemoryDatabase;
use super::faults::{Outcome, Point, Safeguard};
use super::position::Lsn;
use super::row::{self, Place, Row, weight};
use super::state::{State, Stored};
use crate::change::{Batch, BatchBuilder, Budget, Field, Xid};
use crate::connect::{After, Bounds, Chunk, ChunkPart, ChunkPlan, ChunkSize, Snapshot, Visibility};
use crate::schema::Table;
use crate::{Error, ErrorKind, Position, Result};

/// A part of a chunk is handed over at this size.
const LIMIT: usize = 64 << 10;

/// Reads chunks of a [`MemoryDatabase`].
#[derive(Debug)]
pub(super) struct MemorySnapshot {
    db: MemoryDatabase,
    life: u64,
    start: Position,
}

impl MemorySnapshot {
    pub(super) fn new(db: MemoryDatabase, start: Position) -> Self {
        let life = db.lock().life;
        Self { db, life, start }
    }

    /// A SELECT: what `look` sees, and what it has seen.
    fn select<T>(&self, table: &Table, look: impl FnOnce(&Stored) -> Result<T>) -> Result<(T, After)> {
        let state = self.db.lock();
        let stored = state
            .tables
            .get(&table.origin.name)
            .filter(|stored| stored.table.origin.fingerprint == table.origin.fingerprint);
        let stored = stored.ok_or_else(|| {
            Error::new(ErrorKind::SchemaChanged, "the table was changed since the run began: start it anew")
                .with("table", &table.origin.name)
        })?;
        let found = look(stored)?;
        // The lock is still ours: nothing that `look` saw is behind the end
        // of the log, and the visibility is exactly its own.
        let visibility = self.db.faults().guards(Safeguard::Visibility).then(|| visible(&state));
        Ok((found, After { position: state.end.into(), visibility }))
    }
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    fn start(&self) -> &Position {
        &self.start
    }

    async fn plan(&self, table: &Arc<Table>, size: ChunkSize) -> Result<ChunkPlan> {
        let (plan, _) = self.select(table, |stored| {
            let (mut edges, mut rows, mut bytes, mut filled) = (Vec::new(), 0_u64, 0_u64, 0_u64);
            for (place, row) in &stored.rows {
                if filled >= size.bytes.max(1) && table.has_key() {
                    edges.push(place.clone());
                    filled = 0;
                }
                let weight = weight(row);
                (rows, bytes, filled) = (rows + 1, bytes + weight, filled + weight);
            }
            Ok(ChunkPlan { bounds: ranges(edges), rows, bytes })
        })?;
        Ok(plan)
    }

    async fn read(
        &self,
        chunk: Chunk,
        budget: Budget,
        cancel: CancellationToken,
    ) -> Result<BoxStream<'static, Result<ChunkPart>>> {
        let lost = self.db.hit(Point::Read).await?;
        self.db.lock().alive(self.life)?;
        let range = parse(&chunk.bounds)?;
        let (rows, after) = self.select(&chunk.table, |stored| {
            Ok(stored.rows.range(range).map(|(_, row)| row.clone()).collect())
        })?;
        let reading = Reading {
            db: self.db.clone(),
            life: self.life,
            table: chunk.table,
            rows,
            next: 0,
            after: Some(after),
            budget,
            cancel,
            lost,
        };
        Ok(stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.part().await {
                Ok(Some(part)) => Some((Ok(part), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error.during("snapshot.read")), None)),
            }
        })
        .fuse()
        .boxed())
    }

    async fn reread(&self, table: &Arc<Table>, keys: &Batch, behind: &[Xid]) -> Result<(Batch, After)> {
        let lost = self.db.hit(Point::Reread).await?;
        self.db
            .until(|state| {
                state.alive(self.life)?;
                let open =
                    behind.iter().any(|xid| state.active.keys().any(|active| u128::from(*active) == xid.0));
                Ok((!open).then_some(()))
            })
            .await?;
        let places = keys.rows().map(|row| place_of(table, row)).collect::<Result<BTreeSet<Place>>>()?;
        let (rows, after) = self.select(table, |stored| {
            Ok(places.iter().filter_map(|place| stored.rows.get(place).cloned()).collect::<Vec<Row>>())
        })?;
        let mut batch = BatchBuilder::new();
        for row in rows {
            batch.insert(table, row.into_iter().map(Field::Value))?;
        }
        lost.answer((batch.finish(), after))
    }

    async fn flushed(&self, position: &Position) -> Result<()> {
        let goal = Lsn::of(position)?;
        self.db
            .until(|state| {
                state.alive(self.life)?;
                Ok((state.flushed >= goal).then_some(()))
            })
            .await
    }

    fn saw(&self, visibility: &Visibility, xid: Xid) -> Result<bool> {
        let broken = || {
            Error::new(ErrorKind::Protocol, "this visibility is not one of the memory engine")
                .with("visibility", &visibility.0)
        };
        let (before, except) = visibility.0.split_once(':').ok_or_else(broken)?;
        let before: u128 = before.parse().map_err(|_| broken())?;
        let except = except.split(',').filter(|xid| !xid.is_empty()).map(str::parse);
        let except = except.collect::<Result<Vec<u128>, _>>().map_err(|_| broken())?;
        Ok(xid.0 < before && !except.contains(&xid.0))
    }
}

/// A chunk on its way.
struct Reading {
    db: MemoryDatabase,
    life: u64,
    table: Arc<Table>,
    rows: Vec<Row>,
    next: usize,
    after: Option<After>,
    budget: Budget,
    cancel: CancellationToken,
    lost: Outcome,
}

impl Reading {
    /// The next part; `None` behind the last.
    async fn part(&mut self) -> Result<Option<ChunkPart>> {
        let Some(after) = self.after.clone() else { return Ok(None) };
        self.db.hit(Point::Part).await?.answer(())?;
        self.db.lock().alive(self.life)?;
        if self.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let limit = LIMIT.min(self.budget.total() as usize / 4).max(1);
        let mut batch = BatchBuilder::new();
        while let Some(row) = self.rows.get(self.next)
            && batch.bytes() < limit
        {
            batch.insert(&self.table, row.iter().map(|value| Field::Value(value.clone())))?;
            self.next += 1;
        }
        if batch.is_empty() {
            self.after = None;
            return self.lost.answer(Some(ChunkPart::End(after)));
        }
        tokio::select! {
            permit = self.budget.acquire(batch.bytes()) => Ok(Some(ChunkPart::Rows(batch.finish_with(permit)))),
            () = self.cancel.cancelled() => Err(Error::cancelled()),
        }
    }
}

/// Ranges between edges, from no bound to no bound.
fn ranges(edges: Vec<Place>) -> Vec<Bounds> {
    let edges: Vec<String> = edges.iter().map(|edge| hex(edge)).collect();
    let from = std::iter::once("").chain(edges.iter().map(String::as_str));
    let to = edges.iter().map(String::as_str).chain(std::iter::once(""));
    from.zip(to).map(|(from, to)| Bounds(format!("{from}..{to}"))).collect()
}

fn parse(bounds: &Bounds) -> Result<(Bound<Place>, Bound<Place>)> {
    let broken = || {
        Error::new(ErrorKind::Protocol, "these bounds are not of the memory engine").with("bounds", &bounds.0)
    };
    let (from, to) = bounds.0.split_once("..").ok_or_else(broken)?;
    let (from, to) = (unhex(from).ok_or_else(broken)?, unhex(to).ok_or_else(broken)?);
    let from = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
    let to = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
    if let (Bound::Included(from), Bound::Excluded(to)) = (&from, &to)
        && from >= to
    {
        return Err(broken());
    }
    Ok((from, to))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// All transactions before the next one, except those in progress.
fn visible(state: &State) -> Visibility {
    let except: Vec<String> = state.active.keys().map(u64::to_string).collect();
    Visibility(format!("{}:{}", state.next_xid, except.join(",")))
}

/// The place that a delete's key cells name.
pub(super) fn place_of(table: &Table, change: crate::change::RowRef<'_>) -> Result<Place> {
    let key = change.before().map(row::partial).transpose()?;
    let place = key.map(|key| row::partial_place(table, &key)).transpose()?.flatten();
    place.filter(|place| !place.is_empty()).ok_or_else(|| {
        Error::new(ErrorKind::Config, "rows are read again by deletes that carry the whole key")
            .with("table", &table.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_and_are_open_at_both_ends() {
        let ranges = ranges(vec![vec![1, 255], vec![2]]);
        assert_eq!(ranges, ["..01ff", "01ff..02", "02.."].map(|b| Bounds(b.to_owned())));
        assert_eq!(parse(&ranges[1]).unwrap(), (Bound::Included(vec![1, 255]), Bound::Excluded(vec![2])));
        for bad in ["", "1", "..f", "zz..", "02..01", "é.."] {
            assert_eq!(parse(&Bounds(bad.to_owned())).unwrap_err().kind(), ErrorKind::Protocol, "{bad}");
        }
    }
}
