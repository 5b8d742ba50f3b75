//! What surrounds the rows: defaults, computed columns, keys, indexes, foreign
//! keys, checks, counters, comments and collations, as the target's own catalog
//! tells them; and what the report says of those that are not there.

use std::collections::BTreeSet;

use zdm_core::schema::conversion::{Outcome, Report};
use zdm_servers::mysql::{Database, Flavor, MySql, MySqlOptions};
use zdm_servers::postgres::{self, PgOptions, Postgres};

use super::places::{Move, Place};

/// A shop that both servers of the family take.
const SHOP: &str = "
CREATE TABLE users (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'the number',
  mail VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL,
  state ENUM('new','it''s') CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL DEFAULT 'it''s',
  score DECIMAL(8,2) DEFAULT -1.50,
  flags BIT(3) DEFAULT b'101',
  made DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  seen TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP,
  born DATE DEFAULT '2000-02-29',
  secret INT DEFAULT 3 INVISIBLE,
  upper_mail VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci AS (UPPER(mail)) STORED,
  twice DECIMAL(9,2) AS (score * 2) VIRTUAL,
  initial VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci AS (LEFT(mail, 1)) VIRTUAL,
  UNIQUE KEY by_mail (mail),
  UNIQUE KEY by_start (mail(5), id),
  KEY by_state (state, score DESC),
  CONSTRAINT positive CHECK (score > -100 AND score IS NOT NULL)
) COMMENT 'who''s who';
CREATE TABLE orders (
  id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED,
  again INT,
  note TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci,
  KEY of_user (user_id),
  KEY by_note (note(20)),
  CONSTRAINT to_user FOREIGN KEY (user_id) REFERENCES users (id) ON UPDATE RESTRICT,
  CONSTRAINT to_order FOREIGN KEY (again) REFERENCES orders (id)
);
CREATE VIEW report AS SELECT COUNT(*) FROM orders;
CREATE PROCEDURE tidy() DELETE FROM orders;
CREATE FUNCTION one() RETURNS INT DETERMINISTIC RETURN 1;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM orders;
CREATE TRIGGER stamp BEFORE INSERT ON orders FOR EACH ROW SET NEW.note = 'x'";

/// What the report says of an object that is not the same there.
pub(crate) fn told(report: &Report) -> BTreeSet<String> {
    let objects = report.tables.iter().flat_map(|table| &table.objects);
    let objects = objects.filter_map(|object| match &object.outcome {
        Outcome::Kept => None,
        Outcome::Changed(_) => Some(format!("changed {}", object.object)),
        Outcome::Dropped(_) => Some(format!("dropped {}", object.object)),
    });
    let unmoved = report.unmoved.iter().map(|object| {
        assert!(object.statement.to_uppercase().contains("CREATE"), "{object:?}");
        format!("left {} {}", object.kind, object.name.name)
    });
    objects.chain(unmoved).collect()
}

pub(crate) fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// SHOW CREATE TABLE by lines, without what servers show in ways of their own:
/// widths, character sets and collations that are told beside each column, and
/// parentheses, quotes and case.
pub(crate) async fn shown(database: &Database, table: &str) -> BTreeSet<String> {
    let rows = database.query(&format!("SHOW CREATE TABLE {table}")).await.unwrap();
    let text = rows[0][1].clone().unwrap();
    let (list, _) = text.split_once("\n)").unwrap();
    let plain = |line: &str| {
        let line = line.trim().trim_end_matches(',').to_lowercase();
        let mut line = line.replace(['(', ')', '`'], " ").replace("/*!80023 invisible */", "invisible");
        for (theirs, ours) in [
            ("bigint 20 ", "bigint "),
            ("int 11 ", "int "),
            ("_utf8mb4", ""),
            ("character set utf8mb4", ""),
            ("collate utf8mb4_general_ci", ""),
            ("ucase", "upper"),
            ("- 100", "-100"),
            ("default '-1.50'", "default -1.50"),
            ("default '3'", "default 3"),
            ("default '1'", "default 1"),
            ("text default null", "text"),
        ] {
            line = line.replace(theirs, ours);
        }
        let hidden = line.contains(" invisible");
        let line = line.replace(" invisible", "") + if hidden { " invisible" } else { "" };
        line.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",")
    };
    list.lines().skip(1).map(plain).collect()
}

