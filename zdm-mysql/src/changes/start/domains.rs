//! MariaDB: whether a log can be gone on with behind a position of GTIDs.
//!
//! The server is asked for one transaction of each domain, and begins behind
//! it wherever it finds it. It does not know what else the reader has. So, on
//! the server that was read before, the place in its files must still be the
//! same one; and on another server, which may have taken over, the log is
//! looked through up to the place: what lies before it there and did not in
//! the log that was read would never be seen.
//!
//! <https://mariadb.com/docs/server/ha-and-performance/standard-replication/gtid>

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::change::Assembler;
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Result};

use super::{end_of_log, files, purged_away, text};
use crate::changes::decoder::{Decoder, Step};
use crate::changes::event::{Event, kind};
use crate::changes::place::Place;
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::connect::quote::quote_literal;
use crate::error::OrMy;
use crate::position::{Domains, FilePoint, MariaGtid, Point};
use crate::wire::{Connection, From, Request};

/// Bytes behind which a file begins.
const FIRST: u64 = 4;

/// What a stream shall begin with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The server that is asked.
    pub(super) server: u32,
    /// Whether its events end with a checksum, as it is set now.
    pub(super) checksums: bool,
    pub(super) from: &'a Point,
    /// All that the reader has,
    pub(super) domains: &'a Domains,
    /// and behind what it reads, which is less where XA transactions were
    /// undecided.
    pub(super) begin: &'a Domains,
    /// The id under which it reads.
    pub(super) id: u32,
}

/// Fails unless the server's log goes on behind what was asked for.
///
/// # Errors
/// `Gap`, in words that tell what is missing where.
pub(super) async fn check(control: &mut Control, config: &MySqlConfig, asked: Asked<'_>) -> Result<()> {
    let state = text(control, "SELECT @@global.gtid_binlog_state").await?;
    let state: Domains = state.parse()?;
    for gtid in asked.domains.iter().chain(asked.begin.iter()) {
        if !state.has(gtid) {
            return Err(Error::new(
                ErrorKind::Gap,
                "the server's log does not have a transaction that the run has read: it is another server, it took \
                 over before it had all (or writes no log of what it replicates: log_slave_updates), or its log was \
                 reset; point the run at a server that has it, or start it anew",
            )
            .with("transaction", gtid)
            .with("log", &state));
        }
    }
    match &asked.from.at {
        Some(at) if at.server == asked.server => same_place(control, &at.point, asked.domains).await,
        _ => took_over(control, config, asked).await,
    }
}

/// The server that was read before: a log that was reset and has grown past
/// our numbers since has other transactions at our place.
async fn same_place(control: &mut Control, at: &FilePoint, have: &Domains) -> Result<()> {
    let there = files(control).await?;
    if !there.iter().any(|file| file.file() == at.file() && file.offset >= at.offset) {
        // The file was purged, which the dump itself refuses where it counts.
        return Ok(());
    }
    let place = format!("SELECT BINLOG_GTID_POS({}, {})", quote_literal(at.file()), at.offset);
    let here: Option<Option<String>> = control.query_first(&place).await.during("changes.start")?;
    // `NULL`: no event ends there. What was counted after the place was read
    // may lie behind it.
    let same = match here.flatten() {
        Some(here) => here.parse::<Domains>()?.iter().all(|gtid| have.has(gtid)),
        None => false,
    };
    if same {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Gap,
        "the server's log is not the one that was read up to the run's place: it was reset or restored, or this is \
         another server with the same server_id; start the run anew",
    )
    .with("position", at))
}

/// Another server: looks through its log up to the reader's place.
async fn took_over(control: &mut Control, config: &MySqlConfig, asked: Asked<'_>) -> Result<()> {
    if asked.domains.is_empty() {
        return Err(Error::new(
            ErrorKind::Gap,
            "this is another server than the one the run began with, and nothing shows that it has the same rows: \
             point the run at the first one, or start it anew",
        ));
    }
    let end = end_of_log(control).await?;
    let begin = file_before(control, asked.domains).await?;
    tracing::info!(
        server = asked.server,
        file = begin.file(),
        "another server took over: looking through its log"
    );
    let request = Request { server_id: asked.id, heartbeat: config.heartbeat(), from: From::File(begin) };
    let mut dump = Connection::connect(config).await?.dump(&request).await?;
    let mut survey = Survey::new(asked, end);
    loop {
        let mut consumed = 0;
        while let Some(range) = dump.next()? {
            consumed = range.end;
            if survey.event(dump.buffer(), range)? {
                return Ok(());
            }
        }
        drop(dump.split(consumed));
        dump.fill().await?;
    }
}

