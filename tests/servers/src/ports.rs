//! Finds ports on the loopback for servers that must come back on the same one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Error, Result};

/// A port that nobody listens on.
///
/// It is below the range from which systems take the ports of outgoing
/// connections (Linux: 32768 and up): a server that is stopped and started
/// again would find one of those taken sooner or later.
pub(crate) fn free() -> Result<u16> {
    for _ in 0..1000 {
        // The remainder is below 22000: it fits, and so does the sum.
        let offset = u16::try_from(RandomState::new().hash_one(0) % 22_000).unwrap_or_default();
        let port = 10_000 + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new("finding a free port").because("a thousand ports between 10000 and 32000 are taken"))
}
