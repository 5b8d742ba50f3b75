//! Other servers that write here: what comes by replication passes every
//! trigger and waits for no row that we hold.

use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};

use super::Look;
use crate::connect::threads::appliers;

pub(super) async fn assess(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let group = !look.setting("group_replication_group_name").is_empty();
    if look.is_on("wsrep_on") || (group && !look.is_on("group_replication_single_primary_mode")) {
        let message =
            "other servers of its cluster take writes too, which neither a hold nor a seal on this one stops";
        let finding = Finding::new(Severity::Blocker, "several_primaries", "server", message);
        findings.push(finding.remedy("let the cluster have one primary, and name that one"));
    }
    if !appliers(&mut look.control, "assess.replica").await?.is_empty() {
        let message = "the server replicates from another one: what comes that way is stopped neither by a hold nor by \
                       a seal";
        let finding = Finding::new(Severity::Warning, "replica", "server", message);
        findings.push(finding.remedy("name the primary; or STOP REPLICA (STOP SLAVE) before the cutover"));
    }
    Ok(())
}
