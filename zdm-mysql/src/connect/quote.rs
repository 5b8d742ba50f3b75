//! Names and texts inside statements.
//!
//! Always quoted: which words are reserved differs from version to version.

/// `` `name` ``, with backticks in it doubled.
pub(crate) fn quote_ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `'text'`, for a session in which a backslash escapes, as in ours.
pub(crate) fn quote_literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            // A zero byte would end the statement in some logs.
            '\0' => quoted.push_str("\\0"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// `` `database`.`name` ``.
pub(crate) fn quote_table(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_ident(schema), quote_ident(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_stay_inside() {
        assert_eq!(quote_ident("we`ird"), "`we``ird`");
        assert_eq!(quote_literal("it's \\x\0"), "'it''s \\\\x\\0'");
        assert_eq!(quote_table("a.b", "C"), "`a.b`.`C`");
    }
}
