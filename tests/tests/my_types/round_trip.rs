//! Random rows go to a server of another engine, by copy and by the log, and
//! come back: what comes back is what went out, by SQL that knows nothing of
//! the crates.

use fastrand::Rng;
use zdm_core::schema::conversion::Mapping;
use zdm_servers::compare::{Across, Kind};
use zdm_servers::mysql::{MySql, MySqlOptions};
use zdm_servers::postgres::{PgOptions, Postgres};

use super::columns::{Kinds, Taste};
use super::places::{Move, Place};
use super::tables::{Table, chosen, deal};

const ROWS: u32 = 16;
const SETTLE: &str = "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'";

/// Tables that were dealt, and their rows so far.
struct World {
    rng: Rng,
    tables: Vec<Table>,
    home: Place,
}

impl World {
    async fn new(server: &MySql, kinds: Kinds, name: &str) -> Self {
        let mut rng = Rng::with_seed(chosen("ZDM_TEST_TYPES_SEED", 20_241_124));
        let count = usize::try_from(chosen("ZDM_TEST_TYPES_TABLES", 3)).unwrap();
        let tables = deal(&mut rng, kinds, count);
        let home = Place::MySql(server.create_database(name).await.unwrap());
        let mut world = Self { rng, tables, home };
        for at in 0..world.tables.len() {
            let insert = world.tables[at].insert(&mut world.rng, 0..ROWS / 2);
            let ddl = &world.tables[at].ddl;
            world.home.sql(&format!("{SETTLE}; {ddl}; {insert}")).await;
        }
        world
    }

    /// Writes more, changes half, deletes some: what the log carries.
    async fn go_on(&mut self) {
        let rng = &mut self.rng;
        for table in &self.tables {
            let mut sql = vec![table.insert(rng, ROWS / 2..ROWS)];
            sql.extend((0..ROWS).step_by(2).map(|id| table.update(rng, id)));
            sql.push(format!("DELETE FROM {} WHERE id % 5 = 3", table.name));
            self.home.sql(&format!("{SETTLE}; BEGIN; {}; COMMIT", sql.join("; "))).await;
        }
    }

    fn compared(&self, with: &Place) -> Across {
        let mut across = Across::between(self.home.side(), with.side());
        for table in &self.tables {
            for named in table.columns.iter().filter(|named| named.column.is_shape()) {
                across = across.read_as(&table.name, &named.name, Kind::Geometry);
            }
        }
        across
    }

    async fn equals(&self, place: &Place, what: &str) {
        let found = self.compared(place).run().await.unwrap();
        let shown: Vec<String> = found
            .shown
            .iter()
            .map(|difference| {
                let table = self.tables.iter().find(|table| table.name == difference.table);
                let column = table.and_then(|table| {
                    table.columns.iter().find(|named| Some(&named.name) == difference.column.as_ref())
                });
                format!("{} {difference}", column.map_or("", |named| &named.column.ddl))
            })
            .collect();
        assert!(found.is_empty(), "{what}:\n{}", shown.join("\n"));
        assert!(found.rows > 0 && found.tables == self.tables.len() as u64);
    }
}

/// What a type that has another text at the other engine is to be again.
fn back() -> Mapping {
    Mapping::new().data_type("interval", "time(6)").data_type("real[]", "vector(7)")
}

async fn to_postgres_and_back(options: MySqlOptions, vectors: bool) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let kinds = Kinds { flavor: server.flavor(), vectors, taste: Taste::Held };
    let mut world = World::new(&server, kinds, "home").await;
    let abroad = Place::Postgres(postgres.create_database("abroad").await.unwrap());
    let again = Place::MySql(server.create_database("again").await.unwrap());
    let there = Move::between(&world.home, &abroad, "there");
    there.caught_up().await.unwrap();
    let mapping = if vectors { back() } else { Mapping::new().data_type("interval", "time(6)") };
    let back = Move::between(&abroad, &again, "back").mapping(mapping);
    back.caught_up().await.unwrap();
    world.equals(&again, "copied").await;
    world.go_on().await;
    there.caught_up().await.unwrap();
    back.caught_up().await.unwrap();
    world.equals(&again, "followed").await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn values_of_mysql_come_back_from_postgresql() {
    to_postgres_and_back(MySqlOptions::mysql().version("9"), true).await;
}

#[tokio::test]
async fn values_of_mariadb_come_back_from_postgresql() {
    to_postgres_and_back(MySqlOptions::mariadb().version("10.11"), false).await;
}

/// Between kin nothing at all is lost: not a day of no calendar either.
async fn to_kin_and_back(options: MySqlOptions, kin: MySqlOptions) {
    let (server, other) = tokio::join!(MySql::start(options), MySql::start(kin));
    let (server, other) = (server.unwrap(), other.unwrap());
    let kinds = Kinds { flavor: server.flavor(), vectors: false, taste: Taste::Kin };
    let mut world = World::new(&server, kinds, "home").await;
    let abroad = Place::MySql(other.create_database("abroad").await.unwrap());
    let again = Place::MySql(server.create_database("again").await.unwrap());
    let there = Move::between(&world.home, &abroad, "there");
    let back = Move::between(&abroad, &again, "back");
    there.caught_up().await.unwrap();
    world.equals(&abroad, "copied there").await;
    back.caught_up().await.unwrap();
    world.equals(&again, "copied back").await;
    world.go_on().await;
    there.caught_up().await.unwrap();
    world.equals(&abroad, "followed there").await;
    back.caught_up().await.unwrap();
    world.equals(&again, "followed back").await;
    server.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn values_of_mysql_come_back_from_mariadb() {
    to_kin_and_back(MySqlOptions::mysql().version("9"), MySqlOptions::mariadb().version("10.11")).await;
}

#[tokio::test]
async fn values_of_mariadb_come_back_from_mysql() {
    to_kin_and_back(MySqlOptions::mariadb().version("11.8"), MySqlOptions::mysql().version("9")).await;
}
