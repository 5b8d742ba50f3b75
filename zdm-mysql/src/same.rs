//! Whether two configurations name one server.

use mysql_async::prelude::Queryable;
use zdm_core::{Error, ErrorKind, Result};

use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::connect::quote::quote_literal;
use crate::error::OrMy;

/// Whether both are one server, whatever they call it. Tables are named
/// `database.table` on both sides of a run, whichever default database is
/// configured: on one server a run would move them onto themselves, and seal
/// them.
///
/// It is seen by a lock with a name of its own, which one session takes and
/// the other looks for: neither addresses nor ids that are copied with a data
/// folder can deceive.
///
/// # Errors
///
/// When one of them cannot be reached.
pub async fn same_database(left: &MySqlConfig, right: &MySqlConfig) -> Result<bool> {
    let mut one = Control::connect(left, "identity").await?;
    let mut other = Control::connect(right, "identity").await?;
    let name = quote_literal(&format!("zdm.same.{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)));
    let take = format!("SELECT GET_LOCK({name}, 0)");
    let taken: Option<Option<u8>> = one.query_first(take).await.during("config.same")?;
    if taken.flatten() != Some(1) {
        return Err(Error::new(
            ErrorKind::Other,
            "the server gives out no named locks, by which we tell whether both sides are one server",
        )
        .during("config.same"));
    }
    let look = format!("SELECT IS_USED_LOCK({name})");
    let holder: Option<Option<u64>> = other.query_first(look).await.during("config.same")?;
    Ok(holder.flatten().is_some())
}
