//! Writes connection URLs.

use std::fmt::Write as _;

/// `scheme://user[:password]@host:port/database`, escaped.
pub(crate) fn write(
    scheme: &str,
    host: &str,
    port: u16,
    user: &str,
    password: Option<&str>,
    database: &str,
) -> String {
    let mut url = format!("{scheme}://{}", escape(user));
    if let Some(password) = password {
        let _ = write!(url, ":{}", escape(password));
    }
    // An IPv6 address stands in brackets.
    let host = if host.contains(':') { format!("[{host}]") } else { escape(host) };
    let _ = write!(url, "@{host}:{port}/{}", escape(database));
    url
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::write;

    #[test]
    fn what_is_special_is_escaped() {
        assert_eq!(
            write("postgresql", "127.0.0.1", 5432, "me", Some("p@ss/w:rd"), "a b"),
            "postgresql://me:p%40ss%2Fw%3Ard@127.0.0.1:5432/a%20b"
        );
        assert_eq!(write("mysql", "::1", 1, "me", None, "d"), "mysql://me@[::1]:1/d");
    }
}
