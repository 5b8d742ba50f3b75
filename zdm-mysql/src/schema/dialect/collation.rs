//! Collations: those that tell texts apart to the octet, and for each one of
//! the other server's the nearest that this server has.

use zdm_core::schema::Equality;

use super::super::columns::equality;
use crate::connect::Server;

/// The collation of `utf8mb4` that tells most apart, and what it does not.
///
/// The old `utf8mb4_bin` pads: `a` equals `a` with blanks behind it.
/// <https://dev.mysql.com/doc/refman/8.4/en/charset-binary-collations.html>,
/// <https://mariadb.com/kb/en/supported-character-sets-and-collations/>
pub(super) fn exact(server: &Server) -> (&'static str, Equality) {
    if server.is_mariadb() {
        ("utf8mb4_nopad_bin", Equality::EXACT)
    } else if server.is_mysql_since(8, 0, 17) {
        ("utf8mb4_0900_bin", Equality::EXACT)
    } else {
        padding()
    }
}

/// The collation that ignores blanks at the end and nothing else.
pub(super) fn padding() -> (&'static str, Equality) {
    ("utf8mb4_bin", Equality { ignores_trailing_blanks: true, ..Equality::EXACT })
}

/// The collation for a column of the other server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kin<'a> {
    pub(super) charset: &'a str,
    pub(super) collation: String,
    pub(super) equality: Equality,
    /// In what it differs, where it is not the same.
    pub(super) differs: Option<&'static str>,
}

/// The languages of UCA collations by MySQL's code and MariaDB's name.
///
/// <https://dev.mysql.com/doc/refman/8.4/en/charset-unicode-sets.html>,
/// <https://mariadb.com/kb/en/supported-character-sets-and-collations/>
const LANGUAGES: &[(&str, &str)] = &[
    ("cs", "czech"),
    ("da", "danish"),
    ("de_pb", "german2"),
    ("eo", "esperanto"),
    ("es", "spanish"),
    ("es_trad", "spanish2"),
    ("et", "estonian"),
    ("hr", "croatian"),
    ("hu", "hungarian"),
    ("is", "icelandic"),
    ("la", "roman"),
    ("lt", "lithuanian"),
    ("lv", "latvian"),
    ("pl", "polish"),
    ("ro", "romanian"),
    ("sk", "slovak"),
    ("sl", "slovenian"),
    ("sv", "swedish"),
    ("tr", "turkish"),
    ("vi", "vietnamese"),
];

const VERSIONS: &str = "another version of Unicode's rules";
const APART: &str = "texts that were equal are told apart";

/// The nearest collation that the server has. In a key it is one that counts
/// no two texts as equal that the given one tells apart.
pub(super) fn kin<'a>(server: &Server, charset: &'a str, name: &str, keyed: bool) -> Kin<'a> {
    let own = name.strip_prefix(charset).and_then(|rest| rest.strip_prefix('_')).unwrap_or("bin");
    if has(server, own) {
        let (collation, equality) = (name.to_owned(), equality(name));
        return Kin { charset, collation, equality, differs: None };
    }
    let is_unicode =
        ["0900", "uca1400", "unicode"].iter().any(|part| own.split('_').any(|word| word == *part));
    let given = equality(name);
    let wide = match given {
        _ if own.split('_').any(|word| word == "bin") => None,
        _ if !is_unicode && keyed => None,
        _ if server.is_mariadb() => mariadb(server, own, given),
        _ => mysql(server, charset, own, given),
    };
    let (charset, collation, differs) = match wide {
        Some(collation) => {
            let own = collation.starts_with(charset) && collation[charset.len()..].starts_with('_');
            (if own { charset } else { "utf8mb4" }, collation, VERSIONS)
        }
        None => ("utf8mb4", exact(server).0.to_owned(), APART),
    };
    let found = equality(&collation);
    let differs = if found == given && differs == APART { "the same under another name" } else { differs };
    Kin { charset, equality: found, collation, differs: Some(differs) }
}

/// Whether the server has a collation, by its name behind the character set.
fn has(server: &Server, own: &str) -> bool {
    let word = |part: &str| own.split('_').any(|word| word == part);
    if server.is_mariadb() {
        return !word("0900") && (!word("uca1400") || server.is_mariadb_since(10, 10, 0));
    }
    let mariadbs = ["croatian_mysql561_ci", "myanmar_ci", "thai_520_w2", "general1400_as_ci"];
    let foreign = word("nopad") || word("uca1400") || mariadbs.contains(&own);
    !foreign && (!word("0900") || server.is_mysql_since(8, 0, 17))
}

/// For MySQL's collations of UCA 9.0.0.
fn mariadb(server: &Server, own: &str, given: Equality) -> Option<String> {
    let language = language(own, |(code, name)| (code, name));
    if server.is_mariadb_since(10, 10, 0) {
        return Some(format!("utf8mb4_uca1400{language}_nopad_{}", words(given)));
    }
    // Before, none of those that do not pad tells accents apart.
    (given.ignores_accents && given.ignores_case).then(|| "utf8mb4_unicode_520_nopad_ci".to_owned())
}