async fn between_kin(from: MySqlOptions, to: MySqlOptions) {
    let (from, to) = tokio::join!(MySql::start(from), MySql::start(to));
    let (from, to) = (from.unwrap(), to.unwrap());
    let home = from.create_database("shop").await.unwrap();
    home.execute(SHOP).await.unwrap();
    home.execute("INSERT INTO users (mail, score) VALUES ('a', 1), ('b', 2)").await.unwrap();
    let there = to.create_database("shop").await.unwrap();
    let moved = Move::between(&Place::MySql(home.clone()), &Place::MySql(there.clone()), "objects");
    let report = moved.report().await;
    assert_eq!(
        told(&report),
        set(&[
            "dropped storage and partitions",
            "left event nightly",
            "left routine one",
            "left routine tidy",
            "left trigger stamp",
            "left view report",
        ])
    );
    moved.caught_up().await.unwrap();
    for table in ["users", "orders"] {
        let (mut before, after) = (shown(&home, table).await, shown(&there, table).await);
        // Foreign keys come with the cutover.
        before.retain(|line| !line.contains("foreign key"));
        assert_eq!(after, before, "{} to {}", from.flavor(), to.flavor());
    }
    let comment = "SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'users'";
    assert_eq!(there.value(comment).await.unwrap(), "who's who");
    from.close().await.unwrap();
    to.close().await.unwrap();
}

#[tokio::test]
async fn objects_of_mysql_are_at_mariadb() {
    between_kin(MySqlOptions::mysql().version("9"), MySqlOptions::mariadb().version("10.11")).await;
}

#[tokio::test]
async fn objects_of_mariadb_are_at_mysql() {
    between_kin(MySqlOptions::mariadb().version("10.11"), MySqlOptions::mysql().version("9")).await;
}

/// What PostgreSQL's catalog says of its tables.
async fn catalog(database: &postgres::Database) -> BTreeSet<String> {
    let sql = "
        SELECT format('column %s.%s %s%s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                      CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
                      CASE a.attidentity WHEN 'd' THEN ' by default' ELSE '' END,
                      coalesce(CASE a.attgenerated WHEN 's' THEN ' as ' ELSE ' default ' END
                               || pg_get_expr(d.adbin, d.adrelid), ''))
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
               LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT format('%s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f')
        UNION ALL SELECT 'comment ' || description FROM pg_description
         WHERE objoid = 'public.users'::regclass";
    database.query(sql).await.unwrap().into_iter().map(|row| row[0].clone().unwrap()).collect()
}

