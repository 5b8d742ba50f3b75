//! XA transactions that are prepared and not decided.
//!
//! Their rows come with XA PREPARE, under a name of their own in the log; XA
//! COMMIT or XA ROLLBACK comes later, with other transactions in between,
//! maybe after the server or the reader was started again. The events are kept
//! as they came, and decoded when it is decided that they count.

use bytes::BytesMut;
use hashbrown::HashMap;
use zdm_core::{Error, ErrorKind, Result};

use super::event::{HEADER, XaId};
use super::reader::broken;
use crate::position::Low;

/// The events of one XA transaction that concern the run, without checksums,
/// one behind the other.
#[derive(Debug, Default)]
pub(super) struct Events {
    bytes: BytesMut,
    /// Whether there is more in it than descriptions of tables.
    rows: bool,
}

/// How much of them there was at some moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    bytes: usize,
    rows: bool,
}

impl Events {
    /// How much of them there is.
    pub(super) fn kept(&self) -> Kept {
        Kept { bytes: self.bytes.len(), rows: self.rows }
    }

    /// Whether it has rows of the run's tables.
    pub(super) fn has_rows(&self) -> bool {
        self.rows
    }

    /// Adds an event that has no checksum any more.
    fn add(&mut self, event: &[u8], rows: bool) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(event);
        // Its header must say how long it is now.
        let size = u32::try_from(event.len()).map_err(|_| broken("it is too long"))?;
        let place = self.bytes.get_mut(start + 9..start + 13).ok_or_else(|| broken("it has no header"))?;
        place.copy_from_slice(&size.to_le_bytes());
        self.rows |= rows;
        Ok(())
    }

    /// Takes the next event out and appends it to `into`: where it lies there.
    pub(super) fn next(&mut self, into: &mut BytesMut) -> Option<std::ops::Range<usize>> {
        let size = self.bytes.get(9..13)?.try_into().ok().map(u32::from_le_bytes)?;
        let size = usize::try_from(size).ok().filter(|size| (HEADER..=self.bytes.len()).contains(size))?;
        let start = into.len();
        into.extend_from_slice(&self.bytes.split_to(size));
        Some(start..into.len())
    }
}

/// All that are undecided at a place in the log.
#[derive(Debug)]
pub(super) struct Aside {
    /// With what must be read again for it, in the order of the log.
    prepared: HashMap<XaId, (u64, Events, Low)>,
    count: u64,
    bytes: u64,
    limit: u64,
}

impl Aside {
    pub(super) fn new(limit: u64) -> Self {
        Self { prepared: HashMap::new(), count: 0, bytes: 0, limit }
    }

    /// Keeps an event of a transaction that is not prepared yet.
    ///
    /// # Errors
    /// `Unsupported` beyond the limit.
    pub(super) fn keep(&mut self, events: &mut Events, event: &[u8], rows: bool) -> Result<()> {
        self.bytes += event.len() as u64;
        if self.bytes > self.limit {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the XA transactions that are prepared and not decided have more rows than may be kept in memory: \
                 decide them (XA RECOVER lists them), or raise undecided_limit",
            )
            .with("undecided_limit", self.limit));
        }
        events.add(event, rows)
    }

    /// What came since that moment does not count.
    pub(super) fn cut(&mut self, events: &mut Events, kept: Kept) {
        self.release(events);
        events.bytes.truncate(kept.bytes);
        events.rows = kept.rows;
        self.bytes += events.bytes.len() as u64;
    }

    /// It is prepared: from here on it waits for its decision.
    pub(super) fn prepare(&mut self, id: XaId, events: Events, low: Low) {
        self.count += 1;
        // One that was read before, and comes again.
        if let Some((_, known, _)) = self.prepared.insert(id, (self.count, events, low)) {
            self.bytes -= known.bytes.len() as u64;
        }
    }

    /// Its events are of no more use, or are taken to be decoded.
    pub(super) fn release(&mut self, events: &Events) {
        self.bytes -= events.bytes.len() as u64;
    }

    /// It is decided. `None` for one that has no row of the run's, or was
    /// prepared before the stream's start, which has waited for it.
    pub(super) fn decide(&mut self, id: &XaId) -> Option<Events> {
        let (_, events, _) = self.prepared.remove(id)?;
        self.release(&events);
        Some(events)
    }

    /// What must be read again by who goes on from here.
    pub(super) fn low(&self) -> Option<Low> {
        let mut all: Vec<&(u64, Events, Low)> = self.prepared.values().collect();
        all.sort_by_key(|(order, ..)| *order);
        let mut lows = all.into_iter().map(|(_, _, low)| low);
        let mut low = lows.next()?.clone();
        for next in lows {
            // Of the others the oldest is before them all.
            if let (Low::Set(all), Low::Set(next)) = (&mut low, next) {
                all.unite(next);
            }
        }
        Some(low)
    }
}

