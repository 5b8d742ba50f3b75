//! The columns of a table.

use std::collections::HashMap;

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::schema::{Column, DataType, Equality, Generated, IdentityColumn, TableName};

use super::Cells;
use super::labels;
use super::neutral;
use super::written::Clauses;
use crate::connect::Control;
use crate::connect::quote::quote_literal;
use crate::error::OrMy;
use crate::types::column_type;

/// Reads the columns of a table, in the order of a row's cells.
///
/// # Errors
/// `Unsupported` for a type or character set that is not known, by name, and
/// for labels that nobody may look at.
pub(super) async fn read(
    control: &mut Control,
    table: &TableName,
    clauses: &mut HashMap<String, Clauses>,
) -> Result<Vec<Column>> {
    // The reference system of a geometry, which `COLUMN_TYPE` leaves out.
    let system = if control.server().is_mysql_since(8, 0, 3) { "SRS_ID" } else { "NULL" };
    let sql = format!(
        "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE = 'YES', EXTRA, \
                COLUMN_COMMENT, {system} \
           FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        quote_literal(&table.schema),
        quote_literal(&table.name)
    );
    let rows: Vec<mysql_async::Row> = control.query(sql).await.during("schema.columns")?;
    let mut columns = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: String = row.cell(0)?;
        let charset: Option<String> = row.cell(2)?;
        let mut shown = labels::complete(control, table, &name, row.cell(1)?, charset.as_deref()).await?;
        if let Some(system) = row.cell::<Option<u32>>(7)? {
            shown += &format!(" /*!80003 SRID {system} */");
        }
        let (native, neutral_type) = column_type(&shown, charset.as_deref())
            .map_err(|error| error.with("table", table).with("column", &name))?;
        let clauses = clauses.remove(&name).unwrap_or_default();
        let mut column = Column::new(name, neutral_type).native(native.name, native.id);
        let number =
            matches!(column.data_type, DataType::Decimal { .. } | DataType::Float32 | DataType::Float64);
        column.unsigned = number && column.native.name.to_ascii_lowercase().contains(" unsigned");
        column.charset = charset.map(Into::into);
        column.collation = row.cell(3)?;
        column.equality = column.collation.as_deref().map_or(Equality::EXACT, equality);
        column.nullable = row.cell(4)?;
        let extra = row.cell::<String>(5)?.to_ascii_uppercase();
        column.identity = extra.contains("AUTO_INCREMENT").then_some(IdentityColumn::ByDefault);
        column.invisible = extra.contains("INVISIBLE");
        column.comment = row.cell::<Option<String>>(6)?.filter(|comment| !comment.is_empty());
        if let Some(expression) = clauses.generated {
            let stored = !extra.contains("VIRTUAL");
            column.neutral = neutral(&expression);
            column.generated = Some(Generated { expression, stored });
        } else {
            column.default = clauses.default.filter(|default| !default.eq_ignore_ascii_case("null"));
            column.neutral = column.default.as_deref().and_then(neutral);
            column.on_update = clauses.on_update;
        }
        columns.push(column);
    }
    Ok(columns)
}

/// When a collation counts two texts as equal, by its name.
///
/// <https://dev.mysql.com/doc/refman/en/charset-collation-names.html>: those
/// of the UCA 9.0.0 do not pad, all others of MySQL do; MariaDB names those
/// that do not. One that says nothing of accents ignores them with the case.
pub(super) fn equality(collation: &str) -> Equality {
    let has = |part: &str| collation.split('_').any(|word| word == part);
    let exact = has("bin") || collation == "binary";
    let ignores_case = !exact && !has("cs");
    Equality {
        ignores_case,
        ignores_accents: !exact && !has("as") && (ignores_case || has("ai")),
        ignores_trailing_blanks: !(collation == "binary" || has("0900") || has("nopad")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations_say_what_they_ignore() {
        for (name, case, accents, blanks) in [
            ("utf8mb4_bin", false, false, true),
            ("utf8mb4_0900_bin", false, false, false),
            ("utf8mb4_nopad_bin", false, false, false),
            ("binary", false, false, false),
            ("utf8mb4_general_ci", true, true, true),
            ("utf8mb4_0900_ai_ci", true, true, false),
            ("utf8mb4_0900_as_ci", true, false, false),
            ("utf8mb4_0900_as_cs", false, false, false),
            ("latin1_general_cs", false, false, true),
            ("utf8mb4_uca1400_ai_ci", true, true, true),
        ] {
            let expected =
                Equality { ignores_case: case, ignores_accents: accents, ignores_trailing_blanks: blanks };
            assert_eq!(equality(name), expected, "{name}");
        }
    }
}
