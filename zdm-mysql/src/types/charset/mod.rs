//! The server's character sets, decoded as the server itself converts them.
//!
//! Text lies in the log in its column's character set, and the snapshot asks
//! the server for the same bytes (`character_set_results = NULL`), so both
//! pass here, and a byte that is no character is an error, not a `?`.
//!
//! Single-byte sets are tables taken from a server. The sets of East Asia go
//! through `encoding_rs`, corrected where a comparison of every two- and
//! three-byte sequence with a server showed a difference. `swe7` and
//! `gb18030` are refused by name: the former is not ASCII, and nobody compared
//! the latter.

mod single;

use std::borrow::Cow;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GBK, SHIFT_JIS};

/// A character set that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charset {
    /// Its index in [`CHARSETS`].
    index: u8,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Ascii,
    Utf8,
    Utf16 {
        little: bool,
    },
    Utf32,
    Single(&'static [u16; 128]),
    /// Exactly as `encoding_rs` does.
    Wide(&'static Encoding),
    /// With characters of the server's own.
    Mended(&'static Encoding, &'static [(&'static [u8], char)]),
}

/// Name, bytes of the longest character, and how it is read.
const CHARSETS: &[(&str, u8, How)] = &[
    ("utf8mb4", 4, How::Utf8),
    ("utf8mb3", 3, How::Utf8),
    ("ascii", 1, How::Ascii),
    ("latin1", 1, How::Single(&single::LATIN1)),
    ("latin2", 1, How::Single(&single::LATIN2)),
    ("latin5", 1, How::Single(&single::LATIN5)),
    ("latin7", 1, How::Single(&single::LATIN7)),
    ("cp1250", 1, How::Single(&single::CP1250)),
    ("cp1251", 1, How::Single(&single::CP1251)),
    ("cp1256", 1, How::Single(&single::CP1256)),
    ("cp1257", 1, How::Single(&single::CP1257)),
    ("cp850", 1, How::Single(&single::CP850)),
    ("cp852", 1, How::Single(&single::CP852)),
    ("cp866", 1, How::Single(&single::CP866)),
    ("koi8r", 1, How::Single(&single::KOI8R)),
    ("koi8u", 1, How::Single(&single::KOI8U)),
    ("greek", 1, How::Single(&single::GREEK)),
    ("hebrew", 1, How::Single(&single::HEBREW)),
    ("tis620", 1, How::Single(&single::TIS620)),
    ("armscii8", 1, How::Single(&single::ARMSCII8)),
    ("geostd8", 1, How::Single(&single::GEOSTD8)),
    ("keybcs2", 1, How::Single(&single::KEYBCS2)),
    ("macce", 1, How::Single(&single::MACCE)),
    ("macroman", 1, How::Single(&single::MACROMAN)),
    ("dec8", 1, How::Single(&single::DEC8)),
    ("hp8", 1, How::Single(&single::HP8)),
    ("ucs2", 2, How::Utf16 { little: false }),
    ("utf16", 4, How::Utf16 { little: false }),
    ("utf16le", 4, How::Utf16 { little: true }),
    ("utf32", 4, How::Utf32),
    ("gbk", 2, How::Wide(GBK)),
    ("cp932", 2, How::Wide(SHIFT_JIS)),
    ("euckr", 2, How::Wide(EUC_KR)),
    ("gb2312", 2, How::Mended(GBK, &[(b"\xA1\xA4", '\u{30fb}'), (b"\xA1\xAA", '\u{2015}')])),
    (
        "sjis",
        2,
        How::Mended(
            SHIFT_JIS,
            &[
                (b"\x81\x5F", '\\'),
                (b"\x81\x60", '\u{301c}'),
                (b"\x81\x61", '\u{2016}'),
                (b"\x81\x7C", '\u{2212}'),
                (b"\x81\x91", '\u{a2}'),
                (b"\x81\x92", '\u{a3}'),
                (b"\x81\xCA", '\u{ac}'),
            ],
        ),
    ),
    (
        "ujis",
        3,
        How::Mended(
            EUC_JP,
            &[
                (b"\xA1\xC0", '\\'),
                (b"\xA1\xC1", '\u{301c}'),
                (b"\xA1\xC2", '\u{2016}'),
                (b"\xA1\xDD", '\u{2212}'),
                (b"\xA1\xF1", '\u{a2}'),
                (b"\xA1\xF2", '\u{a3}'),
                (b"\xA2\xCC", '\u{ac}'),
                (b"\x8F\xA2\xB7", '~'),
            ],
        ),
    ),
    ("eucjpms", 3, How::Mended(EUC_JP, &[(b"\x8F\xA2\xC3", '\u{ffe4}')])),
    (
        "big5",
        2,
        How::Mended(
            BIG5,
            &[
                (b"\xA1\x45", '\u{2022}'),
                (b"\xA1\x4E", '\u{ff64}'),
                (b"\xA1\xC2", '\u{203e}'),
                (b"\xA1\xE3", '\u{223c}'),
                (b"\xA1\xF2", '\u{2641}'),
                (b"\xA1\xF3", '\u{2609}'),
                (b"\xA2\x41", '\u{ff0f}'),
                (b"\xA2\x42", '\u{ff3c}'),
                (b"\xA2\x44", '\u{a5}'),
                (b"\xA2\x46", '\u{a2}'),
                (b"\xA2\x47", '\u{a3}'),
            ],
        ),
    ),
];

impl Charset {
    /// By the name that the catalog gives it; `utf8` is `utf8mb3`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        let name = if name == "utf8" { "utf8mb3" } else { name };
        let index = CHARSETS.iter().position(|(known, ..)| *known == name)?;
        Some(Self { index: u8::try_from(index).ok()? })
    }

    /// A number above 0 that [`from_code`](Self::from_code) reads.
    pub(super) fn code(self) -> u8 {
        self.index + 1
    }

    #[inline]
    pub(super) fn from_code(code: u8) -> Option<Self> {
        let index = code.checked_sub(1)?;
        (usize::from(index) < CHARSETS.len()).then_some(Self { index })
    }

    /// Bytes of its longest character, which a column's length is counted in.
    pub(crate) fn widest(self) -> u8 {
        self.entry().1
    }

    /// Whether its characters are in UTF-8 as they are.
    #[inline]
    pub(super) fn is_utf8(self) -> bool {
        matches!(self.entry().2, How::Utf8)
    }

    /// The characters; `None` where bytes are none.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self.entry().2 {
            How::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            How::Ascii => ascii(bytes).map(Cow::Borrowed),
            How::Single(_) | How::Wide(_) | How::Mended(..) if bytes.is_ascii() => {
                ascii(bytes).map(Cow::Borrowed)
            }
            How::Single(upper) => {
                bytes.iter().map(|byte| single(upper, *byte)).collect::<Option<_>>().map(Cow::Owned)
            }
            How::Wide(encoding) => encoding.decode_without_bom_handling_and_without_replacement(bytes),
            How::Mended(encoding, own) => mended(encoding, own, bytes).map(Cow::Owned),
            How::Utf16 { little } => utf16(bytes, little).map(Cow::Owned),
            How::Utf32 => utf32(bytes).map(Cow::Owned),
        }
    }

    #[inline]
    fn entry(self) -> &'static (&'static str, u8, How) {
        // OK because both constructors check it.
        &CHARSETS[usize::from(self.index)]
    }
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    if bytes.is_ascii() { std::str::from_utf8(bytes).ok() } else { None }
}

