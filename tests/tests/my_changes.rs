//! The stream of changes, against real servers: whole transactions, in order,
//! from any position on.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use zdm_core::change::{Batch, Item, Op};
use zdm_core::connect::{Changes, RunName, StreamOptions};
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Position};
use zdm_mysql::changes_probe as probe;
use zdm_mysql::config::{MySqlConfig, MySqlConfigBuilder};
use zdm_servers::mysql::{Database, Flavor, MySql, MySqlOptions, User};

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every kind of server that zdm is tested with, and both ways of MySQL's to
/// say where its log is.
fn each() -> [MySqlOptions; 4] {
    [
        MySqlOptions::mariadb().version("10.11"),
        MySqlOptions::mariadb().version("11.8"),
        MySqlOptions::mysql().version("9"),
        MySqlOptions::mysql().version("9").gtids(false),
    ]
}

/// A server with two tables, `shop.t` of the run and `shop.other` outside it.
struct World {
    server: MySql,
    shop: Database,
    config: MySqlConfig,
    schema: Arc<Schema>,
}

impl World {
    async fn new(options: MySqlOptions) -> Self {
        Self::with(options, |config| config).await
    }

    async fn with(
        options: MySqlOptions,
        more: impl FnOnce(MySqlConfigBuilder) -> MySqlConfigBuilder,
    ) -> Self {
        let server = MySql::start(options.database("shop")).await.unwrap();
        let shop = server.database("shop");
        shop.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB; CREATE TABLE other LIKE t",
        )
        .await
        .unwrap();
        let config = MySqlConfig::builder().host(server.host()).port(server.port()).user(server.user());
        let config = more(config.heartbeat(Duration::from_millis(200))).build().unwrap();
        let schema = Arc::new(probe::describe(&config, "shop", &["t"]).await.unwrap());
        Self { server, shop, config, schema }
    }

    async fn here(&self) -> Position {
        probe::here(&self.config).await.unwrap()
    }

    async fn try_stream(&self, from: &Position) -> zdm_core::Result<Stream> {
        let run = "run".parse::<RunName>().unwrap();
        let options = StreamOptions::new(run, from.clone(), Arc::clone(&self.schema));
        probe::changes(&self.config, options).await.map(|changes| Stream { changes, seen: Vec::new() })
    }

    async fn stream(&self, from: &Position) -> Stream {
        self.try_stream(from).await.unwrap()
    }
}

/// A stream, and what it has given.
struct Stream {
    changes: Changes,
    seen: Vec<Seen>,
}

/// An item in short: `+1=a`, `-1`, and positions.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Begin,
    Row(String),
    Truncate,
    Commit(Position),
    Idle(Position),
}

impl Stream {
    async fn batch(&mut self) -> Result<Batch, Error> {
        let next = tokio::time::timeout(PATIENCE, self.changes.batches.next());
        next.await.expect("the stream goes on").expect("the stream is not at its end")
    }

    /// Reads until everything up to `goal` has come.
    async fn until(&mut self, goal: &Position) -> &[Seen] {
        loop {
            let last = self.seen.iter().rev().find_map(|seen| match seen {
                Seen::Commit(position) | Seen::Idle(position) => Some(position),
                _ => None,
            });
            if last.is_some_and(|last| probe::reached(last, goal).unwrap()) {
                return &self.seen;
            }
            let batch = self.batch().await.unwrap();
            assert!(!batch.is_empty());
            self.note(&batch);
        }
    }

    /// Reads until it fails.
    async fn fails(&mut self) -> Error {
        loop {
            match self.batch().await {
                Ok(batch) => self.note(&batch),
                Err(error) => return error,
            }
        }
    }

    fn note(&mut self, batch: &Batch) {
        for item in batch.items() {
            match item {
                Item::Begin(_) => self.seen.push(Seen::Begin),
                Item::Commit(commit) => self.seen.push(Seen::Commit(commit.position.clone())),
                Item::Idle { position } => self.seen.push(Seen::Idle(position.clone())),
                Item::Truncate { tables } => {
                    assert_eq!(tables[0].name.name, "t");
                    self.seen.push(Seen::Truncate);
                }
                Item::Rows(run) => {
                    assert_eq!(run.table.name.name, "t");
                    for row in batch.rows_of(run) {
                        let image = row.after().or(row.before()).unwrap();
                        let mark = match run.op {
                            Op::Insert => '+',
                            Op::Update => '*',
                            Op::Delete => '-',
                        };
                        let text = |at| image.cell(at).value().unwrap().to_string();
                        let mut value = text(1);
                        if value.len() > 20 {
                            value = format!("{} bytes", value.len());
                        }
                        self.seen.push(Seen::Row(format!("{mark}{}={value}", text(0))));
                    }
                }
                _ => panic!("{item:?}"),
            }
        }
    }

