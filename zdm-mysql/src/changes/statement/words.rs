//! A statement as words: names, keywords, dots and the rest. Comments and
//! texts are left out; what is written in `/*! … */` is part of the statement.

use super::same;

/// One word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Without quotes: a keyword, or a name.
    Bare(String),
    /// In backticks or in `"`: a name. (`"` quotes a text in most sessions:
    /// taken for a name it can only be found too often.)
    Quoted(String),
    Dot,
    /// Anything else.
    Sign,
}

impl Word {
    /// Whether it is that keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Bare(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Whether it names that, in any case.
    pub(super) fn names(&self, name: &str) -> bool {
        self.text().is_some_and(|text| same(text, name))
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Bare(text) | Self::Quoted(text) => Some(text),
            Self::Dot | Self::Sign => None,
        }
    }

    /// As a keyword, in upper case.
    pub(super) fn keyword(&self) -> Option<String> {
        match self {
            Self::Bare(text) => Some(text.to_ascii_uppercase()),
            _ => None,
        }
    }
}

/// Divides a statement. Linear in its length.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        rest = match c {
            _ if c.is_whitespace() => behind,
            '#' => end_of_line(behind),
            '-' if behind.starts_with("- ") || behind.starts_with("-\n") || behind.starts_with("-\t") => {
                end_of_line(behind)
            }
            // MariaDB's own begin with `/*M!`; a version number may follow.
            '/' if behind.starts_with("*!") || behind.starts_with("*M!") => {
                let inside = &behind[if behind.starts_with("*M!") { 3 } else { 2 }..];
                inside.trim_start_matches(|c: char| c.is_ascii_digit())
            }
            '/' if behind.starts_with('*') => behind.find("*/").map_or("", |end| &behind[end + 2..]),
            // The end of what was written in `/*! … */`.
            '*' if behind.starts_with('/') => &behind[1..],
            '`' | '"' => {
                let (name, rest) = quoted(c, behind, false);
                words.push(Word::Quoted(name));
                rest
            }
            '\'' => {
                words.push(Word::Sign);
                quoted(c, behind, true).1
            }
            '.' => {
                words.push(Word::Dot);
                behind
            }
            _ if is_bare(c) => {
                let end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
                words.push(Word::Bare(rest[..end].to_owned()));
                &rest[end..]
            }
            _ => {
                words.push(Word::Sign);
                behind
            }
        };
    }
    words
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

fn end_of_line(text: &str) -> &str {
    text.find('\n').map_or("", |end| &text[end + 1..])
}

/// What is in quotes, and what is behind them. A doubled quote stands for one.
fn quoted(quote: char, text: &str, escapes: bool) -> (String, &str) {
    let mut inside = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c != quote {
            inside.push(c);
        } else if chars.next_if(|(_, c)| *c == quote).is_some() {
            inside.push(quote);
        } else {
            return (inside, &text[at + c.len_utf8()..]);
        }
    }
    (inside, "")
}
