//! The option file `~/.my.cnf`, as MySQL's clients read it.
//!
//! `[group]` opens a group, `name = value` sets an option, `#` and `;` open a
//! comment. Values may stand in quotes, and know the escapes `\b \t \n \r \\
//! \s`. A file that everybody can write to is not used, as with `mysql`.
//!
//! <https://dev.mysql.com/doc/refman/en/option-files.html>

use std::path::Path;

/// The groups that concern a client of either server.
const GROUPS: [&str; 3] = ["client", "client-server", "client-mariadb"];

/// The options of our groups, in order, if there is a file that may be used.
pub(super) fn read(path: &Path) -> Vec<(String, String)> {
    let Ok(metadata) = std::fs::metadata(path) else { return Vec::new() };
    if writable_by_all(&metadata) {
        tracing::warn!(path = %path.display(), "option file ignored: everybody may write to it");
        return Vec::new();
    }
    match std::fs::read_to_string(path) {
        Ok(text) => options(&text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "option file ignored: it cannot be read");
            Vec::new()
        }
    }
}

fn options(text: &str) -> Vec<(String, String)> {
    let mut ours = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';', '!']) {
            continue;
        }
        if let Some(group) = line.strip_prefix('[') {
            ours = GROUPS.contains(&group.trim_end_matches(']').trim());
        } else if ours && let Some((name, value)) = line.split_once('=') {
            found.push((name.trim().to_owned(), value_of(value.trim())));
        }
    }
    found
}

fn value_of(text: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote)
            && let Some(end) = rest.find(quote)
        {
            return unescape(&rest[..end]);
        }
    }
    // A comment may follow a value that is not quoted, behind a blank.
    let end = text.match_indices('#').find(|(at, _)| text[..*at].ends_with([' ', '\t'])).map(|(at, _)| at);
    unescape(text[..end.unwrap_or(text.len())].trim_end())
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => plain.push('\u{8}'),
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('s') => plain.push(' '),
            Some('\\') | None => plain.push('\\'),
            Some(other) => plain.extend(['\\', other]),
        }
    }
    plain
}

#[cfg(unix)]
fn writable_by_all(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.mode() & 0o002 != 0
}

#[cfg(not(unix))]
fn writable_by_all(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_groups_quotes_comments_and_escapes() {
        let text = "user=outside\n[mysqld]\nport = 1\n[client]\n# no\n;no\n password = \"a # b\"\nuser = 'it''s'\n\
                    host=db1 # the first\nssl-ca = /a#b\\\\c\\sd\nquick\n[client-mariadb]\nport=7\n[mysql]\nuser=x\n";
        let found = options(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            found,
            [("password", "a # b"), ("user", "it"), ("host", "db1"), ("ssl-ca", "/a#b\\c d"), ("port", "7")]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_everybody_writes_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("zdm-mycnf-{}", std::process::id()));
        std::fs::write(&path, "[client]\npassword=pw\n").unwrap();
        for (mode, used) in [(0o602, false), (0o644, true), (0o600, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(!read(&path).is_empty(), used, "mode {mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
