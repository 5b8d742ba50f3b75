//! Random rows of every type go to a server of the other family, by copy and
//! by the log, and come back.

use fastrand::Rng;
use zdm_core::schema::conversion::Mapping;
use zdm_servers::compare::Across;
use zdm_servers::mysql::{MySql, MySqlOptions};
use zdm_servers::postgres::{Database, PgOptions, Postgres};

use super::super::places::{Move, Place};
use super::super::tables::chosen;
use super::TYPES;
use super::columns::{KINDS, Kind};

const ROWS: u32 = 16;

/// A table with the key `id`, columns `c0`, `c1`, … and one that is computed.
struct Table {
    name: String,
    columns: Vec<(Kind, bool)>,
    /// MariaDB has 0 for a number that is -0, and the report says so.
    signs_of_zeros: bool,
}

impl Table {
    fn ddl(&self) -> String {
        let column = |(at, (kind, nullable)): (usize, &(Kind, bool))| {
            format!("c{at} {} {}", kind.ddl, if *nullable { "" } else { "NOT NULL" })
        };
        let columns: Vec<String> = self.columns.iter().enumerate().map(column).collect();
        format!(
            "CREATE TABLE {} (id int PRIMARY KEY, twice bigint GENERATED ALWAYS AS (id * 2) STORED, {})",
            self.name,
            columns.join(", ")
        )
    }

    fn value(&self, rng: &mut Rng, (kind, nullable): &(Kind, bool)) -> String {
        if *nullable && rng.u8(..8) == 0 {
            return "NULL".to_owned();
        }
        let value = (kind.value)(rng);
        let value = if self.signs_of_zeros { value } else { value.replace("'-0e0'", "'0e0'") };
        format!("({value})::{}", kind.ddl)
    }

    fn insert(&self, rng: &mut Rng, ids: std::ops::Range<u32>) -> String {
        let rows: Vec<String> = ids
            .map(|id| {
                let values: Vec<String> = self.columns.iter().map(|column| self.value(rng, column)).collect();
                format!("({id}, {})", values.join(", "))
            })
            .collect();
        let names: Vec<String> = (0..self.columns.len()).map(|at| format!("c{at}")).collect();
        format!("INSERT INTO {} (id, {}) VALUES {}", self.name, names.join(", "), rows.join(", "))
    }

    fn update(&self, rng: &mut Rng, id: u32) -> String {
        let mut sets = vec!["id = id".to_owned()];
        for (at, column) in self.columns.iter().enumerate() {
            if rng.u8(..3) == 0 {
                sets.push(format!("c{at} = {}", self.value(rng, column)));
            }
        }
        format!("UPDATE {} SET {} WHERE id = {id}", self.name, sets.join(", "))
    }

    /// Its rows, as PostgreSQL says each value.
    fn query(&self) -> String {
        let seen: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (kind, _))| kind.seen.replace("{}", &format!("c{at}")))
            .collect();
        format!("SELECT id::text, twice::text, {} FROM {} ORDER BY id", seen.join(", "), self.name)
    }
}

struct World {
    rng: Rng,
    tables: Vec<Table>,
    home: Database,
}

impl World {
    async fn new(home: Database, signs_of_zeros: bool) -> Self {
        let mut rng = Rng::with_seed(chosen("ZDM_TEST_TYPES_SEED", 20_241_124));
        // Tables `t…` are compared with those of the other family, `own…` not.
        let count = usize::try_from(chosen("ZDM_TEST_TYPES_TABLES", 3)).unwrap();
        let mut tables = Vec::new();
        for (prefix, alike) in [("t", true), ("own", false)] {
            let mut kinds: Vec<Kind> = KINDS.iter().filter(|kind| kind.alike == alike).copied().collect();
            rng.shuffle(&mut kinds);
            for number in 0..count {
                let mine = kinds.iter().skip(number % 3).step_by(3.min(count));
                let columns = mine.map(|kind| (*kind, rng.u8(..4) != 0)).collect();
                tables.push(Table { name: format!("{prefix}{number}"), columns, signs_of_zeros });
            }
        }
        home.execute(TYPES).await.unwrap();
        for table in &tables {
            let insert = table.insert(&mut rng, 0..ROWS / 2);
            home.execute(&table.ddl()).await.unwrap();
            write(&home, &insert).await;
        }
        Self { rng, tables, home }
    }

