//! The target at its cutover: whether it takes the application's writes, the
//! rights that its last step needs, and rows whose foreign key has no parent.

use zdm_core::Result;
use zdm_core::connect::{Finding, ORPHANS, Severity};

use super::{Look, durable, grants, target};
use crate::sink::prepare;

pub(super) async fn assess(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    target::writable(look, findings);
    grants::target(look, findings);
    let takes = "a crash could take back rows after the switch, when no source sends them again";
    durable::assess(look, Severity::Blocker, |_| takes, findings);
    let schema = look.schema;
    for orphan in prepare::orphans(&mut look.control, schema, 1).await? {
        let message = format!(
            "rows refer to parents that are not there, such as ({}): the foreign key would not hold; if the source has \
             them too, they were let in with foreign_key_checks=0: mend them there, and they follow",
            orphan.keys.join("; ")
        );
        let subject = format!("{} ({})", orphan.table.name, orphan.constraint.name);
        findings.push(Finding::new(Severity::Blocker, ORPHANS, subject, message));
    }
    Ok(())
}
