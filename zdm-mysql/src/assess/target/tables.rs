//! What of the run's tables is there already, and what has to be made by hand.

use std::collections::BTreeSet;

use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};

use super::super::Look;
use crate::connect::quote::quote_table;
use crate::sink::prepare::{not_moved, standing};

pub(super) async fn assess(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let ours = look.config.schema();
    let (refused, used) = standing(&mut look.control, look.run, look.schema, ours).await?;
    for (table, what) in refused {
        let code = if what == "holds rows" { "not_empty" } else { "in_the_way" };
        let remedy = format!("DROP TABLE {}; or exclude it", quote_table(&table.schema, &table.name));
        let finding = Finding::new(Severity::Blocker, code, &table, format!("the table {what}"));
        findings.push(finding.remedy(remedy));
    }
    for table in used {
        let message = "the table is there already, empty: it is used";
        findings.push(Finding::new(Severity::Note, "exists", &table, message));
    }
    findings.extend(not_moved(look.control.server(), look.schema));
    definers(look, findings);
    Ok(())
}

/// Triggers that work with another account's rights.
fn definers(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let own = format!("CREATE DEFINER={} TRIGGER ", look.grants.user());
    let may = ["SUPER", "SET USER", "SET_USER_ID", "SET_ANY_DEFINER"];
    let may = may.iter().any(|right| look.grants.anywhere(right));
    let triggers = look.schema.tables.iter().flat_map(|table| &table.triggers);
    let others: BTreeSet<&str> = triggers
        .map(|trigger| trigger.definition.as_str())
        .filter(|text| text.starts_with("CREATE DEFINER=") && !text.starts_with(&own))
        .filter_map(|text| text.strip_prefix("CREATE DEFINER=")?.split(" TRIGGER ").next())
        .collect();
    for definer in others {
        let (severity, message) = if may {
            (Severity::Warning, "triggers work with this account's rights: see that it is there too")
        } else {
            (
                Severity::Blocker,
                "triggers work with this account's rights, and the user may not make such ones",
            )
        };
        let right = if look.control.server().is_mariadb() {
            "SET USER"
        } else if look.control.server().is_mysql_since(8, 2, 0) {
            "SET_ANY_DEFINER"
        } else if look.control.server().is_mysql_since(8, 0, 0) {
            "SET_USER_ID"
        } else {
            "SUPER"
        };
        let remedy = format!("CREATE USER {definer}; GRANT {right} ON *.* TO {}", look.grants.user());
        findings.push(Finding::new(severity, "definer", definer, message).remedy(remedy));
    }
}
