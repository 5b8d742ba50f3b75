//! MySQL's tables for MariaDB, and MariaDB's for MySQL: nearly one language.
//!
//! A column keeps its type, its digits and its character set, and a day of no
//! calendar stays what it is; what differs is in the table.
//!
//! | MySQL | MariaDB | fit |
//! |---|---|---|
//! | `JSON` | `LONGTEXT`, its text | widened: any text |
//! | `VECTOR(n)` | `VECTOR(n)` since 11.7 | lossy: vectors of fewer elements than the type names, and those whose squares add up to more than a float |
//! | … | a JSON text before 11.7 | lossy, as arrays are |
//! | `GEOMETRY`, `POINT` … | the same, any reference system | widened: texts say latitudes last |
//! | `FLOAT`, `DOUBLE` | the same | lossy: the sign of -0 |
//! | collations of UCA 9.0.0 (`utf8mb4_0900_ai_ci`) | those of UCA 14.0.0 that do not pad, since 10.10; before, those of UCA 5.2.0 | widened |
//! | all other types | the same | exact |
//!
//! | MariaDB | MySQL | fit |
//! |---|---|---|
//! | `JSON`, which is a `LONGTEXT` with a check | `LONGTEXT` | exact |
//! | `UUID` | `CHAR(36)` | widened: its text |
//! | `INET4`, `INET6` | `VARCHAR(15)`, `VARCHAR(45)` | widened: their text |
//! | `VECTOR(n)` | `VECTOR(n)` since 9.0 | exact |
//! | `GEOMETRY`, `POINT` … | the same | widened: texts say latitudes first |
//! | `TIMESTAMP` | the same | lossy: moments after 2038, which MariaDB has since 11.5 |
//! | collations of UCA 14.0.0, and those that do not pad | those of UCA 5.2.0 that pad, of UCA 9.0.0 that do not | widened |
//! | all other types | the same | exact |
//!
//! <https://mariadb.com/kb/en/incompatibilities-and-feature-differences-between-mariadb-and-mysql-unmaintained-ser/>

use zdm_core::Engine;
use zdm_core::schema::Column;
use zdm_core::schema::conversion::{Bounds, Fit, Mapped, Used};

use super::collation::{self, Kin};
use super::functions::{is_shared, varies, without_introducers};
use super::{SYNTAX, types, words};
use crate::connect::{Server, is_ours};
use crate::types::{Kind, column_type as read_type};

/// Since 8.0 MySQL follows the order of axes that a reference system has.
const AXES: &str = "the same octets; where a reference system has latitudes, MySQL's texts say them first and MariaDB's last";

