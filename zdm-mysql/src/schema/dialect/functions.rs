//! Which texts MySQL and MariaDB read alike: by the functions that they call
//! and the words that only one of them knows.

use std::ops::Range;

/// Functions of both servers that give the same for the same.
///
/// <https://dev.mysql.com/doc/refman/8.4/en/built-in-function-reference.html>,
/// <https://mariadb.com/kb/en/built-in-functions/>
const SHARED: &[&str] = &[
    "abs",
    "ascii",
    "bin",
    "bit_count",
    "bit_length",
    "ceil",
    "ceiling",
    "char",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "conv",
    "crc32",
    "curdate",
    "current_date",
    "current_time",
    "current_timestamp",
    "curtime",
    "date",
    "date_add",
    "date_format",
    "date_sub",
    "datediff",
    "day",
    "dayname",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "elt",
    "field",
    "find_in_set",
    "floor",
    "from_days",
    "greatest",
    "hex",
    "hour",
    "if",
    "ifnull",
    "instr",
    "isnull",
    "json_valid",
    "last_day",
    "lcase",
    "least",
    "left",
    "length",
    "localtime",
    "localtimestamp",
    "locate",
    "lower",
    "lpad",
    "ltrim",
    "makedate",
    "maketime",
    "md5",
    "microsecond",
    "mid",
    "minute",
    "mod",
    "month",
    "monthname",
    "now",
    "nullif",
    "octet_length",
    "ord",
    "pi",
    "pow",
    "power",
    "quarter",
    "quote",
    "rand",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "second",
    "sha",
    "sha1",
    "sha2",
    "sign",
    "space",
    "sqrt",
    "strcmp",
    "substr",
    "substring",
    "substring_index",
    "time_to_sec",
    "timestampadd",
    "timestampdiff",
    "to_days",
    "to_seconds",
    "trim",
    "truncate",
    "ucase",
    "unhex",
    "upper",
    "utc_date",
    "utc_time",
    "utc_timestamp",
    "uuid",
    "week",
    "weekday",
    "weekofyear",
    "year",
    "yearweek",
];

/// Those of them that give another value each time: MySQL takes them as a
/// default, and computes no column and checks no row by them.
const VARYING: &[&str] = &[
    "curdate",
    "current_date",
    "current_time",
    "current_timestamp",
    "curtime",
    "localtime",
    "localtimestamp",
    "now",
    "rand",
    "utc_date",
    "utc_time",
    "utc_timestamp",
    "uuid",
];

/// What may stand before a parenthesis and calls nothing.
const WORDS: &[&str] = &[
    "and", "as", "between", "binary", "by", "case", "cast", "char", "check", "convert", "decimal", "div",
    "else", "from", "in", "is", "like", "not", "or", "signed", "then", "unsigned", "using", "when", "xor",
    "datetime", "time", "interval",
];

/// What the servers mean differently, or only one of them knows.
const APART: &[&str] = &["regexp", "rlike", "json", "member", "sounds", "collate"];

/// Whether both servers read a text, and mean the same by it.
pub(super) fn is_shared(text: &str, for_mariadb: bool) -> bool {
    // MariaDB holds rows to every check.
    if for_mariadb && text.ends_with("NOT ENFORCED") {
        return false;
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b'\'' | b'"' | b'`' => quoted_end(bytes, at),
            // JSON's own arrows are MySQL's alone.
            b'-' if bytes.get(at + 1) == Some(&b'>') => return false,
            byte if is_word(*byte) => {
                let end = bytes[at..].iter().position(|byte| !is_word(*byte)).map_or(bytes.len(), |n| at + n);
                let word = text[at..end].to_ascii_lowercase();
                let calls = text[end..].trim_start().starts_with('(');
                if for_mariadb && is_broken(&word, &bytes[end..]) {
                    return false;
                }
                let known = |words: &[&str]| words.contains(&word.as_str());
                if known(APART) || (calls && !known(SHARED) && !known(WORDS)) {
                    return false;
                }
                end
            }
            _ => at + 1,
        };
    }
    true
}

/// Takes the `_utf8mb4` away that MySQL writes before each text: it is what a
/// session of ours means anyway, and MariaDB forgets to escape a text behind
/// it, so that it does not read its own table again.
pub(super) fn without_introducers(text: &str) -> String {
    const INTRODUCER: &str = "_utf8mb4";
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for word in bare(text) {
        if &text[word.clone()] == INTRODUCER && text[word.end..].starts_with('\'') {
            out.push_str(&text[from..word.start]);
            from = word.end;
        }
    }
    out.push_str(&text[from..]);
    out
}

/// Whether it gives another value each time.
pub(super) fn varies(text: &str) -> bool {
    bare(text).any(|word| VARYING.contains(&text[word].to_ascii_lowercase().as_str()))
}

/// Where the words lie that are in no quotes.
fn bare(text: &str) -> impl Iterator<Item = Range<usize>> {
    let (bytes, mut at) = (text.as_bytes(), 0);
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            let start = at;
            at = match byte {
                b'\'' | b'"' | b'`' => quoted_end(bytes, at),
                byte if is_word(*byte) => {
                    bytes[at..].iter().position(|byte| !is_word(*byte)).map_or(bytes.len(), |n| at + n)
                }
                _ => at + 1,
            };
            if is_word(*byte) {
                return Some(start..at);
            }
        }
        None
    })
}

/// A text of another character set that MariaDB would write as it does not
/// read it.
fn is_broken(word: &str, behind: &[u8]) -> bool {
    word.starts_with('_')
        && behind.first() == Some(&b'\'')
        && behind[..quoted_end(behind, 0)].contains(&b'\\')
}

/// Letters beyond ASCII belong to words, so no character is cut.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// Behind a quoted name or text that begins there. A quote that is doubled
/// begins the next one.
fn quoted_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote != b'`' => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mariadb_gets_no_text_that_it_would_write_wrongly() {
        let text = r"concat(`_utf8mb4'x`,_utf8mb4'a\'_utf8mb4\\',_utf8mb4 'b', 'c')";
        assert_eq!(without_introducers(text), r"concat(`_utf8mb4'x`,'a\'_utf8mb4\\',_utf8mb4 'b', 'c')");
        assert_eq!(without_introducers("é_utf8mb4'x' + _utf8mb4"), "é_utf8mb4'x' + _utf8mb4");
        assert!(is_shared(r"concat(a,'\\')", true) && is_shared("concat(a,_latin1'x')", true));
        assert!(!is_shared(r"concat(a,_latin1'\\')", true));
        assert!(is_shared(r"concat(a,_latin1'\\')", false), "MySQL writes it right");
    }
}