    /// Rows and truncates, with `|` at each commit.
    fn rows(&self) -> String {
        let mut rows = String::new();
        let mut open = false;
        for seen in &self.seen {
            match seen {
                Seen::Begin => {
                    assert!(!open, "{:?}", self.seen);
                    open = true;
                }
                Seen::Row(row) => rows.push_str(row),
                Seen::Truncate => rows.push('0'),
                Seen::Commit(_) => {
                    assert!(open, "{:?}", self.seen);
                    open = false;
                    rows.push('|');
                }
                Seen::Idle(_) => assert!(!open, "nobody may go on from the middle: {:?}", self.seen),
            }
        }
        rows
    }

    fn commits(&self) -> Vec<Position> {
        let commit =
            |seen: &Seen| if let Seen::Commit(position) = seen { Some(position.clone()) } else { None };
        self.seen.iter().filter_map(commit).collect()
    }
}

#[tokio::test]
async fn whole_transactions_come_in_order_from_any_of_their_positions() {
    for options in each() {
        let world = World::new(options).await;
        let start = world.here().await;
        let statements = "INSERT INTO t VALUES (1,'a'),(2,'b'); INSERT INTO other VALUES (1,'x'); \
             BEGIN; UPDATE t SET v='c' WHERE id=1; SAVEPOINT s; INSERT INTO t VALUES (9,'gone'); \
             ROLLBACK TO s; INSERT INTO other VALUES (2,'y'); DELETE FROM t WHERE id=2; COMMIT; \
             BEGIN; INSERT INTO t VALUES (8,'gone'); ROLLBACK; CREATE TABLE more (id INT); \
             FLUSH BINARY LOGS; INSERT INTO t VALUES (3,'d'); TRUNCATE TABLE t; INSERT INTO t VALUES (4,'e')";
        world.shop.execute(statements).await.unwrap();
        let end = world.here().await;
        let mut stream = world.stream(&start).await;
        stream.until(&end).await;
        let parts = ["+1=a+2=b|", "*1=c-2=b|", "+3=d|", "0|", "+4=e|"];
        assert_eq!(stream.rows(), parts.concat(), "{start}");
        // What one position says, every stream from it says again.
        for (at, position) in stream.commits().iter().enumerate() {
            let mut again = world.stream(position).await;
            world.shop.execute(&format!("INSERT INTO t VALUES ({}, 'z')", 100 + at)).await.unwrap();
            let now = world.here().await;
            again.until(&now).await;
            let added: String = (0..=at).map(|at| format!("+{}=z|", 100 + at)).collect();
            assert_eq!(again.rows(), parts[at + 1..].concat() + &added, "{position}");
            assert_eq!(again.commits()[..parts.len() - at - 1], stream.commits()[at + 1..]);
        }
        // By its place alone, whatever the server has beside it.
        let mut by_place = world.stream(&probe::coordinates(&start).unwrap()).await;
        by_place.until(&probe::coordinates(&end).unwrap()).await;
        assert!(by_place.rows().starts_with(&parts.concat()), "{}", by_place.rows());
    }
}

#[tokio::test]
async fn a_change_comes_at_once_and_an_idle_log_moves_on() {
    for options in each() {
        let world = World::new(options).await;
        let mut stream = world.stream(&world.here().await).await;
        for id in 0..5 {
            world.shop.execute(&format!("INSERT INTO t VALUES ({id}, 'a')")).await.unwrap();
            let now = world.here().await;
            stream.until(&now).await;
            // Nothing of ours, and still it goes on.
            world.shop.execute(&format!("INSERT INTO other VALUES ({id}, 'a')")).await.unwrap();
            let now = world.here().await;
            assert!(matches!(stream.until(&now).await.last(), Some(Seen::Idle(_))));
        }
        // By the server's word alone: a chunk's after point is a place.
        world.shop.execute("FLUSH BINARY LOGS").await.unwrap();
        let now = probe::coordinates(&world.here().await).unwrap();
        stream.until(&now).await;
        let head = &mut stream.changes.head;
        let known = |head: &zdm_core::connect::Head| {
            head.bytes_behind == 0
                && head.position.as_ref().is_some_and(|end| probe::reached(end, &now).unwrap())
        };
        tokio::time::timeout(PATIENCE, head.wait_for(known)).await.expect("the end is told").unwrap();
    }
}

