//! Types as a user writes them.

use zdm_core::schema::conversion::Mapped;

use super::types::bounded;
use crate::connect::Server;
use crate::types::labels;

/// Reads a type; `None` for what is none of this server's.
pub(super) fn parse(server: &Server, text: &str) -> Option<Mapped> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let word = word.to_ascii_lowercase();
    let rest = rest.trim();
    if matches!(word.as_str(), "enum" | "set") {
        // Nothing but labels may be between the parentheses.
        let whole = format!("{word}{rest}");
        let list: Vec<_> = labels(&whole).map(|label| crate::connect::quote::quote_literal(&label)).collect();
        let again = format!("{word}({})", list.join(","));
        return (!list.is_empty() && rest.ends_with(')')).then(|| bounded(server, &again, None))?;
    }
    if !rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '(' | ')' | ',' | ' ')) {
        return None;
    }
    let rest = rest.to_ascii_lowercase();
    let (arguments, words) = match rest.strip_prefix('(') {
        Some(behind) => {
            let (arguments, words) = behind.split_once(')')?;
            (format!("({})", arguments.replace(' ', "")), words.trim())
        }
        None => (String::new(), rest.as_str()),
    };
    let unsigned = match words {
        "" => "",
        "unsigned" => " unsigned",
        "precision" if word == "double" => "",
        _ => return None,
    };
    let name = match word.as_str() {
        "bool" | "boolean" => "tinyint(1)".to_owned(),
        "integer" => format!("int{arguments}"),
        "numeric" | "dec" | "fixed" => format!("decimal{}", or(&arguments, "(10,0)")),
        "decimal" => format!("decimal{}", or(&arguments, "(10,0)")),
        "real" => "double".to_owned(),
        "char" | "character" => format!("char{}", or(&arguments, "(1)")),
        "binary" => format!("binary{}", or(&arguments, "(1)")),
        "bit" => format!("bit{}", or(&arguments, "(1)")),
        "uuid" | "inet6" if !server.is_mariadb() => return None,
        "inet4" if !server.is_mariadb_since(10, 10, 0) => return None,
        "varchar" | "varbinary" if arguments.is_empty() => return None,
        other => format!("{other}{arguments}"),
    };
    bounded(server, &format!("{name}{unsigned}"), None)
}

fn or<'a>(given: &'a str, default: &'a str) -> &'a str {
    if given.is_empty() { default } else { given }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_users_write_them() {
        let mysql = Server::read("8.4.0").unwrap();
        for (given, name, data_type) in [
            ("BOOLEAN", "tinyint(1)", "int8"),
            ("bigint UNSIGNED", "bigint unsigned", "uint64"),
            ("varchar(320)", "varchar(320)", "text(320)"),
            ("numeric( 20, 2 )", "decimal(20,2)", "decimal(20,2)"),
            ("binary(16)", "binary(16)", "binary(16)"),
            ("timestamp(6)", "timestamp(6)", "moment"),
            ("ENUM('a','it''s')", "enum('a','it''s')", "enum of 2"),
        ] {
            let mapped = parse(&mysql, given).unwrap();
            assert_eq!(
                (mapped.native.name.as_str(), mapped.data_type.to_string().as_str()),
                (name, data_type)
            );
        }
        for wrong in
            ["", "int; drop table x", "varchar", "uuid", "enum('a'); drop table x", "enum()", "text text"]
        {
            assert_eq!(parse(&mysql, wrong), None, "{wrong}");
        }
        assert!(parse(&Server::read("10.11.6-MariaDB").unwrap(), "uuid").is_some());
    }
}
