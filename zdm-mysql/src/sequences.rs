//! Counters: read live at the source, set at the target. The log does not
//! carry them.
//!
//! A table's `AUTO_INCREMENT` bears the table's name and tells the number that
//! comes next; a sequence of MariaDB's has a name of its own and tells the
//! first number that no server has in its cache.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::connect::{SequenceValue, Sequences};
use zdm_core::schema::{Schema, Sequence, TableName};
use zdm_core::{Error, ErrorKind, Result};

use crate::config::MySqlConfig;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::connect::{Control, durable};
use crate::error::OrMy;
use crate::schema::Cells;

/// The counters of a MySQL or MariaDB server.
#[derive(Debug, Clone)]
pub struct MySqlSequences {
    config: Arc<MySqlConfig>,
}

/// A counter as its own server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Live {
    /// The number that it gives next.
    next: i128,
    increment: i64,
    /// The last number that it can give.
    most: i128,
    /// The first one.
    least: i128,
    cycle: bool,
}

impl MySqlSequences {
    /// The counters of that server.
    pub fn new(config: Arc<MySqlConfig>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Sequences for MySqlSequences {
    async fn read(&self, schema: &Schema) -> Result<Vec<SequenceValue>> {
        let mut control = Control::connect(&self.config, "sequences").await?;
        let mut values = Vec::with_capacity(schema.sequences.len());
        for sequence in &schema.sequences {
            let live = live(&mut control, schema, sequence).await?;
            let last = i64::try_from(live.next).map_err(|_| {
                Error::new(
                    ErrorKind::Unsupported,
                    "a counter has passed 2^63, which is more than we can carry",
                )
                .with("sequence", &sequence.name)
            })?;
            // What comes next was not given out.
            let increment = live.increment;
            values.push(SequenceValue { name: sequence.name.clone(), last, called: false, increment });
        }
        Ok(values)
    }

    async fn set(&self, schema: &Schema, values: &[SequenceValue], margin: u32) -> Result<()> {
        let mut control = Control::connect(&self.config, "sequences").await?;
        let given: HashMap<&TableName, &SequenceValue> = values.iter().map(|v| (&v.name, v)).collect();
        durable::check(&mut control, "sequences.set").await?;
        for sequence in &schema.sequences {
            let Some(value) = given.get(&sequence.name) else { continue };
            let live = live(&mut control, schema, sequence).await?;
            let Some(next) = goal(live, value, margin).map_err(|e| e.with("sequence", &sequence.name))?
            else {
                continue;
            };
            let name = home(schema, sequence);
            let quoted = quote_table(&name.schema, &name.name);
            // Neither sets one back: a table's counter not below its rows, and
            // a sequence not below what it has given.
            let sql = if sequence.owner.is_some() {
                format!("ALTER TABLE {quoted} AUTO_INCREMENT = {next}")
            } else {
                format!("SELECT SETVAL({quoted}, {next}, 0)")
            };
            control.query_drop(sql).await.during("sequences.set")?;
        }
        Ok(())
    }
}

/// The number to give next; `None` where the counter is further already.
fn goal(live: Live, value: &SequenceValue, margin: u32) -> Result<Option<i128>> {
    let increment = i128::from(value.increment);
    let source = i128::from(value.last) + if value.called { increment } else { 0 };
    let wanted = source + increment * i128::from(margin);
    if live.cycle {
        // Its numbers come again anyway: it goes on where the source was.
        return Ok(Some(live.least + (wanted - live.least).rem_euclid((live.most - live.least + 1).max(1))));
    }
    if if live.increment >= 0 { live.next >= wanted } else { live.next <= wanted } {
        return Ok(None);
    }
    if (live.least..=live.most).contains(&wanted) {
        return Ok(Some(wanted));
    }
    Err(Error::new(
        ErrorKind::Rejected,
        "a counter would pass its end: make the column's type wider (or raise the sequence's MAXVALUE), on both sides",
    )
    .with("next", wanted)
    .with("most", live.most)
    .during("sequences.set"))
}

/// The table or sequence in this server: a table may have been renamed.
fn home<'a>(schema: &'a Schema, sequence: &'a Sequence) -> &'a TableName {
    match &sequence.owner {
        Some((owner, _)) => {
            let table = schema.by_origin(owner).or_else(|| schema.table(owner));
            table.map_or(owner, |table| &table.name)
        }
        None => &sequence.name,
    }
}

async fn live(control: &mut Control, schema: &Schema, sequence: &Sequence) -> Result<Live> {
    let name = home(schema, sequence);
    let found = match &sequence.owner {
        Some((_, column)) => counter(control, name, column).await?,
        None => of_sequence(control, name).await?,
    };
    found.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "a counter is not there: prepare the target again")
            .with("sequence", &sequence.name)
            .during("sequences.find")
    })
}

