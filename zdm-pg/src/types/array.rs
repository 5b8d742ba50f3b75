//! Arrays as `array_out` writes them: `{1,2}`, `[0:1][1:2]={{a,"b c"},{NULL,"NULL"}}`.
//!
//! <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>

use std::borrow::Cow;

use bytes::{BufMut as _, BytesMut};
use zdm_core::change::{Array, Value};
use zdm_core::{Error, ErrorKind, Result};

use super::cursor::Cursor;
use super::kind::Kind;
use super::scalar::scalar;
use super::text::write_value;

/// `MAXDIM` of PostgreSQL.
const DIMENSIONS: usize = 6;

/// Reads an array of scalars; `None` if it is none.
pub(super) fn array(kind: Kind, text: &str) -> Option<Value<'_>> {
    let mut reader = Reader { text, at: 0, kind, lengths: Vec::new(), elements: Vec::new() };
    let bounds = reader.bounds()?;
    reader.level(0)?;
    if reader.at != text.len() {
        return None;
    }
    if reader.elements.is_empty() {
        // An array with no element has no dimension, whatever its text.
        return (reader.lengths == [0] && bounds.is_empty()).then(|| array_of(Vec::new(), Vec::new()));
    }
    let lengths = reader.lengths.iter().map(|length| u32::try_from(*length).ok());
    let lengths = lengths.collect::<Option<Vec<_>>>()?;
    let lower = if bounds.is_empty() { vec![1; lengths.len()] } else { bounds };
    if lower.len() != lengths.len() {
        return None;
    }
    Some(array_of(lengths.into_iter().zip(lower).collect(), reader.elements))
}

fn array_of(dimensions: Vec<(u32, i32)>, elements: Vec<Value<'_>>) -> Value<'_> {
    Value::Array(Box::new(Array { dimensions, elements }))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    kind: Kind,
    /// The length of each dimension, as far as it is known.
    lengths: Vec<usize>,
    elements: Vec<Value<'a>>,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// The lower bounds of `[0:1][2:3]=`.
    fn bounds(&mut self) -> Option<Vec<i32>> {
        let mut lower = Vec::new();
        if self.peek() != Some(b'[') {
            return Some(lower);
        }
        let end = self.text.find('=')?;
        let mut cursor = Cursor(&self.text.as_bytes()[..end]);
        while !cursor.is_done() {
            let opened = cursor.eat(b'[');
            let from = signed(&mut cursor)?;
            let parted = cursor.eat(b':');
            signed(&mut cursor)?;
            if !(opened && parted && cursor.eat(b']')) || lower.len() == DIMENSIONS {
                return None;
            }
            lower.push(i32::try_from(from).ok()?);
        }
        self.at = end + 1;
        Some(lower)
    }

    /// One pair of braces. Recursion ends at [`DIMENSIONS`].
    fn level(&mut self, depth: usize) -> Option<()> {
        if depth >= DIMENSIONS || !self.eat(b'{') {
            return None;
        }
        let nested = self.peek() == Some(b'{');
        let mut length = 0;
        if !self.eat(b'}') {
            loop {
                if nested {
                    self.level(depth + 1)?
                } else {
                    self.element(depth)?
                }
                length += 1;
                if self.eat(b'}') {
                    break;
                }
                if !self.eat(b',') {
                    return None;
                }
            }
        }
        // Inner levels end first: the first to end at a depth says its length,
        // and the others must agree.
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, usize::MAX);
        }
        if self.lengths[depth] == usize::MAX {
            self.lengths[depth] = length;
        }
        (self.lengths[depth] == length).then_some(())
    }

    fn element(&mut self, depth: usize) -> Option<()> {
        // An element lies at the deepest level only.
        if self.lengths.len() > depth + 1 {
            return None;
        }
        let value = if self.eat(b'"') {
            match self.quoted()? {
                Cow::Borrowed(text) => scalar(self.kind, text)?,
                Cow::Owned(text) => scalar(self.kind, &text)?.into_owned(),
            }
        } else {
            let rest = &self.text[self.at..];
            let len = rest.find([',', '{', '}', '"', '\\']).filter(|len| *len > 0)?;
            self.at += len;
            match &rest[..len] {
                "NULL" => Value::Null,
                text => scalar(self.kind, text)?,
            }
        };
        self.elements.push(value);
        Some(())
    }

    /// What stands before the next quote, which is taken too.
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let rest = &self.text[self.at..];
        let plain = rest.find(['"', '\\'])?;
        if rest.as_bytes()[plain] == b'"' {
            self.at += plain + 1;
            return Some(Cow::Borrowed(&rest[..plain]));
        }
        let mut text = String::new();
        let mut chars = rest.char_indices();
        loop {
            match chars.next()? {
                (at, '"') => {
                    self.at += at + 1;
                    return Some(Cow::Owned(text));
                }
                (_, '\\') => text.push(chars.next()?.1),
                (_, char) => text.push(char),
            }
        }
    }
}

