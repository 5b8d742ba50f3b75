//! Rights: what the user has, and what each step needs.

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};
use zdm_core::schema::{Key, TableName};

use super::Look;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_table};
use crate::error::OrMy;

/// What `SHOW GRANTS` shows of the user and its active roles.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// `` `user`@`host` ``, as a GRANT names it.
    user: String,
    /// Rights, and what they are on.
    granted: Vec<(Vec<String>, On)>,
}

/// What rights are on.
#[derive(Debug, PartialEq, Eq)]
enum On {
    Everything,
    /// A pattern, as in `LIKE`.
    Database(String),
    Table(TableName),
}

impl Grants {
    pub(super) async fn read(control: &mut Control) -> Result<Self> {
        let rows: Vec<String> = control.query("SHOW GRANTS").await.during("assess.grants")?;
        let user: Option<String> =
            control.query_first("SELECT CURRENT_USER()").await.during("assess.grants")?;
        let user = user.unwrap_or_default();
        let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
        Ok(Self {
            user: format!("{}@{}", quote_ident(name), quote_ident(host)),
            granted: rows.iter().filter_map(|row| granted(row)).collect(),
        })
    }

    /// The user as a GRANT names it.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    fn mended(&self, finding: Finding, right: &str) -> Finding {
        finding.remedy(format!("GRANT {right} TO {}", self.user))
    }

    /// Whether the user has a right everywhere.
    pub(super) fn anywhere(&self, right: &str) -> bool {
        self.granted.iter().any(|(rights, on)| *on == On::Everything && covers(rights, right))
    }

    /// Whether the user has a right on a database.
    fn on_database(&self, right: &str, database: &str) -> bool {
        self.granted.iter().any(|(rights, on)| match on {
            On::Everything => covers(rights, right),
            On::Database(pattern) => like(pattern, database) && covers(rights, right),
            On::Table(_) => false,
        })
    }

    fn on_table(&self, right: &str, table: &TableName) -> bool {
        self.on_database(right, &table.schema)
            || self
                .granted
                .iter()
                .any(|(rights, on)| matches!(on, On::Table(on) if on == table) && covers(rights, right))
    }
}

/// `ALL PRIVILEGES` has all that is not dynamic, which none of ours is.
fn covers(rights: &[String], right: &str) -> bool {
    rights.iter().any(|granted| granted == right || granted == "ALL PRIVILEGES")
}

/// ``GRANT SELECT, INSERT ON `shop`.* TO …``; `None` for a role.
fn granted(row: &str) -> Option<(Vec<String>, On)> {
    let (rights, rest) = row.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let rest = rest.strip_prefix("TABLE ").unwrap_or(rest);
    let rights = rights.split(',').map(|right| right.trim().to_ascii_uppercase()).collect();
    let (database, rest) = name(rest)?;
    let (table, _) = name(rest.strip_prefix('.')?)?;
    let on = match (database, table) {
        (None, None) => On::Everything,
        (Some(database), None) => On::Database(database),
        (Some(database), Some(table)) => On::Table(TableName::new(database, table)),
        (None, Some(_)) => return None,
    };
    Some((rights, on))
}

/// A quoted name or `*`, and what follows it.
fn name(text: &str) -> Option<(Option<String>, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some((None, rest));
    }
    let text = text.strip_prefix('`')?;
    let mut end = 0;
    loop {
        end += text.get(end..)?.find('`')?;
        if text.get(end + 1..).is_some_and(|rest| rest.starts_with('`')) {
            end += 2;
            continue;
        }
        return Some((Some(text[..end].replace("``", "`")), &text[end + 1..]));
    }
}

/// Whether a database's name matches the pattern of a grant: `_`, `%`, and a
/// backslash before what means itself.
fn like(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('%') => {
            let behind = rest.as_str();
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| like(behind, &name[at..]))
        }
        Some(sign) => {
            let wanted = if sign == '\\' { rest.next() } else { Some(sign) };
            let mut found = name.chars();
            found
                .next()
                .is_some_and(|c| (sign == '_' || Some(c) == wanted) && like(rest.as_str(), found.as_str()))
        }
    }
}