async fn at_postgres(options: MySqlOptions) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let home = server.create_database("shop").await.unwrap();
    // LEFT() is of no engine but its own: such a column blocks.
    home.execute(SHOP).await.unwrap();
    let there = postgres.create_database("shop").await.unwrap();
    let moved = Move::between(&Place::MySql(home.clone()), &Place::Postgres(there.clone()), "objects");
    let refused = moved.caught_up().await.unwrap_err().to_string();
    assert!(refused.contains("initial") && refused.contains("computed"), "{refused}");
    home.execute("ALTER TABLE users DROP COLUMN initial").await.unwrap();
    // MariaDB has no indexes over expressions.
    let functional = server.flavor() == Flavor::MySql;
    if functional {
        home.execute("CREATE INDEX by_lower ON users ((LOWER(mail)), score DESC)").await.unwrap();
        home.execute("CREATE UNIQUE INDEX by_double ON users ((score * 2), id)").await.unwrap();
    }
    let report = moved.report().await;
    assert_eq!(
        told(&report),
        set(&[
            "changed index by_note",
            "changed index by_start",
            "dropped storage and partitions",
            "left event nightly",
            "left routine one",
            "left routine tidy",
            "left trigger stamp",
            "left view report",
        ])
    );
    moved.caught_up().await.unwrap();
    let found = catalog(&there).await;
    let mut expected = set(&[
        "column users.id bigint not null by default",
        "column users.mail character varying(190) not null",
        "column users.state users_state_enum not null default 'it''s'::users_state_enum",
        "column users.score numeric(8,2) default '-1.50'::numeric",
        "column users.flags bit(3) default '101'::\"bit\"",
        "column users.made timestamp(3) without time zone not null default CURRENT_TIMESTAMP(3)",
        "column users.seen timestamp(0) with time zone",
        "column users.born date default '2000-02-29'::date",
        "column users.secret integer default 3",
        "column users.upper_mail character varying(190) as upper((mail)::text)",
        "column users.twice numeric(9,2) as (score * (2)::numeric)",
        "column orders.id integer not null by default",
        "column orders.user_id bigint",
        "column orders.again integer",
        "column orders.note text",
        "CREATE UNIQUE INDEX users_pkey ON public.users USING btree (id)",
        "CREATE UNIQUE INDEX by_mail ON public.users USING btree (mail)",
        "CREATE UNIQUE INDEX by_start ON public.users USING btree (\"left\"((mail)::text, 5), id)",
        "CREATE INDEX by_state ON public.users USING btree (state, score DESC)",
        "CREATE UNIQUE INDEX orders_pkey ON public.orders USING btree (id)",
        "CREATE INDEX of_user ON public.orders USING btree (user_id)",
        "CREATE INDEX to_order ON public.orders USING btree (again)",
        "CREATE INDEX by_note ON public.orders USING btree (\"left\"(note, 20))",
        "positive CHECK (((score > ('-100'::integer)::numeric) AND (NOT (score IS NULL))))",
        "comment who's who",
        "comment the number",
    ]);
    if functional {
        expected.extend(set(&[
            "CREATE INDEX by_lower ON public.users USING btree (lower((mail)::text), score DESC)",
            "CREATE UNIQUE INDEX by_double ON public.users USING btree (((score * (2)::numeric)), id)",
        ]));
    }
    let differ: Vec<&String> = found.symmetric_difference(&expected).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    server.close().await.unwrap();
}

#[tokio::test]
async fn objects_of_mysql_are_at_postgresql() {
    at_postgres(MySqlOptions::mysql().version("9")).await;
}

#[tokio::test]
async fn objects_of_mariadb_are_at_postgresql() {
    at_postgres(MySqlOptions::mariadb().version("10.11")).await;
}

/// A shop of PostgreSQL's.
const HERE: &str = "
CREATE TYPE state AS ENUM ('new', 'it''s');
CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mail varchar(190) NOT NULL UNIQUE,
  state state NOT NULL DEFAULT 'it''s',
  score numeric(8,2) DEFAULT -1.50 CONSTRAINT positive CHECK (score > -100),
  made timestamptz NOT NULL DEFAULT now(),
  born date DEFAULT '2000-02-29',
  ok boolean NOT NULL DEFAULT true,
  token uuid DEFAULT gen_random_uuid(),
  body text DEFAULT 'x',
  twice numeric(9,2) GENERATED ALWAYS AS (score * 2) STORED
);
COMMENT ON TABLE users IS 'who''s who';
COMMENT ON COLUMN users.mail IS 'where';
CREATE INDEX by_state ON users (state, score DESC);
CREATE INDEX by_lower ON users (lower(mail));
CREATE INDEX new_ones ON users (made) WHERE state = 'new';
CREATE UNIQUE INDEX one_new ON users (born) WHERE ok;
CREATE INDEX body_words ON users USING gin (to_tsvector('simple', body));
CREATE TABLE orders (
  id serial PRIMARY KEY,
  user_id bigint REFERENCES users (id) ON DELETE CASCADE ON UPDATE SET NULL,
  \"Order\" int, \"order\" int,
  UNIQUE (user_id, id)
);
CREATE SEQUENCE loose;
CREATE VIEW report AS SELECT count(*) FROM orders;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE a_table_whose_name_is_as_long_as_postgresql_lets_a_name_be_63c (id int PRIMARY KEY)";