fn signed(cursor: &mut Cursor<'_>) -> Option<i64> {
    let negative = cursor.eat(b'-');
    cursor.digits(1).map(|number| if negative { -number } else { number })
}

/// Writes an array for `array_in` to read.
pub(super) fn write_array(array: &Array<'_>, out: &mut BytesMut) -> Result<()> {
    let one = [(u32::try_from(array.elements.len()).unwrap_or(u32::MAX), 1)];
    let dimensions = match array.dimensions.as_slice() {
        [] if array.elements.is_empty() => {
            out.put_slice(b"{}");
            return Ok(());
        }
        [] => &one,
        dimensions => dimensions,
    };
    let count = dimensions.iter().try_fold(1_usize, |count, (len, _)| count.checked_mul(*len as usize));
    if count != Some(array.elements.len()) || dimensions.len() > DIMENSIONS {
        return Err(Error::new(
            ErrorKind::Rejected,
            "an array's dimensions do not match the number of its elements, or are more than 6: \
             correct the stage or source that made it",
        ));
    }
    if array.elements.is_empty() {
        out.put_slice(b"{}");
        return Ok(());
    }
    if dimensions.iter().any(|(_, lower)| *lower != 1) {
        for (len, lower) in dimensions {
            let upper = i64::from(*lower) + i64::from(*len) - 1;
            out.put_slice(format!("[{lower}:{upper}]").as_bytes());
        }
        out.put_u8(b'=');
    }
    write_level(dimensions, &array.elements, out)
}

fn write_level(dimensions: &[(u32, i32)], elements: &[Value<'_>], out: &mut BytesMut) -> Result<()> {
    out.put_u8(b'{');
    let inner = dimensions.get(1..).unwrap_or_default();
    // OK because the caller has checked that the lengths multiply to the
    // number of elements, which is not zero.
    let size = inner.iter().map(|(len, _)| *len as usize).product::<usize>().max(1);
    for (index, part) in elements.chunks(size).enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        match part {
            [element] if inner.is_empty() => write_element(element, out)?,
            part => write_level(inner, part, out)?,
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn write_element(element: &Value<'_>, out: &mut BytesMut) -> Result<()> {
    match element {
        Value::Null => out.put_slice(b"NULL"),
        Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float32(_) | Value::Float64(_) => {
            write_value(element, out)?;
        }
        _ => {
            let mut text = BytesMut::new();
            write_value(element, &mut text)?;
            out.reserve(text.len() + 2);
            out.put_u8(b'"');
            for byte in text {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(byte);
            }
            out.put_u8(b'"');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(kind: Kind, text: &str) -> Option<Array<'_>> {
        match array(kind, text) {
            Some(Value::Array(array)) => Some(*array),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nulls_quotes_and_bounds_are_read() {
        let array = read(Kind::Text, r#"[0:1][-2:-1]={{a,"b c"},{NULL,"NULL"}}"#).unwrap();
        assert_eq!(array.dimensions, [(2, 0), (2, -2)]);
        assert_eq!(array.elements, [Value::from("a"), Value::from("b c"), Value::Null, Value::from("NULL")]);
        assert_eq!(read(Kind::Text, r#"{"a\"b\\c",""}"#).unwrap().elements[0], Value::from(r#"a"b\c"#));
        assert_eq!(read(Kind::Int4, "{}").unwrap().dimensions, []);
        let octets = read(Kind::Bytea, r#"{"\\x00ff"}"#).unwrap();
        assert_eq!(octets.elements, [Value::Bytes(vec![0, 255].into())]);
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for text in [
            "",
            "{",
            "}",
            "{1,}",
            "{,1}",
            "{{1},{2,3}}",
            "{1,{2}}",
            "{{1},2}",
            "[0:1={1,2}",
            "{1}x",
            "{\"",
            "{\"\\",
        ] {
            assert_eq!(read(Kind::Text, text), None, "{text}");
        }
        assert_eq!(read(Kind::Int4, &"{".repeat(100_000)), None);
        assert_eq!(read(Kind::Int4, "{x}"), None);
    }

    proptest! {
        #[test]
        fn arrays_come_back(
            rows in 1..4_u32,
            columns in 1..4_u32,
            lower in prop_oneof![Just(1), any::<i16>().prop_map(i32::from)],
            pool in prop::collection::vec(prop::option::of("\\PC*|[ \"\\\\{},NULnul]*"), 9),
        ) {
            let elements = pool.into_iter().take((rows * columns) as usize);
            let elements: Vec<_> = elements.map(|e| e.map_or(Value::Null, Value::from)).collect();
            let array = Array { dimensions: vec![(rows, lower), (columns, 1)], elements };
            let mut text = BytesMut::new();
            write_array(&array, &mut text).unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            prop_assert_eq!(read(Kind::Text, text), Some(array), "{}", text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]0-9:={}\",a\\\\é-]*") {
            let _ = array(Kind::Text, &text);
        }
    }
}
