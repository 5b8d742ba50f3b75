//! What the application is asked for, in SQL that any engine understands.

use super::session::{Session, Word};

/// One request, and whether it is to leave anything behind. It notes itself
/// in the table `requests`.
pub(super) fn request(session: &Session, id: i64, newest: &super::Newest) -> (String, bool) {
    let order = fastrand::i64(1..newest.get());
    let (customer, product, kind) = (fastrand::u32(1..1_000), fastrand::u32(1..1_900), fastrand::u32(0..100));
    let (uuid, number) = (session.word(Word::NewUuid), session.word(Word::LastNumber));
    let (what, sql) = match kind {
        0..45 => {
            newest.one_more();
            let sql = format!(
                "UPDATE products SET stock = stock - 1 WHERE sku = 'sku-{product}'; \
                 INSERT INTO orders (customer_id, net) VALUES ({customer}, {product}.25); \
                 INSERT INTO order_items SELECT {number}, 1, sku, 1 FROM products WHERE sku = 'sku-{product}'; \
                 INSERT INTO audit (what) VALUES ('order')"
            );
            ("order", sql)
        }
        45..65 => (
            "pay",
            format!(
                "UPDATE orders SET state = 'paid' WHERE id = {order}; \
                 INSERT INTO \"Payments\" (\"paymentId\", \"orderId\", amount) \
                 SELECT {uuid}, id, net FROM orders WHERE id = {order}"
            ),
        ),
        65..75 => ("ship", format!("UPDATE orders SET state = 'shipped', note = NULL WHERE id = {order}")),
        75..80 => (
            "forget",
            format!(
                "UPDATE orders SET note = 'to be forgotten' WHERE id = {order}; \
                 DELETE FROM order_items WHERE order_id = {order}; \
                 DELETE FROM \"Payments\" WHERE \"orderId\" = {order}; DELETE FROM orders WHERE id = {order}"
            ),
        ),
        // A large value that is written, and one that stays as it is.
        80..85 => (
            "manual",
            format!(
                "UPDATE products SET manual = repeat('{:032x}', 1500) WHERE sku = 'sku-{product}'",
                fastrand::u128(..)
            ),
        ),
        85..90 => ("price", format!("UPDATE products SET price = price + 0.01 WHERE sku = 'sku-{product}'")),
        // A key that moves, with all that refers to it.
        90..91 => (
            "rename",
            format!(
                "UPDATE products SET sku = 'moved-{id}' WHERE sku = 'sku-{product}'; \
                 UPDATE order_items SET sku = 'moved-{id}' WHERE sku = 'sku-{product}'"
            ),
        ),
        91..94 => (
            "email",
            format!(
                "UPDATE customers SET email = 'was-{id}' WHERE id = {customer}; \
                 UPDATE customers SET email = 'new-{id}' WHERE id = {customer}"
            ),
        ),
        94..97 => {
            ("profile", format!("UPDATE customers SET profile = '{{\"seen\": {id}}}' WHERE id = {customer}"))
        }
        _ => {
            let sql = format!(
                "BEGIN; INSERT INTO requests (id, what) VALUES ({id}, 'never'); \
                 UPDATE orders SET note = 'never' WHERE id = {order}; ROLLBACK"
            );
            return (sql, false);
        }
    };
    (format!("BEGIN; {sql}; INSERT INTO requests (id, what) VALUES ({id}, '{what}'); COMMIT"), true)
}
