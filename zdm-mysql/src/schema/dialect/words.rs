//! Expressions, as MySQL and MariaDB show and take them.

use zdm_core::schema::{Column, DataType, Expr, Function, Syntax, Words};

use crate::connect::quote::{quote_ident, quote_literal};

/// How `information_schema` shows expressions.
pub(crate) const SYNTAX: Syntax = Syntax {
    quote: '`',
    backslash: true,
    double_quoted_text: true,
    now_digits: 0,
    length_of_characters: false,
    null_concat: true,
};

const WORDS: Words = Words { name: quote_ident, text: quote_literal, bytes, concat: Some("concat"), call };

/// Writes an expression; `default` is the column whose default it is, and
/// `computes` whether a default can be more than a literal.
///
/// <https://dev.mysql.com/doc/refman/8.4/en/data-type-defaults.html>
pub(super) fn write(expr: &Expr, default: Option<&Column>, computes: bool) -> Option<String> {
    let text = WORDS.write(expr)?;
    let Some(column) = default else { return Some(text) };
    let in_parentheses = || computes.then(|| format!("({text})"));
    match (expr, &column.data_type) {
        (Expr::Call(Function::Now(_), _), DataType::Timestamp { precision, .. }) => {
            // It must have the very digits of its column.
            Some(match precision.unwrap_or(0) {
                0 => "CURRENT_TIMESTAMP".to_owned(),
                digits => format!("CURRENT_TIMESTAMP({digits})"),
            })
        }
        _ if expr.is_literal() && !is_large(&column.data_type) => Some(text),
        _ => in_parentheses(),
    }
}

/// Whether a column is kept outside of its row, and has no plain default.
pub(super) fn is_large(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Text { length: None, .. }
            | DataType::Bytes { length: None, .. }
            | DataType::Json
            | DataType::Geometry
    )
}

fn bytes(octets: &[u8]) -> String {
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("X'{digits}'")
}

fn call(function: Function, of: &[String]) -> Option<String> {
    let named = |name: &str| Some(format!("{name}({})", of.join(", ")));
    match function {
        Function::Now(digits) => Some(format!("CURRENT_TIMESTAMP({})", digits.min(6))),
        Function::Today => Some("CURRENT_DATE".to_owned()),
        Function::Uuid => Some("uuid()".to_owned()),
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

    /// As MySQL 8.4 and MariaDB 10.11 show them.
    #[test]
    fn what_the_servers_show_is_read_and_written() {
        for (shown, written) in [
            ("(`price` > 0)", Some("(`price` > 0)")),
            (r"(`state` in (_utf8mb4\'new\',_utf8mb4\'done\'))", None),
            ("(`state` in (_utf8mb4'new',_utf8mb4'it\\'s'))", Some("(`state` IN ('new', 'it''s'))")),
            ("(`a` between 1 and 5)", Some("((`a` >= 1) AND (`a` <= 5))")),
            ("`qty` > 0 and `qty` is not null", Some("((`qty` > 0) AND (NOT (`qty` IS NULL)))")),
            ("concat(`first`,' ',`last`)", Some("concat(concat(`first`, ' '), `last`)")),
            ("current_timestamp(3)", Some("CURRENT_TIMESTAMP(3)")),
            ("current_timestamp()", Some("CURRENT_TIMESTAMP(0)")),
            ("json_valid(`doc`)", None),
            ("(`a` / 2)", None),
            ("x'ff'", Some("X'ff'")),
            ("b'101'", Some("B'101'")),
        ] {
            let read = SYNTAX.read(shown);
            assert_eq!(read.and_then(|expr| write(&expr, None, true)).as_deref(), written, "{shown}");
        }
    }
}
