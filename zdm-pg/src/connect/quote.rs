//! Names and texts inside statements.
//!
//! Always quoted: which words are reserved differs from version to version.

use std::fmt::Write;

/// `"name"`, with quotes in it doubled.
pub(crate) fn quote_ident(name: &str) -> String {
    enclose('"', name)
}

/// `'text'`, for a session with `standard_conforming_strings` on, as ours are.
pub(crate) fn quote_literal(text: &str) -> String {
    enclose('\'', text)
}

/// `"schema"."name"`.
pub(crate) fn quote_table(schema: &str, name: &str) -> String {
    let mut quoted = quote_ident(schema);
    // OK because writing to a `String` cannot fail.
    let _ = write!(quoted, ".{}", quote_ident(name));
    quoted
}

fn enclose(mark: char, text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for c in text.chars() {
        if c == mark {
            quoted.push(mark);
        }
        quoted.push(c);
    }
    quoted.push(mark);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_nothing_else_is_touched() {
        assert_eq!(quote_ident(r#"we"ird"#), r#""we""ird""#);
        assert_eq!(quote_literal(r"it's \x"), r"'it''s \x'");
        assert_eq!(quote_table("a.b", "C"), r#""a.b"."C""#);
    }
}
