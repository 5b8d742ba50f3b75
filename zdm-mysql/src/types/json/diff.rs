//! Differences of a JSON value, as `binlog_row_value_options = PARTIAL_JSON`
//! logs them: for each the operation, the path, and the new part.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/json__diff_8h.html>

use super::DEPTH;
use super::binary::{Container, Json};
use super::print::{quote, scalar};

/// A value taken apart, so that parts can be put in.
enum Tree {
    /// Sorted as the server does: by length, then by bytes.
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    /// As it is printed.
    Scalar(String),
}

/// The text of a stored value after these differences; `None` if they do not
/// fit it.
pub(crate) fn apply(old: &[u8], mut diff: &[u8]) -> Option<String> {
    const REPLACE: u8 = 0;
    const INSERT: u8 = 1;
    const REMOVE: u8 = 2;
    let mut tree = Tree::read(old)?;
    while let Some((operation, rest)) = diff.split_first() {
        diff = rest;
        let mut path = Path(take_sized(&mut diff)?.strip_prefix(b"$")?);
        let last = path.parent_of(&mut tree)?;
        match (*operation, last) {
            (REMOVE, Some((Tree::Object(members), Leg::Key(key)))) => {
                members.remove(members.binary_search_by(|(other, _)| order(other, &key)).ok()?);
            }
            (REMOVE, Some((Tree::Array(elements), Leg::Index(index)))) if index < elements.len() => {
                elements.remove(index);
            }
            (REPLACE, None) => tree = Tree::read(take_sized(&mut diff)?)?,
            (REPLACE, Some((Tree::Object(members), Leg::Key(key)))) => {
                let at = members.binary_search_by(|(other, _)| order(other, &key)).ok()?;
                members.get_mut(at)?.1 = Tree::read(take_sized(&mut diff)?)?;
            }
            (REPLACE, Some((Tree::Array(elements), Leg::Index(index)))) => {
                *elements.get_mut(index)? = Tree::read(take_sized(&mut diff)?)?;
            }
            (INSERT, Some((Tree::Object(members), Leg::Key(key)))) => {
                let at = members.binary_search_by(|(other, _)| order(other, &key)).err()?;
                members.insert(at, (key, Tree::read(take_sized(&mut diff)?)?));
            }
            (INSERT, Some((Tree::Array(elements), Leg::Index(index)))) => {
                let at = index.min(elements.len());
                elements.insert(at, Tree::read(take_sized(&mut diff)?)?);
            }
            _ => return None,
        }
    }
    let mut out = String::with_capacity(old.len() * 2);
    tree.print(&mut out);
    Some(out)
}

impl Tree {
    fn read(bytes: &[u8]) -> Option<Self> {
        Self::of(Json::read(bytes)?, 0, &mut { bytes.len() })
    }

    /// `left` as in the printer: bytes of the stored form not yet used.
    fn of(json: Json<'_>, depth: usize, left: &mut usize) -> Option<Self> {
        *left = left.checked_sub(json.weight())?;
        let mut elements = |of: Container<'_>| -> Option<Vec<(String, Self)>> {
            let mut elements = Vec::new();
            for index in 0..of.len {
                *left = left.checked_sub(3)?;
                let key =
                    if matches!(json, Json::Object(_)) { of.key(index)?.to_owned() } else { String::new() };
                *left = left.checked_sub(key.len())?;
                elements.push((key, Self::of(of.value(index)?, depth + 1, left)?));
            }
            Some(elements)
        };
        Some(match json {
            _ if depth > DEPTH => return None,
            Json::Object(object) => Self::Object(elements(object)?),
            Json::Array(array) => Self::Array(elements(array)?.into_iter().map(|(_, value)| value).collect()),
            json => {
                let mut text = String::new();
                scalar(json, &mut text)?;
                Self::Scalar(text)
            }
        })
    }

    fn print(&self, out: &mut String) {
        match self {
            Self::Object(members) => {
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "{" } else { ", " });
                    quote(key, out);
                    out.push_str(": ");
                    value.print(out);
                }
                out.push_str(if members.is_empty() { "{}" } else { "}" });
            }
            Self::Array(elements) => {
                for (at, value) in elements.iter().enumerate() {
                    out.push_str(if at == 0 { "[" } else { ", " });
                    value.print(out);
                }
                out.push_str(if elements.is_empty() { "[]" } else { "]" });
            }
            Self::Scalar(text) => out.push_str(text),
        }
    }
}