/// For MariaDB's collations that do not pad, and those of UCA 14.0.0.
fn mysql(server: &Server, charset: &str, own: &str, given: Equality) -> Option<String> {
    let loose = given.ignores_accents && given.ignores_case;
    if loose && (given.ignores_trailing_blanks || !server.is_mysql_since(8, 0, 17)) {
        let unicode = ["utf8mb4", "utf8mb3", "ucs2", "utf16", "utf32"].contains(&charset);
        // One that pads counts more texts as equal than one that does not.
        return (given.ignores_trailing_blanks && unicode).then(|| format!("{charset}_unicode_520_ci"));
    }
    if !server.is_mysql_since(8, 0, 17) {
        return None;
    }
    let language = language(own, |(code, name)| (name, code));
    let words = match (given.ignores_case, given.ignores_accents) {
        (true, true) => "ai_ci",
        (true, false) => "as_ci",
        _ => "as_cs",
    };
    // MySQL has no language that tells case apart and accents not.
    let language = if words == "as_ci" { String::new() } else { language };
    Some(format!("utf8mb4{language}_0900_{words}"))
}

fn words(given: Equality) -> String {
    let accents = if given.ignores_accents { "ai" } else { "as" };
    format!("{accents}_{}", if given.ignores_case { "ci" } else { "cs" })
}

/// `_german2` for what has `de_pb` in its name; nothing where there is none.
fn language<'a>(own: &str, order: impl Fn((&'a str, &'a str)) -> (&'a str, &'a str)) -> String {
    // Behind it, `cs` is no language in MySQL's names.
    let own = own.split("_0900").next().unwrap_or(own);
    let named = |from: &str| {
        own == from || own.starts_with(&format!("{from}_")) || own.contains(&format!("_{from}_"))
    };
    let found = LANGUAGES.iter().map(|pair| order(*pair)).filter(|(from, _)| named(from));
    // `es_trad` before `es`.
    let longest = found.max_by_key(|(from, _)| from.len());
    longest.map_or_else(String::new, |(_, to)| format!("_{to}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found() {
        for (server, name, keyed, nearest) in [
            ("10.11.6-MariaDB", "utf8mb4_general_ci", true, "utf8mb4_general_ci"),
            ("10.11.6-MariaDB", "utf8mb4_0900_as_cs", true, "utf8mb4_uca1400_nopad_as_cs"),
            ("10.11.6-MariaDB", "utf8mb4_de_pb_0900_ai_ci", true, "utf8mb4_uca1400_german2_nopad_ai_ci"),
            ("10.11.6-MariaDB", "utf8mb4_es_trad_0900_as_cs", true, "utf8mb4_uca1400_spanish2_nopad_as_cs"),
            ("10.11.6-MariaDB", "utf8mb4_ja_0900_as_cs", true, "utf8mb4_uca1400_nopad_as_cs"),
            ("10.11.6-MariaDB", "utf8mb4_ja_0900_as_cs_ks", false, "utf8mb4_uca1400_nopad_as_cs"),
            ("10.11.6-MariaDB", "utf8mb4_cs_0900_as_cs", false, "utf8mb4_uca1400_czech_nopad_as_cs"),
            ("10.11.6-MariaDB", "utf8mb4_0900_bin", true, "utf8mb4_nopad_bin"),
            ("10.6.1-MariaDB", "utf8mb4_0900_as_cs", true, "utf8mb4_nopad_bin"),
            ("9.1.0", "utf8mb4_uca1400_ai_ci", true, "utf8mb4_unicode_520_ci"),
            ("9.1.0", "utf8mb4_uca1400_nopad_ai_ci", true, "utf8mb4_0900_ai_ci"),
            ("9.1.0", "utf8mb4_uca1400_german2_as_cs", false, "utf8mb4_de_pb_0900_as_cs"),
            ("9.1.0", "utf8mb3_uca1400_as_ci", false, "utf8mb4_0900_as_ci"),
            ("9.1.0", "utf8mb3_uca1400_ai_ci", false, "utf8mb3_unicode_520_ci"),
            ("9.1.0", "utf8mb4_general_nopad_ci", true, "utf8mb4_0900_bin"),
            ("9.1.0", "latin1_nopad_bin", true, "utf8mb4_0900_bin"),
            ("9.1.0", "latin1_swedish_ci", true, "latin1_swedish_ci"),
            ("5.7.44", "utf8mb4_uca1400_nopad_ai_ci", false, "utf8mb4_bin"),
        ] {
            let charset = name.split('_').next().unwrap();
            let found = kin(&Server::read(server).unwrap(), charset, name, keyed);
            assert_eq!(found.collation, nearest, "{server} {name}");
            assert_eq!(found.differs.is_none(), name == nearest);
            assert!(!found.equality.is_coarser_than(equality(name)) || server == "5.7.44", "{name}");
        }
    }
}
