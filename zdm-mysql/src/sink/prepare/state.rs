//! What is already there of what a run makes.

use std::collections::{HashMap, HashSet};

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::RunName;
use zdm_core::schema::TableName;

use super::DURING;
use crate::connect::Control;
use crate::connect::quote::{quote_literal, quote_table};
use crate::error::OrMy;

/// A table that is there.
#[derive(Debug, Default)]
pub(super) struct Existing {
    /// `BASE TABLE`, `VIEW`, `SEQUENCE`.
    pub(super) kind: String,
    pub(super) engine: String,
    /// The columns of each index, `None` for what is no whole column.
    pub(super) indexes: HashMap<String, Indexed>,
    pub(super) foreign_keys: HashSet<String>,
    pub(super) triggers: HashSet<String>,
}

/// An index that is there.
#[derive(Debug, Default)]
pub(super) struct Indexed {
    pub(super) unique: bool,
    pub(super) columns: Vec<Option<String>>,
}

impl Indexed {
    /// Whether it is over just these columns, in any order.
    pub(super) fn is_over(&self, columns: &[String]) -> bool {
        let mut own: Vec<_> = self.columns.iter().map(Option::as_deref).collect();
        let mut other: Vec<_> = columns.iter().map(|column| Some(column.as_str())).collect();
        own.sort_unstable();
        other.sort_unstable();
        own == other
    }
}

/// The tables of a run, as the target has them.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) databases: HashSet<String>,
    tables: HashMap<TableName, Existing>,
    /// Tables that runs have made or accepted, and whose they are.
    made: HashMap<TableName, Vec<String>>,
}

impl State {
    pub(super) async fn read(control: &mut Control, ours: &str, names: &[TableName]) -> Result<Self> {
        let databases: Vec<String> =
            control.query("SELECT schema_name FROM information_schema.schemata").await.during(DURING)?;
        let mut state = Self { databases: databases.into_iter().collect(), ..Self::default() };
        for name in names {
            if let Some(existing) = existing(control, name).await? {
                state.tables.insert(name.clone(), existing);
            }
        }
        let made = format!(
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = {} AND table_name = 'made'",
            quote_literal(ours)
        );
        let there: Option<u8> = control.query_first(made).await.during(DURING)?;
        if there == Some(1) {
            let made =
                format!("SELECT `run`, `table_schema`, `table_name` FROM {}", quote_table(ours, "made"));
            let made: Vec<(String, String, String)> = control.query(made).await.during(DURING)?;
            for (run, schema, name) in made {
                state.made.entry(TableName::new(schema, name)).or_default().push(run);
            }
        }
        Ok(state)
    }

    pub(super) fn table(&self, name: &TableName) -> Option<&Existing> {
        self.tables.get(name)
    }

    /// Whether the run has made or accepted the table, or was about to.
    pub(super) fn is_noted(&self, run: &RunName, name: &TableName) -> bool {
        self.made.get(name).is_some_and(|runs| runs.iter().any(|one| one == run.as_str()))
    }

    /// Another run that has it.
    pub(super) fn other_owner(&self, run: &RunName, name: &TableName) -> Option<&str> {
        self.made.get(name)?.iter().find(|one| *one != run.as_str()).map(String::as_str)
    }
}

async fn existing(control: &mut Control, name: &TableName) -> Result<Option<Existing>> {
    let of = |schema: &str, table: &str| {
        format!("{schema} = {} AND {table} = {}", quote_literal(&name.schema), quote_literal(&name.name))
    };
    let here = of("TABLE_SCHEMA", "TABLE_NAME");
    let sql = format!("SELECT TABLE_TYPE, IFNULL(ENGINE, '') FROM information_schema.TABLES WHERE {here}");
    let found: Option<(String, String)> = control.query_first(sql).await.during(DURING)?;
    let Some((kind, engine)) = found else { return Ok(None) };
    let sql = format!(
        "SELECT INDEX_NAME, NON_UNIQUE = 0, IF(SUB_PART IS NULL, COLUMN_NAME, NULL) \
           FROM information_schema.STATISTICS WHERE {here} ORDER BY INDEX_NAME, SEQ_IN_INDEX"
    );
    let parts: Vec<(String, bool, Option<String>)> = control.query(sql).await.during(DURING)?;
    let mut indexes: HashMap<String, Indexed> = HashMap::new();
    for (index, unique, column) in parts {
        let index = indexes.entry(index).or_default();
        index.unique = unique;
        index.columns.push(column);
    }
    let sql = format!(
        "SELECT CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS \
          WHERE {here} AND CONSTRAINT_TYPE = 'FOREIGN KEY'"
    );
    let foreign_keys: Vec<String> = control.query(sql).await.during(DURING)?;
    let sql = format!(
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE {}",
        of("EVENT_OBJECT_SCHEMA", "EVENT_OBJECT_TABLE")
    );
    let triggers: Vec<String> = control.query(sql).await.during(DURING)?;
    Ok(Some(Existing {
        kind,
        engine,
        indexes,
        foreign_keys: foreign_keys.into_iter().collect(),
        triggers: triggers.into_iter().collect(),
    }))
}