/// The newest file that begins before the reader's place in each domain.
async fn file_before(control: &mut Control, have: &Domains) -> Result<FilePoint> {
    for file in files(control).await?.iter().rev() {
        // The third event at the latest; a file has it since there are GTIDs.
        let sql = format!("SHOW BINLOG EVENTS IN {} LIMIT 3", quote_literal(file.file()));
        let rows: Vec<Row> = control.query(sql).await.during("changes.takeover")?;
        let list = rows
            .iter()
            .find(|row| row.get::<String, _>(2).is_some_and(|kind| kind == "Gtid_list"))
            .and_then(|row| row.get::<String, _>(5))
            .ok_or_else(|| crate::error::protocol("a file of the log does not tell what came before it"))?;
        let before: Domains = list.trim_matches(['[', ']']).parse()?;
        let early = |last: MariaGtid| before.last(last.domain) == Some(last) || !before.has(last);
        if have.iter().all(early) {
            return FilePoint::new(file.file(), FIRST);
        }
    }
    Err(purged_away())
}

/// A log that is looked through.
struct Survey<'a> {
    asked: Asked<'a>,
    decoder: Decoder,
    place: Place,
    /// Where the log ended when we began: the reader's place is before it.
    end: FilePoint,
    /// The domains whose place was found.
    found: BTreeSet<u32>,
}

impl<'a> Survey<'a> {
    fn new(asked: Asked<'a>, end: FilePoint) -> Self {
        let decoder = Decoder::new(&Schema::default(), asked.checksums);
        Self { asked, decoder, place: Place::new(asked.from, asked.server), end, found: BTreeSet::new() }
    }

    /// Reads an event; whether all places are found.
    fn event(&mut self, buffer: &[u8], range: Range<usize>) -> Result<bool> {
        // No table is the run's, so no row is decoded.
        let (header, step) = self.decoder.decode(buffer, range, &mut Assembler::new())?;
        let mut silent = false;
        match step {
            Step::Event(Event::Rotate { file, offset }) => self.place.rotate(&file, offset)?,
            Step::Event(Event::Heartbeat { .. }) => silent = true,
            Step::Event(Event::Maria(transaction)) => self.transaction(transaction.id)?,
            Step::Event(Event::GtidList(list)) => {
                list.into_iter().try_for_each(|gtid| self.transaction(gtid))?
            }
            _ => {}
        }
        if header.kind != kind::ROTATE {
            self.place.advance(&header)?;
        }
        if self.asked.domains.iter().all(|last| self.found.contains(&last.domain)) {
            return Ok(true);
        }
        let at_end = |at: &FilePoint| at.partial_cmp(&self.end).is_none_or(Ordering::is_ge);
        if silent || self.place.file().is_some_and(at_end) {
            return Err(purged_away());
        }
        Ok(false)
    }

    /// A transaction of this log, or what came before a file of it: of each
    /// domain the last one comes last.
    fn transaction(&mut self, gtid: MariaGtid) -> Result<()> {
        if self.found.contains(&gtid.domain) {
            return Ok(());
        }
        let errant = match self.asked.domains.last(gtid.domain) {
            Some(last) if last == gtid => {
                self.found.insert(gtid.domain);
                false
            }
            Some(_) => !self.asked.domains.has(gtid),
            // A domain that came up later; but what this server has written
            // itself by now, it has written beside replication.
            None => gtid.server == self.asked.server,
        };
        if errant {
            return Err(Error::new(
                ErrorKind::Gap,
                "this server's log has a transaction before the run's place that the log which was read had not: \
                 somebody wrote to it before it took over; start the run anew",
            )
            .with("transaction", gtid)
            .with("position", self.asked.domains));
        }
        Ok(())
    }
}
