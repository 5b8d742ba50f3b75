//! Numbers and texts in a packet or an event, in order, never beyond its end.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html>

use zdm_core::{Error, Result};

use crate::error;

/// Walks bytes from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<()> {
        self.bytes(count).map(|_| ())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u24(&mut self) -> Result<u32> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Up to a zero byte, which is taken as well.
    pub(crate) fn until_zero(&mut self) -> Result<&'a [u8]> {
        let end = self.0.iter().position(|b| *b == 0).ok_or_else(short)?;
        let taken = self.bytes(end)?;
        self.skip(1)?;
        Ok(taken)
    }

    /// A length-encoded number; `None` stands for null.
    pub(crate) fn lenenc(&mut self) -> Result<Option<u64>> {
        Ok(Some(match self.u8()? {
            small @ 0..=250 => small.into(),
            251 => return Ok(None),
            252 => self.u16()?.into(),
            253 => self.u24()?.into(),
            254 => self.u64()?,
            255 => return Err(error::protocol("a number in a packet is out of shape")),
        }))
    }

    /// Bytes behind their length-encoded count; `None` stands for null.
    pub(crate) fn lenenc_bytes(&mut self) -> Result<Option<&'a [u8]>> {
        match self.lenenc()? {
            Some(count) => usize::try_from(count).map_err(|_| short()).and_then(|n| self.bytes(n)).map(Some),
            None => Ok(None),
        }
    }
}

fn short() -> Error {
    error::protocol("a packet from the server ends too early")
}
