//! A model of a target under a case-insensitive key, and random histories
//! that are applied to it group by group.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Group, KeyRef, Merged, Outcome, Step, Work};
use crate::Engine;
use crate::change::{Batch, BatchBuilder, Field, Format, Item, Op, Value};
use crate::schema::{Column, DataType, Key, Table, TableName};

#[derive(Debug, Clone, PartialEq)]
struct Row {
    spelling: String,
    value: i64,
    toast: i64,
}

/// Rows by what their keys are equal to.
type Rows = BTreeMap<String, Row>;

#[derive(Debug, Clone)]
enum Event {
    Insert(Row),
    Update { old: Row, new: Row, toast_carried: bool, old_carried: u8 },
    Delete(Row),
    Truncate,
}

/// A history: the events, and the rows before each and after the last.
#[derive(Debug)]
struct History {
    events: Vec<Event>,
    states: Vec<Rows>,
}

fn class(key: &str) -> String {
    key.to_lowercase()
}

impl History {
    /// Turns random numbers into events that a source could have had.
    fn of(choices: &[(u8, u8, u8, u8)]) -> Self {
        let mut rows = Rows::new();
        for (n, key) in ["a", "B", "c"].into_iter().enumerate() {
            let n = i64::try_from(n).unwrap();
            rows.insert(class(key), Row { spelling: key.into(), value: n, toast: -n });
        }
        let mut history = Self { events: Vec::new(), states: vec![rows.clone()] };
        for (n, &(what, which, to, flags)) in choices.iter().enumerate() {
            let spelling = ["a", "A", "b", "B", "c", "C", "d", "D"][usize::from(to) % 8].to_owned();
            let next = i64::try_from(n).unwrap() + 100;
            let chosen = rows.values().nth(usize::from(which) % rows.len().max(1)).cloned();
            let event = match (what % 10, chosen) {
                (0, _) if flags % 4 == 0 => {
                    rows.clear();
                    Event::Truncate
                }
                (0..4, _) if !rows.contains_key(&class(&spelling)) => {
                    Event::Insert(Row { spelling, value: next, toast: -next })
                }
                (0..6, Some(row)) => Event::Delete(row),
                (_, Some(old)) => {
                    let free =
                        !rows.contains_key(&class(&spelling)) || class(&spelling) == class(&old.spelling);
                    let toast_carried = flags & 1 == 1;
                    let new = Row {
                        spelling: if free && flags & 2 == 2 { spelling } else { old.spelling.clone() },
                        value: next,
                        toast: if toast_carried { -next } else { old.toast },
                    };
                    Event::Update { old, new, toast_carried, old_carried: flags >> 2 }
                }
                _ => continue,
            };
            match &event {
                Event::Insert(row) => drop(rows.insert(class(&row.spelling), row.clone())),
                Event::Delete(row) => drop(rows.remove(&class(&row.spelling))),
                Event::Update { old, new, .. } => {
                    rows.remove(&class(&old.spelling));
                    rows.insert(class(&new.spelling), new.clone());
                }
                Event::Truncate => {}
            }
            history.events.push(event);
            history.states.push(rows.clone());
        }
        history
    }

    /// The log of some of its events.
    fn log(&self, table: &Arc<Table>, from: usize, to: usize) -> Batch {
        let mut log = BatchBuilder::new();
        for event in &self.events[from..to] {
            match event {
                Event::Insert(row) => log.insert(table, whole(row)).unwrap(),
                Event::Delete(row) => log.delete(table, key_only(row)).unwrap(),
                Event::Truncate => log.truncate(vec![Arc::clone(table)]),
                Event::Update { old, new, toast_carried, old_carried } => {
                    let mut image = whole(new);
                    if !toast_carried {
                        image[2] = Field::Unchanged;
                    }
                    let moved = old.spelling != new.spelling;
                    let before = match old_carried % 4 {
                        0 => Some(whole(old)),
                        _ if moved => Some(key_only(old)),
                        1 => {
                            // A key too large for the row: only the old image has it.
                            image[0] = Field::Unchanged;
                            Some(key_only(old))
                        }
                        _ => None,
                    };
                    log.update(table, before, image).unwrap();
                }
            }
        }
        log.finish()
    }
}