#[tokio::test]
async fn xa_transactions_count_where_they_are_decided() {
    for options in each() {
        let world = World::new(options).await;
        let start = world.here().await;
        for (name, id) in [("a", 1), ("b", 2), ("c", 3)] {
            let prepare = format!(
                "XA START '{name}'; INSERT INTO t VALUES ({id}, '{name}'); XA END '{name}'; XA PREPARE '{name}'"
            );
            // A session of its own: it may not go on before the decision.
            world.shop.execute(&prepare).await.unwrap();
        }
        world.shop.execute("INSERT INTO t VALUES (10, 'x')").await.unwrap();
        world.shop.execute("XA ROLLBACK 'b'").await.unwrap();
        world.shop.execute("INSERT INTO t VALUES (11, 'y')").await.unwrap();
        let middle = world.here().await;
        let mut stream = world.stream(&start).await;
        stream.until(&middle).await;
        assert_eq!(stream.rows(), "+10=x|+11=y|");
        // From here on only the undecided ones are read again.
        let positions = stream.commits();
        assert!(positions[1].as_str().contains(';'), "{}", positions[1]);
        world.server.restart().await.unwrap();
        world.shop.execute("XA COMMIT 'c'").await.unwrap();
        world.shop.execute("INSERT INTO t VALUES (12, 'z')").await.unwrap();
        world.shop.execute("XA COMMIT 'a'").await.unwrap();
        world
            .shop
            .execute("XA START 'd'; INSERT INTO t VALUES (13, 'd'); XA END 'd'; XA COMMIT 'd' ONE PHASE")
            .await
            .unwrap();
        let end = world.here().await;
        for (position, rows) in [
            (&positions[1], "+3=c|+12=z|+1=a|+13=d|"),
            (&positions[0], "+11=y|+3=c|+12=z|+1=a|+13=d|"),
            (&start, "+10=x|+11=y|+3=c|+12=z|+1=a|+13=d|"),
        ] {
            let mut again = world.stream(position).await;
            again.until(&end).await;
            assert_eq!(again.rows(), rows, "{position}");
            // Nothing is undecided any more.
            assert!(!again.commits().last().unwrap().as_str().contains(';'));
        }
    }
}

#[tokio::test]
async fn undecided_rows_beyond_the_limit_stop() {
    for options in each() {
        let world = World::with(options, |config| config.undecided_limit(100_000_u64)).await;
        let start = world.here().await;
        let prepare =
            "XA START 'a'; INSERT INTO t VALUES (1, REPEAT('x', 200000)); XA END 'a'; XA PREPARE 'a'";
        world.shop.execute(prepare).await.unwrap();
        let error = world.stream(&start).await.fails().await;
        assert!(error.to_string().contains("undecided_limit"), "{error}");
        world.shop.execute("XA ROLLBACK 'a'").await.unwrap();
    }
}

#[tokio::test]
async fn ddl_of_our_tables_stops_at_its_place() {
    for options in each() {
        let world = World::new(options).await;
        let start = world.here().await;
        world
            .shop
            .execute("INSERT INTO t VALUES (1,'a'); ALTER TABLE other ADD c INT; ALTER TABLE t ADD c INT")
            .await
            .unwrap();
        let mut stream = world.stream(&start).await;
        let error = stream.fails().await;
        assert_eq!((error.kind(), stream.rows().as_str()), (ErrorKind::SchemaChanged, "+1=a|"), "{error}");
    }
}

#[tokio::test]
async fn a_statement_that_was_not_logged_as_rows_stops() {
    for options in each() {
        let world = World::new(options).await;
        let start = world.here().await;
        world
            .shop
            .execute("SET SESSION binlog_format = 'STATEMENT'; INSERT INTO t VALUES (1,'a')")
            .await
            .unwrap();
        let error = world.stream(&start).await.fails().await;
        assert!(error.to_string().contains("binlog_format=ROW"), "{error}");
    }
}

#[tokio::test]
async fn large_rows_and_compressed_logs_come_whole() {
    for options in each() {
        let compressed = match options.flavor() {
            Flavor::MySql => options.setting("binlog_transaction_compression", "ON"),
            Flavor::MariaDb => {
                options.setting("log_bin_compress", "ON").setting("log_bin_compress_min_len", 16)
            }
        };
        let world = World::new(compressed.setting("max_allowed_packet", "64M")).await;
        let start = world.here().await;
        let large = "INSERT INTO t VALUES (1, REPEAT('x', 20000000)); UPDATE t SET v = CONCAT(v, 'y'); \
             INSERT INTO t VALUES (2, 'b'); BEGIN; INSERT INTO t VALUES (3, 'c'); \
             INSERT INTO t VALUES (4, REPEAT('z', 3000000)); COMMIT";
        world.shop.execute(large).await.unwrap();
        let end = world.here().await;
        let mut stream = world.stream(&start).await;
        stream.until(&end).await;
        let rows = "+1=20000000 bytes|*1=20000001 bytes|*2";
        assert!(stream.rows().starts_with(&rows[..rows.len() - 2]), "{}", stream.rows());
        assert!(stream.rows().ends_with("+2=b|+3=c+4=3000000 bytes|"), "{}", stream.rows());
    }
}

