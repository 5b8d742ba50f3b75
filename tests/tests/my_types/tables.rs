//! Random tables, over which all types are dealt.

use fastrand::Rng;

use super::columns::{Column, Kinds, Taste, makers, one};

/// A table `t0`, `t1`, … with the key `id`, columns `c0`, `c1`, … and columns
/// that are computed.
pub(crate) struct Table {
    pub(crate) name: String,
    /// CREATE TABLE.
    pub(crate) ddl: String,
    pub(crate) columns: Vec<Named>,
    taste: Taste,
}

/// A column that is written.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) nullable: bool,
    pub(crate) column: Column,
}

/// The number in the environment, or this one.
pub(crate) fn chosen(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is a number, and not {text:?}"))
    })
}

/// So many tables with all types in them.
pub(crate) fn deal(rng: &mut Rng, kinds: Kinds, count: usize) -> Vec<Table> {
    let mut makers = makers(kinds);
    rng.shuffle(&mut makers);
    (0..count)
        .map(|number| {
            let mine = makers.iter().skip(number % 3).step_by(3.min(count));
            let columns = mine
                .enumerate()
                .map(|(at, make)| Named {
                    name: format!("c{at}"),
                    nullable: rng.u8(..4) != 0,
                    column: make(rng, kinds),
                })
                .collect();
            table(rng, format!("t{number}"), columns, kinds.taste)
        })
        .collect()
}

fn table(rng: &mut Rng, name: String, columns: Vec<Named>, taste: Taste) -> Table {
    let mut lines: Vec<String> = columns
        .iter()
        .map(|Named { name, nullable, column }| {
            let null = if *nullable { "NULL" } else { "NOT NULL" };
            let ddl = column.ddl.trim_end_matches(" NULL");
            // Hidden columns are in the log like others.
            let hidden = if *nullable && rng.u8(..6) == 0 { " INVISIBLE" } else { "" };
            format!("{name} {ddl} {null}{hidden}")
        })
        .collect();
    for (name, kind) in [("g0", "VIRTUAL"), ("g1", "STORED")] {
        let of = one(rng, &["id + 1", "id * 2"]);
        lines.insert(rng.usize(..=lines.len()), format!("{name} BIGINT AS ({of}) {kind}"));
    }
    lines.insert(rng.usize(..=lines.len()), "id INT NOT NULL PRIMARY KEY".into());
    let ddl = format!("CREATE TABLE {name} ({})", lines.join(", "));
    Table { name, ddl, columns, taste }
}

impl Table {
    /// INSERT of rows with these keys.
    pub(crate) fn insert(&self, rng: &mut Rng, ids: std::ops::Range<u32>) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let rows: Vec<String> = ids
            .map(|id| {
                let values: Vec<String> = self.columns.iter().map(|column| column.value(rng)).collect();
                format!("({id}, {})", values.join(", "))
            })
            .collect();
        format!("INSERT INTO {} (id, {}) VALUES {}", self.name, names.join(", "), rows.join(", "))
    }

    /// UPDATE of some columns of a row.
    pub(crate) fn update(&self, rng: &mut Rng, id: u32) -> String {
        let mut sets: Vec<String> = Vec::new();
        for named in &self.columns {
            match rng.u8(..3) {
                0 => sets.push(format!("{} = {}", named.name, named.value(rng))),
                1 if named.column.json => {
                    let changed = super::json::changed(rng, &named.name, self.taste);
                    sets.push(format!("{} = {changed}", named.name));
                }
                _ => {}
            }
        }
        if sets.is_empty() {
            sets.push("id = id".into());
        }
        format!("UPDATE {} SET {} WHERE id = {id}", self.name, sets.join(", "))
    }
}

impl Named {
    fn value(&self, rng: &mut Rng) -> String {
        if self.nullable && rng.u8(..8) == 0 { "NULL".into() } else { self.column.value(rng) }
    }
}
