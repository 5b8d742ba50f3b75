//! The bounds of a chunk, and the condition that they make.

use serde::{Deserialize, Serialize};
use zdm_core::connect::Bounds;
use zdm_core::{Error, ErrorKind, Result};

use super::key::KeyColumn;

/// Keys above one key and up to another; without a bound, all on that side.
///
/// Each key is what the server has shown of it, column by column. Kept as
/// JSON: `{"above":["7"],"upto":["9"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upto: Option<Vec<String>>,
    /// Whether the keys are written already, as statements compare with them.
    /// Never kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    written: bool,
}

impl Range {
    /// The ranges between these keys, which are in order: one more than there
    /// are keys, and together all there can be.
    pub(crate) fn between(keys: Vec<Vec<String>>) -> Vec<Self> {
        let mut ranges = Vec::with_capacity(keys.len() + 1);
        let mut above = None;
        for key in keys {
            ranges.push(Self { above: above.replace(key.clone()), upto: Some(key), written: false });
        }
        ranges.push(Self { above, upto: None, written: false });
        ranges
    }

    /// All keys above one.
    pub(crate) fn above(key: Vec<String>) -> Self {
        Self { above: Some(key), upto: None, written: false }
    }

    /// Keys above the one and up to the other, both written as statements
    /// compare with them.
    pub(crate) fn written(above: Option<Vec<String>>, upto: Option<Vec<String>>) -> Self {
        Self { above, upto, written: true }
    }

    /// Whether it has a bound at all.
    pub(crate) fn is_bounded(&self) -> bool {
        self.above.is_some() || self.upto.is_some()
    }

    /// The condition of a row being in the range, compared by the server.
    ///
    /// # Errors
    /// `SchemaChanged` when the key has another number of columns than the
    /// bounds.
    pub(crate) fn condition(&self, key: &[KeyColumn]) -> Result<String> {
        let mut parts = Vec::new();
        if let Some(bound) = &self.above {
            parts.push(beyond(key, bound, self.written, ">", ">")?);
        }
        if let Some(bound) = &self.upto {
            parts.push(beyond(key, bound, self.written, "<", "<=")?);
        }
        Ok(if parts.is_empty() { "TRUE".to_owned() } else { parts.join(" AND ") })
    }
}

/// The row lies on one side of a key: `strict` compares all columns but the
/// last, where equality goes on to the next one, and `last` that. Written out,
/// since the servers use no index for a comparison of rows:
/// `(a > x OR (a = x AND b > y))`.
fn beyond(key: &[KeyColumn], bound: &[String], written: bool, strict: &str, last: &str) -> Result<String> {
    if key.len() != bound.len() {
        return Err(Error::new(
            ErrorKind::SchemaChanged,
            "the key of a table has other columns than when its copy was planned: start the run anew",
        ));
    }
    let mut condition = String::new();
    for (column, shown) in key.iter().zip(bound).rev() {
        let value = if written { shown.clone() } else { column.literal(shown)? };
        let name = &column.compared;
        condition = if condition.is_empty() {
            format!("{name} {last} {value}")
        } else {
            format!("({name} {strict} {value} OR ({name} = {value} AND {condition}))")
        };
    }
    Ok(condition)
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
    use zdm_core::schema::{Column, Key, Table, TableName};

    use super::super::key::key_columns;
    use super::*;
    use crate::position::ENGINE;
    use crate::types::column_type;

    fn key(names: &[&str]) -> Vec<KeyColumn> {
        let (native, neutral) = column_type("int", None).unwrap();
        let column = |name: &&str| Column::new(*name, neutral.clone()).native(native.name.clone(), native.id);
        let columns: Vec<_> = names.iter().map(column).collect();
        let key = Key::Columns((0..columns.len()).collect());
        key_columns(&Table::new(ENGINE, TableName::new("d", "t"), columns, key)).unwrap().unwrap()
    }

    #[test]
    fn ranges_join_without_a_gap_and_are_open_at_the_ends() {
        let keys = [["1"], ["5"]].map(|key| key.map(str::to_owned).to_vec()).to_vec();
        let ranges = Range::between(keys);
        let texts: Vec<_> = ranges.iter().map(|range| Bounds::from(range.clone()).0).collect();
        assert_eq!(texts, [r#"{"upto":["1"]}"#, r#"{"above":["1"],"upto":["5"]}"#, r#"{"above":["5"]}"#]);
        for (text, range) in texts.into_iter().zip(ranges) {
            assert_eq!(Range::try_from(&Bounds(text)).unwrap(), range);
        }
        assert_eq!(Bounds::from(Range::between(Vec::new()).remove(0)).0, "{}");
        assert!(Range::try_from(&Bounds("all".to_owned())).is_err());
    }

    #[test]
    fn conditions_are_written_out() {
        let range = Range::above(vec!["1".to_owned(), "2".to_owned()]);
        assert_eq!(range.condition(&key(&["a", "b"])).unwrap(), "(t.`a` > 1 OR (t.`a` = 1 AND t.`b` > 2))");
        let upto = Range { above: None, upto: Some(vec!["1".to_owned()]), written: false };
        assert_eq!(upto.condition(&key(&["a"])).unwrap(), "t.`a` <= 1");
        assert_eq!(Range::default().condition(&key(&["a"])).unwrap(), "TRUE");
        assert_eq!(range.condition(&key(&["a"])).unwrap_err().kind(), ErrorKind::SchemaChanged);
    }
}
