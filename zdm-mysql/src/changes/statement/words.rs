//! A statement as words: names, keywords, dots and the rest. Comments and
//! texts are left out; what is written in `/*! … */` is part of the statement.
//!
//! What a text or a comment is depends on the session and on the server: a
//! [`Reading`] says for which of them a statement is divided.

use std::borrow::Cow;

use super::same;

/// One word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// Without quotes: a keyword, or a name.
    Bare(&'a str),
    /// In backticks, or in `"` where the session quotes names so.
    Quoted(Cow<'a, str>),
    Dot,
    /// Anything else.
    Sign,
}

/// How a statement is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// `"` quotes a name, and not a text.
    pub(super) ansi_quotes: bool,
    /// A backslash in a text escapes what follows it.
    pub(super) escapes: bool,
    /// What is in a `/*!80000 … */`, which only some servers run, counts.
    pub(super) conditional: bool,
}

impl Reading {
    /// Every way in which a statement of a session with that `sql_mode` can be
    /// meant.
    pub(super) fn all(sql_mode: Option<u64>) -> impl Iterator<Item = Self> {
        const ANSI_QUOTES: u64 = 1 << 2;
        const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
        let may = move |bit: u64, set: bool| sql_mode.is_none_or(|mode| (mode & bit != 0) == set);
        (0..8_u8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0)).filter_map(
            move |(ansi_quotes, escapes, conditional)| {
                (may(ANSI_QUOTES, ansi_quotes) && may(NO_BACKSLASH_ESCAPES, !escapes)).then_some(Self {
                    ansi_quotes,
                    escapes,
                    conditional,
                })
            },
        )
    }
}

impl Word<'_> {
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
            Self::Bare(text) => Some(text),
            Self::Quoted(text) => Some(text),
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

/// The words of a statement, one after the other: a statement may be large,
/// and holds many more of them than are looked at.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    rest: &'a str,
    reading: Reading,
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str, reading: Reading) -> Self {
        Self { rest: text, reading }
    }

    /// Passes the next word if it is that keyword.
    pub(super) fn pass(&mut self, keyword: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next().is_some_and(|word| word.is(keyword));
        if found {
            *self = ahead;
        }
        found
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        loop {
            let c = self.rest.chars().next()?;
            let behind = &self.rest[c.len_utf8()..];
            let (word, rest) = match c {
                // Of the characters beyond ASCII none is a space to the servers.
                _ if is_space(c) => (None, behind),
                '#' => (None, end_of_line(behind)),
                '-' if behind.strip_prefix('-').is_some_and(begins_a_comment) => (None, end_of_line(behind)),
                '/' if behind.starts_with("*!") || behind.starts_with("*M!") => {
                    (None, conditional(behind, self.reading))
                }
                '/' if behind.starts_with('*') => (None, end_of_comment(&behind[1..])),
                // The end of what was written in `/*! … */`.
                '*' if behind.starts_with('/') => (None, &behind[1..]),
                '`' => named(c, behind),
                '"' if self.reading.ansi_quotes => named(c, behind),
                '\'' | '"' => (Some(Word::Sign), quoted(c, behind, self.reading.escapes).1),
                '.' => (Some(Word::Dot), behind),
                _ if is_bare(c) => {
                    let end = self.rest.find(|c| !is_bare(c)).unwrap_or(self.rest.len());
                    (Some(Word::Bare(&self.rest[..end])), &self.rest[end..])
                }
                _ => (Some(Word::Sign), behind),
            };
            self.rest = rest;
            if word.is_some() {
                return word;
            }
        }
    }
}

/// What follows the `/` of a `/*! … */`, or of MariaDB's `/*M! … */`: its
/// inside, or what is behind it.
fn conditional(behind: &str, reading: Reading) -> &str {
    let anybodys = behind.starts_with("*!");
    let inside = &behind[if anybodys { 2 } else { 3 }..];
    let statement = inside.trim_start_matches(|c: char| c.is_ascii_digit());
    let version = &inside[..inside.len() - statement.len()];
    let always = anybodys && runs_anywhere(version);
    if always || reading.conditional { statement } else { end_of_comment(inside) }
}

fn named(quote: char, behind: &str) -> (Option<Word<'_>>, &str) {
    let (name, rest) = quoted(quote, behind, false);
    (Some(Word::Quoted(name)), rest)
}

/// Whether each server that we read from runs a comment of that version:
/// MariaDB passes over those of MySQL 5.7 to 9.
/// <https://mariadb.com/docs/server/reference/sql-structure/sql-language-structure/comment-syntax>
fn runs_anywhere(version: &str) -> bool {
    version.is_empty() || (version.len() <= 5 && version.parse::<u32>().is_ok_and(|version| version < 50_700))
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

/// Behind `--`: a space or a control character, or nothing.
fn begins_a_comment(behind: &str) -> bool {
    behind.chars().next().is_none_or(|c| c == ' ' || c.is_ascii_control())
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

fn end_of_line(text: &str) -> &str {
    text.find('\n').map_or("", |end| &text[end + 1..])
}

fn end_of_comment(text: &str) -> &str {
    text.find("*/").map_or("", |end| &text[end + 2..])
}

/// What is in quotes, and what is behind them. A doubled quote stands for one.
fn quoted(quote: char, text: &str, escapes: bool) -> (Cow<'_, str>, &str) {
    let mut chars = text.char_indices().peekable();
    let mut doubled = false;
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c != quote {
        } else if chars.next_if(|(_, c)| *c == quote).is_some() {
            doubled = true;
        } else {
            return (once(quote, &text[..at], doubled), &text[at + c.len_utf8()..]);
        }
    }
    (once(quote, text, doubled), "")
}

fn once(quote: char, text: &str, doubled: bool) -> Cow<'_, str> {
    if doubled { text.replace(&format!("{quote}{quote}"), &quote.to_string()).into() } else { text.into() }
}
