//! What a stream has given, decoded: transactions, and the state that they
//! lead to.

use std::collections::BTreeMap;

use super::{Broken, ITEMS, PLAIN, Row, Verdict, ensure};
use crate::Position;
use crate::change::{Batch, Image, Item, Op, Xid};

/// One transaction, or an idle point (which has no changes).
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) xid: Option<Xid>,
    pub(super) changes: Vec<Change>,
    pub(super) end: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Insert(String, Row),
    Update(String, Option<Part>, Part),
    Delete(String, Part),
    Truncate(Vec<String>),
}

/// A row of which the log carried some cells.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Part {
    pub(super) id: Option<i64>,
    pub(super) code: Option<i64>,
    pub(super) body: Option<String>,
}

impl Part {
    fn of(image: Image<'_>) -> Verdict<Self> {
        let mut part = Self::default();
        for cell in image.cells().filter(|cell| !cell.is_unchanged()) {
            let value = cell.value()?;
            match cell.column().name.as_str() {
                "id" => part.id = value.as_i64(),
                "code" => part.code = value.as_i64(),
                // An old image that carries only the key may give the rest
                // as null.
                "body" => part.body = value.as_str().map(str::to_owned),
                _ => {}
            }
        }
        Ok(part)
    }

    /// The whole row.
    pub(super) fn whole(self) -> Verdict<Row> {
        match self {
            Self { id: Some(id), code: Some(code), body: Some(body) } => Ok(Row { id, code, body }),
            part => Err(Broken(format!("a row lacks cells: {part:?}"))),
        }
    }
}

/// The rows of a batch of a chunk.
pub(super) fn rows(batch: &Batch) -> Verdict<Vec<Row>> {
    ensure!(
        batch.items().iter().all(|item| matches!(item, Item::Rows(run) if run.op == Op::Insert)),
        "a chunk holds inserts and nothing else: {:?}",
        batch.items()
    );
    let images = batch.rows().filter_map(|row| row.after());
    images.map(|image| Part::of(image)?.whole()).collect()
}

/// Takes batches, checks their grammar, and gives whole transactions.
#[derive(Debug, Default)]
pub(super) struct Reader {
    open: Option<(Xid, Vec<Change>)>,
    pub(super) transactions: Vec<Transaction>,
}

impl Reader {
    pub(super) fn take(&mut self, batch: &Batch) -> Verdict {
        for item in batch.items() {
            match item {
                Item::Begin(begin) => {
                    ensure!(self.open.is_none(), "a transaction begins inside another");
                    self.open = Some((begin.xid, Vec::new()));
                }
                Item::Commit(commit) => {
                    let Some((xid, changes)) = self.open.take() else {
                        return Err(Broken("a commit without a begin".to_owned()));
                    };
                    let end = commit.position.clone();
                    self.transactions.push(Transaction { xid: Some(xid), changes, end });
                }
                Item::Idle { position } => {
                    ensure!(self.open.is_none(), "an idle point inside a transaction");
                    let end = position.clone();
                    self.transactions.push(Transaction { xid: None, changes: Vec::new(), end });
                }
                Item::Rows(run) => {
                    for row in batch.rows_of(run) {
                        let table = row.table().name.name.to_string();
                        let after = row.after().map(Part::of).transpose()?;
                        let before = row.before().map(Part::of).transpose()?;
                        self.push(match (run.op, before, after) {
                            (Op::Insert, None, Some(new)) => Change::Insert(table, new.whole()?),
                            (Op::Update, old, Some(new)) => Change::Update(table, old, new),
                            (Op::Delete, Some(old), None) => Change::Delete(table, old),
                            other => return Err(Broken(format!("images that do not fit: {other:?}"))),
                        })?;
                    }
                }
                Item::Truncate { tables } => {
                    let names = tables.iter().map(|table| table.name.name.to_string()).collect();
                    self.push(Change::Truncate(names))?;
                }
                Item::Schema { .. } => {}
            }
        }
        Ok(())
    }

    fn push(&mut self, change: Change) -> Verdict {
        let Some((_, changes)) = &mut self.open else {
            return Err(Broken(format!("a change outside a transaction: {change:?}")));
        };
        changes.push(change);
        Ok(())
    }

    /// Whether a complete transaction inserts that id.
    pub(super) fn has(&self, id: i64) -> bool {
        let changes = self.transactions.iter().flat_map(|transaction| &transaction.changes);
        changes.into_iter().any(|change| matches!(change, Change::Insert(_, row) if row.id == id))
    }
}

/// The rows that changes lead to: keyed ones idempotently, the others one by
/// one.
#[derive(Debug, Default, Clone)]
pub(super) struct Model {
    pub(super) items: BTreeMap<i64, Row>,
    pub(super) plain: Vec<Row>,
}

impl Model {
    pub(super) fn load(&mut self, table: &str, rows: Vec<Row>) {
        match table {
            PLAIN => self.plain.extend(rows),
            _ => self.items.extend(rows.into_iter().map(|row| (row.id, row))),
        }
    }

    pub(super) fn apply(&mut self, change: &Change) -> Verdict {
        match change {
            Change::Truncate(tables) => {
                for table in tables {
                    if table == PLAIN { self.plain.clear() } else { self.items.clear() }
                }
                Ok(())
            }
            Change::Insert(table, row) => {
                self.load(table, vec![row.clone()]);
                Ok(())
            }
            Change::Delete(table, old) if table == ITEMS => {
                let id = old.id.ok_or_else(|| Broken("a delete does not carry its key".to_owned()))?;
                self.items.remove(&id);
                Ok(())
            }
            Change::Delete(_, old) => self.take_plain(old.clone().whole()?),
            Change::Update(table, old, new) if table == ITEMS => self.update(old.as_ref(), new),
            Change::Update(_, old, new) => {
                let old =
                    old.clone().ok_or_else(|| Broken("an update does not carry the old row".to_owned()))?;
                let old = old.whole()?;
                let new = filled(new, Some(&old))?;
                self.take_plain(old)?;
                self.plain.push(new);
                Ok(())
            }
        }
    }

    fn update(&mut self, old: Option<&Part>, new: &Part) -> Verdict {
        let old_id = old.and_then(|old| old.id);
        let id = new.id.or(old_id).ok_or_else(|| Broken("an update does not carry its key".to_owned()))?;
        let known = self.items.remove(&old_id.unwrap_or(id));
        let row = filled(&Part { id: Some(id), ..new.clone() }, known.as_ref())?;
        self.items.insert(id, row);
        Ok(())
    }

    fn take_plain(&mut self, row: Row) -> Verdict {
        let at = self.plain.iter().position(|other| *other == row);
        let at = at.ok_or_else(|| Broken(format!("a change of a row that is not there: {row:?}")))?;
        self.plain.swap_remove(at);
        Ok(())
    }
}

fn filled(new: &Part, known: Option<&Row>) -> Verdict<Row> {
    let known =
        known.map(|row| Part { id: Some(row.id), code: Some(row.code), body: Some(row.body.clone()) });
    let known = known.unwrap_or_default();
    let new = new.clone();
    Part { id: new.id.or(known.id), code: new.code.or(known.code), body: new.body.or(known.body) }.whole()
}