/// SHOW CREATE TABLE and the report of that shop at a server.
async fn from_postgres(options: MySqlOptions) -> (BTreeSet<String>, Report) {
    let (server, postgres) = tokio::join!(MySql::start(options), Postgres::start(PgOptions::new()));
    let (server, postgres) = (server.unwrap(), postgres.unwrap());
    let home = postgres.create_database("shop").await.unwrap();
    home.execute(HERE).await.unwrap();
    let there = server.create_database("shop").await.unwrap();
    let moved = Move::between(&Place::Postgres(home.clone()), &Place::MySql(there.clone()), "objects");
    let report = moved.report().await;
    moved.caught_up().await.unwrap();
    let found = shown(&there, "users").await;
    server.close().await.unwrap();
    (found, report)
}

#[tokio::test]
async fn objects_of_postgresql_are_at_mysql() {
    let (found, report) = from_postgres(MySqlOptions::mysql().version("9")).await;
    let expected = set(&[
        "id bigint not null auto_increment",
        "mail varchar 190 collate utf8mb4_0900_bin not null comment 'where'",
        "state enum 'new','it''s' collate utf8mb4_0900_bin not null default 'it''s'",
        "score decimal 8,2 default -1.50",
        "made datetime 6 not null default current_timestamp 6",
        "born date default '2000-02-29'",
        "ok tinyint 1 not null default 1",
        "token char 36 character set ascii collate ascii_bin default uuid",
        "body longtext collate utf8mb4_0900_bin default 'x'",
        "twice decimal 9,2 generated always as score * 2 stored",
        "primary key id",
        "unique key users_mail_key mail",
        "key by_state state, score desc",
        "key by_lower lower mail",
        "key new_ones made",
        "constraint positive check score > -100",
    ]);
    let differ: Vec<&String> = found.symmetric_difference(&expected).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(
        told(&report),
        set(&[
            "changed index new_ones",
            "dropped index one_new",
            "dropped index body_words",
            "left routine stamp",
            "left sequence loose",
            "left trigger stamp",
            "left view report",
        ])
    );
}

#[tokio::test]
async fn objects_of_postgresql_are_at_mariadb() {
    let (found, report) = from_postgres(MySqlOptions::mariadb().version("10.11")).await;
    let expected = set(&[
        "id bigint not null auto_increment",
        "mail varchar 190 collate utf8mb4_nopad_bin not null comment 'where'",
        "state enum 'new','it''s' collate utf8mb4_nopad_bin not null default 'it''s'",
        "score decimal 8,2 default -1.50",
        "made datetime 6 not null default current_timestamp 6",
        "born date default '2000-02-29'",
        "ok tinyint 1 not null default 1",
        "token uuid default uuid",
        "body longtext collate utf8mb4_nopad_bin default 'x'",
        "twice decimal 9,2 generated always as score * 2 stored",
        "primary key id",
        "unique key users_mail_key mail",
        "key by_state state, score desc",
        "key new_ones made",
        "constraint positive check score > -100",
    ]);
    let differ: Vec<&String> = found.symmetric_difference(&expected).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(
        told(&report),
        set(&[
            "changed index new_ones",
            "dropped index by_lower",
            "dropped index one_new",
            "dropped index body_words",
            "left routine stamp",
            "left trigger stamp",
            "left view report",
        ])
    );
}