fn single(upper: &[u16; 128], byte: u8) -> Option<char> {
    match byte.checked_sub(128) {
        None => Some(char::from(byte)),
        // OK because what is left of a byte is below 128.
        Some(at) => char::from_u32(u32::from(upper[usize::from(at)])).filter(|c| *c != '\0'),
    }
}

/// Character by character, the server's own ones first.
fn mended(encoding: &'static Encoding, own: &[(&[u8], char)], mut bytes: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(bytes.len() * 2);
    while let Some(lead) = bytes.first() {
        let len = match lead {
            0..0x80 => 1,
            0x8F if encoding == EUC_JP => 3,
            // Half-width kana.
            0xA1..=0xDF if encoding == SHIFT_JIS => 1,
            _ => 2,
        };
        let (character, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        if let Some((_, mended)) = own.iter().find(|(own, _)| *own == character) {
            out.push(*mended);
        } else if encoding == EUC_JP
            && let Some(user) = eudc(character)
        {
            out.push(user);
        } else if encoding == BIG5 && (&b"\xC6\xA1"[..]..=&b"\xC8\xFE"[..]).contains(&character) {
            // Extensions of ETEN, which the server reads in a way of its own.
            return None;
        } else {
            out.push_str(&encoding.decode_without_bom_handling_and_without_replacement(character)?);
        }
    }
    Some(out)
}

/// A character that users of EUC-JP define: 940 in each plane.
fn eudc(character: &[u8]) -> Option<char> {
    let (base, row, cell) = match *character {
        [row, cell] => (0xE000, row, cell),
        [0x8F, row, cell] => (0xE3AC, row, cell),
        _ => return None,
    };
    if row < 0xF5 || row == 0xFF || !(0xA1..=0xFE).contains(&cell) {
        return None;
    }
    char::from_u32(base + u32::from(row - 0xF5) * 94 + u32::from(cell - 0xA1))
}

fn utf16(bytes: &[u8], little: bool) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units =
        units.iter().map(|unit| if little { u16::from_le_bytes(*unit) } else { u16::from_be_bytes(*unit) });
    rest.is_empty().then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok())?
}

fn utf32(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str, bytes: &[u8]) -> Option<String> {
        Charset::by_name(name).unwrap().decode(bytes).map(Cow::into_owned)
    }

    /// What `CONVERT(_name x'…' USING utf8mb4)` gives on a server.
    #[test]
    fn text_as_the_server_converts_it() {
        for (name, bytes, text) in [
            ("latin1", &b"\x80\x81\xe9"[..], Some("€\u{81}é")),
            ("cp1250", b"\x8a\x81", None),
            ("cp866", b"\xfc", Some("ⁿ")),
            ("ascii", b"\x80", None),
            ("utf16", b"\xd8\x3d\xde\x00\x00a", Some("😀a")),
            ("utf16le", b"a\x00", Some("a")),
            ("utf16", b"\xd8\x3d", None),
            ("ucs2", b"a", None),
            ("utf32", b"\x00\x01\xf6\x00", Some("😀")),
            ("gbk", b"\xc4\xe3a", Some("你a")),
            ("gb2312", b"\xa1\xaa", Some("―")),
            ("sjis", b"\x81\x5f\xb1a", Some("\\ｱa")),
            ("cp932", b"\x81\x60", Some("～")),
            ("ujis", b"\xa1\xc1\x8e\xb1", Some("〜ｱ")),
            ("eucjpms", b"\xf5\xa1\x8f\xf5\xa1", Some("\u{e000}\u{e3ac}")),
            ("euckr", b"\xb0\xa1", Some("가")),
            ("big5", b"\xa4\xa4\xa2\x46", Some("中¢")),
            ("big5", b"\xc6\xa1", None),
            ("utf8mb4", b"\xff", None),
        ] {
            assert_eq!(of(name, bytes).as_deref(), text, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, code: u8) {
            if let Some(charset) = Charset::from_code(code) {
                let _ = charset.decode(&bytes);
            }
        }
    }
}
