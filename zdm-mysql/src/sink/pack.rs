//! Statements of many rows, as long as the server takes them.

use std::borrow::Cow;

use bytes::{BufMut as _, BytesMut};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::{Error, ErrorKind, Result};

use super::session::Session;
use crate::error::OrMy;

/// How many rows one statement names at most: beyond some thousands the
/// servers' optimizers run out of memory for ranges and read the whole table
/// (`range_optimizer_max_mem_size`, `optimizer_max_sel_arg_weight`).
const ROWS: u64 = 500;

/// One statement that grows by rows, and is run when it is long enough.
#[derive(Debug)]
pub(super) struct Pack {
    head: String,
    between: &'static str,
    tail: Cow<'static, str>,
    sql: BytesMut,
    rows: u64,
    outcome: Expected,
}

/// What the server must say of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// That it has stored each row, as it was sent.
    Stored,
    /// That it has altered no row that was sent.
    AsSent,
    Anything,
}

impl Pack {
    /// `INSERT`: each row is in the table afterwards, just as it was sent.
    pub(super) fn inserting(head: String) -> Self {
        Self::of(head, ", ", Cow::Borrowed(""), Expected::Stored)
    }

    /// The same, but a row that is there already is set to what was sent.
    pub(super) fn putting(head: String, tail: String) -> Self {
        Self::of(head, ", ", Cow::Owned(tail), Expected::AsSent)
    }

    /// `DELETE`: rows that are not there are passed over.
    pub(super) fn deleting(head: String, between: &'static str, tail: &'static str) -> Self {
        Self::of(head, between, Cow::Borrowed(tail), Expected::Anything)
    }

    fn of(head: String, between: &'static str, tail: Cow<'static, str>, outcome: Expected) -> Self {
        Self { head, between, tail, sql: BytesMut::new(), rows: 0, outcome }
    }

    /// Adds a row, and runs the statement if it is long enough.
    pub(super) async fn row(
        &mut self,
        session: &mut Session,
        write: impl FnOnce(&mut BytesMut) -> Result<()>,
    ) -> Result<()> {
        self.sql.put_slice(if self.rows == 0 { self.head.as_bytes() } else { self.between.as_bytes() });
        write(&mut self.sql)?;
        self.rows += 1;
        let many = self.outcome == Expected::Anything && self.rows >= ROWS;
        if many || self.sql.len() >= session.packet {
            self.run(session).await?;
        }
        Ok(())
    }

    /// Runs what has come together.
    pub(super) async fn run(&mut self, session: &mut Session) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        self.sql.put_slice(self.tail.as_bytes());
        session.begin().await?;
        session.query_drop(&self.sql[..]).await.during("sink.write")?;
        match self.outcome {
            Expected::Stored => as_sent(session, self.rows).await?,
            Expected::AsSent if session.get_warnings() > 0 => return Err(altered(session, self.rows).await),
            Expected::AsSent | Expected::Anything => {}
        }
        self.sql.clear();
        self.rows = 0;
        Ok(())
    }
}

/// Refuses rows that the server left out or altered and only warns of, as it
/// does for `LOAD DATA LOCAL` also in strict mode: it cannot stop a client that
/// is sending. <https://dev.mysql.com/doc/refman/en/load-data.html>
pub(super) async fn as_sent(session: &mut Session, rows: u64) -> Result<()> {
    let (written, warnings) = (session.affected_rows(), session.get_warnings());
    if written == rows && warnings == 0 { Ok(()) } else { Err(altered(session, rows).await) }
}

/// Why the server would not store rows as they were sent, or that it does not
/// even say that.
async fn altered(session: &mut Session, rows: u64) -> Error {
    let written = session.affected_rows();
    let all: Vec<(String, u16, String)> =
        match session.query("SHOW WARNINGS LIMIT 3").await.during("sink.write") {
            Ok(all) => all,
            Err(error) => return error,
        };
    let said: Vec<String> = all.into_iter().map(|(_, code, message)| format!("{message} ({code})")).collect();
    Error::new(
        ErrorKind::Rejected,
        format!("the server would not store rows as they are: correct or map them: {}", said.join("; ")),
    )
    .with("sent", rows)
    .with("stored", written)
    .during("sink.write")
}

/// Several statements that are sent at once, each with an answer of its own.
#[derive(Debug, Default)]
pub(super) struct Several {
    sql: BytesMut,
    statements: usize,
}

impl Several {
    /// Whether it is time to run them.
    pub(super) fn is_full(&self, session: &Session) -> bool {
        self.statements >= 200 || self.sql.len() >= session.packet
    }

    /// Adds one.
    pub(super) fn statement(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
        if self.statements > 0 {
            self.sql.put_slice(b";\n");
        }
        self.statements += 1;
        write(&mut self.sql)
    }

    /// Runs them, and gives how many rows each has found.
    pub(super) async fn found(&mut self, session: &mut Session) -> Result<Vec<u64>> {
        let during = "sink.write";
        let statements = std::mem::take(&mut self.statements);
        let mut found = Vec::with_capacity(statements);
        if statements > 0 {
            session.begin().await?;
            let mut altered = false;
            {
                let mut answers = session.query_iter(&self.sql[..]).await.during(during)?;
                for number in 1..=statements {
                    found.push(answers.affected_rows());
                    altered |= answers.warnings() > 0;
                    if number < statements {
                        answers.collect::<Row>().await.during(during)?;
                    }
                }
                answers.drop_result().await.during(during)?;
            }
            if altered {
                return Err(Error::new(
                    ErrorKind::Rejected,
                    "the server would not store a changed row as it is: correct or map it",
                )
                .during(during));
            }
        }
        self.sql.clear();
        Ok(found)
    }

    /// Runs them, and gives the rows of each.
    pub(super) async fn rows(&mut self, session: &mut Session) -> Result<Vec<Vec<Row>>> {
        let during = "sink.read";
        let statements = std::mem::take(&mut self.statements);
        let mut rows = Vec::with_capacity(statements);
        if statements > 0 {
            session.begin().await?;
            let mut answers = session.query_iter(&self.sql[..]).await.during(during)?;
            for _ in 0..statements {
                rows.push(answers.collect::<Row>().await.during(during)?);
            }
            answers.drop_result().await.during(during)?;
        }
        self.sql.clear();
        Ok(rows)
    }
}
