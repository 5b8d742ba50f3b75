//! Chunks cover every row once, whatever the key is, and give what the server
//! itself gives.

use std::collections::BTreeSet;

use zdm_core::ErrorKind;
use zdm_core::connect::Bounds;
use zdm_servers::mysql::Flavor;

use super::fixture::{Fixture, column, each};

/// Tables keyed by every kind of type, of 300 rows each.
fn keyed() -> Vec<(String, String)> {
    let types = [
        ("k_int", "INT", "n * 7 - 900"),
        ("k_big", "BIGINT UNSIGNED", "18446744073709551615 - n"),
        ("k_dec", "DECIMAL(20,5)", "n / 3 - 40"),
        ("k_float", "FLOAT", "n / 7 + 0.1"),
        ("k_double", "DOUBLE", "n * 1e15 / 7 - 0.3"),
        ("k_bin", "VARBINARY(40)", "UNHEX(CONCAT(LPAD(HEX(n), 4, '0'), '00'))"),
        ("k_fixed", "BINARY(6)", "UNHEX(LPAD(HEX(n * 255), 6, '0'))"),
        (
            "k_latin",
            "VARCHAR(40) CHARACTER SET latin1",
            "CONCAT(CHAR(192 + n % 40 USING latin1), n, '''\\\\')",
        ),
        (
            "k_text",
            "VARCHAR(40) CHARACTER SET utf8mb4",
            "CONCAT(CASE n % 3 WHEN 0 THEN 'é' WHEN 1 THEN 'Z' ELSE 'a' END, n)",
        ),
        ("k_wide", "CHAR(20) CHARACTER SET utf16", "CONCAT('ü', n)"),
        ("k_date", "DATE", "DATE_ADD('1999-01-01', INTERVAL n DAY)"),
        ("k_at", "DATETIME(3)", "DATE_ADD('1999-01-01', INTERVAL n * 1001000 MICROSECOND)"),
        ("k_stamp", "TIMESTAMP(6)", "DATE_ADD('2000-01-01', INTERVAL n * 1000001 MICROSECOND)"),
        ("k_time", "TIME(2)", "SEC_TO_TIME(n * 97.25 - 14000)"),
        ("k_bit", "BIT(20)", "n * 3"),
    ];
    let mut tables: Vec<_> = types
        .iter()
        .map(|(name, native, value)| {
            let sql = format!(
                "CREATE TABLE {name} (k {native} NOT NULL PRIMARY KEY, n INT, pad CHAR(60));
                 INSERT INTO {name} SELECT {value}, n, REPEAT('x', 50) FROM numbers;"
            );
            ((*name).to_owned(), sql)
        })
        .collect();
    let two = "CREATE TABLE k_two (a ENUM('z','y','x') NOT NULL, b VARCHAR(9) NOT NULL, n INT, pad CHAR(60),
                 PRIMARY KEY (a, b));
               INSERT INTO k_two SELECT ELT(1 + n % 3, 'z', 'y', 'x'), n, n, REPEAT('x', 50) FROM numbers;";
    tables.push(("k_two".to_owned(), two.to_owned()));
    let unique = "CREATE TABLE k_unique (n INT NOT NULL, pad CHAR(60), UNIQUE (n));
                  INSERT INTO k_unique SELECT n, REPEAT('x', 50) FROM numbers;";
    tables.push(("k_unique".to_owned(), unique.to_owned()));
    tables
}

const NUMBERS: &str = "
    CREATE TABLE digits (d INT PRIMARY KEY);
    INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
    CREATE TABLE numbers (n INT PRIMARY KEY);
    INSERT INTO numbers SELECT a.d * 100 + b.d * 10 + c.d FROM digits a, digits b, digits c WHERE a.d < 3;";

#[tokio::test]
async fn chunks_of_every_key_cover_each_row_once() {
    for options in each() {
        let tables = keyed();
        let sql: String = tables.iter().map(|(_, sql)| sql.as_str()).collect();
        let fixture = Fixture::new(options, &format!("{NUMBERS}{sql}")).await;
        for (name, _) in &tables {
            let at = fixture.table(name).position("n").unwrap();
            let bounds = fixture.plan(name, 4_000).await;
            assert!(bounds.len() >= 5, "{name}: {} chunks", bounds.len());
            let mut seen = Vec::new();
            for bounds in bounds {
                let (batches, _) = fixture.read(fixture.chunk(name, bounds.clone())).await.unwrap();
                let part = column(&batches, at);
                assert!(part.len() <= 100, "{name}: {} rows of 300 in {bounds:?}", part.len());
                seen.extend(part.into_iter().map(|n| n.parse::<i64>().unwrap()));
            }
            assert_eq!(seen.len(), 300, "{name}");
            assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), (0..300).collect(), "{name}");
        }
        fixture.server.close().await.unwrap();
    }
}

