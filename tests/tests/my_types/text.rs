//! Texts in the servers' character sets.

use fastrand::Rng;

use super::columns::{Taste, one};

/// Each set with characters of its own: some whose octets hold a quote or a
/// backslash, some that other readers of the set take for another.
const CHARSETS: [(&str, &str); 22] = [
    ("utf8mb4", "aÄé漢🐘\u{200b}\u{fffd}ß"),
    ("utf8mb4", "aÄé漢🐘👩\u{200d}🔬e\u{301}"),
    ("utf8mb3", "aÄé漢ｱ\u{ffff}"),
    ("latin1", "aÄéÿ€ŽŸ\u{81}"),
    ("ascii", "abcXYZ~"),
    ("ucs2", "aé漢表"),
    ("utf16", "aé漢🐘"),
    ("utf16le", "aé漢🐘"),
    ("utf32", "aé漢🐘"),
    ("sjis", "aｱあ漢表ソ能〜−"),
    ("cp932", "aｱあ漢表①～－"),
    ("ujis", "aｱあ漢表〜"),
    ("eucjpms", "aｱあ漢表①"),
    ("gbk", "a漢字啊縗"),
    ("gb2312", "a汉字啊"),
    ("big5", "a漢字功許蓋"),
    ("euckr", "a한글漢"),
    ("latin2", "aľščťžŁ"),
    ("cp1251", "aПривет№"),
    ("koi8r", "aПривет█"),
    ("greek", "aαβγΏ"),
    ("hebrew", "aשלום"),
];

/// A character set and letters of it.
pub(crate) fn charset(rng: &mut Rng) -> (&'static str, &'static str) {
    // The usual one as often as all others.
    if rng.u8(..3) == 0 { CHARSETS[0] } else { one(rng, &CHARSETS) }
}

/// A literal of at most so many characters.
pub(crate) fn literal(rng: &mut Rng, alphabet: &str, most: usize, taste: Taste) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let odd = ['\'', '\\', '"', '\n', '\r', '\t', ' ', '%', '\u{1a}', '\0'];
    let random = rng.usize(..=most);
    let length = one(rng, &[0, 1, most, random, random]);
    let mut text: String = (0..length)
        .map(|_| if rng.u8(..5) == 0 { one(rng, &odd) } else { one(rng, &letters) })
        .filter(|c| taste != Taste::Held || *c != '\0')
        .collect();
    if !text.is_empty() && rng.u8(..4) == 0 {
        text.pop();
        text.push(' ');
    }
    quoted(&text)
}

/// Text as a literal.
pub(crate) fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0");
    format!("'{text}'")
}
