//! The shop as PostgreSQL has it, with an array, a domain, a trigger, and
//! foreign keys that act.

use zdm_servers::Result;
use zdm_servers::postgres::Database;

const SCHEMA: &str = r#"
CREATE TYPE order_state AS ENUM ('placed', 'paid', 'shipped', 'returned');
CREATE DOMAIN money_amount AS numeric(12,2) CHECK (VALUE >= 0);

CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    tags text[] NOT NULL DEFAULT '{}',
    profile jsonb,
    since timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE products (
    sku text PRIMARY KEY,
    title text NOT NULL,
    price money_amount NOT NULL,
    stock integer NOT NULL,
    manual text,
    picture bytea
);
CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers ON DELETE CASCADE,
    state order_state NOT NULL DEFAULT 'placed',
    net money_amount NOT NULL,
    gross numeric(14,2) GENERATED ALWAYS AS (net * 1.19) STORED,
    note text,
    placed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX orders_open ON orders (placed_at) WHERE state = 'placed';
CREATE TABLE order_items (
    order_id bigint REFERENCES orders ON DELETE CASCADE,
    line smallint,
    sku text NOT NULL REFERENCES products ON UPDATE CASCADE,
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, line)
);
CREATE TABLE "Payments" (
    "paymentId" uuid PRIMARY KEY,
    "orderId" bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
    amount money_amount NOT NULL,
    "paidAt" timestamptz NOT NULL DEFAULT now()
);
-- What the application did, written in the transactions that did it.
CREATE TABLE requests (
    id bigint PRIMARY KEY,
    what text NOT NULL,
    done_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- No key at all: a log that is only appended to.
CREATE TABLE audit (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL
);
ALTER TABLE audit REPLICA IDENTITY FULL;

CREATE FUNCTION note_shipment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'shipped' AND OLD.state <> 'shipped' THEN
        INSERT INTO public.audit (what) VALUES ('shipped ' || NEW.id);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER note_shipment AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note_shipment();
"#;

/// Makes the shop, with so many orders.
pub(super) async fn load(database: &Database, orders: u32) -> Result<()> {
    database.execute(SCHEMA).await?;
    let customers = (orders / 6).max(10);
    rows(database, customers, orders).await?;
    database.execute("ANALYZE").await
}

async fn rows(database: &Database, customers: u32, orders: u32) -> Result<()> {
    database
        .execute(&format!(
            r#"
INSERT INTO customers (email, name, tags, profile)
SELECT 'c' || i || '@example.com', 'Customer ' || i, ARRAY['t' || i % 7, 'x,"y"'],
       jsonb_build_object('n', i, 'likes', jsonb_build_array('a', NULL, 1.50))
FROM generate_series(1, {customers}) i;
INSERT INTO products (sku, title, price, stock, manual, picture)
SELECT 'sku-' || i, 'Product ' || i, (i % 500) + 0.99, 1000000,
       repeat(md5(i::text), CASE WHEN i % 50 = 0 THEN 2000 ELSE 2 END),
       CASE WHEN i % 3 = 0 THEN decode(md5(i::text), 'hex') END
FROM generate_series(1, 2000) i;
INSERT INTO orders (customer_id, state, net, note)
SELECT i % {customers} + 1, (ARRAY['placed', 'paid', 'shipped']::order_state[])[i % 3 + 1], (i % 900) + 0.5,
       CASE WHEN i % 4 = 0 THEN E'tab\there, line\nthere, back\\slash' END
FROM generate_series(1, {orders}) i;
INSERT INTO order_items SELECT o, l, 'sku-' || (o * l % 2000 + 1), l
FROM generate_series(1, {orders}) o, generate_series(1, 2) l;
INSERT INTO "Payments" SELECT gen_random_uuid(), i, (i % 900) + 0.5
FROM generate_series(1, {orders}, 3) i;
"#
        ))
        .await
}
