//! Walks the words, names, texts and parentheses of a statement that the
//! server wrote.
//!
//! The session quotes names with backticks and escapes texts with backslashes,
//! whatever the server's own `sql_mode` is.

/// The rest of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text.trim_start())
    }

    /// What is left, without blanks around it.
    pub(super) fn rest(self) -> &'a str {
        self.0.trim()
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Takes a text that comes next, whatever its case.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.0.get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word));
        if found {
            self.cut(word.len());
        }
        found
    }

    /// Takes a quoted name.
    pub(super) fn name(&mut self) -> Option<String> {
        let quoted = self.0.starts_with('`').then(|| self.piece())?;
        Some(quoted.get(1..quoted.len().checked_sub(1)?)?.replace("``", "`"))
    }

    /// Takes what stands in the parentheses that come next.
    pub(super) fn group(&mut self) -> Option<&'a str> {
        let group = self.0.starts_with('(').then(|| self.piece())?;
        group.get(1..group.len().checked_sub(1)?)
    }

    /// Takes one thing: a quoted name or text, a group, a comment, a word, or
    /// a sign.
    pub(super) fn piece(&mut self) -> &'a str {
        let text = self.0;
        let end = match text.as_bytes().first() {
            None => 0,
            Some(b'(') => group_end(text),
            Some(_) => one(text),
        };
        let (piece, _) = text.split_at(end);
        self.cut(end);
        piece
    }

    /// The list in a group, divided at its commas.
    pub(super) fn items(group: &'a str) -> Vec<&'a str> {
        let mut items = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < group.len() {
            let rest = &group[at..];
            let end = if rest.starts_with('(') { group_end(rest) } else { one(rest) };
            if rest.starts_with(',') {
                items.push(group[start..at].trim());
                start = at + 1;
            }
            at += end.max(1);
        }
        items.push(group[start..].trim());
        items
    }

    fn cut(&mut self, end: usize) {
        self.0 = self.0[end..].trim_start();
    }
}

/// The end of the parentheses with which a text begins.
fn group_end(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match text.as_bytes()[at] {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {
                at += one(&text[at..]);
                continue;
            }
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The end of the first thing in a text that is not empty, other than a
/// group; at a character's boundary, and behind the text's beginning.
fn one(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes[0] {
        quote @ (b'`' | b'\'' | b'"') => quoted_end(bytes, quote),
        b'/' if text.starts_with("/*") => text.find("*/").map_or(text.len(), |end| end + 2),
        byte if is_word(byte) => bytes.iter().position(|byte| !is_word(*byte)).unwrap_or(bytes.len()),
        _ => 1,
    }
}

/// Letters beyond ASCII belong to words, so no character is cut.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | 0x80..)
}

fn quoted_end(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote != b'`' => at += 2,
            byte if *byte == quote => {
                at += 1;
                // Doubled, it stands for itself.
                if bytes.get(at) != Some(&quote) {
                    return at;
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn things_are_taken_one_by_one() {
        let mut scan = Scan::new(
            " UNIQUE KEY `a``b` (`x`(10) DESC,(lower(`y`))) COMMENT 'it\\'s (''x''' /*!80000 INVISIBLE */",
        );
        assert!(scan.take("unique key"));
        assert_eq!(scan.name().as_deref(), Some("a`b"));
        let group = scan.group().unwrap();
        assert_eq!(Scan::items(group), ["`x`(10) DESC", "(lower(`y`))"]);
        assert_eq!(scan.piece(), "COMMENT");
        assert_eq!(scan.piece(), "'it\\'s (''x'''");
        assert_eq!(scan.piece(), "/*!80000 INVISIBLE */");
        assert!(scan.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[`'\"()\\\\a,é/* ]{0,20}") {
            let mut scan = Scan::new(&text);
            while !scan.is_empty() {
                let before = scan.rest().len();
                let _ = (scan.name(), scan.group(), Scan::items(scan.rest()));
                scan.piece();
                prop_assert!(scan.rest().len() < before || scan.is_empty());
            }
        }
    }
}