fn whole(row: &Row) -> Vec<Field<'_>> {
    vec![
        Value::from(row.spelling.as_str()).into(),
        Value::Int(row.value).into(),
        Value::Int(row.toast).into(),
    ]
}

fn key_only(row: &Row) -> Vec<Field<'_>> {
    vec![Value::from(row.spelling.as_str()).into(), Field::Unchanged, Field::Unchanged]
}

fn table(key: Key) -> Arc<Table> {
    let columns = vec![
        Column::new("id", DataType::text()).not_null(),
        Column::new("value", DataType::integer(64)),
        Column::new("toast", DataType::integer(64)),
    ];
    Arc::new(Table::new(Engine::new("test"), TableName::new("a", "b"), columns, key))
}

fn keyed() -> Arc<Table> {
    table(Key::Columns(vec![0]))
}

/// What a writer does with a group. `source` is read again while the target
/// catches up.
fn execute(group: &Group, target: &mut Rows, source: Option<&Rows>) {
    for step in group.steps() {
        match step {
            Step::Rows(works) => works.iter().for_each(|work| {
                let Work::Keyed(work) = work else { panic!("the table has a key") };
                let outcomes: Vec<_> = work.outcomes().collect();
                execute_keyed(&outcomes, target, source);
            }),
            Step::Truncate(_) => target.clear(),
            Step::Schema { .. } => {}
        }
    }
}

