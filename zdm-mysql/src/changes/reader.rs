//! The bytes of one event, read from front to back. Everything is checked
//! against the event's end, so no byte from a socket can make us panic.

use zdm_core::{Error, ErrorKind, Result};

/// What is left of an event.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Where the first byte of `rest` lies in the buffer that cells point into.
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of bytes that lie at `at` of a buffer.
    #[inline]
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { rest: bytes, at }
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(too_short)?;
        self.rest = rest;
        self.at += len;
        Ok(taken)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(too_short)?;
        self.rest = rest;
        self.at += N;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(super) fn u48(&mut self) -> Result<u64> {
        self.array().map(|[a, b, c, d, e, f]| u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    pub(super) fn u56(&mut self) -> Result<u64> {
        self.array().map(|[a, b, c, d, e, f, g]| u64::from_le_bytes([a, b, c, d, e, f, g, 0]))
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length-encoded integer of the protocol.
    ///
    /// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html>
    pub(super) fn packed(&mut self) -> Result<u64> {
        match self.u8()? {
            0xfc => self.u16().map(u64::from),
            0xfd => self.array().map(|[a, b, c]| u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0])),
            0xfe => self.u64(),
            0xfb | 0xff => Err(broken("a length is out of shape")),
            small => Ok(small.into()),
        }
    }

    /// A length-encoded integer that counts bytes of this event.
    pub(super) fn packed_len(&mut self) -> Result<usize> {
        usize::try_from(self.packed()?).map_err(|_| too_short())
    }

    /// That many characters.
    pub(super) fn text(&mut self, len: usize) -> Result<&'a str> {
        std::str::from_utf8(self.take(len)?).map_err(|_| broken("a name is not UTF-8"))
    }

    /// The rest as it is.
    #[inline]
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Where the next byte lies in the buffer that cells point into.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

#[cold]
fn too_short() -> Error {
    broken("it ends too early")
}

/// An event that is not what the documentation says.
#[cold]
pub(super) fn broken(what: &str) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!(
            "the log has an event that cannot be read: {what}; please report it with the server's version"
        ),
    )
}
