//! What statements and XA's own events do to the transaction that is open.

use zdm_core::change::{Assembler, Item};
use zdm_core::{Error, ErrorKind, Result};

use super::super::aside::{self, Events};
use super::super::event::{Header, Query, XaId};
use super::super::reader::broken;
use super::super::statement::Meaning;
use super::{Then, Walk};

impl Walk {
    pub(super) fn query(&mut self, header: &Header, query: &Query, batch: &mut Assembler) -> Result<Then> {
        let meaning = self.tables.meaning(query);
        let Some(open) = &mut self.open else {
            return match meaning {
                Meaning::Nothing => Ok(Then::Next),
                _ => Err(broken("a statement outside a transaction")),
            };
        };
        match meaning {
            Meaning::Begin => open.block = true,
            Meaning::XaStart => {
                open.block = true;
                open.aside = Some(Events::default());
            }
            Meaning::Commit => self.commit(header, batch)?,
            Meaning::Rollback => self.rolled_back(header, batch)?,
            Meaning::Savepoint(name) => self.save(name, batch),
            Meaning::RollbackTo(name) => self.rolled_back_to(name.as_ref(), batch)?,
            Meaning::XaCommit | Meaning::XaRollback => {
                let id = open.decides.take().or_else(|| aside::named(&query.text));
                let id =
                    id.ok_or_else(|| broken("an XA transaction is decided that has no readable name"))?;
                let (had, events) = (open.had, self.aside.decide(&id));
                match events {
                    Some(events) if meaning == Meaning::XaCommit && !had => {
                        return Ok(self.decide(events, batch));
                    }
                    _ => self.end()?,
                }
            }
            _ if open.had => self.statement_ends()?,
            Meaning::Nothing => self.statement_ends()?,
            Meaning::Truncate(tables) => {
                let block = open.block;
                open.added += 1;
                self.tell_begin(batch);
                batch.item(Item::Truncate { tables: tables.into() });
                if !block {
                    self.commit(header, batch)?;
                }
            }
            Meaning::Changes(table) => {
                return Err(Error::new(
                    ErrorKind::SchemaChanged,
                    "a statement may have changed a table of the run: drop the run and start it anew",
                )
                .with("table", table)
                .with("statement", shortened(&query.text)));
            }
            Meaning::NotAsRows => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "a change was logged as a statement and not as rows: set binlog_format=ROW for every session, \
                     and start the run anew",
                )
                .with("statement", shortened(&query.text)));
            }
        }
        Ok(Then::Next)
    }

    /// Outside a block, one statement is a transaction.
    fn statement_ends(&mut self) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| !open.block) { self.end() } else { Ok(()) }
    }

    pub(super) fn prepared(
        &mut self,
        header: &Header,
        id: XaId,
        one_phase: bool,
        batch: &mut Assembler,
    ) -> Result<Then> {
        let Some(open) = &mut self.open else { return Err(broken("an XA PREPARE outside a transaction")) };
        let Some(events) = open.aside.take() else {
            // Nothing was kept: it was a plain transaction up to here.
            return if one_phase {
                self.commit(header, batch).map(|()| Then::Next)
            } else {
                Err(broken("an XA PREPARE without an XA START"))
            };
        };
        if !events.has_rows() || (one_phase && open.had) {
            self.aside.release(&events);
            self.end()?;
        } else if one_phase {
            self.aside.release(&events);
            return Ok(self.decide(events, batch));
        } else {
            let low = self.place.low(&open.name, &open.begins)?;
            self.aside.prepare(id, events, low);
            self.end()?;
        }
        Ok(Then::Next)
    }

    /// The rows that were kept count now.
    fn decide(&mut self, events: Events, batch: &mut Assembler) -> Then {
        self.tell_begin(batch);
        Then::Decide(events)
    }
}

/// The beginning of a statement, to be shown. It may hold values: as little as
/// tells which one it is.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