/// The type of a column that the other server described; `None` where it is
/// not, where a stage has made something else of it, or where the server has
/// no such type.
pub(super) fn column_type(server: &Server, column: &Column, used: Used<'_>) -> Option<Mapped> {
    let table = used.table;
    if !is_ours(table.written.as_ref().map_or(&table.origin.engine, |written| &written.engine)) {
        return None;
    }
    let kind = Kind::of(column)?;
    let (native, data_type) = read_type(&column.native.name, column.charset.as_deref()).ok()?;
    if native.id != column.native.id || data_type != column.data_type {
        return None;
    }
    let mut mapped = Mapped::exact(data_type, native.name.clone(), native.id);
    match kind {
        Kind::Json if server.is_mariadb() => {
            let mut mapped = types::bounded(server, "longtext", None)?;
            mapped.collation = Some("utf8mb4_bin".to_owned());
            mapped.equality = collation::padding().1;
            return Some(mapped.fitting(Fit::widened("its text; it holds other texts as well")));
        }
        Kind::Vector if !has_vectors(server) => return None,
        Kind::Vector if server.is_mariadb() => {
            mapped.fit = Fit::lossy(
                "vectors of fewer elements than the type names, and those whose squares add up to more than a float",
            );
        }
        Kind::Uuid | Kind::Inet4 | Kind::Inet6 if server.is_mariadb() => {}
        Kind::Uuid => return Some(types::ascii(server, "char(36)").fitting(Fit::widened("its text"))),
        Kind::Inet4 => return Some(types::ascii(server, "varchar(15)").fitting(Fit::widened("its text"))),
        Kind::Inet6 => return Some(types::ascii(server, "varchar(45)").fitting(Fit::widened("its text"))),
        Kind::Geometry if server.is_mariadb() => {
            // Another name for the same.
            let name = native.name.replace("geomcollection", "geometrycollection");
            // `point /*!80003 SRID 4326 */`, which MariaDB passes over.
            let (name, bound) = name.split_once(" /*").map_or((&*name, false), |(name, _)| (name, true));
            mapped.native.name = name.into();
            let more = if bound { "; it also holds shapes of other reference systems" } else { "" };
            mapped.fit = Fit::widened(format!("{AXES}{more}"));
        }
        Kind::Geometry if server.is_mysql_since(8, 0, 0) => mapped.fit = Fit::widened(AXES),
        Kind::Float | Kind::Double if !types::keeps_signs_of_zeros(server) => {
            mapped.fit = Fit::lossy("the sign of -0");
        }
        Kind::Timestamp(_) if !server.is_mariadb() => {
            mapped.fit = Fit::lossy("moments after 2038-01-19 03:14:07 UTC, which MariaDB has since 11.5");
        }
        _ => {}
    }
    mapped.bounds = Bounds { any_day: true, ..Bounds::default() };
    if let (Some(charset), Some(name)) = (column.charset.as_deref(), column.collation.as_deref()) {
        let keyed = used.key_parts > 0;
        let Kin { charset, collation, equality, differs } = collation::kin(server, charset, name, keyed);
        if charset != column.charset.as_deref()? {
            let (native, data_type) = read_type(&native.name, Some(charset)).ok()?;
            (mapped.native, mapped.data_type) = (native, data_type);
        }
        if let Some(why) = differs {
            mapped.fit = Fit::Widened(format!("{name} becomes {collation}: {why}"));
        }
        (mapped.charset, mapped.collation, mapped.equality) =
            (Some(charset.into()), Some(collation), equality);
    }
    Some(mapped)
}

fn has_vectors(server: &Server) -> bool {
    server.is_mysql_since(9, 0, 0) || server.is_mariadb_since(11, 7, 0)
}

/// A text of the other server's, where this one reads it and means the same.
pub(super) fn text(
    server: &Server,
    from: &Engine,
    text: &str,
    default: Option<&Column>,
    computes: bool,
) -> Option<String> {
    let text = &if server.is_mariadb() { without_introducers(text) } else { text.to_owned() };
    if !is_ours(from) || !is_shared(text, server.is_mariadb()) {
        return None;
    }
    let Some(column) = default else {
        return (server.is_mariadb() || !varies(text)).then(|| text.to_owned());
    };
    if let Some(expr) = SYNTAX.read(text) {
        return words::write(&expr, Some(column), computes);
    }
    computes.then(|| if text.starts_with('(') { text.to_owned() } else { format!("({text})") })
}

#[cfg(test)]
mod tests {
    use zdm_core::schema::{DataType, Key, Table, TableName};

    use super::*;
    use crate::position::ENGINE;

    fn mapped(to: &str, engine: Engine, native: &str, collation: Option<&str>) -> Mapped {
        let charset = collation.map(|name| name.split('_').next().unwrap());
        let (native, data_type) = read_type(native, charset).unwrap();
        let mut column = Column::new("c", data_type).native(native.name, native.id);
        (column.charset, column.collation) = (charset.map(Into::into), collation.map(str::to_owned));
        let name = TableName::new("d", "t");
        let table = Table::new(engine, name.clone(), vec![column.clone()], Key::FullRow);
        let used = Used { table: &table, name: &name, column: "c", key_parts: 0, counted: false };
        column_type(&Server::read(to).unwrap(), &column, used).unwrap()
    }