/// Reads the id that `XA COMMIT X'6162',X'',1` names, as the server writes it:
/// both parts in hexadecimal, then the format.
pub(super) fn named(statement: &str) -> Option<XaId> {
    let mut words = statement.split_ascii_whitespace();
    let id = words.nth(2)?;
    let mut parts = id.split(',');
    let mut part = || hex(parts.next()?.strip_prefix("X'")?.strip_suffix('\'')?);
    let (global, branch) = (part()?, part()?);
    let format = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(XaId { format, global, branch })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let pairs = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    pairs.chunks(2).map(|pair| u8::try_from(pair.first()? << 4 | pair.get(1)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &[u8]) -> XaId {
        XaId { format: 1, global: name.to_vec(), branch: Vec::new() }
    }

    fn event(len: usize) -> Vec<u8> {
        vec![7; len]
    }

    #[test]
    fn an_id_is_read_as_the_server_writes_it() {
        assert_eq!(named("XA COMMIT X'6162',X'',1"), Some(id(b"ab")));
        let odd = named("XA ROLLBACK X'00ff',X'2c27',-5").unwrap();
        assert_eq!((odd.format, odd.global, odd.branch), (-5, vec![0, 255], b",'".to_vec()));
        for text in [
            "XA COMMIT 'ab'",
            "XA COMMIT X'6',X'',1",
            "XA COMMIT X'61',X'',1,2",
            "XA COMMIT",
            "",
            "XA COMMIT X'zz',X'',1",
        ] {
            assert_eq!(named(text), None, "{text}");
        }
    }

    #[test]
    fn events_come_back_in_order() {
        let (mut aside, mut events) = (Aside::new(100), Events::default());
        aside.keep(&mut events, &event(20), false).unwrap();
        assert!(!events.has_rows());
        aside.keep(&mut events, &event(30), true).unwrap();
        aside.prepare(id(b"a"), events, Low::Domains("0-1-2".parse().unwrap()));
        assert_eq!(aside.low().unwrap().to_string(), "0-1-2");
        let mut events = aside.decide(&id(b"a")).unwrap();
        assert!(aside.decide(&id(b"a")).is_none() && aside.low().is_none());
        let mut all = BytesMut::from(&b"before"[..]);
        assert_eq!(events.next(&mut all), Some(6..26));
        assert_eq!(events.next(&mut all), Some(26..56));
        assert_eq!(events.next(&mut all), None);
        assert_eq!(all[26 + 9..26 + 13], 30_u32.to_le_bytes());
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut aside = Aside::new(50);
        for _ in 0..3 {
            let mut events = Events::default();
            aside.keep(&mut events, &event(40), true).unwrap();
            let error = aside.keep(&mut Events::default(), &event(20), true).unwrap_err();
            assert!(error.to_string().contains("undecided_limit"), "{error}");
            aside.bytes -= 20;
            aside.prepare(id(b"a"), events, Low::Domains("0-1-2".parse().unwrap()));
            aside.decide(&id(b"a")).unwrap();
        }
        assert_eq!(aside.bytes, 0);
    }

    #[test]
    fn what_is_rolled_back_is_kept_no_longer() {
        let (mut aside, mut events) = (Aside::new(100), Events::default());
        aside.keep(&mut events, &event(20), false).unwrap();
        let kept = events.kept();
        aside.keep(&mut events, &event(30), true).unwrap();
        aside.cut(&mut events, kept);
        assert!(!events.has_rows() && aside.bytes == 20);
        assert_eq!(events.next(&mut BytesMut::new()), Some(0..20));
    }

    #[test]
    fn all_undecided_gtids_are_read_again() {
        let mut aside = Aside::new(50);
        for (name, gtid) in [(b"a", ":7"), (b"b", ":9")] {
            let set = format!("3e11fa47-71ca-11e1-9e33-c80aa9429562{gtid}").parse().unwrap();
            aside.prepare(id(name), Events::default(), Low::Set(set));
        }
        assert!(aside.low().unwrap().to_string().ends_with(":7:9"));
    }
}
