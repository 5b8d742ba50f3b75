//! Reads a server's log.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use zdm_core::change::Item;
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
    let config = config(server);
    let schema: Schema = probe::describe(&config, "shop", tables).await.unwrap();
    let goal = here(server).await;
    let run = "run".parse::<RunName>().unwrap();
    let mut changes =
        probe::changes(&config, StreamOptions::new(run, from.clone(), Arc::new(schema))).await?;
    let mut ids = Vec::new();
    if probe::reached(from, &goal).unwrap() {
        return Ok((ids, from.clone()));
    }
    loop {
        let batch = within("changes", changes.batches.next()).await.unwrap()?;
        for item in batch.items() {
            if let Item::Truncate { .. } = item {
                ids.push("truncate".into());
            }
            if let Item::Rows(run) = item {
                let rows = batch
                    .rows_of(run)
                    .map(|row| row.after().or(row.before()).unwrap().cell(0).value().unwrap().to_string());
                ids.extend(rows);
            }
            if let Some(at) = item.position()
                && probe::reached(at, &goal).unwrap()
            {
                return Ok((ids, at.clone()));
            }
        }
    }
}
