//! One cell as the text protocol gives it -> its value.
//!
//! The session must be set up for it: `time_zone = '+00:00'`,
//! `character_set_results = NULL` (text then comes in its column's own
//! character set, as in the log), and floats must be asked for by
//! [`select`], since the server shows them rounded.

use std::borrow::Cow;

use zdm_core::change::Value;
use zdm_core::schema::Column;

use super::log::{bit_text, vector};
use super::native::Kind;
use super::temporal;

/// The expression by which a column is selected, given its quoted name. The
/// server rounds a `FLOAT` to six digits, and a `DOUBLE(m,d)` to its `d`;
/// multiplied by one, which keeps the sign of zero, both come with all
/// digits.
pub(crate) fn select(column: &Column, quoted: &str) -> String {
    match Kind::of(column) {
        Some(Kind::Float | Kind::Double) => format!("{quoted} * 1e0"),
        _ => quoted.to_owned(),
    }
}

/// The value; `None` if the text is none of that kind.
pub(super) fn value<'a>(kind: Kind, _: &Column, bytes: &'a [u8]) -> Option<Value<'a>> {
    let ascii = || std::str::from_utf8(bytes).ok();
    Some(match kind {
        Kind::Integer { unsigned: true, .. } => Value::UInt(ascii()?.parse().ok()?),
        Kind::Integer { unsigned: false, .. } | Kind::Year => Value::Int(ascii()?.parse().ok()?),
        // All digits of the double that the float was widened to.
        #[expect(clippy::cast_possible_truncation)]
        Kind::Float => Value::Float32(ascii()?.parse::<f64>().ok()? as f32),
        Kind::Double => Value::Float64(ascii()?.parse().ok()?),
        Kind::Decimal { .. } => Value::Decimal(decimal(ascii()?)?),
        Kind::Bit { bits } => Value::Bits(bit_text(bytes, bits)?.into()),
        Kind::Date => temporal::date_text(ascii()?)?,
        Kind::Time(_) => temporal::time_text(ascii()?)?,
        Kind::DateTime(digits) => temporal::date_time_text(ascii()?, digits, false)?,
        Kind::Timestamp(digits) => temporal::date_time_text(ascii()?, digits, true)?,
        Kind::Char(charset)
        | Kind::Varchar(charset)
        | Kind::Text(charset, _)
        | Kind::Enum(charset)
        | Kind::Set(charset) => Value::Text(charset.decode(bytes)?),
        Kind::Binary(_) | Kind::Varbinary | Kind::Blob(_) | Kind::Geometry => Value::Bytes(bytes.into()),
        Kind::Json => Value::Json(ascii()?.into()),
        Kind::Vector => vector(bytes)?,
        Kind::Uuid => Value::Uuid(uuid(ascii()?)?),
        Kind::Inet4 | Kind::Inet6 => Value::Native(ascii()?.into()),
    })
}

/// Without the zeros that `ZEROFILL` puts in front.
fn decimal(text: &str) -> Option<Cow<'_, str>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.starts_with(|c: char| c.is_ascii_digit());
    let bare = digits.trim_start_matches('0');
    match bare.chars().next() {
        _ if !is_number => None,
        Some('0'..='9') if bare.len() == digits.len() => Some(Cow::Borrowed(text)),
        Some('0'..='9') if digits.len() == text.len() => Some(Cow::Borrowed(bare)),
        _ if digits.starts_with("0.") || digits == "0" => Some(Cow::Borrowed(text)),
        // OK because `digits` begins with a zero, and `bare` is what follows
        // the last of them.
        _ if digits.len() == text.len() => text.get(digits.len() - bare.len() - 1..).map(Cow::Borrowed),
        _ => None,
    }
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let hex = text.split('-').collect::<String>();
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 16];
    if pairs.len() != 16 || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_lose_only_padding() {
        for (text, expected) in [
            ("00000012.50", Some("12.50")),
            ("0000000.50", Some("0.50")),
            ("0.00", Some("0.00")),
            ("-0.50", Some("-0.50")),
            ("-12", Some("-12")),
            ("0000", Some("0")),
            ("10", Some("10")),
            ("", None),
            ("-", None),
            (".5", None),
            ("1e5", None),
        ] {
            assert_eq!(decimal(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_uuid_is_sixteen_bytes() {
        assert_eq!(uuid("123e4567-e89b-12d3-a456-426655440000").map(|bytes| bytes[0]), Some(0x12));
        assert_eq!(uuid("123e4567-e89b-12d3-a456-4266554400"), None);
        assert_eq!(uuid("é23e4567-e89b-12d3-a456-42665544000"), None);
    }
}
