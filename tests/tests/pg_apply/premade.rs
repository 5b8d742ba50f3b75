//! Target tables that were there before the run, with all that the source's
//! have, or more.

use std::sync::Arc;

use zdm_core::connect::{Purpose, Sink, Step};
use zdm_core::schema::{Schema, Selection, TableName};
use zdm_core::{ErrorKind, Result};
use zdm_pg::config::PgConfig;
use zdm_servers::postgres::Database;

use crate::fixture::*;

const TABLES: &str = "
    CREATE TABLE t (id bigint PRIMARY KEY, u bigint CONSTRAINT once UNIQUE, v text);
    CREATE UNIQUE INDEX t_v ON t (upper(v)) WHERE id > 0;
    ALTER TABLE t ADD CONSTRAINT apart EXCLUDE USING btree (abs(u) WITH =) WHERE (id < 100);
    CREATE INDEX t_plain ON t (v);
    CREATE TABLE child (id bigint PRIMARY KEY, t bigint REFERENCES t (u) ON DELETE CASCADE);
    CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v = ''spoiled''; RETURN NEW; END';
    CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION spoil()";

const STANDING: &str = "
    SELECT pg_get_indexdef(indexrelid) AS d FROM pg_index WHERE indrelid IN ('t'::regclass, 'child'::regclass)
     UNION ALL
    SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('t'::regclass, 'child'::regclass)
       AND contype <> 'n'
     ORDER BY 1";

/// A source with these tables, as it describes itself.
async fn source(name: &str) -> (Database, Schema) {
    let database = server().await.create_database(name).await.unwrap();
    database.execute(TABLES).await.unwrap();
    let config = Arc::new(PgConfig::parse(&database.url()).unwrap());
    let schema = zdm_pg::schema::describe(&config, &Selection::all()).await.unwrap();
    (database, schema)
}

async fn prepare(case: &Case, schema: &Schema, step: Step) -> Result<()> {
    case.sink.prepare(&case.run, schema, step).await
}

#[test]
fn what_the_source_has_too_steps_aside_and_comes_back() {
    test(async {
        let (source, schema) = source("premade_a").await;
        let case = planned(TABLES).await;
        let before = case.rows(STANDING).await;
        // Killed between the two, it is called again.
        prepare(&case, &schema, Step::Bare).await.unwrap();
        prepare(&case, &schema, Step::Bare).await.unwrap();
        case.expect(
            "SELECT indexrelid::regclass::text FROM pg_index
             WHERE indrelid IN ('t'::regclass, 'child'::regclass) ORDER BY 1",
            &["child_pkey", "t_pkey", "t_plain"],
        )
        .await;
        // Chunks of different moments: a value has moved from one row to
        // another between them, and a child came before its parent.
        let t = schema.table(&TableName::new("public", "t")).unwrap();
        let child = schema.table(&TableName::new("public", "child")).unwrap();
        let mut load = case.writer(Purpose::Load, 1).await.unwrap();
        let rows = |log: &mut zdm_core::change::BatchBuilder| {
            log.insert(t, [n(1), n(7), s("a")]).unwrap();
            log.insert(t, [n(2), n(-7), s("A")]).unwrap();
            log.insert(child, [n(1), n(70)]).unwrap();
        };
        load.write(batch(rows)).await.unwrap();
        load.commit(done(0)).await.unwrap();
        prepare(&case, &schema, Step::Keyed).await.unwrap();
        case.apply(|log| {
            log.update(t, Old::None, [n(1), n(70), s("b")]).unwrap();
        })
        .await
        .unwrap();
        prepare(&case, &schema, Step::Finished).await.unwrap();
        let built: Vec<_> = case.rows(STANDING).await;
        let foreign = |rows: &[String]| rows.iter().filter(|row| row.starts_with("FOREIGN")).count();
        assert_eq!((foreign(&before), foreign(&built)), (1, 0));
        assert!(before.iter().filter(|row| !row.starts_with("FOREIGN")).eq(&built), "{before:#?} {built:#?}");
        prepare(&case, &schema, Step::Ready).await.unwrap();
        prepare(&case, &schema, Step::Validated).await.unwrap();
        assert_eq!(case.rows(STANDING).await, before);
        let triggers = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal";
        case.expect(triggers, &["spoil|O"]).await;
        case.expect("SELECT id, u, v FROM t ORDER BY id", &["1|70|b", "2|-7|A"]).await;
        drop(source);
    });
}

#[test]
fn what_the_source_has_not_is_refused_by_name_and_nothing_is_changed() {
    test(async {
        let (_source, mut schema) = source("premade_b").await;
        let case = case(
            "CREATE TABLE outside (id bigint PRIMARY KEY);
             CREATE TABLE t (id bigint PRIMARY KEY, u bigint, v text UNIQUE);
             CREATE TABLE child (id bigint PRIMARY KEY, t bigint) PARTITION BY RANGE (id);
             CREATE TABLE child_1 PARTITION OF child DEFAULT;
             CREATE UNIQUE INDEX own ON child_1 (t);
             CREATE UNIQUE INDEX once ON t (v, u);
             ALTER TABLE t ADD CONSTRAINT elsewhere FOREIGN KEY (u) REFERENCES outside;
             ALTER TABLE outside ADD CONSTRAINT into_it FOREIGN KEY (id) REFERENCES t ON DELETE CASCADE;
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER note AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
             CREATE TRIGGER quiet AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
             ALTER TABLE t DISABLE TRIGGER quiet",
        )
        .await;
        let before = case.rows(STANDING).await;
        let error = prepare(&case, &schema, Step::Bare).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let words = error.to_string();
        for name in ["t_v_key", "once", "own", "elsewhere", "into_it", "note"] {
            assert!(
                words.contains(&format!(" \"{name}\"")) || words.contains(&format!(" {name}:")),
                "{name}: {words}"
            );
        }
        assert!(!words.contains("quiet"), "{words}");
        assert_eq!(case.rows(STANDING).await, before);
        case.expect("SELECT to_regclass('zdm.made') IS NULL", &["t"]).await;
        // What the words say is enough.
        schema.tables.retain(|table| &*table.name.name == "t");
        let mut remedies: Vec<_> = words.split("; ").filter_map(|part| part.rsplit_once(": ")).collect();
        remedies.retain(|(_, sql)| sql.starts_with("ALTER") || sql.starts_with("DROP"));
        for (_, sql) in &remedies {
            case.database.execute(sql).await.unwrap();
        }
        prepare(&case, &schema, Step::Bare).await.unwrap();
    });
}
