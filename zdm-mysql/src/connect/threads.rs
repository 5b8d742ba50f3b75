//! What other sessions of the server are doing.
//!
//! MySQL's own views of that fail while any session runs a statement with a
//! character of four octets in its text: `information_schema.INNODB_TRX` and
//! `.PROCESSLIST` hold that text in `utf8mb3`, and 9.x refuses to convert it
//! (error 3854), also where the text was not asked for. `SHOW PROCESSLIST`
//! does not.

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::{Error, Result};

use super::Control;
use crate::error::{OrMy, code};
use crate::schema::Cells;

/// Whether a view of the server failed for the text of somebody's statement:
/// it is there again when that has ended.
pub(crate) fn is_about_a_text(error: &Error) -> bool {
    // ER_CANNOT_CONVERT_STRING
    code(error) == Some(3854)
}

/// What the threads do that apply what another server has logged, as
/// `SHOW PROCESSLIST` says it. Threads that keep house are the same user's
/// (MariaDB), and are left out.
pub(crate) async fn appliers(control: &mut Control, operation: &'static str) -> Result<Vec<String>> {
    let rows: Vec<Row> = control.query("SHOW PROCESSLIST").await.during(operation)?;
    let mut doing = Vec::new();
    for row in &rows {
        let (user, command): (Option<String>, Option<String>) = (row.cell(1)?, row.cell(4)?);
        let command = command.unwrap_or_default();
        if user.as_deref() == Some("system user") && command != "Daemon" {
            doing.push(command);
        }
    }
    Ok(doing)
}
