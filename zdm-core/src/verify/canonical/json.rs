//! JSON as what it says: members without their order, numbers without their
//! spelling, texts without their escapes.

/// What of a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Its digits: `1.50` is `1.5` and `15e-1`.
    Exact,
    /// What a double holds of it, but for whole numbers of 64 bits, which
    /// every engine keeps: MySQL's JSON has no other number.
    Doubles,
}

/// Documents that nest deeper are compared as texts.
const DEPTH: usize = 200;

/// Appends a document's form; a text that is no JSON as it is.
pub(super) fn write(text: &str, numbers: Numbers, out: &mut Vec<u8>) {
    let start = out.len();
    let mut reader = Reader { rest: text.as_bytes(), numbers };
    reader.blanks();
    let whole = reader.value(out, 0).is_some();
    reader.blanks();
    if !whole || !reader.rest.is_empty() {
        out.truncate(start);
        out.push(b'?');
        out.extend_from_slice(text.as_bytes());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    numbers: Numbers,
}

impl<'a> Reader<'a> {
    fn blanks(&mut self) {
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
        let end = self.rest.iter().position(|b| !blank(b)).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        let (first, rest) = self.rest.split_first()?;
        (*first == byte).then(|| self.rest = rest)
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        if depth > DEPTH {
            return None;
        }
        self.blanks();
        match self.rest.first()? {
            b'{' => self.object(out, depth),
            b'[' => self.array(out, depth),
            b'"' => {
                out.push(b'"');
                let text = self.string()?;
                sized(&text, out);
                Some(())
            }
            b't' => self.word("true", out),
            b'f' => self.word("false", out),
            b'n' => self.word("null", out),
            _ => self.number(out),
        }
    }

    fn word(&mut self, word: &str, out: &mut Vec<u8>) -> Option<()> {
        self.rest = self.rest.strip_prefix(word.as_bytes())?;
        // OK because no word is empty.
        out.push(word.as_bytes()[0]);
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.take(b'[')?;
        out.push(b'[');
        if self.take(b']').is_none() {
            loop {
                self.value(out, depth + 1)?;
                if self.take(b',').is_none() {
                    break;
                }
            }
            self.take(b']')?;
        }
        out.push(b']');
        Some(())
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.take(b'{')?;
        let mut members: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        if self.take(b'}').is_none() {
            loop {
                self.blanks();
                let name = self.string()?;
                self.take(b':')?;
                let mut value = Vec::new();
                self.value(&mut value, depth + 1)?;
                members.push((name, value));
                if self.take(b',').is_none() {
                    break;
                }
            }
            self.take(b'}')?;
        }
        // Of two with one name the later one counts. Stable: they stay in
        // their order.
        members.sort_by(|a, b| a.0.cmp(&b.0));
        out.push(b'{');
        for (at, (name, value)) in members.iter().enumerate() {
            if members.get(at + 1).is_none_or(|next| next.0 != *name) {
                sized(name, out);
                out.extend_from_slice(value);
            }
        }
        out.push(b'}');
        Some(())
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        self.rest = self.rest.strip_prefix(b"\"")?;
        let mut text = Vec::new();
        loop {
            let end = self.rest.iter().position(|b| matches!(b, b'"' | b'\\'))?;
            text.extend_from_slice(&self.rest[..end]);
            let escaped = self.rest[end] == b'\\';
            self.rest = &self.rest[end + 1..];
            if !escaped {
                return Some(text);
            }
            let (letter, rest) = self.rest.split_first()?;
            self.rest = rest;
            match letter {
                b'n' => text.push(b'\n'),
                b't' => text.push(b'\t'),
                b'r' => text.push(b'\r'),
                b'b' => text.push(0x08),
                b'f' => text.push(0x0c),
                b'u' => self.unicode(&mut text)?,
                b'"' | b'\\' | b'/' => text.push(*letter),
                _ => return None,
            }
        }
    }

    /// `\uXXXX`, behind the letter; a half of a pair that has no other half
    /// stays as it is written.
    fn unicode(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let first = self.unit()?;
        let mut code = u32::from(first);
        if (0xd800..0xdc00).contains(&first) && self.rest.starts_with(b"\\u") {
            let before = self.rest;
            self.rest = &self.rest[2..];
            match self.unit() {
                Some(second @ 0xdc00..0xe000) => {
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (u32::from(second) - 0xdc00);
                }
                _ => self.rest = before,
            }
        }
        match char::from_u32(code) {
            Some(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => text.extend_from_slice(format!("\\u{first:04x}").as_bytes()),
        }
        Some(())
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest.get(..4)?;
        self.rest = &self.rest[4..];
        digits.iter().try_fold(0_u16, |unit, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            Some(unit << 4 | u16::try_from(digit).ok()?)
        })
    }

    fn number(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let of = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
        let end = self.rest.iter().position(|b| !of(b)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        let text = std::str::from_utf8(number).ok()?;
        out.push(b'#');
        match self.numbers {
            Numbers::Exact => sized(exact(text)?.as_bytes(), out),
            Numbers::Doubles => sized(double(text)?.as_bytes(), out),
        }
        Some(())
    }
}

/// Digits without zeros at either end, and the power of ten of the last one.
fn exact(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut power: i64 = exponent.parse().ok()?;
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    if kept.is_empty() {
        return Some("0".to_owned());
    }
    power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    power = power.checked_add(i64::try_from(digits.len() - kept.len()).ok()?)?;
    Some(format!("{sign}{kept}e{power}"))
}

fn double(text: &str) -> Option<String> {
    if let Ok(whole) = text.parse::<i128>()
        && (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&whole)
    {
        return Some(whole.to_string());
    }
    let number: f64 = text.parse().ok()?;
    // Shown as the shortest that reads back; a whole one as such.
    Some(number.to_string())
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str, numbers: Numbers) -> Vec<u8> {
        let mut out = Vec::new();
        write(text, numbers, &mut out);
        out
    }

    #[test]
    fn documents_are_what_they_say() {
        for (one, other, exact, doubles) in [
            ("{}", " { } ", true, true),
            (r#"{"a":1,"b":2}"#, r#"{"b" : 2, "a":1}"#, true, true),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true, true),
            (r#""\u00e9\n\/""#, "\"é\\n/\"", true, true),
            (r#""\ud83d\ude00""#, "\"😀\"", true, true),
            (r#""\ud83d""#, "\"😀\"", false, false),
            ("1", "1.0", true, true),
            ("100", "1e2", true, true),
            ("1.5", "15e-1", true, true),
            ("-0", "0", true, true),
            ("0.1", "0.10000000000000000000001", false, true),
            ("12345678901234567890123", "12345678901234567890124", false, true),
            ("9007199254740993", "9007199254740992", false, false),
            ("18446744073709551615", "18446744073709551614", false, false),
            ("[1,2]", "[2,1]", false, false),
            ("[[1],2]", "[[1,2]]", false, false),
            (r#"["a","b"]"#, r#"["a\",\"b"]"#, false, false),
            ("true", "\"true\"", false, false),
            ("null", "0", false, false),
            ("not json", "not  json", false, false),
        ] {
            for (numbers, equal) in [(Numbers::Exact, exact), (Numbers::Doubles, doubles)] {
                assert_eq!(
                    form(one, numbers) == form(other, numbers),
                    equal,
                    "{one} and {other} {numbers:?}"
                );
            }
        }
    }

    #[test]
    fn what_nests_too_deep_is_a_text() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert_eq!(form(&deep, Numbers::Exact)[0], b'?');
        assert_ne!(form(&deep, Numbers::Exact), form(&format!("{deep} "), Numbers::Exact));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[\[\]{}",:\\u0-9a-fE+. -]{0,24}"#) {
            let _ = form(&text, Numbers::Exact);
            let _ = form(&text, Numbers::Doubles);
        }
    }
}
