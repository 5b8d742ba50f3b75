//! The workloads: tables, and what is done to them.

/// Changes in a transaction of [`Load::Thousands`].
const LARGE: u64 = 1_000;
/// Changes in a transaction of [`Load::TpcB`].
const SMALL: u64 = 4;

/// What is done, and to which tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// B1: transactions of a thousand changes (500 inserts, 300 updates, 200
    /// deletes) on a table of eight columns.
    Thousands,
    /// B2: the transactions of `pgbench`, which are TPC-B's: three updates and
    /// an insert.
    TpcB,
}

impl Load {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Thousands => "B1",
            Self::TpcB => "B2",
        }
    }

    pub(super) fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Thousands => &["public.changed"],
            Self::TpcB => &[
                "public.pgbench_accounts",
                "public.pgbench_tellers",
                "public.pgbench_branches",
                "public.pgbench_history",
            ],
        }
    }

    fn transactions(self, changes: u64) -> u64 {
        changes / if self == Self::Thousands { LARGE } else { SMALL }
    }

    /// How many changes are made when so many are asked for.
    pub(super) fn changes(self, changes: u64) -> u64 {
        self.transactions(changes) * if self == Self::Thousands { LARGE } else { SMALL }
    }

    /// Makes the tables.
    pub(super) fn schema(self) -> &'static str {
        match self {
            Self::Thousands => {
                "CREATE TABLE changed (id bigint PRIMARY KEY, k int, name text, amount numeric(14,2), flag boolean, \
                 filler text, at timestamptz, doc jsonb)"
            }
            // `pgbench` gives its history no key; a migration wants the old
            // row of what can change, and this one is only inserted.
            Self::TpcB => {
                "CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88)); \
                 CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84)); \
                 CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)); \
                 CREATE TABLE pgbench_history (hid bigint PRIMARY KEY, tid int, bid int, aid int, delta int, mtime timestamp, \
                 filler char(22))"
            }
        }
    }

    /// The rows that are there before.
    pub(super) fn seed(self, changes: u64) -> String {
        match self {
            Self::Thousands => {
                let rows = self.transactions(changes) * 200 + 10_000;
                format!("INSERT INTO changed SELECT n, {} FROM generate_series(1, {rows}) n", columns("n"))
            }
            Self::TpcB => "INSERT INTO pgbench_branches SELECT b, 0, '' FROM generate_series(1, 50) b; \
                 INSERT INTO pgbench_tellers SELECT t, (t - 1) / 10 + 1, 0, '' FROM generate_series(1, 500) t; \
                 INSERT INTO pgbench_accounts SELECT a, (a - 1) / 10000 + 1, 0, '' FROM generate_series(1, 500000) a"
                .to_owned(),
        }
    }

    /// The statements that do it, each for a call of its own.
    pub(super) fn statements(self, changes: u64) -> [String; 4] {
        let (body, last) = (self.body(changes), self.transactions(changes));
        [
            format!(
                "CREATE PROCEDURE work() LANGUAGE plpgsql AS $$ DECLARE a int; b int; d int; BEGIN \
                 FOR t IN 1..{last} LOOP {body} COMMIT; END LOOP; END $$"
            ),
            "ALTER DATABASE bench SET synchronous_commit = off".to_owned(),
            "CALL work()".to_owned(),
            "ALTER DATABASE bench RESET synchronous_commit".to_owned(),
        ]
    }

    /// As many changes of B1's table in one transaction: rows that come, and
    /// are changed.
    pub(super) fn one_transaction(changes: u64) -> String {
        let rows = changes / 2;
        format!(
            "INSERT INTO changed SELECT n, {} FROM generate_series(1, {rows}) n; \
             UPDATE changed SET k = k + 1, amount = amount + 1 WHERE id <= {}",
            columns("n"),
            changes - rows
        )
    }

    fn body(self, changes: u64) -> String {
        match self {
            Self::Thousands => {
                let rows = self.transactions(changes) * 200 + 10_000;
                format!(
                    "INSERT INTO changed SELECT n, {} FROM generate_series({rows} + t * 500 - 499, {rows} + t * 500) n; \
                     UPDATE changed SET k = k + 1, amount = amount + 1, at = at + interval '1s' \
                       WHERE id BETWEEN {rows} - 9999 + (t * 37) % 9000 AND {rows} - 9999 + (t * 37) % 9000 + 299; \
                     DELETE FROM changed WHERE id BETWEEN t * 200 - 199 AND t * 200;",
                    columns("n + t")
                )
            }
            Self::TpcB => "a := (t * 7919::bigint) % 500000 + 1; b := t % 500 + 1; d := t % 10001 - 5000; \
                 UPDATE pgbench_accounts SET abalance = abalance + d WHERE aid = a; \
                 UPDATE pgbench_tellers SET tbalance = tbalance + d WHERE tid = b; \
                 UPDATE pgbench_branches SET bbalance = bbalance + d WHERE bid = (b - 1) / 10 + 1; \
                 INSERT INTO pgbench_history VALUES (t, b, (b - 1) / 10 + 1, a, d, '2026-01-01', '');"
                .to_owned(),
        }
    }

    /// What the tables come to, whatever the order of their rows.
    pub(super) fn sum(self) -> String {
        let one = |name: &&str| {
            format!(
                "(SELECT count(*) || ' ' || coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0) FROM {name} t)"
            )
        };
        let all: Vec<String> = self.tables().iter().map(one).collect();
        format!("SELECT concat_ws('/', {})", all.join(", "))
    }
}

/// Seven columns of eight, some 126 bytes.
fn columns(of: &str) -> String {
    format!(
        "(({of}) % 100000)::int, 'name ' || ({of}), (({of}) % 1000000) / 100.0, ({of}) % 2 = 0, \
         repeat(md5(({of})::text), 2), timestamptz '2026-01-01 00:00:00Z' + ({of}) * interval '1s', \
         jsonb_build_object('n', {of}, 'of', 'bench')"
    )
}