#[tokio::test]
async fn a_purged_log_is_a_gap() {
    for options in each() {
        let world = World::new(options).await;
        let start = world.here().await;
        world
            .shop
            .execute("INSERT INTO t VALUES (1,'a'); FLUSH BINARY LOGS; INSERT INTO t VALUES (2,'b')")
            .await
            .unwrap();
        let file =
            world.here().await.as_str().rsplit_once('/').unwrap().1.split_once(':').unwrap().0.to_owned();
        world.shop.execute(&format!("PURGE BINARY LOGS TO '{file}'")).await.unwrap();
        let error = match world.try_stream(&start).await {
            Err(error) => error,
            Ok(mut stream) => stream.fails().await,
        };
        assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
        assert!(error.to_string().contains("start"), "{error}");
        let mut stream = world.stream(&world.here().await).await;
        world.shop.execute("INSERT INTO t VALUES (3,'c')").await.unwrap();
        let now = world.here().await;
        stream.until(&now).await;
        assert_eq!(stream.rows(), "+3=c|");
    }
}

#[tokio::test]
async fn another_servers_position_is_a_gap() {
    for options in each() {
        let (ours, theirs) = (World::new(options.clone()).await, World::new(options).await);
        theirs.shop.execute("INSERT INTO t VALUES (1,'a'),(2,'b')").await.unwrap();
        let foreign = theirs.here().await;
        let error = match ours.try_stream(&foreign).await {
            Err(error) => error,
            Ok(mut stream) => stream.fails().await,
        };
        assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
        let mine = probe::identity(&ours.config).await.unwrap();
        let other = probe::identity(&theirs.config).await.unwrap();
        // With GTIDs another server may take over: the transactions decide.
        let may = mine.facts.get("gtid_mode").is_none_or(|mode| mode == "ON");
        assert_eq!(mine.expect(&other).is_ok(), may, "{mine} {other}");
    }
}

/// The server itself would begin anew from its oldest log, without a word.
#[tokio::test]
async fn an_unknown_domain_of_mariadbs_is_a_gap() {
    for version in ["10.11", "11.8"] {
        let world = World::new(MySqlOptions::mariadb().version(version)).await;
        let here = world.here().await;
        let unknown = Position::new(
            here.engine().clone(),
            format!("{},7-1-1", here.as_str().split_once('@').unwrap().0),
        );
        let error = match world.try_stream(&unknown).await {
            Err(error) => error,
            Ok(_) => panic!("the server takes it"),
        };
        assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
        assert!(error.to_string().contains("7-1-1"), "{error}");
    }
}

#[tokio::test]
async fn another_server_of_the_topology_takes_over_by_gtid_set() {
    let options = || MySqlOptions::mysql().version("9").user(User::new("repl", "secret"));
    let first = World::new(options()).await;
    let start = first.here().await;
    let mut stream = first.stream(&start).await;
    first.shop.execute("INSERT INTO t VALUES (1,'a'); INSERT INTO t VALUES (2,'b')").await.unwrap();
    let seen = first.here().await;
    stream.until(&seen).await;
    let position = stream.commits()[0].clone();
    // One that replicates from it.
    let second = MySql::start(options()).await.unwrap();
    let other_tables = "CREATE DATABASE shop; USE shop; CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)";
    second.execute(&format!("SET sql_log_bin = 0; {other_tables}; CREATE TABLE other LIKE t")).await.unwrap();
    let executed = first.server.value("SELECT @@global.gtid_executed").await.unwrap();
    assert!(position.as_str().starts_with(&executed[..36]));
    let before = start.as_str().split_once('@').unwrap().0;
    second.execute(&format!("SET GLOBAL gtid_purged = '{before}'")).await.unwrap();
    let follow = format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={}, SOURCE_USER='repl', SOURCE_PASSWORD='secret', \
         SOURCE_AUTO_POSITION=1, SOURCE_SSL=0, GET_SOURCE_PUBLIC_KEY=1; START REPLICA; \
         SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 60)",
        first.server.port()
    );
    let followed = second.query(&follow).await.unwrap().pop().unwrap();
    assert_eq!(followed, [Some("0".to_owned())], "{:?}", second.query("SHOW REPLICA STATUS").await);
    second.execute("STOP REPLICA; INSERT INTO shop.t VALUES (3,'c')").await.unwrap();
    let config = MySqlConfig::builder().host(second.host()).port(second.port()).user(second.user());
    let config = config.heartbeat(Duration::from_millis(200)).build().unwrap();
    let identity = probe::identity(&first.config).await.unwrap();
    identity.expect(&probe::identity(&config).await.unwrap()).unwrap();
    let moved =
        World { shop: second.database("shop"), server: second, config, schema: Arc::clone(&first.schema) };
    let end = moved.here().await;
    let mut stream = moved.stream(&position).await;
    stream.until(&end).await;
    assert_eq!(stream.rows(), "+2=b|+3=c|");
    // And back: the first one lacks what happened since.
    let error = first.try_stream(stream.commits().last().unwrap()).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    // A chunk of the first one's cannot be waited for on the second.
    let goal = probe::coordinates(&seen).unwrap();
    assert_eq!(probe::reached(stream.commits().last().unwrap(), &goal).unwrap_err().kind(), ErrorKind::Gap);
}

