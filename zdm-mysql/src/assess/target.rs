//! The target: whether it takes writes, what it does with them, and what
//! reads differently there.

mod tables;

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};
use zdm_core::schema::{DataType, Key};

use super::{Look, durable, grants, topology};
use crate::connect::quote::quote_literal;
use crate::error::{OrMy, code};

/// A row of this many bytes is nothing unusual where columns are large.
const LARGE: u64 = 64 << 20;

pub(super) async fn assess(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    writable(look, findings);
    topology::assess(look, findings).await?;
    grants::target(look, findings);
    let takes = "a crash of its host may take back what was committed, and a source that was told of it may not have \
                 it any more; the run would have to start anew, and a cutover is refused";
    durable::assess(look, Severity::Warning, |_| takes, findings);
    log(look, findings);
    statements(look, findings);
    names(look, findings);
    collations(look, findings).await?;
    tables::assess(look, findings).await
}

/// Servers that refuse writes, wholly or from some.
pub(super) fn writable(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let is_off = |name: &str| matches!(look.setting(name).to_ascii_uppercase().as_str(), "" | "0" | "OFF");
    let mut tell = |severity, name: &str, message: &str, remedy: &str| {
        findings.push(Finding::new(severity, name, "server", message).remedy(remedy));
    };
    if !is_off("innodb_read_only") || !is_off("innodb_force_recovery") {
        let remedy =
            "take innodb_read_only and innodb_force_recovery out of the option file, and restart the server";
        tell(Severity::Blocker, "innodb_read_only", "the server's tables take no writes", remedy);
    }
    let may = ["SUPER", "CONNECTION_ADMIN", "READ_ONLY ADMIN"];
    let mend = "connect to its primary; or, if it is one, SET GLOBAL read_only = 0";
    if !is_off("super_read_only") || (!is_off("read_only") && !may.iter().any(|r| look.grants.anywhere(r))) {
        tell(Severity::Blocker, "read_only", "the server was made read-only and takes no writes", mend);
    } else if !is_off("read_only") {
        let message =
            "the server was made read-only: it takes our writes, and will not take the application's";
        tell(Severity::Warning, "read_only", message, mend);
    }
}

/// Its own binary log.
fn log(look: &Look<'_>, findings: &mut Vec<Finding>) {
    if !look.is_on("log_bin") {
        return;
    }
    if look.setting("binlog_format") == "STATEMENT" {
        let message = "the server logs statements, and refuses those of sessions that lock no gaps, as ours";
        let finding = Finding::new(Severity::Blocker, "binlog_format", "server", message);
        findings.push(finding.remedy("SET GLOBAL binlog_format = 'ROW', and write it into the option file"));
    }
    let message =
        "what is loaded is also written to the server's own binary log, whose files need as much room again";
    findings.push(Finding::new(Severity::Note, "log_bin", "server", message));
    if !look.is_on("log_bin_trust_function_creators") && !look.grants.anywhere("SUPER") {
        let message = "the user may not make the triggers by which the target is sealed until the cutover";
        let finding = Finding::new(Severity::Blocker, "log_bin_trust_function_creators", "server", message);
        findings.push(finding.remedy("SET GLOBAL log_bin_trust_function_creators = 1"));
    }
}

/// What the server makes of statements, where a session may not say.
fn statements(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let mut tell = |severity, name: &str, message: String, remedy: &str| {
        findings.push(Finding::new(severity, name, "server", message).remedy(remedy));
    };
    if !look.is_on("local_infile") {
        let message = "LOAD DATA LOCAL is refused: tables are loaded by INSERT, which takes longer";
        tell(Severity::Note, "local_infile", message.to_owned(), "SET GLOBAL local_infile = 1");
    }
    let large = |data_type: &DataType| match data_type {
        DataType::Text { length, .. } | DataType::Bytes { length, .. } => length.is_none_or(|l| l > 65_535),
        DataType::Json | DataType::Native => true,
        _ => false,
    };
    let packet: u64 = look.setting("max_allowed_packet").parse().unwrap_or(LARGE);
    let columns = look.schema.tables.iter().flat_map(|table| &table.columns);
    if packet < LARGE && columns.into_iter().any(|column| large(&column.data_type)) {
        let message =
            format!("max_allowed_packet is {packet}: a row that takes more bytes as SQL is refused");
        tell(Severity::Warning, "max_allowed_packet", message, "SET GLOBAL max_allowed_packet = 1073741824");
    }
    let keyless = look.schema.tables.iter().any(|table| !matches!(table.key, Key::Columns(_)));
    if keyless && look.is_on("sql_require_primary_key") {
        let message = "the server refuses tables without a primary key, and the run has some".to_owned();
        tell(Severity::Blocker, "sql_require_primary_key", message, "SET GLOBAL sql_require_primary_key = 0");
    }
    if keyless && look.is_on("sql_generate_invisible_primary_key") {
        let message =
            "tables without a primary key get one that is hidden, which the source's have not".to_owned();
        let remedy = "SET GLOBAL sql_generate_invisible_primary_key = 0";
        tell(Severity::Warning, "sql_generate_invisible_primary_key", message, remedy);
    }
    if look.is_on("event_scheduler") {
        let message =
            "events run on this server: those that write to the run's tables are refused until the cutover";
        tell(
            Severity::Note,
            "event_scheduler",
            message.to_owned(),
            "SET GLOBAL event_scheduler = 0, until the cutover",
        );
    }
}

/// Names that the server would write in small letters.
fn names(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let case = look.setting("lower_case_table_names");
    if case.is_empty() || case == "0" {
        return;
    }
    for table in &look.schema.tables {
        let name = table.name.to_string();
        if name.to_lowercase() != name {
            let message =
                format!("lower_case_table_names is {case}: the server does not keep the capitals of a name");
            let finding = Finding::new(Severity::Blocker, "lower_case_table_names", &name, message);
            findings.push(finding.remedy("give the table a name in small letters, by a route or a map"));
        }
    }
}

/// Character sets and collations that this server does not know: each has
/// some that the other has not, and so has each version.
async fn collations(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let mut used: BTreeMap<(String, String), String> = BTreeMap::new();
    for table in &look.schema.tables {
        for column in &table.columns {
            if let (Some(charset), Some(collation)) = (&column.charset, &column.collation) {
                let first = format!("{}.{}", table.name, column.name);
                used.entry((charset.to_string(), collation.clone())).or_insert(first);
            }
        }
    }
    for ((charset, collation), first) in used {
        let word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !word(&charset) || !word(&collation) {
            continue;
        }
        let sql = format!("SELECT {} = CONVERT('' USING {charset}) COLLATE {collation}", quote_literal(""));
        match look.control.query_drop(sql).await.during("assess.collations") {
            Ok(()) => {}
            // ER_UNKNOWN_CHARACTER_SET, ER_COLLATION_CHARSET_MISMATCH, ER_UNKNOWN_COLLATION
            Err(error) if matches!(code(&error), Some(1115 | 1253 | 1273)) => {
                let message = format!("{} does not know the collation {collation}", look.control.server());
                let finding = Finding::new(Severity::Blocker, "collation", first, message);
                findings.push(finding.remedy("give the column another collation, by a map"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
