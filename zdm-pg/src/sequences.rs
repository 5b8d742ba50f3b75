//! Sequences: read live at the source, set at the target. The log does not
//! carry them.
//!
//! A sequence is known by its name; one that belongs to an identity column may
//! have another name at a target whose tables were renamed, and is then found
//! by its column.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Client;
use zdm_core::connect::{SequenceValue, Sequences};
use zdm_core::schema::{Schema, Sequence, TableName};
use zdm_core::{Error, ErrorKind, Result};

use crate::checkpoint::durable;
use crate::config::PgConfig;
use crate::connect::Control;
use crate::connect::quote::{quote_literal, quote_table};
use crate::error::OrPg;
use crate::schema::Cells;

/// The sequences of a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PgSequences {
    config: Arc<PgConfig>,
}

/// A sequence as its own database has it.
#[derive(Debug, Clone, Copy)]
struct Live {
    last: i64,
    called: bool,
    increment: i64,
    least: i64,
    most: i64,
    cycle: bool,
}

impl PgSequences {
    /// The sequences of that database.
    pub fn new(config: Arc<PgConfig>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Sequences for PgSequences {
    /// All in one statement, so at one moment as nearly as sequences have one.
    async fn read(&self, schema: &Schema) -> Result<Vec<SequenceValue>> {
        let control = Control::connect(&self.config, "sequences").await?;
        let names = found(&control, schema).await?;
        let live = live(&control, &names).await?;
        let value = |(sequence, live): (&Sequence, Live)| SequenceValue {
            name: sequence.name.clone(),
            last: live.last,
            called: live.called,
            increment: live.increment,
        };
        Ok(schema.sequences.iter().zip(live).map(value).collect())
    }

    async fn set(&self, schema: &Schema, values: &[SequenceValue], margin: u32) -> Result<()> {
        let mut control = Control::connect(&self.config, "sequences").await?;
        // A sequence that steps back in a crash gives its numbers twice.
        durable(&control).await?;
        let names = found(&control, schema).await?;
        let live = live(&control, &names).await?;
        let given: HashMap<&TableName, &SequenceValue> = values.iter().map(|v| (&v.name, v)).collect();
        let mut sql = String::new();
        for ((sequence, name), live) in schema.sequences.iter().zip(&names).zip(live) {
            let Some(value) = given.get(&sequence.name) else { continue };
            if let Some((last, called)) =
                goal(live, value, margin).map_err(|e| e.with("sequence", &sequence.name))?
            {
                let quoted = quote_table(&name.schema, &name.name);
                sql += &format!("SELECT pg_catalog.setval({}, {last}, {called});", quote_literal(&quoted));
            }
        }
        // `setval` is not undone by a rollback; a batch that fails half way is
        // simply called again, and never sets one back.
        let tx = control.transaction().await.during("sequences.set")?;
        tx.batch_execute(&sql).await.during("sequences.set")?;
        tx.commit().await.during("sequences.set")
    }
}

/// The value to set and whether it counts as given out; `None` where the
/// sequence is further already.
fn goal(live: Live, value: &SequenceValue, margin: u32) -> Result<Option<(i64, bool)>> {
    let wide = |n: i64| i128::from(n);
    // One that was never called gives `last` itself next.
    let next = |last, called, increment| wide(last) + if called { wide(increment) } else { 0 };
    let source = next(value.last, value.called, value.increment);
    let here = next(live.last, live.called, live.increment);
    let wanted = source + wide(value.increment) * i128::from(margin);
    let (least, most) = (wide(live.least), wide(live.most));
    let set = |next: i128| i64::try_from(next).ok().map(|next| (next, false));
    if live.cycle {
        // Its values come again anyway: it goes on where the source was, and
        // the margin goes round with it. Nothing says which of two is further.
        return Ok(set(least + (wanted - least).rem_euclid((most - least + 1).max(1))));
    }
    if if live.increment >= 0 { here >= wanted } else { here <= wanted } {
        return Ok(None);
    }
    if (least..=most).contains(&wanted) {
        return Ok(set(wanted));
    }
    // One that the source has used up fails at its next call there, and does
    // so here; the margin alone must not use one up.
    if !(least..=most).contains(&source) && (least..=most).contains(&wide(value.last)) {
        return Ok(Some((value.last, true)));
    }
    Err(Error::new(
        ErrorKind::Rejected,
        "a sequence would pass its end: raise its MAXVALUE (or lower its MINVALUE), or make its type wider, \
         on both sides",
    )
    .with("next", wanted)
    .with("least", live.least)
    .with("most", live.most)
    .during("sequences.set"))
}

/// The sequences' names in this database, in the order of the schema's.
async fn found(client: &Client, schema: &Schema) -> Result<Vec<TableName>> {
    let room = "sequences.find";
    let mut tables = Vec::new();
    let mut columns = Vec::new();
    for sequence in &schema.sequences {
        let owner = sequence.owner.as_ref().and_then(|(owner, column)| {
            let table = schema.table(owner).or_else(|| schema.by_origin(owner))?;
            Some((quote_table(&table.name.schema, &table.name.name), column.clone()))
        });
        let (table, column) = owner.unzip();
        tables.push(table);
        columns.push(column);
    }
    let names: Vec<String> =
        schema.sequences.iter().map(|s| quote_table(&s.name.schema, &s.name.name)).collect();
    // By name, else by the column that it numbers.
    let sql = "
        SELECT n.nspname, c.relname
          FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY w(name, tab, col, ord)
          LEFT JOIN pg_catalog.pg_attribute a
            ON a.attrelid = pg_catalog.to_regclass(w.tab) AND a.attname = w.col AND NOT a.attisdropped
          LEFT JOIN pg_catalog.pg_class c
            ON c.relkind = 'S' AND c.oid = coalesce(pg_catalog.to_regclass(w.name)::oid,
               CASE WHEN a.attname IS NOT NULL
                    THEN pg_catalog.pg_get_serial_sequence(w.tab, w.col)::pg_catalog.regclass::oid END)
          LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         ORDER BY w.ord";
    let rows = client.query(sql, &[&names, &tables, &columns]).await.during(room)?;
    rows.iter()
        .zip(&schema.sequences)
        .map(|(row, sequence)| match (row.cell::<Option<&str>>(0)?, row.cell::<Option<&str>>(1)?) {
            (Some(schema), Some(name)) => Ok(TableName::new(schema, name)),
            _ => Err(Error::new(ErrorKind::NotFound, "a sequence is not there: prepare the target again")
                .with("sequence", &sequence.name)
                .during(room)),
        })
        .collect()
}

/// Reads the sequences themselves: `pg_sequences` hides `is_called`.
async fn live(client: &Client, names: &[TableName]) -> Result<Vec<Live>> {
    let parts: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let quoted = quote_table(&name.schema, &name.name);
            format!(
                "SELECT {at}::int8, v.last_value, v.is_called, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle \
                 FROM {quoted} v, pg_catalog.pg_sequence s WHERE s.seqrelid = {}::pg_catalog.regclass",
                quote_literal(&quoted)
            )
        })
        .collect();
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("{} ORDER BY 1", parts.join(" UNION ALL "));
    let rows = client.query(&sql, &[]).await.during("sequences.read")?;
    rows.iter()
        .map(|row| {
            Ok(Live {
                last: row.cell(1)?,
                called: row.cell(2)?,
                increment: row.cell(3)?,
                least: row.cell(4)?,
                most: row.cell(5)?,
                cycle: row.cell(6)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(last: i64, called: bool, increment: i64) -> Live {
        let (least, most) = if increment > 0 { (1, 1000) } else { (-1000, -1) };
        Live { last, called, increment, least, most, cycle: false }
    }

    fn value(last: i64, called: bool, increment: i64) -> SequenceValue {
        SequenceValue { name: TableName::new("s", "q"), last, called, increment }
    }

    #[test]
    fn next_value_is_a_margin_behind_and_never_before() {
        for (there, given, margin, expected) in [
            (live(1, false, 1), value(41, true, 1), 10, Some((52, false))),
            (live(1, false, 1), value(1, false, 1), 0, None),
            (live(1, false, 1), value(1, false, 1), 10, Some((11, false))),
            (live(51, true, 1), value(41, true, 1), 10, None),
            (live(900, true, 1), value(41, true, 1), 10, None),
            (live(-1, false, -2), value(-41, true, -2), 10, Some((-63, false))),
            (live(-99, true, -2), value(-41, true, -2), 10, None),
            // At its end already: it stays there, and the next call fails.
            (live(1, false, 1), value(1000, true, 1), 10, Some((1000, true))),
            (live(1, false, 1), value(500, false, 100), 0, Some((500, false))),
        ] {
            assert_eq!(goal(there, &given, margin).unwrap(), expected, "{there:?} {given:?}");
        }
    }

    #[test]
    fn passing_the_end_is_refused_and_cycling_goes_round() {
        let error = goal(live(1, false, 1), &value(995, true, 1), 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let round = Live { cycle: true, ..live(1, false, 1) };
        assert_eq!(goal(round, &value(995, true, 1), 10).unwrap(), Some((6, false)));
        let widest = Live { least: i64::MIN, most: i64::MAX, ..live(1, false, 1) };
        assert!(goal(widest, &value(i64::MAX - 3, true, 1), 10).is_err());
    }
}