    /// Writes more, changes half, deletes some: what the log carries.
    async fn go_on(&mut self) {
        for table in &self.tables {
            let rng = &mut self.rng;
            let mut sql = vec![table.insert(rng, ROWS / 2..ROWS)];
            sql.extend((0..ROWS).step_by(2).map(|id| table.update(rng, id)));
            sql.push(format!("DELETE FROM {} WHERE id % 5 = 3", table.name));
            write(&self.home, &format!("BEGIN; {}; COMMIT", sql.join("; "))).await;
        }
    }

    /// What each column is to be again.
    fn back(&self, database: &str) -> Mapping {
        let mut mapping = Mapping::new();
        for table in &self.tables {
            for (at, (kind, _)) in table.columns.iter().enumerate() {
                if let Some(back) = kind.back {
                    mapping =
                        mapping.column_type(&format!("{database}.{}", table.name), &format!("c{at}"), back);
                }
            }
        }
        mapping
    }

    async fn is_at(&self, abroad: &Place, what: &str) {
        let own = self.tables.iter().filter(|table| table.name.starts_with("own"));
        let across =
            own.fold(Across::between(&self.home, abroad.side()), |across, table| across.except(&table.name));
        let found = across.run().await.unwrap();
        let named = |difference: &zdm_servers::compare::Difference| {
            let table = self.tables.iter().find(|table| table.name == difference.table);
            let at =
                difference.column.as_ref().and_then(|name| name.strip_prefix('c')?.parse::<usize>().ok());
            let ddl = table.zip(at).map_or("", |(table, at)| table.columns[at].0.ddl);
            format!("{ddl} {difference}")
        };
        let shown: Vec<String> = found.shown.iter().map(named).collect();
        assert!(found.is_empty(), "{what}: {} differ:\n{}", found.count, shown.join("\n"));
        assert!(found.rows > 0);
    }

    async fn equals(&self, again: &Database, what: &str) {
        let mut wrong = Vec::new();
        for table in &self.tables {
            let (before, after) =
                (self.home.query(&table.query()).await.unwrap(), again.query(&table.query()).await.unwrap());
            assert_eq!(before.len(), after.len(), "{what}: {}", table.name);
            for (before, after) in before.iter().zip(&after) {
                for (at, (left, right)) in before.iter().zip(after).enumerate().filter(|(_, (l, r))| l != r) {
                    let ddl = at.checked_sub(2).map_or("key", |at| table.columns[at].0.ddl);
                    wrong.push(format!(
                        "{} {:?} {ddl}: {left:?} came back as {right:?}",
                        table.name, before[0]
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{what}: {} differ:\n{}", wrong.len(), wrong.join("\n"));
    }
}

async fn write(database: &Database, sql: &str) {
    database.execute(sql).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
}

async fn there_and_back(options: MySqlOptions, signs_of_zeros: bool) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let mut world = World::new(postgres.create_database("home").await.unwrap(), signs_of_zeros).await;
    let home = Place::Postgres(world.home.clone());
    let abroad = Place::MySql(server.create_database("abroad").await.unwrap());
    let again = postgres.create_database("again").await.unwrap();
    again.execute(TYPES).await.unwrap();
    let there = Move::between(&home, &abroad, "there");
    there.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    world.is_at(&abroad, "copied there").await;
    let back = Move::between(&abroad, &Place::Postgres(again.clone()), "back").mapping(world.back("abroad"));
    back.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    world.equals(&again, "copied back").await;
    world.go_on().await;
    there.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    world.is_at(&abroad, "followed there").await;
    back.caught_up().await.unwrap_or_else(|error| panic!("{error:?}"));
    world.equals(&again, "followed back").await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn values_of_postgresql_come_back_from_mysql() {
    there_and_back(MySqlOptions::mysql().version("9"), true).await;
}

#[tokio::test]
async fn values_of_postgresql_come_back_from_mariadb() {
    there_and_back(MySqlOptions::mariadb().version("10.11"), false).await;
}
