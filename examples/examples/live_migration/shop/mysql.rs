//! The shop as MySQL and MariaDB have it. Foreign keys do not act, since not
//! every version logs what they do.

use zdm_servers::Result;
use zdm_servers::mysql::Database;

const SCHEMA: &str = "
CREATE TABLE customers (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email varchar(200) NOT NULL,
    name varchar(200) NOT NULL,
    tags set('new', 'loyal', 'wholesale') NOT NULL DEFAULT 'new',
    profile json,
    since timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE KEY customers_email (email)
);
CREATE TABLE products (
    sku varchar(40) NOT NULL PRIMARY KEY,
    title varchar(200) NOT NULL,
    price decimal(12,2) NOT NULL CHECK (price >= 0),
    stock int unsigned NOT NULL,
    manual mediumtext,
    picture blob
);
CREATE TABLE orders (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer_id bigint NOT NULL,
    state enum('placed', 'paid', 'shipped', 'returned') NOT NULL DEFAULT 'placed',
    net decimal(12,2) NOT NULL,
    gross decimal(14,2) GENERATED ALWAYS AS (net * 1.19) STORED,
    note text,
    placed_at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY orders_customer (customer_id),
    KEY orders_open (state, placed_at),
    CONSTRAINT of_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
);
CREATE TABLE order_items (
    order_id bigint NOT NULL,
    line smallint NOT NULL,
    sku varchar(40) NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, line),
    KEY items_sku (sku),
    CONSTRAINT of_order FOREIGN KEY (order_id) REFERENCES orders (id)
);
CREATE TABLE `Payments` (
    `paymentId` char(36) NOT NULL PRIMARY KEY,
    `orderId` bigint NOT NULL,
    amount decimal(12,2) NOT NULL,
    `paidAt` datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    CONSTRAINT paid_order FOREIGN KEY (`orderId`) REFERENCES orders (id)
);
-- What the application did, written in the transactions that did it.
CREATE TABLE requests (
    id bigint NOT NULL PRIMARY KEY,
    what varchar(40) NOT NULL,
    done_at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
);
-- No key at all: a log that is only appended to.
CREATE TABLE audit (
    at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    what varchar(200) NOT NULL
);
";

/// Makes the shop, with so many orders.
pub(super) async fn load(database: &Database, orders: u32) -> Result<()> {
    let customers = (orders / 6).max(10);
    // Neither server has a function for it that the other one has, too.
    let digits = (1..10).fold("SELECT 0 AS d".to_owned(), |all, d| format!("{all} UNION ALL SELECT {d}"));
    database
        .execute(&format!(
            r#"{SCHEMA}
SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES');
CREATE TEMPORARY TABLE digit AS {digits};
CREATE TEMPORARY TABLE digit2 AS SELECT a.d + 10 * b.d AS d FROM ({digits}) a, ({digits}) b;
CREATE TEMPORARY TABLE n (i int NOT NULL PRIMARY KEY);
INSERT INTO n SELECT a.d + 100 * b.d + 1000 * c.d + 10000 * d.d + 100000 * e.d + 1
FROM digit2 a, digit b, ({digits}) c, ({digits}) d, ({digits}) e
WHERE a.d + 100 * b.d + 1000 * c.d + 10000 * d.d + 100000 * e.d < {orders} OR
      a.d + 100 * b.d + 1000 * c.d + 10000 * d.d + 100000 * e.d < 2000;
INSERT INTO customers (email, name, tags, profile)
SELECT concat('c', i, '@example.com'), concat('Customer ', i), 'new,loyal',
       concat('{{"n": ', i, ', "likes": ["a", null, 1.50]}}') FROM n WHERE i <= {customers};
INSERT INTO products (sku, title, price, stock, manual, picture)
SELECT concat('sku-', i), concat('Product ', i), (i % 500) + 0.99, 1000000,
       repeat(sha2(i, 256), CASE WHEN i % 50 = 0 THEN 1000 ELSE 1 END), CASE WHEN i % 3 = 0 THEN unhex(sha2(i, 256)) END
FROM n WHERE i <= 2000;
INSERT INTO orders (customer_id, state, net, note)
SELECT i % {customers} + 1, elt(i % 3 + 1, 'placed', 'paid', 'shipped'), (i % 900) + 0.5,
       CASE WHEN i % 4 = 0 THEN 'tab\there, line\nthere, back\\slash' END
FROM n WHERE i <= {orders} ORDER BY i;
INSERT INTO order_items SELECT i, 1, concat('sku-', i % 2000 + 1), 1 FROM n WHERE i <= {orders};
INSERT INTO order_items SELECT i, 2, concat('sku-', i * 2 % 2000 + 1), 2 FROM n WHERE i <= {orders};
INSERT INTO "Payments" ("paymentId", "orderId", amount)
SELECT concat('00000000-0000-4000-8000-', lpad(i, 12, '0')), i, (i % 900) + 0.5
FROM n WHERE i <= {orders} AND i % 3 = 1;
"#
        ))
        .await?;
    database.query("ANALYZE TABLE customers, products, orders, order_items").await.map(drop)
}
