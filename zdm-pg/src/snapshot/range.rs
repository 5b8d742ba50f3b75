//! The bounds of a chunk, and the condition that they make.

use serde::{Deserialize, Serialize};
use zdm_core::connect::Bounds;
use zdm_core::{Error, ErrorKind, Result};

use super::order::{KeyColumn, KeyOrder};
use crate::connect::quote::quote_literal;

/// Keys above one key and up to another; without a bound, all on that side.
///
/// Each key is the text that the server wrote of it, column by column. Kept
/// as JSON: `{"above":["7"],"upto":["9"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upto: Option<Vec<String>>,
}

impl Range {
    /// The ranges between these keys, which are in order: one more than there
    /// are keys, and together all there can be.
    pub(super) fn between(keys: Vec<Vec<String>>) -> Vec<Self> {
        let mut ranges = Vec::with_capacity(keys.len() + 1);
        let mut above = None;
        for key in keys {
            ranges.push(Self { above: above.replace(key.clone()), upto: Some(key) });
        }
        ranges.push(Self { above, upto: None });
        ranges
    }

    /// Keys above the one and up to the other, each as the server writes it.
    pub(crate) fn of(above: Option<Vec<String>>, upto: Option<Vec<String>>) -> Self {
        Self { above, upto }
    }

    /// Whether it has a bound at all.
    pub(super) fn is_bounded(&self) -> bool {
        self.above.is_some() || self.upto.is_some()
    }

    /// The condition of a row being in the range, compared by the server in
    /// the key's own order.
    ///
    /// # Errors
    /// `SchemaChanged` when the key has another number of columns than the
    /// bounds.
    pub(super) fn condition(&self, order: &KeyOrder) -> Result<String> {
        let mut parts = Vec::new();
        if let Some(key) = &self.above {
            parts.push(beyond(
                order,
                &checked(order, key)?,
                |c| &c.operators.greater,
                |c| &c.operators.greater,
            ));
        }
        if let Some(key) = &self.upto {
            parts.push(beyond(order, &checked(order, key)?, |c| &c.operators.less, |c| &c.operators.at_most));
        }
        Ok(if parts.is_empty() { "true".to_owned() } else { parts.join(" AND ") })
    }
}

fn checked(order: &KeyOrder, key: &[String]) -> Result<Vec<String>> {
    if key.len() != order.columns.len() {
        return Err(Error::new(
            ErrorKind::SchemaChanged,
            "the key of a table has other columns than when its copy was planned: start the run anew",
        ));
    }
    Ok(key.iter().zip(&order.columns).map(|(text, column)| literal(text, column)).collect())
}

/// A key's text, typed exactly as its column.
pub(super) fn literal(text: &str, column: &KeyColumn) -> String {
    format!("{}::{}", quote_literal(text), column.cast)
}

/// The row lies on one side of a key: `strict` compares all columns but the
/// last, where equality goes on to the next one, and `last` that.
fn beyond(
    order: &KeyOrder,
    key: &[String],
    strict: fn(&KeyColumn) -> &String,
    last: fn(&KeyColumn) -> &String,
) -> String {
    let columns = &order.columns;
    if columns.len() > 1 && order.is_uniform() {
        let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
        return format!("({}) {} ({})", names.join(", "), last(&columns[0]), key.join(", "));
    }
    // From the last column to the first: `a > x OR (a = x AND (…))`.
    let mut condition = String::new();
    for (column, text) in columns.iter().zip(key).rev() {
        condition = if condition.is_empty() {
            format!("{} {} {text}", column.name, last(column))
        } else {
            let (name, equal) = (&column.name, &column.operators.equal);
            format!("({name} {} {text} OR ({name} {equal} {text} AND {condition}))", strict(column))
        };
    }
    condition
}

impl From<Range> for Bounds {
    fn from(range: Range) -> Self {
        // OK because a struct of texts always has a JSON.
        Self(serde_json::to_string(&range).unwrap_or_default())
    }
}

impl TryFrom<&Bounds> for Range {
    type Error = Error;

    fn try_from(bounds: &Bounds) -> Result<Self> {
        serde_json::from_str(&bounds.0).map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                "the bounds of a chunk cannot be read: was the checkpoint edited?",
            )
            .with("bounds", &bounds.0)
            .caused_by(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::Operators;
    use super::*;

    fn column(name: &str, cast: &str, schema: &str) -> KeyColumn {
        let operator = |name: &str| format!("OPERATOR({schema}.{name})");
        KeyColumn {
            name: format!("\"{name}\""),
            cast: cast.to_owned(),
            operators: Operators {
                less: operator("<"),
                at_most: operator("<="),
                equal: operator("="),
                greater: operator(">"),
            },
        }
    }

    fn keys(of: &[&[&str]]) -> Vec<Vec<String>> {
        of.iter().map(|key| key.iter().map(|text| (*text).to_owned()).collect()).collect()
    }

    #[test]
    fn ranges_join_without_a_gap_and_are_open_at_the_ends() {
        let ranges = Range::between(keys(&[&["1"], &["5"]]));
        let texts: Vec<_> = ranges.iter().map(|range| Bounds::from(range.clone()).0).collect();
        assert_eq!(texts, [r#"{"upto":["1"]}"#, r#"{"above":["1"],"upto":["5"]}"#, r#"{"above":["5"]}"#]);
        for (text, range) in texts.into_iter().zip(ranges) {
            assert_eq!(Range::try_from(&Bounds(text)).unwrap(), range);
        }
        assert_eq!(Bounds::from(Range::between(Vec::new()).remove(0)).0, "{}");
        assert!(Range::try_from(&Bounds("all".to_owned())).is_err());
    }

    #[test]
    fn bounds_are_typed_and_compared_by_the_keys_operators() {
        let range = Range::between(keys(&[&["it's", "1"]])).remove(1);
        let one = column("a", "character varying(9)", "pg_catalog");
        let order = KeyOrder { columns: vec![one.clone(), column("b", "bigint", "pg_catalog")] };
        assert_eq!(
            range.condition(&order).unwrap(),
            r#"("a", "b") OPERATOR(pg_catalog.>) ('it''s'::character varying(9), '1'::bigint)"#
        );
        let order =
            KeyOrder { columns: vec![column("a", "ext.citext", "ext"), column("b", "bigint", "pg_catalog")] };
        let upto = Range::between(keys(&[&["x", "1"]])).remove(0);
        assert_eq!(
            upto.condition(&order).unwrap(),
            r#"("a" OPERATOR(ext.<) 'x'::ext.citext OR ("a" OPERATOR(ext.=) 'x'::ext.citext AND "b" OPERATOR(pg_catalog.<=) '1'::bigint))"#
        );
        assert_eq!(Range::default().condition(&order).unwrap(), "true");
        let short = range.condition(&KeyOrder { columns: vec![one] }).unwrap_err();
        assert_eq!(short.kind(), ErrorKind::SchemaChanged);
    }
}
