//! What a column's type asks of it by name, made the column's own: the target
//! has no such types, and would take what the source refuses.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::schema::{Column, Constraint, ConstraintKind, DataType, Domain, DomainCheck, Schema, Table};

/// The schema with its domains' facts on columns and tables; its columns stay
/// in their order.
pub(super) fn unfolded(schema: &Schema) -> Schema {
    let mut schema = schema.clone();
    for table in &mut schema.tables {
        if table.columns.iter().any(|column| column.domain.is_some()) {
            *table = Arc::new(own(table));
        }
    }
    schema
}

fn own(table: &Table) -> Table {
    let mut table = table.clone();
    for at in 0..table.columns.len() {
        let Some(domain) = table.columns[at].domain.clone() else { continue };
        let column = &mut table.columns[at];
        if !domain.of_elements {
            column.nullable &= !domain.not_null;
            let free = column.default.is_none() && column.identity.is_none() && column.generated.is_none();
            if free && domain.default.is_some() {
                (column.default, column.neutral) = (domain.default.clone(), domain.neutral.clone());
            }
        }
        let column = column.clone();
        for (name, check) in checks(&column, &domain) {
            let name = free_name(&table, &name);
            table.constraints.push(Constraint { name, ..check });
        }
    }
    table
}

/// The checks of a domain as those of a column, by names that tell of it.
fn checks<'a>(column: &'a Column, domain: &'a Domain) -> impl Iterator<Item = (String, Constraint)> + 'a {
    // No engine but its own writes an array's or a strange type's values in
    // the same way.
    let plain = !matches!(column.data_type, DataType::Array(_) | DataType::Native);
    let whose = if domain.of_elements { "for each element" } else { "for its values" };
    let made = move |check: &DomainCheck| {
        let value = |_: &str| Some(SmolStr::from(column.name.as_str()));
        let neutral = check.neutral.as_ref().filter(|_| plain).map(|expr| expr.renamed(&value));
        Constraint {
            name: String::new(),
            kind: ConstraintKind::Check { neutral },
            definition: format!("{}, as {} says {whose}", check.definition, domain.name),
            validated: check.validated,
        }
    };
    let lost = (domain.of_elements && domain.not_null).then(|| {
        let check = DomainCheck {
            name: "not_null".to_owned(),
            definition: "NOT NULL".to_owned(),
            neutral: None,
            validated: true,
        };
        (format!("{}_not_null", column.name), made(&check))
    });
    let named = move |check: &DomainCheck| (format!("{}_{}", column.name, check.name), made(check));
    domain.checks.iter().map(named).chain(lost)
}

/// A name that no constraint of the table has.
fn free_name(table: &Table, name: &str) -> String {
    let taken = |name: &str| table.constraints.iter().any(|own| own.name == name);
    let others = (2..).map(|n| format!("{name}_{n}"));
    std::iter::once(name.to_owned()).chain(others).find(|name| !taken(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;
    use crate::schema::{Expr, Key, Operator, TableName};

    fn check(name: &str, neutral: Option<Expr>) -> DomainCheck {
        DomainCheck { name: name.to_owned(), definition: "CHECK (…)".to_owned(), neutral, validated: true }
    }

    #[test]
    fn a_columns_type_asks_of_it_what_the_column_asks_itself() {
        let more = |of: &str| {
            let zero = Box::new(Expr::Number("0".to_owned()));
            Expr::Binary(Box::new(Expr::Column(of.into())), Operator::More, zero)
        };
        let domain = Domain {
            name: "public.price".to_owned(),
            not_null: true,
            default: Some("1".to_owned()),
            neutral: Some(Expr::Number("1".to_owned())),
            checks: vec![check("c", Some(more("value"))), check("c", None)],
            of_elements: false,
        };
        let mut a = Column::new("a", DataType::integer(32));
        a.domain = Some(Arc::new(domain.clone()));
        let mut b = Column { name: "b".into(), default: Some("7".to_owned()), ..a.clone() };
        b.neutral = Some(Expr::Number("7".to_owned()));
        let mut c = Column::new("c", DataType::Array(Arc::new(DataType::integer(32))));
        c.domain = Some(Arc::new(Domain { of_elements: true, ..domain }));
        let columns = vec![a, b, c];
        let table = Table::new(Engine::new("postgres"), TableName::new("s", "t"), columns, Key::Nothing);
        let schema = Schema { tables: vec![Arc::new(table)], ..Schema::default() };
        let table = Arc::clone(&unfolded(&schema).tables[0]);

        let facts: Vec<_> = table.columns.iter().map(|c| (c.nullable, c.default.as_deref())).collect();
        assert_eq!(facts, [(false, Some("1")), (false, Some("7")), (true, None)]);
        let checks: Vec<_> = table
            .constraints
            .iter()
            .map(|own| match &own.kind {
                ConstraintKind::Check { neutral } => (own.name.as_str(), neutral.clone()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("a_c", Some(more("a"))),
            ("a_c_2", None),
            ("b_c", Some(more("b"))),
            ("b_c_2", None),
            ("c_c", None),
            ("c_c_2", None),
            ("c_not_null", None),
        ];
        assert_eq!(checks, expected);
        assert!(table.constraints[6].definition.contains("NOT NULL, as public.price says for each element"));
    }
}
