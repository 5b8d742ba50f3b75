//! Reads a server's log.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use zdm_core::change::{Batch, Item};
use zdm_core::connect::{RunName, StreamOptions};
use zdm_core::schema::Schema;
use zdm_core::{Error, Position};
use zdm_mysql::MySqlConfig;
use zdm_mysql::changes_probe as probe;
use zdm_servers::mysql::MySql;
use zdm_tests::within;

pub(crate) fn config(server: &MySql) -> MySqlConfig {
    let config = MySqlConfig::builder().host(server.host()).port(server.port()).user(server.user());
    config.heartbeat(Duration::from_millis(200)).build().unwrap()
}

pub(crate) async fn here(server: &MySql) -> Position {
    probe::here(&config(server)).await.unwrap()
}

/// Streams these tables of `shop` behind `from` until everything is there that
/// the server has logged by now: the first columns of the rows, `truncate`, and
/// the position.
pub(crate) async fn read(
    server: &MySql,
    tables: &[&str],
    from: &Position,
) -> Result<(Vec<String>, Position), Error> {
    let mut ids = Vec::new();
    let at = each(server, tables, from, |batch, item| {
        if let Item::Truncate { .. } = item {
            ids.push("truncate".into());
        }
        if let Item::Rows(run) = item {
            let rows = batch
                .rows_of(run)
                .map(|row| row.after().or(row.before()).unwrap().cell(0).value().unwrap().to_string());
            ids.extend(rows);
        }
    });
    let at = at.await?;
    Ok((ids, at))
}

/// The same for whoever looks at each item; gives the position.
pub(crate) async fn each(
    server: &MySql,
    tables: &[&str],
    from: &Position,
    mut see: impl FnMut(&Batch, &Item),
) -> Result<Position, Error> {
    let config = config(server);
    let schema: Schema = probe::describe(&config, "shop", tables).await.unwrap();
    let goal = here(server).await;
    let run = "run".parse::<RunName>().unwrap();
    let mut changes =
        probe::changes(&config, StreamOptions::new(run, from.clone(), Arc::new(schema))).await?;
    if probe::reached(from, &goal).unwrap() {
        return Ok(from.clone());
    }
    loop {
        let batch = within("changes", changes.batches.next()).await.unwrap()?;
        for item in batch.items() {
            see(&batch, item);
            if let Some(at) = item.position()
                && probe::reached(at, &goal).unwrap()
            {
                return Ok(at.clone());
            }
        }
    }
}
