//! Collations that tell texts apart to the octet.

use zdm_core::schema::Equality;

use crate::connect::Server;

/// The collation of `utf8mb4` that tells most apart, and what it does not.
///
/// The old `utf8mb4_bin` pads: `a` equals `a` with blanks behind it.
/// <https://dev.mysql.com/doc/refman/8.4/en/charset-binary-collations.html>,
/// <https://mariadb.com/kb/en/supported-character-sets-and-collations/>
pub(super) fn exact(server: &Server) -> (&'static str, Equality) {
    if server.is_mariadb() {
        ("utf8mb4_nopad_bin", Equality::EXACT)
    } else if server.is_mysql_since(8, 0, 17) {
        ("utf8mb4_0900_bin", Equality::EXACT)
    } else {
        padding()
    }
}

/// The collation that ignores blanks at the end and nothing else.
pub(super) fn padding() -> (&'static str, Equality) {
    ("utf8mb4_bin", Equality { ignores_trailing_blanks: true, ..Equality::EXACT })
}