/// One step of a path.
enum Leg {
    Key(String),
    Index(usize),
}

/// What is left of a path such as `$.a."b c"[3]`, behind its `$`.
struct Path<'a>(&'a [u8]);

impl Path<'_> {
    /// Walks to the container that the last leg lies in; `Some(None)` for the
    /// whole value.
    #[expect(clippy::option_option, reason = "the outer one is failure, as everywhere here")]
    fn parent_of<'t>(&mut self, mut tree: &'t mut Tree) -> Option<Option<(&'t mut Tree, Leg)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        loop {
            let leg = self.leg()?;
            if self.0.is_empty() {
                return Some(Some((tree, leg)));
            }
            tree = match (tree, leg) {
                (Tree::Object(members), Leg::Key(key)) => {
                    let at = members.binary_search_by(|(other, _)| order(other, &key)).ok()?;
                    &mut members.get_mut(at)?.1
                }
                (Tree::Array(elements), Leg::Index(index)) => elements.get_mut(index)?,
                _ => return None,
            };
        }
    }

    fn leg(&mut self) -> Option<Leg> {
        let (mark, rest) = self.0.split_first()?;
        match mark {
            b'[' => {
                let end = rest.iter().position(|byte| *byte == b']')?;
                self.0 = &rest[end + 1..];
                std::str::from_utf8(&rest[..end]).ok()?.parse().ok().map(Leg::Index)
            }
            b'.' if rest.first() == Some(&b'"') => {
                let end = quoted_len(rest)?;
                self.0 = &rest[end..];
                serde_json::from_slice(&rest[..end]).ok().map(Leg::Key)
            }
            b'.' => {
                let end = rest.iter().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(rest.len());
                self.0 = &rest[end..];
                String::from_utf8(rest[..end].to_vec()).ok().map(Leg::Key)
            }
            _ => None,
        }
    }
}

/// Bytes of a quoted string, quotes included.
fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The order of an object's keys.
fn order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// Data behind its length, which is a length-encoded integer.
fn take_sized<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_first()?;
    let wide = match first {
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        0xfb | 0xff => return None,
        _ => 0,
    };
    let (number, rest) = rest.split_at_checked(wide)?;
    let mut le = [0; 8];
    le[..wide].copy_from_slice(number);
    let len = if wide == 0 { u64::from(*first) } else { u64::from_le_bytes(le) };
    let (data, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(data)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &[u8] = b"\0\x01\0\x0c\0\x0b\0\x01\0\x05\x01\0a";

    #[test]
    fn differences_are_put_in() {
        for (diff, text) in [
            (&b"\0\x03$.a\x03\x05\x02\0"[..], Some("{\"a\": 2}")),
            (b"\x01\x06$.\"bc\"\x02\x04\x01", Some("{\"a\": 1, \"bc\": true}")),
            (b"\x02\x03$.a", Some("{}")),
            (b"\0\x01$\x02\x04\0", Some("null")),
            (b"\x02\x03$.b", None),
            (b"\x01\x03$.a\x02\x04\0", None),
            (b"\x02\x04$[0]", None),
            (b"\x07\x01$", None),
        ] {
            assert_eq!(apply(OLD, diff).as_deref(), text, "{diff:x?}");
        }
        assert_eq!(
            apply(b"\x02\x01\0\x07\0\x05\x01\0", b"\x01\x04$[1]\x03\x05\x02\0").as_deref(),
            Some("[1, 2]")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(old: Vec<u8>, diff: Vec<u8>) {
            let _ = apply(&old, &diff);
            let _ = apply(OLD, &diff);
        }
    }
}
