//! A server of each kind for the cases that need nothing special of it, and a
//! second one as the target of the first.

use tokio::sync::OnceCell;
use zdm_servers::mysql::{Flavor, MySql, MySqlOptions};
use zdm_servers::postgres::{PgOptions, Postgres};

/// The servers that have been asked for.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    mysql: [OnceCell<MySql>; 2],
    mariadb: [OnceCell<MySql>; 2],
    postgres: OnceCell<Postgres>,
}

/// The kind of server that tests are made with.
pub(crate) fn options(flavor: Flavor) -> MySqlOptions {
    match flavor {
        Flavor::MySql => MySqlOptions::mysql().version("9"),
        Flavor::MariaDb => MySqlOptions::mariadb().version("10.11"),
    }
}

impl Servers {
    pub(crate) async fn of(&self, flavor: Flavor) -> &MySql {
        self.started(flavor, 0).await
    }

    pub(crate) async fn second(&self, flavor: Flavor) -> &MySql {
        self.started(flavor, 1).await
    }

    async fn started(&self, flavor: Flavor, number: usize) -> &MySql {
        let cells = if flavor == Flavor::MySql { &self.mysql } else { &self.mariadb };
        cells[number].get_or_init(async || MySql::start(options(flavor)).await.unwrap()).await
    }

    pub(crate) async fn postgres(&self) -> &Postgres {
        // Each case keeps a slot, and its stream a sender for a while.
        let options =
            || PgOptions::new().setting("max_replication_slots", "100").setting("max_wal_senders", "60");
        self.postgres.get_or_init(async || Postgres::start(options()).await.unwrap()).await
    }

    pub(crate) async fn close(self) {
        for server in self.mysql.into_iter().chain(self.mariadb).filter_map(OnceCell::into_inner) {
            server.close().await.unwrap();
        }
    }
}
