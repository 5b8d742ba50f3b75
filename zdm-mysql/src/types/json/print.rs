//! JSON as the server prints it: blanks behind commas and colons, keys in the
//! order in which they are stored.

use std::fmt::Write as _;

use super::binary::{Container, Json};
use super::{DEPTH, number, opaque};

/// The text of a stored value; `None` if it is none.
pub(in crate::types) fn text(bytes: &[u8]) -> Option<String> {
    let mut printer = Printer { out: String::with_capacity(bytes.len() * 2), left: bytes.len() };
    printer.value(Json::read(bytes)?, 0)?;
    Some(printer.out)
}

struct Printer {
    out: String,
    /// Bytes of the stored form that elements can still be made of. Offsets
    /// may name the same bytes again and again; no server writes such values,
    /// and their text would be exponentially long.
    left: usize,
}

impl Printer {
    fn value(&mut self, json: Json<'_>, depth: usize) -> Option<()> {
        self.left = self.left.checked_sub(json.weight())?;
        match json {
            Json::Object(object) => self.object(object, depth)?,
            Json::Array(array) => {
                self.out.push('[');
                self.elements(array, depth, |_, _| Some(()))?;
                self.out.push(']');
            }
            json => scalar(json, &mut self.out)?,
        }
        Some(())
    }

    fn object(&mut self, object: Container<'_>, depth: usize) -> Option<()> {
        self.out.push('{');
        self.elements(object, depth, |printer, index| {
            let key = object.key(index)?;
            printer.left = printer.left.checked_sub(key.len())?;
            quote(key, &mut printer.out);
            printer.out.push_str(": ");
            Some(())
        })?;
        self.out.push('}');
        Some(())
    }

    fn elements(
        &mut self,
        container: Container<'_>,
        depth: usize,
        mut key: impl FnMut(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        if depth > DEPTH {
            return None;
        }
        for index in 0..container.len {
            // An entry in the table takes at least three bytes.
            self.left = self.left.checked_sub(3)?;
            if index > 0 {
                self.out.push_str(", ");
            }
            key(self, index)?;
            self.value(container.value(index)?, depth + 1)?;
        }
        Some(())
    }
}

/// Appends what is no container.
pub(super) fn scalar(json: Json<'_>, out: &mut String) -> Option<()> {
    match json {
        Json::Null => out.push_str("null"),
        Json::Bool(yes) => out.push_str(if yes { "true" } else { "false" }),
        Json::Int(number) => write!(out, "{number}").ok()?,
        Json::UInt(number) => write!(out, "{number}").ok()?,
        Json::Double(number) => number::write(number, out)?,
        Json::Text(text) => quote(text, out),
        Json::Opaque(kind, data) => opaque::write(kind, data, out)?,
        Json::Object(_) | Json::Array(_) => return None,
    }
    Some(())
}

/// Appends text in quotes, as `double_quote` of the server does.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        // OK because every byte that is escaped is a character of its own.
        out.push_str(&text[plain..at]);
        plain = at + 1;
        out.push_str(escape);
        if escape.is_empty() {
            // OK because writing to a string cannot fail.
            let _ = write!(out, "\\u{byte:04x}");
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_object() {
        let bytes = b"\0\x02\0\x1d\0\x12\0\x01\0\x13\0\x02\0\x05\x01\0\x0c\x15\0abc\x07\"\n\x01\xc3\xa9xy";
        assert_eq!(text(bytes).as_deref(), Some("{\"a\": 1, \"bc\": \"\\\"\\n\\u0001\u{e9}xy\"}"));
        assert_eq!(text(b"").as_deref(), Some("null"));
        assert_eq!(text(b"\x04\x01").as_deref(), Some("true"));
        assert_eq!(text(b"\x04\x03"), None);
    }

    /// Arrays within arrays, each naming the next one twice: 2^20 elements in
    /// 200 bytes. And twenty strings that are one.
    #[test]
    fn values_that_share_their_bytes_do_not_explode() {
        let mut bytes = vec![0, 0, 4, 0];
        for _ in 0..20 {
            let size = u8::try_from(bytes.len() + 10).unwrap();
            bytes.splice(0..0, [2, 0, size, 0, 2, 10, 0, 2, 10, 0]);
        }
        bytes.insert(0, 2);
        assert_eq!(text(&bytes), None);
        let long = "x".repeat(120);
        let mut bytes = vec![2, 20, 0, 185, 0];
        bytes.extend((0..20).flat_map(|_| [12, 64, 0]));
        bytes.push(120);
        bytes.extend(long.bytes());
        assert_eq!(text(&bytes), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, kind in 0..16_u8) {
            let _ = text(&bytes);
            bytes.insert(0, kind);
            if let Some(text) = text(&bytes) {
                prop_assert!(text.len() <= 64 * (bytes.len() + 8), "{}", text.len());
            }
        }
    }
}
