//! MariaDB's GTID positions: the last transaction of each domain.
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

/// The last transaction of each domain, sorted by domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Domains(BTreeMap<u32, (u32, u64)>);

impl Domains {
    /// Whether there is no transaction yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The transactions, by domain.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MariaGtid> {
        self.0.iter().map(|(domain, (server, number))| MariaGtid {
            domain: *domain,
            server: *server,
            number: *number,
        })
    }

    /// The last transaction of a domain.
    pub(crate) fn last(&self, domain: u32) -> Option<MariaGtid> {
        self.0.get(&domain).map(|(server, number)| MariaGtid { domain, server: *server, number: *number })
    }

    /// That transaction is now the last one of its domain.
    pub(crate) fn advance(&mut self, gtid: MariaGtid) {
        self.0.insert(gtid.domain, (gtid.server, gtid.number));
    }

    /// Whether a reader that is here has everything up to `goal`: numbers grow
    /// within a domain, whichever server wrote them.
    pub(crate) fn reached(&self, goal: &Self) -> bool {
        goal.0.iter().all(|(domain, (_, number))| self.0.get(domain).is_some_and(|(_, have)| have >= number))
    }
}

impl FromStr for Domains {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut domains = Self::default();
        for gtid in text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
            let gtid: MariaGtid = gtid.parse()?;
            if domains.0.contains_key(&gtid.domain) {
                return Err(strange("a domain is there twice"));
            }
            domains.advance(gtid);
        }
        Ok(domains)
    }
}

impl fmt::Display for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (domain, (server, number))) in self.0.iter().enumerate() {
            let mark = if at == 0 { "" } else { "," };
            write!(f, "{mark}{domain}-{server}-{number}")?;
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