/// The type's end is the counter's; `information_schema` tells the counter
/// live, since the session asks for no cached statistics.
async fn counter(control: &mut Control, table: &TableName, column: &str) -> Result<Option<Live>> {
    let sql = format!(
        "SELECT T.AUTO_INCREMENT, C.COLUMN_TYPE FROM information_schema.TABLES T \
           JOIN information_schema.COLUMNS C ON C.TABLE_SCHEMA = T.TABLE_SCHEMA AND C.TABLE_NAME = T.TABLE_NAME \
          WHERE T.TABLE_SCHEMA = {} AND T.TABLE_NAME = {} AND C.COLUMN_NAME = {} \
            AND C.EXTRA LIKE '%auto_increment%'",
        quote_literal(&table.schema),
        quote_literal(&table.name),
        quote_literal(column)
    );
    let row: Option<Row> = control.query_first(sql).await.during("sequences.read")?;
    let Some(row) = row else { return Ok(None) };
    let next = match row.cell::<Option<u64>>(0)? {
        // MySQL tells none before the first row.
        None | Some(0) => 1,
        Some(next) => next,
    };
    let most = widest(&row.cell::<String>(1)?);
    Ok(Some(Live { next: next.into(), increment: 1, most, least: 1, cycle: false }))
}

/// The largest number of a whole or floating type, as far as it counts.
fn widest(column_type: &str) -> i128 {
    let bits = match column_type.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("") {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "float" => 24,
        "double" => 53,
        _ => 64,
    };
    let signed = !column_type.contains("unsigned");
    (1 << (bits - u32::from(signed))) - 1
}

async fn of_sequence(control: &mut Control, name: &TableName) -> Result<Option<Live>> {
    let sql = format!(
        "SELECT next_not_cached_value, increment, minimum_value, maximum_value, cycle_option FROM {}.{}",
        quote_ident(&name.schema),
        quote_ident(&name.name)
    );
    let row: Option<Row> = match control.query_first(sql).await.during("sequences.read") {
        Ok(row) => row,
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    row.map(|row| {
        Ok(Live {
            next: row.cell::<i64>(0)?.into(),
            increment: row.cell(1)?,
            least: row.cell::<i64>(2)?.into(),
            most: row.cell::<i64>(3)?.into(),
            cycle: row.cell(4)?,
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(next: i128) -> Live {
        Live { next, increment: 1, most: 1000, least: 1, cycle: false }
    }

    fn value(last: i64, called: bool) -> SequenceValue {
        SequenceValue { name: TableName::new("s", "q"), last, called, increment: 1 }
    }

    #[test]
    fn next_number_is_a_margin_behind_and_never_before() {
        for (there, given, margin, expected) in [
            (live(1), value(42, false), 10, Some(52)),
            (live(1), value(41, true), 10, Some(52)),
            (live(52), value(42, false), 10, None),
            (live(900), value(42, false), 10, None),
            (live(1), value(1000, false), 0, Some(1000)),
        ] {
            assert_eq!(goal(there, &given, margin).unwrap(), expected, "{there:?} {given:?}");
        }
        assert_eq!(goal(live(1), &value(995, false), 10).unwrap_err().kind(), ErrorKind::Rejected);
        let round = Live { cycle: true, ..live(1) };
        assert_eq!(goal(round, &value(995, false), 10).unwrap(), Some(5));
    }

    #[test]
    fn types_end_where_they_do() {
        for (native, most) in [
            ("tinyint", 127),
            ("mediumint(8) unsigned", 16_777_215),
            ("int(11)", 2_147_483_647),
            ("bigint unsigned", i128::from(u64::MAX)),
        ] {
            assert_eq!(widest(native), most, "{native}");
        }
    }
}
