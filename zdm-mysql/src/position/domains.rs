//! MariaDB's GTID positions: the last transactions of each domain.
//!
//! <https://mariadb.com/docs/server/ha-and-performance/standard-replication/gtid>

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use zdm_core::{Error, Result};

use super::coordinates::plain;
use super::strange;

/// One transaction: `domain-server-number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MariaGtid {
    pub(crate) domain: u32,
    pub(crate) server: u32,
    pub(crate) number: u64,
}

/// What a log has of each domain up to a place: the last transaction, and the
/// last one of each other server that has written to the domain.
///
/// The last one is the position: it says where a reader goes on. The others
/// say which transactions lie before it, so that another server's log can be
/// compared with the one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Domains(BTreeMap<u32, Domain>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Domain {
    server: u32,
    number: u64,
    /// The last numbers of other servers.
    others: BTreeMap<u32, u64>,
}

impl Domains {
    /// Whether there is no transaction yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last transaction of each domain, by domain.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MariaGtid> {
        self.0.iter().map(|(domain, of)| MariaGtid { domain: *domain, server: of.server, number: of.number })
    }

    /// The last transaction of a domain.
    pub(crate) fn last(&self, domain: u32) -> Option<MariaGtid> {
        self.0.get(&domain).map(|of| MariaGtid { domain, server: of.server, number: of.number })
    }

    /// The last number of a domain that a server has written.
    pub(crate) fn number(&self, domain: u32, server: u32) -> Option<u64> {
        let of = self.0.get(&domain)?;
        if of.server == server { Some(of.number) } else { of.others.get(&server).copied() }
    }

    /// Whether all of a server's transactions up to this one are before here.
    pub(crate) fn has(&self, gtid: MariaGtid) -> bool {
        self.number(gtid.domain, gtid.server).is_some_and(|number| number >= gtid.number)
    }

    /// That transaction is now the last one of its domain.
    pub(crate) fn advance(&mut self, gtid: MariaGtid) {
        let MariaGtid { domain, server, number } = gtid;
        match self.0.get_mut(&domain) {
            None => {
                self.0.insert(domain, Domain { server, number, others: BTreeMap::new() });
            }
            Some(of) => {
                if of.server != server {
                    of.others.remove(&server);
                    of.others.insert(of.server, of.number);
                    of.server = server;
                }
                of.number = number;
            }
        }
    }

    /// Whether a reader that is here has everything up to `goal`: numbers grow
    /// within a domain, whichever server wrote them.
    pub(crate) fn reached(&self, goal: &Self) -> bool {
        goal.0.iter().all(|(domain, of)| self.0.get(domain).is_some_and(|have| have.number >= of.number))
    }

    /// The last transaction of each domain alone, as a server asks for it.
    pub(crate) fn position(&self) -> String {
        let last: Vec<_> = self.iter().map(|gtid| gtid.to_string()).collect();
        last.join(",")
    }
}

impl FromStr for Domains {
    type Err = Error;

    /// Of each domain the last one is the position, as in `gtid_binlog_state`.
    fn from_str(text: &str) -> Result<Self> {
        let mut domains = Self::default();
        for gtid in text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
            let gtid: MariaGtid = gtid.parse()?;
            if domains.number(gtid.domain, gtid.server).is_some() {
                return Err(strange("a domain has a server twice"));
            }
            domains.advance(gtid);
        }
        Ok(domains)
    }
}

impl fmt::Display for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mark = "";
        for (domain, of) in &self.0 {
            for (server, number) in of.others.iter().chain([(&of.server, &of.number)]) {
                write!(f, "{mark}{domain}-{server}-{number}")?;
                mark = ",";
            }
        }
        Ok(())
    }
}

impl FromStr for MariaGtid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or_else(|| strange("a gtid has too few parts"));
        let (domain, server, number) = (plain(part()?)?, plain(part()?)?, plain(part()?)?);
        if parts.next().is_some() {
            return Err(strange("a gtid has too many parts"));
        }
        Ok(Self { domain, server, number })
    }
}

impl fmt::Display for MariaGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.number)
    }
}
