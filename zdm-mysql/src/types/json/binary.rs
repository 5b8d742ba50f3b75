//! The form in which MySQL stores JSON: a byte of kind, then the value;
//! containers have a table of keys and values in front, with offsets.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html>

/// One value, its parts not yet read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Json<'a> {
    Object(Container<'a>),
    Array(Container<'a>),
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(&'a str),
    /// A value of one of the server's other types, by its type byte.
    Opaque(u8, &'a [u8]),
}

/// An object or an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    /// From its count of elements on, which offsets are counted from.
    bytes: &'a [u8],
    pub(super) len: usize,
    /// Offsets are of 4 bytes, and not of 2.
    large: bool,
    /// Whether there are keys.
    keyed: bool,
}

impl<'a> Json<'a> {
    /// Reads a whole stored value. The server takes no bytes at all for null.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        match bytes.split_first() {
            None => Some(Self::Null),
            Some((kind, rest)) => Self::of_kind(*kind, rest),
        }
    }

    fn of_kind(kind: u8, bytes: &'a [u8]) -> Option<Self> {
        Some(match kind {
            0 => Self::Object(Container::read(bytes, false, true)?),
            1 => Self::Object(Container::read(bytes, true, true)?),
            2 => Self::Array(Container::read(bytes, false, false)?),
            3 => Self::Array(Container::read(bytes, true, false)?),
            4 => match bytes.first()? {
                0 => Self::Null,
                1 => Self::Bool(true),
                2 => Self::Bool(false),
                _ => return None,
            },
            5 => Self::Int(i16::from_le_bytes(*bytes.first_chunk()?).into()),
            6 => Self::UInt(u16::from_le_bytes(*bytes.first_chunk()?).into()),
            7 => Self::Int(i32::from_le_bytes(*bytes.first_chunk()?).into()),
            8 => Self::UInt(u32::from_le_bytes(*bytes.first_chunk()?).into()),
            9 => Self::Int(i64::from_le_bytes(*bytes.first_chunk()?)),
            10 => Self::UInt(u64::from_le_bytes(*bytes.first_chunk()?)),
            11 => Self::Double(f64::from_le_bytes(*bytes.first_chunk()?)),
            12 => Self::Text(std::str::from_utf8(sized(bytes)?).ok()?),
            15 => {
                let (kind, rest) = bytes.split_first()?;
                Self::Opaque(*kind, sized(rest)?)
            }
            _ => return None,
        })
    }

    /// Bytes that the value itself takes in the stored form, at least: for
    /// who guards against values that share theirs.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Opaque(_, data) => data.len(),
            _ => 0,
        }
    }
}

impl<'a> Container<'a> {
    fn read(bytes: &'a [u8], large: bool, keyed: bool) -> Option<Self> {
        let mut container = Self { bytes, len: 0, large, keyed };
        container.len = container.number(0)?;
        let size = container.number(container.width())?;
        container.bytes = bytes.get(..size)?;
        // The tables themselves must be there, so that no count is believed
        // that the bytes do not bear out.
        (container.values()? <= size).then_some(container)
    }

    /// Bytes of an offset or a count.
    fn width(&self) -> usize {
        if self.large { 4 } else { 2 }
    }

    /// Bytes in front of the table of values, plus that table.
    fn values(&self) -> Option<usize> {
        self.value_at(self.len)
    }

    fn value_at(&self, index: usize) -> Option<usize> {
        let keys = if self.keyed { self.len.checked_mul(self.width() + 2)? } else { 0 };
        index.checked_mul(self.width() + 1)?.checked_add(2 * self.width())?.checked_add(keys)
    }

    fn number(&self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        if self.large {
            usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()
        } else {
            Some(u16::from_le_bytes(*rest.first_chunk()?).into())
        }
    }

    /// The key of an object's element.
    pub(super) fn key(&self, index: usize) -> Option<&'a str> {
        let entry = index.checked_mul(self.width() + 2)?.checked_add(2 * self.width())?;
        let at = self.number(entry)?;
        let len = u16::from_le_bytes(*self.bytes.get(entry + self.width()..)?.first_chunk()?);
        std::str::from_utf8(self.bytes.get(at..at.checked_add(len.into())?)?).ok()
    }

    /// An element. Small ones lie in the table itself.
    pub(super) fn value(&self, index: usize) -> Option<Json<'a>> {
        let entry = self.value_at(index)?;
        let kind = *self.bytes.get(entry)?;
        let inlined = matches!(kind, 4..=6) || (self.large && matches!(kind, 7 | 8));
        let at = if inlined { entry + 1 } else { self.number(entry + 1)? };
        Json::of_kind(kind, self.bytes.get(at..)?)
    }
}

/// Data behind its length, of which each byte has seven bits.
fn sized(bytes: &[u8]) -> Option<&[u8]> {
    let mut len = 0_usize;
    for (nth, byte) in bytes.iter().enumerate().take(5) {
        len |= usize::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return bytes.get(nth + 1..(nth + 1).checked_add(len)?);
        }
    }
    None
}
