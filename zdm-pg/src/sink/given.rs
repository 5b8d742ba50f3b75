//! The SQL that works on rows given as arrays: `s` has `c0…`, the cells of
//! some written columns, and where rows are asked for by their number `n`.

use super::shape::Shape;

impl Shape {
    /// The types of the parameters.
    pub(super) fn given_types(&self, numbered: bool, columns: &[usize]) -> String {
        let number = numbered.then_some("integer[]");
        let cells = columns.iter().map(|&at| self.columns[at].array.as_deref().unwrap_or("text[]"));
        number.into_iter().chain(cells).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn delete_given(&self) -> String {
        let given = self.given(false, &self.key);
        format!("DELETE FROM {} t USING {given} WHERE {}", self.only, self.on("c"))
    }

    /// Sets what is given and can be set; `None` if that is nothing.
    pub(super) fn update_given(&self, columns: &[usize], with_key: bool) -> Option<String> {
        let set: Vec<String> = columns
            .iter()
            .map(|&at| (at, &self.columns[at]))
            .filter(|(at, column)| !column.identity_always && (with_key || !self.key.contains(at)))
            .map(|(at, column)| format!("{} = s.c{at}", column.name))
            .collect();
        if set.is_empty() {
            return None;
        }
        let given = self.given(false, columns);
        Some(format!("UPDATE {} t SET {} FROM {given} WHERE {}", self.only, set.join(", "), self.on("c")))
    }

    pub(super) fn insert_given(&self) -> String {
        let columns: Vec<usize> = (0..self.columns.len()).collect();
        let cells: Vec<String> = columns.iter().map(|at| format!("s.c{at}")).collect();
        format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}",
            self.name,
            self.names(),
            cells.join(", "),
            self.given(false, &columns)
        )
    }

    /// The numbers of the rows that differ from the target's in one of the
    /// `fixed` columns. By their text: it differs wherever anything does.
    pub(super) fn changes(&self, columns: &[usize], fixed: &[usize]) -> String {
        let differs =
            |&at: &usize| format!("t.{}::text IS DISTINCT FROM s.c{at}::text", self.columns[at].name);
        format!(
            "SELECT s.n FROM {}, {} t WHERE {} AND ({})",
            self.given(true, columns),
            self.only,
            self.on("c"),
            fixed.iter().map(differs).collect::<Vec<_>>().join(" OR ")
        )
    }

    /// The numbers of the rows that are not there.
    pub(super) fn absent(&self) -> String {
        format!(
            "SELECT s.n FROM {} WHERE NOT EXISTS (SELECT FROM {} t WHERE {})",
            self.given(true, &self.key),
            self.only,
            self.on("c")
        )
    }

    /// The rows, each cell of its column's type.
    fn given(&self, numbered: bool, columns: &[usize]) -> String {
        let first = usize::from(numbered);
        let number = numbered.then(|| "x0 AS n".to_owned());
        let cells = columns.iter().enumerate().map(|(place, &at)| {
            let column = &self.columns[at];
            let cast = if column.array.is_some() { String::new() } else { format!("::{}", column.plain) };
            format!("x{}{cast} AS c{at}", place + first)
        });
        let count = columns.len() + first;
        let list = |mark: char, from: usize| {
            (0..count).map(|n| format!("{mark}{}", n + from)).collect::<Vec<_>>().join(", ")
        };
        format!(
            "(SELECT {} FROM unnest({}) AS x ({})) s",
            number.into_iter().chain(cells).collect::<Vec<_>>().join(", "),
            list('$', 1),
            list('x', 0)
        )
    }
}
