//! What the engines say differently.

/// The SQL of an engine, as far as the portable application needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
}

impl Dialect {
    /// That of the server of a URL.
    pub(super) fn of(url: &str) -> Self {
        if url.starts_with("mysql://") { Self::MySql } else { Self::Postgres }
    }

    fn choose<T>(self, postgres: T, mysql: T) -> T {
        match self {
            Self::Postgres => postgres,
            Self::MySql => mysql,
        }
    }

    /// A name that needs quotes.
    pub(super) fn name(self, name: &str) -> String {
        self.choose(format!("\"{name}\""), format!("`{name}`"))
    }

    /// A text, whatever is in it.
    pub(super) fn text(self, text: &str) -> String {
        let text = text.replace('\'', "''");
        format!("'{}'", self.choose(text.clone(), text.replace('\\', "\\\\")))
    }

    /// Octets that are these hexadecimal digits, so many times.
    pub(super) fn octets(self, digits: &str, times: u32) -> String {
        self.choose(
            format!("decode(repeat('{digits}', {times}), 'hex')"),
            format!("unhex(repeat('{digits}', {times}))"),
        )
    }

    /// The time, to the microsecond.
    pub(super) fn now(self) -> &'static str {
        self.choose("clock_timestamp()", "now(6)")
    }

    /// A text that nobody else has.
    pub(super) fn unique(self) -> &'static str {
        self.choose("gen_random_uuid()::text", "uuid()")
    }

    /// What an INSERT does where the key is there already.
    pub(super) fn upsert(self, key: &str, set: &str) -> String {
        self.choose(
            format!("ON CONFLICT ({key}) DO UPDATE SET {set}"),
            format!("ON DUPLICATE KEY UPDATE {set}"),
        )
    }

    /// One of the rows of a table without a key of which that is true.
    pub(super) fn one_of(self, table: &str, what: &str) -> String {
        self.choose(
            format!("WHERE ctid = (SELECT min(ctid) FROM {table} WHERE {what})"),
            format!("WHERE {what} LIMIT 1"),
        )
    }

    /// The numbers 1 to `n` as a table with the column `i`; at most 10,000.
    pub(super) fn numbers(self, n: u32) -> String {
        let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
                      UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 \
                      UNION ALL SELECT 9)";
        self.choose(
            format!("generate_series(1, {n}) AS s (i)"),
            format!(
                "(SELECT i FROM (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 1 AS i \
                 FROM {digits} a, {digits} b, {digits} c, {digits} e) n WHERE i <= {n}) s"
            ),
        )
    }

    /// Opens a transaction, one that sees a single state of the data or one
    /// that does not.
    pub(super) fn begin(self, steady: bool) -> &'static [&'static str] {
        match (self, steady) {
            (Self::Postgres, true) => &["BEGIN ISOLATION LEVEL REPEATABLE READ"],
            (Self::Postgres, false) => &["BEGIN"],
            (Self::MySql, true) => &["START TRANSACTION"],
            (Self::MySql, false) => &["SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"],
        }
    }
}
