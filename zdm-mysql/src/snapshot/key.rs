//! How a key is ordered by the server, and how a value of it is shown by the
//! server and written for it again, typed exactly as the column.

use zdm_core::schema::{Column, Table};
use zdm_core::{Error, ErrorKind, Result};

use crate::connect::quote::{quote_ident, quote_literal};
use crate::types::Kind;

/// A column of a key.
#[derive(Debug)]
pub(crate) struct KeyColumn {
    /// What is ordered and compared, with the alias `t`.
    pub(crate) compared: String,
    /// What shows a value as ASCII text.
    pub(crate) shown: String,
    form: Form,
}

/// How a shown value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// As it is: a whole number, or an exact decimal.
    Exact,
    /// With an exponent, else it would be taken for a decimal, and a `FLOAT`
    /// is compared with one of these as the doubles that both are.
    Double,
    /// As a text which the column's type reads.
    Quoted(&'static str),
    /// As the octets of a text of that character set.
    Text(String),
    /// As octets.
    Octets,
}

impl KeyColumn {
    /// What is ordered and compared, with the alias `t`.
    pub(crate) fn compared(&self) -> &str {
        &self.compared
    }

    /// Whether the column itself is compared, and not a number that it has.
    pub(crate) fn is_compared_as_it_is(&self) -> bool {
        !self.compared.starts_with('(')
    }

    fn of(column: &Column) -> Result<Self> {
        let name = format!("t.{}", quote_ident(&column.name));
        let hex = || format!("HEX({name})");
        let (compared, shown, form) = match Kind::of(column) {
            Some(Kind::Integer { .. } | Kind::Year | Kind::Decimal { .. }) => {
                (name.clone(), name.clone(), Form::Exact)
            }
            Some(Kind::Float | Kind::Double) => (name.clone(), format!("{name} * 1e0"), Form::Double),
            // Their order is that of their numbers, and they are compared by
            // their labels: so by the numbers in both.
            Some(Kind::Enum(_) | Kind::Set(_) | Kind::Bit { .. }) => {
                let number = format!("({name} + 0)");
                (number.clone(), number, Form::Exact)
            }
            Some(Kind::Time(_)) => (name.clone(), name.clone(), Form::Quoted("TIME")),
            Some(
                Kind::Date | Kind::DateTime(_) | Kind::Timestamp(_) | Kind::Uuid | Kind::Inet4 | Kind::Inet6,
            ) => (name.clone(), name.clone(), Form::Quoted("")),
            Some(Kind::Char(_) | Kind::Varchar(_) | Kind::Text(..)) => {
                let charset = column.charset.as_deref().unwrap_or("utf8mb4");
                (name.clone(), hex(), Form::Text(charset.to_owned()))
            }
            Some(Kind::Binary(_) | Kind::Varbinary | Kind::Blob(_)) => (name.clone(), hex(), Form::Octets),
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "a table is keyed by a type that cannot be divided into ranges",
                )
                .with("column", &column.name));
            }
        };
        Ok(Self { compared, shown, form })
    }

    /// A value that the server has shown, written for it to compare with.
    ///
    /// # Errors
    /// `Protocol` for what it has not shown.
    pub(crate) fn literal(&self, shown: &str) -> Result<String> {
        let number = |text: &str| {
            text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) && !text.is_empty()
        };
        let hex = |text: &str| text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
        match &self.form {
            Form::Exact if number(shown) => Ok(shown.to_owned()),
            Form::Double if number(shown) => {
                Ok(if shown.contains(['e', 'E']) { shown.to_owned() } else { format!("{shown}e0") })
            }
            Form::Quoted(kind) => Ok(format!("{kind}{}", quote_literal(shown))),
            Form::Text(charset) if hex(shown) => Ok(format!("_{charset} x'{shown}'")),
            Form::Octets if hex(shown) => Ok(format!("x'{shown}'")),
            _ => Err(Error::new(
                ErrorKind::Protocol,
                "the bounds of a chunk cannot be read: was the checkpoint edited?",
            )
            .with("bound", shown)),
        }
    }
}

/// The columns of a table's key, in its order; `None` if it has no key.
///
/// # Errors
/// `Unsupported` for a type that cannot be compared.
pub(crate) fn key_columns(table: &Table) -> Result<Option<Vec<KeyColumn>>> {
    if !table.has_key() {
        return Ok(None);
    }
    // OK to index because the key was made from these columns.
    table.key_columns().iter().map(|at| KeyColumn::of(&table.columns[*at])).collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::column_type;

    fn column(native: &str, charset: Option<&str>) -> KeyColumn {
        let (native, neutral) = column_type(native, charset).unwrap();
        let mut column = Column::new("k", neutral).native(native.name, native.id);
        column.charset = charset.map(Into::into);
        KeyColumn::of(&column).unwrap()
    }

    #[test]
    fn bounds_are_typed_as_their_column() {
        for (native, charset, shown, written) in [
            ("bigint unsigned", None, "18446744073709551615", "18446744073709551615"),
            ("decimal(5,2)", None, "-1.50", "-1.50"),
            ("float", None, "0.10000000149011612", "0.10000000149011612e0"),
            ("double", None, "1e300", "1e300"),
            ("time(3)", None, "-838:59:59.000", "TIME'-838:59:59.000'"),
            ("date", None, "0000-00-00", "'0000-00-00'"),
            ("varchar(9)", Some("latin1"), "E92761", "_latin1 x'E92761'"),
            ("char(3)", Some("utf8mb4"), "", "_utf8mb4 x''"),
            ("binary(2)", None, "0001", "x'0001'"),
            ("enum('b','a')", Some("latin1"), "2", "2"),
        ] {
            assert_eq!(column(native, charset).literal(shown).unwrap(), written, "{native}");
        }
        for (native, charset, shown) in [
            ("int", None, "1 OR 1"),
            ("int", None, ""),
            ("blob", None, "0"),
            ("varchar(9)", Some("latin1"), "é'"),
        ] {
            assert_eq!(column(native, charset).literal(shown).unwrap_err().kind(), ErrorKind::Protocol);
        }
        assert_eq!(column("enum('b','a')", Some("latin1")).compared, "(t.`k` + 0)");
    }
}
