//! Whether two configurations name one database.

use zdm_core::Result;

use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;
use crate::schema::Cells;

/// Two servers that are copies of one share an identifier, but did not start
/// in the same microsecond.
const PLACE: &str = "
SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system())::text,
       pg_catalog.pg_postmaster_start_time()::text, d.oid::text
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

/// Whether both are one database, whatever they call its server: a run that
/// moves a database onto itself would seal it.
///
/// # Errors
///
/// When one of them cannot be reached.
pub async fn same_database(left: &PgConfig, right: &PgConfig) -> Result<bool> {
    Ok(place(left).await? == place(right).await?)
}

async fn place(config: &PgConfig) -> Result<(String, String, String)> {
    let session = Control::connect(config, "identity").await?;
    let row = session.query_one(PLACE, &[]).await.during("config.same")?;
    Ok((row.cell(0)?, row.cell(1)?, row.cell(2)?))
}