fn execute_keyed(outcomes: &[Outcome<'_>], target: &mut Rows, source: Option<&Rows>) {
    let mut puts: Vec<Row> = Vec::new();
    let mut again: Vec<String> = Vec::new();
    for outcome in outcomes {
        let Outcome::Put(put) = outcome else { continue };
        if put.is_complete() {
            puts.push(merged(put, None));
        } else if source.is_some() {
            again.push(class(&spelling(put.key())));
        } else {
            let from = class(&spelling(put.carry_from().expect("it came from somewhere")));
            puts.push(merged(put, Some(&target[&from])));
        }
    }
    for outcome in outcomes {
        if let Outcome::Delete(key) = outcome {
            target.remove(&class(&spelling(*key)));
        } else if let Outcome::Put(put) = outcome {
            target.remove(&class(&spelling(put.key())));
        }
    }
    for outcome in outcomes {
        let Outcome::Update(update) = outcome else { continue };
        let at = class(&spelling(update.key()));
        match target.get_mut(&at) {
            Some(row) => *row = merged(update, Some(row)),
            None if update.is_complete() => puts.push(merged(update, None)),
            None => {
                assert!(source.is_some(), "a row is missing in a target that is a true state");
                again.push(at);
            }
        }
    }
    for row in puts {
        assert!(target.insert(class(&row.spelling), row).is_none(), "the primary key is taken");
    }
    for at in again {
        if let Some(row) = source.unwrap().get(&at) {
            target.insert(at, row.clone());
        }
    }
}

fn spelling(key: KeyRef<'_>) -> String {
    key.cell(0).value().unwrap().as_str().unwrap().to_owned()
}

fn merged(row: &Merged<'_>, carried: Option<&Row>) -> Row {
    let number = |at, carried: Option<i64>| match row.cell(at) {
        Some(cell) => cell.value().unwrap().as_i64().unwrap(),
        None => carried.unwrap(),
    };
    Row {
        spelling: spelling(row.key()),
        value: number(1, carried.map(|row| row.value)),
        toast: number(2, carried.map(|row| row.toast)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// A target that is a true state shows a true state after every group,
    /// wherever the log is cut and however its groups are cut into batches.
    #[test]
    fn groups_lead_from_true_state_to_true_state(
        choices in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..40),
        cuts in prop::collection::vec((1..12usize, 1..5usize), 1..20),
    ) {
        let (history, table) = (History::of(&choices), keyed());
        let mut target = history.states[0].clone();
        let mut at = 0;
        for (size, batch) in cuts.into_iter().cycle() {
            let end = (at + size).min(history.events.len());
            let mut group = Group::new();
            while at < end {
                let next = (at + batch).min(end);
                group.push(history.log(&table, at, next)).unwrap();
                at = next;
            }
            execute(&group, &mut target, None);
            prop_assert_eq!(&target, &history.states[at]);
            if at == history.events.len() {
                break;
            }
        }
    }

    /// A target whose rows are of different moments, as chunks leave it, ends
    /// as the source did when the whole log is applied to it.
    #[test]
    fn a_target_of_many_moments_comes_forward(
        choices in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..40),
        copied in prop::collection::vec(any::<u8>(), 4),
        cuts in prop::collection::vec((1..12usize, any::<u8>()), 1..20),
    ) {
        let (history, table) = (History::of(&choices), keyed());
        let end = history.events.len();
        let mut target = Rows::new();
        for (key, moment) in ["a", "b", "c", "d"].into_iter().zip(copied) {
            if let Some(row) = history.states[usize::from(moment) % (end + 1)].get(key) {
                target.insert(key.into(), row.clone());
            }
        }
        let mut at = 0;
        for (size, later) in cuts.into_iter().cycle() {
            let next = (at + size).min(end);
            let mut group = Group::new();
            group.push(history.log(&table, at, next)).unwrap();
            let source = &history.states[next + usize::from(later) % (end - next + 1)];
            execute(&group, &mut target, Some(source));
            at = next;
            if at == end {
                break;
            }
        }
        prop_assert_eq!(&target, &history.states[end]);
    }
}

fn row(spelling: &str, value: i64, toast: i64) -> Row {
    Row { spelling: spelling.into(), value, toast }
}

fn group(build: impl FnOnce(&mut BatchBuilder)) -> Group {
    let mut log = BatchBuilder::new();
    build(&mut log);
    let mut group = Group::new();
    group.push(log.finish()).unwrap();
    group
}

fn target(rows: &[Row]) -> Rows {
    rows.iter().map(|row| (class(&row.spelling), row.clone())).collect()
}

#[test]
fn insert_then_delete_removes_what_a_chunk_brought() {
    let table = keyed();
    let group = group(|log| {
        log.insert(&table, whole(&row("a", 1, 1))).unwrap();
        log.delete(&table, key_only(&row("a", 1, 1))).unwrap();
    });
    let mut rows = target(&[row("a", 1, 1)]);
    execute(&group, &mut rows, None);
    assert_eq!(rows, target(&[]));
}

#[test]
fn rows_that_swap_keys_keep_the_cells_that_the_log_left_out() {
    let table = keyed();
    let moved = |log: &mut BatchBuilder, from: &str, to: &str| {
        let new = [Value::from(to).into(), Value::Int(9).into(), Field::Unchanged];
        log.update(&table, Some(key_only(&row(from, 0, 0)).into_iter()), new).unwrap();
    };
    let group = group(|log| {
        moved(log, "a", "x");
        moved(log, "b", "a");
        moved(log, "x", "b");
    });
    let mut rows = target(&[row("a", 1, 11), row("b", 2, 22)]);
    execute(&group, &mut rows, None);
    assert_eq!(rows, target(&[row("a", 9, 22), row("b", 9, 11)]));
}

#[test]
fn a_respelled_key_is_one_row_with_the_new_spelling() {
    let table = keyed();
    let group = group(|log| {
        log.update(&table, Some(key_only(&row("a", 0, 0))), whole(&row("A", 5, 5))).unwrap();
        log.delete(&table, key_only(&row("A", 5, 5))).unwrap();
        log.insert(&table, whole(&row("a", 6, 6))).unwrap();
        log.update(&table, Some(key_only(&row("a", 0, 0))), whole(&row("A", 7, 7))).unwrap();
    });
    let mut rows = target(&[row("a", 1, 1)]);
    execute(&group, &mut rows, None);
    assert_eq!(rows, target(&[row("A", 7, 7)]));
}

#[test]
fn keys_in_two_formats_are_kept_in_order() {
    let table = keyed();
    let mut native = crate::change::Assembler::new();
    native.row(&table, Op::Delete, true);
    native.cell(crate::change::Cell::Value { offset: 0, len: 1, format: Format::Native(0) });
    native.cell(crate::change::Cell::Unchanged);
    native.cell(crate::change::Cell::Unchanged);
    native.end_image().unwrap();
    let native =
        native.finish(bytes::Bytes::from_static(b"a"), Arc::new(crate::change::CoreEncoding), None).unwrap();
    let mut group = group(|log| log.insert(&table, whole(&row("a", 1, 1))).unwrap());
    group.push(native).unwrap();
    let steps: Vec<_> = group.steps().collect();
    assert_eq!(steps.len(), 2, "{steps:?}");
}

#[test]
fn a_table_without_a_key_keeps_its_order_and_one_without_identity_only_grows() {
    let full = table(Key::FullRow);
    let ordered = group(|log| {
        log.insert(&full, whole(&row("a", 1, 1))).unwrap();
        log.delete(&full, whole(&row("a", 1, 1))).unwrap();
    });
    let Some(Step::Rows(works)) = ordered.steps().next() else { panic!("rows") };
    let Work::InOrder(work) = works[0] else { panic!("in order") };
    assert_eq!(work.rows().map(|row| row.op()).collect::<Vec<_>>(), [Op::Insert, Op::Delete]);

    let nothing = table(Key::Nothing);
    let mut log = BatchBuilder::new();
    log.delete(&nothing, whole(&row("a", 1, 1))).unwrap();
    assert_eq!(Group::new().push(log.finish()).unwrap_err().kind(), crate::ErrorKind::Unsupported);
}

#[test]
fn tables_of_one_name_are_one_and_another_shape_waits() {
    let (one, two) = (keyed(), keyed());
    let mut other = Table::clone(&one);
    other.columns.push(Column::new("more", DataType::Bool));
    let other = Arc::new(other);
    let group = group(|log| {
        log.insert(&one, whole(&row("a", 1, 1))).unwrap();
        log.delete(&two, key_only(&row("a", 1, 1))).unwrap();
        log.schema(Some(Arc::clone(&two)), Arc::clone(&other));
        log.delete(&other, [Value::from("b").into(), Field::Unchanged, Field::Unchanged, Field::Unchanged])
            .unwrap();
    });
    let names: Vec<_> = group
        .steps()
        .map(|step| match step {
            Step::Rows(works) => format!("{} table(s)", works.len()),
            Step::Schema { .. } => "schema".to_owned(),
            Step::Truncate(_) => "truncate".to_owned(),
        })
        .collect();
    assert_eq!(names, ["1 table(s)", "schema", "1 table(s)"]);
}

#[test]
fn memory_is_counted_once_for_parts_of_one_batch() {
    let table = keyed();
    let mut log = BatchBuilder::new();
    log.begin(1);
    log.insert(&table, whole(&row("a", 1, 1))).unwrap();
    log.truncate(vec![Arc::clone(&table)]);
    let batch = log.finish();
    let mut group = Group::new();
    for at in 0..batch.items().len() {
        group.push(batch.slice(at..at + 1)).unwrap();
    }
    assert!(matches!(batch.items()[1], Item::Rows(_)));
    assert!(group.bytes() >= batch.bytes() && group.bytes() < 2 * batch.bytes() + 4_096);
}

#[tokio::test]
async fn boundaries_hold_no_share_of_the_budget() {
    let budget = crate::change::Budget::new(100);
    let mut log = BatchBuilder::new();
    log.begin(1);
    log.commit(crate::Position::new(Engine::new("test"), "1"), None);
    let mut group = Group::new();
    group.push(log.finish_with(budget.acquire(50).await)).unwrap();
    assert_eq!((budget.available(), group.is_empty()), (100, true));
}