    #[test]
    fn a_type_of_the_kin_stays_what_it_is() {
        let mariadb = Engine::new("mariadb");
        for (to, from, native, collation, expected, becomes) in [
            ("10.11.6-MariaDB", &ENGINE, "json", None, "longtext", Some("utf8mb4_bin")),
            ("10.11.6-MariaDB", &ENGINE, "datetime(3)", None, "datetime(3)", None),
            ("10.11.6-MariaDB", &ENGINE, "int unsigned", None, "int unsigned", None),
            ("10.11.6-MariaDB", &ENGINE, "point /*!80003 SRID 4326 */", None, "point", None),
            ("10.11.6-MariaDB", &ENGINE, "geomcollection", None, "geometrycollection", None),
            (
                "10.11.6-MariaDB",
                &ENGINE,
                "varchar(9)",
                Some("utf8mb4_0900_ai_ci"),
                "varchar(9)",
                Some("utf8mb4_uca1400_nopad_ai_ci"),
            ),
            (
                "10.6.6-MariaDB",
                &ENGINE,
                "varchar(9)",
                Some("utf8mb4_0900_ai_ci"),
                "varchar(9)",
                Some("utf8mb4_unicode_520_nopad_ci"),
            ),
            (
                "9.1.0",
                &mariadb,
                "varchar(9)",
                Some("utf8mb4_uca1400_ai_ci"),
                "varchar(9)",
                Some("utf8mb4_unicode_520_ci"),
            ),
            (
                "9.1.0",
                &mariadb,
                "varchar(9)",
                Some("latin1_nopad_bin"),
                "varchar(9)",
                Some("utf8mb4_0900_bin"),
            ),
            (
                "9.1.0",
                &mariadb,
                "enum('a','b')",
                Some("latin1_swedish_ci"),
                "enum('a','b')",
                Some("latin1_swedish_ci"),
            ),
            ("9.1.0", &mariadb, "uuid", None, "char(36)", Some("ascii_bin")),
            ("9.1.0", &mariadb, "inet6", None, "varchar(45)", Some("ascii_bin")),
        ] {
            let mapped = mapped(to, from.clone(), native, collation);
            assert_eq!(
                (mapped.native.name.as_str(), mapped.collation.as_deref()),
                (expected, becomes),
                "{native}"
            );
        }
    }

    #[test]
    fn texts_of_the_kin_are_taken_where_they_mean_the_same() {
        let mariadb = Engine::new("mariadb");
        let column = Column::new("c", DataType::Text { length: Some(36), fixed: false });
        let large = Column::new("c", DataType::text());
        let mysql = Server::read("9.1.0").unwrap();
        for (given, of, taken) in [
            ("uuid()", Some(&column), Some("(uuid())")),
            ("'x'", Some(&column), Some("'x'")),
            ("'x'", Some(&large), Some("('x')")),
            ("_latin1'x'", Some(&column), Some("'x'")),
            ("concat_ws('-',`a`,`b`)", None, Some("concat_ws('-',`a`,`b`)")),
            ("concat(`a`,uuid())", None, None),
            ("`a` < current_timestamp()", None, None),
            ("concat(`now`,'rand()')", None, Some("concat(`now`,'rand()')")),
            ("json_value(`a`,'$.b')", None, None),
            ("`a` regexp 'x'", None, None),
            ("'regexp json_value(' = `a`", None, Some("'regexp json_value(' = `a`")),
        ] {
            assert_eq!(text(&mysql, &mariadb, given, of, true).as_deref(), taken, "{given}");
        }
        let maria = Server::read("10.11.6-MariaDB").unwrap();
        assert_eq!(text(&maria, &ENGINE, "CHECK ((`a` > 0)) NOT ENFORCED", None, true), None);
        assert_eq!(text(&maria, &Engine::new("postgres"), "1", None, true), None);
    }
}
