//! The SQL between a staging table and its table.
//!
//! The staging table has `n` (the row's number), `op` (`d` delete, `u`
//! update, `p` put), `mask` (which cells are absent, 0 for none), `b0…` (the
//! key under which a put's absent cells lie) and `c0…` (the cells of the
//! written columns).

use super::shape::Shape;

/// The cells of a row that are absent, as indexes of the written columns.
pub(super) type Absent = [usize];

impl Shape {
    pub(super) fn make_stage(&self, stage: &str) -> String {
        let old =
            self.key.iter().enumerate().map(|(at, &column)| format!("b{at} {}", self.columns[column].base));
        let cells = self.columns.iter().enumerate().map(|(at, column)| format!("c{at} {}", column.base));
        let columns: Vec<String> = old.chain(cells).collect();
        format!(
            "CREATE TEMPORARY TABLE {stage} (n integer, op \"char\", mask integer, {}) ON COMMIT DELETE ROWS",
            columns.join(", ")
        )
    }

    pub(super) fn copy_stage(&self, stage: &str) -> String {
        format!("COPY {stage} FROM STDIN")
    }

    /// Fills absent cells of puts from the rows that they came from.
    pub(super) fn carry(&self, stage: &str, absent: &Absent) -> String {
        let set = self.set_staged(absent);
        let on = self.on("b");
        format!(
            "UPDATE {stage} s SET mask = 0{set} FROM {} t WHERE s.op = 'p' AND s.mask = $1 AND {on}",
            self.only
        )
    }

    /// Makes puts of those updates that change one of the `fixed` columns.
    pub(super) fn replace(&self, stage: &str, absent: &Absent, fixed: &[usize]) -> Option<String> {
        let changed: Vec<String> = fixed
            .iter()
            .filter(|at| !absent.contains(at))
            // By their text: it differs wherever anything about them does.
            .map(|&at| format!("t.{}::text IS DISTINCT FROM s.c{at}::text", self.columns[at].name))
            .collect();
        if changed.is_empty() {
            return None;
        }
        let (set, on) = (self.set_staged(absent), self.on("c"));
        Some(format!(
            "UPDATE {stage} s SET op = 'p', mask = 0{set} FROM {} t
             WHERE s.op = 'u' AND s.mask = $1 AND {on} AND ({})",
            self.only,
            changed.join(" OR ")
        ))
    }

    pub(super) fn delete(&self, stage: &str) -> String {
        format!("DELETE FROM {} t USING {stage} s WHERE s.op IN ('d', 'p') AND {}", self.only, self.on("c"))
    }

    /// Sets what is present and can be set; `None` if that is nothing.
    pub(super) fn update(&self, stage: &str, absent: &Absent, with_key: bool) -> Option<String> {
        let set: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(at, column)| {
                !column.identity_always && !absent.contains(at) && (with_key || !self.key.contains(at))
            })
            .map(|(at, column)| format!("{} = s.c{at}", column.name))
            .collect();
        if set.is_empty() {
            return None;
        }
        Some(format!(
            "UPDATE {} t SET {} FROM {stage} s WHERE s.op = 'u' AND s.mask = $1 AND {}",
            self.only,
            set.join(", "),
            self.on("c")
        ))
    }

    /// The updates whose row is not there.
    pub(super) fn missing(&self, stage: &str) -> String {
        format!(
            "SELECT s.n, s.mask FROM {stage} s WHERE s.op = 'u' AND NOT EXISTS (SELECT FROM {} t WHERE {})",
            self.only,
            self.on("c")
        )
    }

    pub(super) fn insert(&self, stage: &str) -> String {
        let cells: Vec<String> = (0..self.columns.len()).map(|at| format!("s.c{at}")).collect();
        format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {stage} s WHERE s.op = 'p'",
            self.name,
            self.names(),
            cells.join(", ")
        )
    }

    /// The target's key is the one in these staged columns.
    pub(super) fn on(&self, staged: &str) -> String {
        let equal = |(at, (&column, operator)): (usize, (&usize, &String))| {
            let staged = if staged == "b" { format!("b{at}") } else { format!("c{column}") };
            format!("t.{} {operator} s.{staged}", self.columns[column].name)
        };
        self.key.iter().zip(&self.equals).enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    fn set_staged(&self, absent: &Absent) -> String {
        absent.iter().map(|&at| format!(", c{at} = t.{}", self.columns[at].name)).collect()
    }
}

/// The columns whose values must not clash with another row's: those of
/// unique and exclusion indexes, also in their expressions and predicates,
/// of tables and their partitions, each with the number of its table.
pub(super) const UNIQUE: &str = "
    SELECT DISTINCT w.oid, a.attname::text
    FROM unnest($1::oid[]) AS w (oid)
    CROSS JOIN LATERAL (SELECT w.oid UNION SELECT relid::oid FROM pg_partition_tree(w.oid::regclass)) r (oid)
    JOIN pg_index i ON i.indrelid = r.oid AND (i.indisunique OR i.indisexclusion)
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0
    WHERE a.attnum = ANY (i.indkey::int2[]) OR EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid AND d.refobjsubid = a.attnum)";
