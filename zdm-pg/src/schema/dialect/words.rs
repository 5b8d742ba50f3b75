//! Expressions, as PostgreSQL shows and takes them.

use zdm_core::schema::{Column, DataType, Expr, Function, Syntax, Words};

use crate::connect::quote::{quote_ident, quote_literal};

/// How `pg_get_expr` writes.
pub(crate) const SYNTAX: Syntax = Syntax {
    quote: '"',
    backslash: false,
    double_quoted_text: false,
    now_digits: 6,
    length_of_characters: true,
    null_concat: false,
};

/// From here on there is `gen_random_uuid()` without an extension.
const UUIDS: u32 = 130_000;

const WORDS: Words = Words { name: quote_ident, text: quote_literal, bytes, concat: None, call };

/// Writes an expression; `default` is the column whose default it is.
pub(super) fn write(expr: &Expr, default: Option<&Column>, version: u32) -> Option<String> {
    if version < UUIDS && calls_uuid(expr) {
        return None;
    }
    let text = WORDS.write(expr)?;
    let Some(column) = default else { return Some(text) };
    Some(match (expr, &column.data_type) {
        (Expr::Call(Function::Now(_), _), DataType::Timestamp { precision, .. }) => {
            match precision.filter(|digits| *digits < 6) {
                Some(digits) => format!("CURRENT_TIMESTAMP({digits})"),
                None => "CURRENT_TIMESTAMP".to_owned(),
            }
        }
        (Expr::Call(Function::Uuid, _), DataType::Text { .. }) => format!("({text})::text"),
        _ => text,
    })
}

fn calls_uuid(expr: &Expr) -> bool {
    match expr {
        Expr::Call(Function::Uuid, _) => true,
        Expr::Call(_, of) => of.iter().any(calls_uuid),
        Expr::Not(of) | Expr::IsNull(of) => calls_uuid(of),
        Expr::Binary(a, _, b) => calls_uuid(a) || calls_uuid(b),
        Expr::In(of, list) => calls_uuid(of) || list.iter().any(calls_uuid),
        _ => false,
    }
}

fn bytes(octets: &[u8]) -> String {
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("'\\x{digits}'::bytea")
}

fn call(function: Function, of: &[String]) -> Option<String> {
    let named = |name: &str| Some(format!("{name}({})", of.join(", ")));
    match function {
        Function::Now(6..) => Some("CURRENT_TIMESTAMP".to_owned()),
        Function::Now(digits) => Some(format!("CURRENT_TIMESTAMP({digits})")),
        Function::Today => Some("CURRENT_DATE".to_owned()),
        Function::Uuid => Some("gen_random_uuid()".to_owned()),
        Function::Lower => named("lower"),
        Function::Upper => named("upper"),
        Function::Length => named("char_length"),
        Function::Abs => named("abs"),
        Function::Coalesce => named("coalesce"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 15 prints them.
    #[test]
    fn what_the_server_shows_is_read_and_written() {
        for (shown, written) in [
            ("(price > (0)::numeric)", Some(r#"("price" > 0)"#)),
            ("((a >= 1) AND (a <= 5))", Some(r#"(("a" >= 1) AND ("a" <= 5))"#)),
            (
                "((state)::text = ANY ((ARRAY['new'::character varying, 'it''s'::character varying])::text[]))",
                Some(r#"("state" IN ('new', 'it''s'))"#),
            ),
            ("(email ~~ '%@%'::text)", Some(r#"("email" LIKE '%@%')"#)),
            ("(b IS NOT NULL)", Some(r#"(NOT ("b" IS NULL))"#)),
            ("now()", Some("CURRENT_TIMESTAMP")),
            ("CURRENT_TIMESTAMP(3)", Some("CURRENT_TIMESTAMP(3)")),
            ("lower((email)::text)", Some(r#"lower("email")"#)),
            (r#"("Odd Name" <> ''::text)"#, Some(r#"("Odd Name" <> '')"#)),
            ("'-5'::integer", Some("-5")),
            ("(score > ('-100'::integer)::numeric)", Some(r#"("score" > -100)"#)),
            ("'-5'::text", Some("'-5'")),
            ("(-1)", Some("-1")),
            ("B'101'::\"bit\"", Some("B'101'")),
            ("nextval('s'::regclass)", None),
            ("(a / 2)", None),
            ("(a)::date", None),
            ("f(a)", None),
        ] {
            let read = SYNTAX.read(shown);
            assert_eq!(read.and_then(|expr| write(&expr, None, 150_000)).as_deref(), written, "{shown}");
        }
    }

    #[test]
    fn no_text_is_too_strange_to_be_left_unread() {
        for text in
            ["", "((((", "'", "\"", "a ::", "= ANY (ARRAY[", &"(".repeat(5000), &"- ".repeat(5000), "1 +"]
        {
            assert_eq!(SYNTAX.read(text), None);
        }
    }
}
