//! The labels of `ENUM` and `SET`, which the log gives by number. They are
//! read from the type's name, as the catalog writes it:
//! `enum('it''s','a\\b')`.

use std::borrow::Cow;

/// The labels of a type's name, in their order. What is no such list has
/// none.
pub(crate) fn labels(column_type: &str) -> Labels<'_> {
    let rest = column_type.split_once('(').map_or("", |(_, rest)| rest);
    Labels { rest }
}

/// Iterates over the labels of a type.
#[derive(Debug, Clone)]
pub(crate) struct Labels<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Labels<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Cow<'a, str>> {
        let body = self.rest.strip_prefix('\'')?;
        let bytes = body.as_bytes();
        let mut at = 0;
        let mut plain = true;
        let end = loop {
            match (bytes.get(at)?, bytes.get(at + 1)) {
                (b'\\', _) | (b'\'', Some(b'\'')) => {
                    plain = false;
                    at += 2;
                }
                (b'\'', _) => break at,
                _ => at += 1,
            }
        };
        // OK because a quote is one byte and begins no other character.
        let (label, rest) = (body.get(..end)?, body.get(end + 1..)?);
        self.rest = rest.strip_prefix(',').unwrap_or("");
        Some(if plain { Cow::Borrowed(label) } else { Cow::Owned(unescape(label)) })
    }
}

/// The server doubles a quote and writes these four behind a backslash:
/// `append_unescaped` in its `sql_show.cc`.
fn unescape(label: &str) -> String {
    let mut out = String::with_capacity(label.len());
    let mut chars = label.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\'' => chars.next().unwrap_or('\''),
            '\\' => match chars.next() {
                Some('0') => '\0',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(c) => c,
                None => '\\',
            },
            c => c,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_as_the_catalog_writes_them() {
        let of = |text| labels(text).map(Cow::into_owned).collect::<Vec<_>>();
        assert_eq!(
            of(r#"enum('it''s','a\\b','c"d','é','n\nl','','a,b)')"#),
            ["it's", "a\\b", "c\"d", "é", "n\nl", "", "a,b)"]
        );
        assert_eq!(of("set('x')"), ["x"]);
        for broken in ["enum", "enum('a", "enum('a\\", "enum(a)"] {
            assert!(of(broken).is_empty(), "{broken}");
        }
    }
}