#[tokio::test]
async fn transactions_with_tags_are_resumed_from() {
    let world = World::new(MySqlOptions::mysql().version("9")).await;
    let start = world.here().await;
    let tagged = "SET gtid_next = 'AUTOMATIC:blue'; INSERT INTO t VALUES (1,'a'); INSERT INTO t VALUES (2,'b'); \
         SET gtid_next = 'AUTOMATIC'; INSERT INTO t VALUES (3,'c'); \
         SET gtid_next = 'AUTOMATIC:_9'; INSERT INTO t VALUES (4,'d')";
    world.shop.execute(tagged).await.unwrap();
    let end = world.here().await;
    assert!(end.as_str().contains(":blue:1-2") && end.as_str().contains(":_9:1"), "{end}");
    let mut stream = world.stream(&start).await;
    stream.until(&end).await;
    assert_eq!(stream.rows(), "+1=a|+2=b|+3=c|+4=d|");
    for (position, rest) in stream.commits().iter().zip(["+2=b|+3=c|+4=d|", "+3=c|+4=d|", "+4=d|"]) {
        let mut again = world.stream(position).await;
        again.until(&end).await;
        assert_eq!(again.rows(), rest, "{position}");
    }
    assert_eq!(stream.commits().last().unwrap(), &end);
}

#[tokio::test]
async fn a_second_reader_with_our_id_is_told_of() {
    for options in each() {
        let world = World::new(options).await;
        let start = world.here().await;
        let mut first = world.stream(&start).await;
        world.shop.execute("INSERT INTO t VALUES (1,'a')").await.unwrap();
        let now = world.here().await;
        first.until(&now).await;
        let mut second = world.stream(&start).await;
        second.until(&now).await;
        let error = first.fails().await;
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("server-id") && !error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn a_crash_of_the_server_ends_the_stream_and_a_new_one_goes_on() {
    for options in each() {
        let world = World::new(options).await;
        let start = world.here().await;
        let mut stream = world.stream(&start).await;
        world.shop.execute("INSERT INTO t VALUES (1,'a')").await.unwrap();
        let now = world.here().await;
        stream.until(&now).await;
        world.server.kill().await.unwrap();
        let error = stream.fails().await;
        assert!(error.kind() == ErrorKind::Connection && error.is_retryable(), "{error}");
        world.server.start_again().await.unwrap();
        world.shop.execute("INSERT INTO t VALUES (2,'b')").await.unwrap();
        let now = world.here().await;
        let mut again = world.stream(stream.commits().last().unwrap()).await;
        again.until(&now).await;
        assert_eq!(again.rows(), "+2=b|");
    }
}

#[tokio::test]
async fn cancelling_ends_the_stream() {
    let [options, ..] = each();
    let world = World::new(options).await;
    let run = "run".parse::<RunName>().unwrap();
    let options = StreamOptions::new(run, world.here().await, Arc::clone(&world.schema));
    let cancel = options.cancel.clone();
    let mut changes = probe::changes(&world.config, options).await.unwrap();
    cancel.cancel();
    let last = tokio::time::timeout(PATIENCE, async {
        while changes.batches.next().await.transpose().unwrap().is_some() {}
    });
    last.await.expect("the stream ends");
}
