//! Batches as lines of text, and a table that follows them.

use std::collections::BTreeMap;

use zdm_core::change::{Batch, Image, Item, Op};
use zdm_servers::postgres::Database;

pub(crate) fn image(image: Image<'_>) -> String {
    let cells = image.cells().map(|cell| match cell.raw() {
        Some((_, bytes)) if bytes.len() > 100 => format!("[{}]", bytes.len()),
        Some((_, bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        None if cell.is_null() => "-".to_owned(),
        None => "~".to_owned(),
    });
    cells.collect::<Vec<_>>().join("|")
}

/// Each item as a line; idle points and positions left out.
pub(crate) fn show(batch: &Batch) -> Vec<String> {
    let mut lines = Vec::new();
    for item in batch.items() {
        match item {
            Item::Begin(_) => lines.push("begin".to_owned()),
            Item::Commit(commit) => {
                assert!(commit.time.is_some());
                lines.push("commit".to_owned());
            }
            Item::Truncate { tables } => {
                let names: Vec<_> = tables.iter().map(|table| table.name.to_string()).collect();
                lines.push(format!("truncate {}", names.join(" ")));
            }
            Item::Rows(run) => {
                for row in batch.rows_of(run) {
                    let op = match row.op() {
                        Op::Insert => "+",
                        Op::Update => "=",
                        Op::Delete => "-",
                    };
                    let old = row.before().map(|i| format!(" ({})", image(i))).unwrap_or_default();
                    let new = row.after().map(|i| format!(" {}", image(i))).unwrap_or_default();
                    lines.push(format!("{op} {}{old}{new}", row.table().name));
                }
            }
            Item::Idle { .. } => {}
            item => panic!("{item:?}"),
        }
    }
    lines
}

/// What a list of lines makes of keyed rows of one table, whose first column
/// is the key.
#[derive(Default)]
pub(crate) struct Replica(pub(crate) BTreeMap<String, Vec<String>>);

impl Replica {
    pub(crate) fn take(&mut self, batch: &Batch) {
        for item in batch.items() {
            let run = match item {
                Item::Rows(run) => run,
                Item::Truncate { .. } => {
                    self.0.clear();
                    continue;
                }
                _ => continue,
            };
            for row in batch.rows_of(run) {
                let text = |image: Image<'_>| -> Vec<Option<String>> {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    image
                        .cells()
                        .map(|c| {
                            if c.is_unchanged() {
                                None
                            } else {
                                Some(c.raw().map_or("NULL".into(), |(_, b)| text(b)))
                            }
                        })
                        .collect()
                };
                let key = text(row.key_image())[0].clone().unwrap();
                let old = if row.op() == Op::Insert { None } else { self.0.remove(&key) };
                if let Some(new) = row.after() {
                    let cells = text(new).into_iter().enumerate();
                    let cells: Vec<_> = cells
                        .map(|(i, cell)| cell.unwrap_or_else(|| old.as_ref().unwrap()[i].clone()))
                        .collect();
                    self.0.insert(cells[0].clone(), cells);
                }
            }
        }
    }

    pub(crate) async fn expect(&self, db: &Database, columns: &str, table: &str) {
        let rows = db.query(&format!("SELECT {columns} FROM {table}")).await.unwrap();
        let rows: BTreeMap<_, Vec<_>> = rows
            .into_iter()
            .map(|row| row.into_iter().map(|c| c.unwrap_or("NULL".into())).collect::<Vec<_>>())
            .map(|row| (row[0].clone(), row))
            .collect();
        assert_eq!(self.0, rows);
    }
}