pub(super) fn source(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let grants = &look.grants;
    let is_mariadb = look.control.server().is_mariadb();
    let monitor = if is_mariadb { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
    let replica = grants.anywhere("REPLICATION SLAVE") || grants.anywhere("REPLICATION REPLICA");
    for (has, right, message) in [
        (replica, "REPLICATION SLAVE", "the user may not read the log"),
        (
            grants.anywhere(monitor) || grants.anywhere("SUPER"),
            monitor,
            "the user may not see where the log ends",
        ),
        (grants.anywhere("PROCESS"), "PROCESS", "the user may not see which transactions are in progress"),
    ] {
        if !has {
            let code = right.to_ascii_lowercase().replace(' ', "_");
            let finding = Finding::new(Severity::Blocker, &code, "server", message);
            findings.push(grants.mended(finding, &format!("{right} ON *.*")));
        }
    }
    for table in &look.schema.tables {
        let name = &table.origin.name;
        let quoted = quote_table(&name.schema, &name.name);
        if !grants.on_table("SELECT", name) {
            let finding = Finding::new(Severity::Blocker, "select", name, "the user may not read the table");
            findings.push(grants.mended(finding, &format!("SELECT ON {quoted}")));
        }
        if !grants.on_table("TRIGGER", name) {
            let message = "the user may not make the trigger by which a cutover keeps writers out, nor see the table's own";
            let finding = Finding::new(Severity::Warning, "trigger", name, message);
            findings.push(grants.mended(finding, &format!("TRIGGER ON {quoted}")));
        }
        if !is_mariadb && table.key == Key::FullRow && !grants.on_database("LOCK TABLES", &name.schema) {
            let message =
                "a table without a key is copied behind a lock of a moment, and the user may not lock it";
            let finding = Finding::new(Severity::Blocker, "lock_tables", name, message);
            findings.push(grants.mended(finding, &format!("LOCK TABLES ON {}.*", quote_ident(&name.schema))));
        }
    }
    let message = "a cutover keeps its record in a database of ours, which the user may not make";
    own_database(look, Severity::Warning, message, findings);
}

/// What was a warning while the run could do without it.
pub(super) fn left(look: &Look<'_>, findings: &mut Vec<Finding>) {
    for table in &look.schema.tables {
        let name = &table.origin.name;
        if !look.grants.on_table("TRIGGER", name) {
            let message = "the user may not make the trigger by which the cutover keeps writers out";
            let finding = Finding::new(Severity::Blocker, "trigger", name, message);
            let right = format!("TRIGGER ON {}", quote_table(&name.schema, &name.name));
            findings.push(look.grants.mended(finding, &right));
        }
    }
    let message = "the cutover keeps its record in a database of ours, which the user may not make";
    own_database(look, Severity::Blocker, message, findings);
}

/// Everything there is made by the user, which needs rights on a database, be
/// it there already or not.
pub(super) fn target(look: &Look<'_>, findings: &mut Vec<Finding>) {
    const RIGHTS: [&str; 9] =
        ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX", "REFERENCES", "TRIGGER"];
    let grants = &look.grants;
    let databases: BTreeSet<&str> =
        look.schema.tables.iter().map(|table| table.name.schema.as_str()).collect();
    for database in databases {
        let lacks: Vec<&str> =
            RIGHTS.into_iter().filter(|right| !grants.on_database(right, database)).collect();
        if !lacks.is_empty() {
            let message = "the user may not make the tables, write to them and seal them";
            let finding = Finding::new(Severity::Blocker, "rights", database, message);
            let right = format!("{} ON {}.*", lacks.join(", "), quote_ident(database));
            findings.push(grants.mended(finding, &right));
        }
    }
    let message = "the run's progress is kept in a database of ours, which the user may not make";
    own_database(look, Severity::Blocker, message, findings);
}

fn own_database(look: &Look<'_>, severity: Severity, message: &str, findings: &mut Vec<Finding>) {
    let ours = look.config.schema();
    let rights = ["CREATE", "DROP", "SELECT", "INSERT", "UPDATE", "DELETE"];
    if !rights.iter().all(|right| look.grants.on_database(right, ours)) {
        let finding = Finding::new(severity, "own_database", ours, message);
        findings.push(look.grants.mended(finding, &format!("ALL PRIVILEGES ON {}.*", quote_ident(ours))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(rows: &[&str]) -> Grants {
        Grants { user: String::new(), granted: rows.iter().filter_map(|row| granted(row)).collect() }
    }

    #[test]
    fn grants_are_read_as_the_servers_show_them() {
        let some = grants(&[
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*1'",
            "GRANT SELECT, LOCK TABLES ON `shop\\_%`.* TO `u`@`%`",
            "GRANT SELECT, TRIGGER ON `a``b`.`t` TO `u`@`%`",
            "GRANT `role`@`%` TO `u`@`%`",
        ]);
        assert!(some.anywhere("REPLICATION SLAVE") && !some.anywhere("SELECT"));
        assert!(some.on_database("LOCK TABLES", "shop_eu") && !some.on_database("LOCK TABLES", "shopx"));
        assert!(some.on_table("SELECT", &TableName::new("shop_1", "x")));
        assert!(some.on_table("TRIGGER", &TableName::new("a`b", "t")));
        assert!(!some.on_table("TRIGGER", &TableName::new("a`b", "u")));
        let root = grants(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"]);
        assert!(root.anywhere("PROCESS") && root.on_table("SELECT", &TableName::new("d", "t")));
    }
}