/// A key of one whole number is divided by what its index tells: also with a
/// gap in it, and without the server reading the table.
#[tokio::test]
async fn a_key_with_a_gap_is_divided_without_reading_it() {
    let sql = format!(
        "{NUMBERS}
         CREATE TABLE far (id BIGINT PRIMARY KEY, pad CHAR(200));
         INSERT INTO far SELECT a.n * 300 + b.n, REPEAT('x', 200) FROM numbers a, numbers b WHERE a.n < 40;
         INSERT INTO far SELECT id + 9000000000000000000, pad FROM far"
    );
    for options in each() {
        let fixture = Fixture::new(options, &sql).await;
        let read = async || {
            let sql = "SHOW GLOBAL STATUS LIKE 'Handler_read_next'";
            fixture.server.query(sql).await.unwrap()[0][1].as_ref().unwrap().parse::<u64>().unwrap()
        };
        let before = read().await;
        let plan = fixture.plan("far", 256 << 10).await;
        let reads = read().await - before;
        assert!(reads < 6_000, "{reads} rows were read to divide 24,000");
        assert!((10..60).contains(&plan.len()), "{} chunks of 24,000 rows, some 1,100 each", plan.len());
        let mut seen = Vec::new();
        for bounds in plan {
            let (batches, _) = fixture.read(fixture.chunk("far", bounds.clone())).await.unwrap();
            let part = column(&batches, 0);
            assert!(part.len() < 5_000, "{} rows in {bounds:?}", part.len());
            seen.extend(part.into_iter().map(|id| id.parse::<i64>().unwrap()));
        }
        assert_eq!(seen.len(), 24_000);
        let wanted: BTreeSet<_> = (0..12_000).flat_map(|id| [id, id + 9_000_000_000_000_000_000]).collect();
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), wanted);
        fixture.server.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_chunk_gives_what_the_server_gives() {
    let sql = "
        CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, d DOUBLE, dec_ DECIMAL(10,3), s VARCHAR(50) CHARACTER SET latin1,
                        u TEXT CHARACTER SET utf8mb4, b BLOB, dt DATE, at TIMESTAMP(6) NULL, ti TIME(3),
                        e ENUM('a','é') CHARACTER SET latin1, st SET('x','y'), z INT(8) UNSIGNED ZEROFILL,
                        c CHAR(5), g INT AS (id + 1) VIRTUAL);
        INSERT INTO t (id, f, d, dec_, s, u, b, dt, at, ti, e, st, z, c) VALUES
          (1, 0.1, 0.25, -1.5, 'é', '漢𝄞', x'00ff0a', '2024-02-29', '2024-01-01 10:00:00.123456', '-01:00:00.5',
           'é', 'x,y', 42, 'ab   '),
          (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
    for options in each() {
        let fixture = Fixture::new(options, sql).await;
        let bounds = fixture.plan("t", u64::MAX).await;
        assert_eq!(bounds, [Bounds("{}".to_owned())]);
        let (batches, _) = fixture.read(fixture.chunk("t", bounds[0].clone())).await.unwrap();
        let row = batches[0].rows().next().unwrap().after().unwrap();
        let shown: Vec<String> = (0..14).map(|at| row.cell(at).value().unwrap().to_string()).collect();
        assert_eq!(shown[..6], ["1", "0.1", "0.25", "-1.500", "é", "漢𝄞"].map(str::to_owned), "{shown:?}");
        assert_eq!(row.cell(6).raw().unwrap().1, b"\x00\xff\n");
        assert_eq!(shown[7], "2024-02-29");
        assert!(shown[8].starts_with("2024-01-01") && shown[8].contains("10:00:00.123456"), "{}", shown[8]);
        assert_eq!(shown[10..14], ["é", "x,y", "42", "ab"].map(str::to_owned));
        assert!(row.cell(14).is_unchanged(), "what is computed is not read");
        let nulls = batches[0].rows().nth(1).unwrap().after().unwrap();
        assert!((1..14).all(|at| nulls.cell(at).raw().is_none()));
        fixture.server.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_row_larger_than_a_packet_is_read() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB);
               INSERT INTO t VALUES (1, REPEAT('a', 20000000)), (2, 'b'), (3, REPEAT('c', 16777200))";
    for options in each() {
        let log = match options.flavor() {
            Flavor::MariaDb => "innodb_log_file_size",
            Flavor::MySql => "innodb_redo_log_capacity",
        };
        let options = options.setting("max_allowed_packet", 64 << 20).setting(log, 512 << 20);
        let fixture = Fixture::new(options, sql).await;
        let chunk = fixture.chunk("t", Bounds("{}".to_owned()));
        let (batches, _) = fixture.read(chunk).await.unwrap();
        let lengths: Vec<usize> = batches
            .iter()
            .flat_map(|batch| batch.rows())
            .map(|row| row.after().unwrap().cell(1).raw().unwrap().1.len())
            .collect();
        assert_eq!(lengths, [20_000_000, 1, 16_777_200]);
        fixture.server.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_changed_table_is_refused() {
    for (change, expected) in [
        ("ALTER TABLE t ADD x INT", ErrorKind::SchemaChanged),
        ("ALTER TABLE t MODIFY s VARCHAR(10) COLLATE utf8mb4_bin", ErrorKind::SchemaChanged),
        ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (s)", ErrorKind::SchemaChanged),
        ("DROP TABLE t", ErrorKind::SchemaChanged),
    ] {
        let [mariadb, mysql] = each();
        let options = if change.contains("DROP T") { mysql } else { mariadb };
        let sql = "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(10) COLLATE utf8mb4_general_ci NOT NULL)";
        let fixture = Fixture::new(options, sql).await;
        let chunk = || fixture.chunk("t", Bounds("{}".to_owned()));
        fixture.shop.execute("TRUNCATE t; ANALYZE TABLE t").await.unwrap();
        fixture.read(chunk()).await.unwrap();
        fixture.shop.execute(change).await.unwrap();
        assert_eq!(fixture.read(chunk()).await.unwrap_err().kind(), expected, "{change}");
        fixture.server.close().await.unwrap();
    }
}
