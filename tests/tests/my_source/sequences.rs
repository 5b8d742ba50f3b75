//! Counters are read live and never set back.

use zdm_core::connect::Source as _;

use super::fixture::{Fixture, each};

#[tokio::test]
async fn counters_are_read_and_set_with_a_margin() {
    for options in each() {
        let sql = "CREATE TABLE t (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, v INT);
                   CREATE TABLE never (id INT PRIMARY KEY AUTO_INCREMENT)";
        let fixture = Fixture::new(options, sql).await;
        fixture.shop.execute("INSERT INTO t (v) VALUES (1), (2), (3); DELETE FROM t").await.unwrap();
        let sequences = fixture.source.capabilities().sequences.unwrap();
        let values = sequences.read(&fixture.schema).await.unwrap();
        let next =
            |name: &str| values.iter().find(|v| v.name.name == name).map(|v| (v.last, v.called)).unwrap();
        assert_eq!((next("t"), next("never")), ((4, false), (1, false)));
        sequences.set(&fixture.schema, &values, 100).await.unwrap();
        sequences.set(&fixture.schema, &values, 0).await.unwrap();
        fixture.shop.execute("INSERT INTO t (v) VALUES (1)").await.unwrap();
        assert_eq!(fixture.shop.value("SELECT id FROM t").await.unwrap(), "104");
        fixture.server.close().await.unwrap();
    }
}

#[tokio::test]
async fn sequences_of_mariadb_are_read_and_set() {
    let fixture = Fixture::new(
        each()[0].clone(),
        "CREATE SEQUENCE s START WITH 5 INCREMENT BY 2 CACHE 0; CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(s));
         SELECT NEXTVAL(s)",
    )
    .await;
    let sequence = fixture.schema.sequences.iter().find(|s| s.name.name == "s").unwrap();
    assert_eq!((sequence.increment, sequence.owner.is_none()), (2, true));
    let sequences = fixture.source.capabilities().sequences.unwrap();
    let values = sequences.read(&fixture.schema).await.unwrap();
    assert_eq!((values[0].last, values[0].called, values[0].increment), (7, false, 2));
    sequences.set(&fixture.schema, &values, 10).await.unwrap();
    assert_eq!(fixture.shop.value("SELECT NEXTVAL(s)").await.unwrap(), "27");
    fixture.server.close().await.unwrap();
}
