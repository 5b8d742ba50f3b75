//! How the types of a database are made of others, read once: domains down to
//! their base types, arrays down to their elements.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{DataType, Domain, DomainCheck};

use crate::error::OrPg;
use crate::schema::Cells;
use crate::schema::dialect::SYNTAX;
use crate::types;

#[derive(Debug)]
struct Made {
    name: String,
    /// What a domain restricts, and with which modifier.
    base: Option<(Oid, i32)>,
    /// What a domain asks by itself.
    asks: Option<Domain>,
    /// What an array holds.
    element: Option<Oid>,
    /// The array of this.
    array: Oid,
    labels: Vec<String>,
    delimiter: String,
}

/// How many domains of domains are followed.
const NESTED: usize = 64;

/// The types of a database.
#[derive(Debug, Default)]
pub(super) struct Types(HashMap<Oid, Made>);

/// All but rows of tables: one question is enough however deep they nest.
const TYPES: &str = "
SELECT t.oid, t.typname, t.typtype = 'd', t.typbasetype, t.typtypmod,
       t.typcategory = 'A' AND t.typelem <> 0 AND t.typlen = -1, t.typelem, t.typarray,
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
              WHERE t.typtype = 'e' AND e.enumtypid = t.oid ORDER BY e.enumsortorder),
       t.typdelim::text, pg_catalog.format_type(t.oid, NULL), t.typnotnull, t.typdefault
  FROM pg_catalog.pg_type t
 WHERE t.typtype IN ('b', 'e', 'd', 'r', 'm')";

const CHECKS: &str = "
SELECT k.contypid, k.conname, pg_catalog.pg_get_constraintdef(k.oid), pg_catalog.pg_get_expr(k.conbin, 0),
       k.convalidated
  FROM pg_catalog.pg_constraint k
 WHERE k.contypid <> 0 AND k.contype = 'c'
 ORDER BY k.contypid, k.conname COLLATE \"C\"";

impl Types {
    pub(super) async fn read(tx: &Transaction<'_>) -> Result<Self> {
        let mut checks: HashMap<Oid, Vec<DomainCheck>> = HashMap::new();
        for row in tx.query(CHECKS, &[]).await.during("schema.types")? {
            checks.entry(row.cell(0)?).or_default().push(DomainCheck {
                name: row.cell(1)?,
                definition: row.cell(2)?,
                neutral: row.cell::<Option<&str>>(3)?.and_then(|text| SYNTAX.read(text)),
                validated: row.cell(4)?,
            });
        }
        let mut types = HashMap::new();
        for row in tx.query(TYPES, &[]).await.during("schema.types")? {
            let (domain, array): (bool, bool) = (row.cell(2)?, row.cell(5)?);
            let base = (row.cell(3)?, row.cell(4)?);
            let element = row.cell(6)?;
            let oid: Oid = row.cell(0)?;
            let default: Option<String> = row.cell(12)?;
            let asks = Domain {
                name: row.cell(10)?,
                not_null: row.cell(11)?,
                neutral: default.as_deref().and_then(|text| SYNTAX.read(text)),
                default,
                checks: checks.remove(&oid).unwrap_or_default(),
                of_elements: false,
            };
            let made = Made {
                name: row.cell(1)?,
                base: domain.then_some(base),
                asks: domain.then_some(asks),
                element: array.then_some(element),
                array: row.cell(7)?,
                labels: row.cell(8)?,
                delimiter: row.cell(9)?,
            };
            types.insert(oid, made);
        }
        Ok(Self(types))
    }

    /// The oid that cells of such a column are decoded by, and its neutral type.
    pub(super) fn neutral(&self, oid: Oid, typmod: i32) -> (Oid, DataType) {
        let (mut oid, mut typmod) = self.below_domains(oid, typmod);
        let mut element = self.0.get(&oid);
        let mut array = false;
        if let Some(inner) = element.and_then(|made| made.element) {
            // The modifier of an array is that of its elements; a domain's
            // elements have the domain's.
            let (base, below) = self.below_domains(inner, typmod);
            element = self.0.get(&base);
            array = element.is_none_or(|made| made.delimiter == ",");
            if base != inner
                && let Some(made) = element
            {
                (oid, typmod) = (made.array, below);
            }
        }
        let data_type = types::neutral(oid, typmod).unwrap_or_else(|| {
            let scalar = match element {
                Some(made) if !made.labels.is_empty() => {
                    DataType::Enum { labels: made.labels.as_slice().into() }
                }
                // The one extension type that is text in all but its equality.
                Some(made) if made.name == "citext" => DataType::text(),
                _ => DataType::Native,
            };
            if array { DataType::Array(Arc::new(scalar)) } else { scalar }
        });
        (oid, data_type)
    }

    /// What the domains say of a column, the outer ones first; `None` where
    /// they ask nothing.
    pub(super) fn domain(&self, oid: Oid) -> Option<Arc<Domain>> {
        let element = |oid| self.0.get(&oid).and_then(|made| made.element);
        let mut domain = self.asked(oid);
        let elements = element(self.below_domains(oid, -1).0).and_then(|of| self.asked(of));
        if let Some(elements) = elements {
            match &mut domain {
                Some(domain) => {
                    domain.checks.extend(elements.checks);
                    domain.checks.extend(elements.not_null.then(|| DomainCheck {
                        name: "elements_not_null".to_owned(),
                        definition: "NOT NULL of each element".to_owned(),
                        neutral: None,
                        validated: true,
                    }));
                }
                None => domain = Some(Domain { of_elements: true, ..elements }),
            }
        }
        domain.map(Arc::new)
    }

    /// What a domain and those below it ask of their values.
    fn asked(&self, mut oid: Oid) -> Option<Domain> {
        let mut all: Option<Domain> = None;
        for _ in 0..NESTED {
            let Some(Made { base: Some((base, _)), asks: Some(asks), .. }) = self.0.get(&oid) else { break };
            oid = *base;
            let Some(all) = &mut all else {
                all = Some(asks.clone());
                continue;
            };
            all.not_null |= asks.not_null;
            all.checks.extend(asks.checks.iter().cloned());
            if all.default.is_none() {
                (all.default, all.neutral) = (asks.default.clone(), asks.neutral.clone());
            }
        }
        all.filter(|all| all.not_null || all.default.is_some() || !all.checks.is_empty())
    }

    /// The name of what a type is made of, below all domains.
    pub(super) fn base_name(&self, oid: Oid) -> &str {
        self.0.get(&self.below_domains(oid, -1).0).map_or("", |made| &made.name)
    }

    /// A catalog has no loops, and nobody nests so deep; rubbish might.
    fn below_domains(&self, mut oid: Oid, mut typmod: i32) -> (Oid, i32) {
        for _ in 0..NESTED {
            match self.0.get(&oid).and_then(|made| made.base) {
                Some(base) => (oid, typmod) = base,
                None => break,
            }
        }
        (oid, typmod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, base: Option<(Oid, i32)>, element: Option<Oid>, array: Oid) -> Made {
        let asks = base.map(|_| Domain {
            name: name.to_owned(),
            not_null: name == "more",
            default: None,
            neutral: None,
            checks: Vec::new(),
            of_elements: false,
        });
        let delimiter = ",".to_owned();
        Made { name: name.to_owned(), base, asks, element, array, labels: Vec::new(), delimiter }
    }

    #[test]
    fn a_domain_asks_what_those_below_it_ask_too() {
        let types = Types(HashMap::from([
            (23, made("int4", None, None, 1007)),
            (1007, made("_int4", None, Some(23), 0)),
            (20_000, made("plain", Some((23, -1)), None, 0)),
            (20_001, made("more", Some((23, -1)), None, 20_003)),
            (20_002, made("outer", Some((20_001, -1)), None, 0)),
            (20_003, made("_more", None, Some(20_001), 0)),
            (20_004, made("many", Some((20_003, -1)), None, 0)),
        ]));
        let asked = |oid| types.domain(oid).map(|all| (all.name.clone(), all.not_null, all.of_elements));
        assert_eq!(asked(23), None);
        assert_eq!(asked(20_000), None);
        assert_eq!(asked(20_001), Some(("more".to_owned(), true, false)));
        assert_eq!(asked(20_002), Some(("outer".to_owned(), true, false)));
        assert_eq!(asked(20_003), Some(("more".to_owned(), true, true)));
        assert_eq!(types.base_name(20_002), "int4");
    }

    #[test]
    fn domains_and_arrays_of_them_are_what_they_are_made_of() {
        let typmod = (12 << 16 | 3) + 4;
        let types = Types(HashMap::from([
            (1700, made("numeric", None, None, 1231)),
            (1231, made("_numeric", None, Some(1700), 0)),
            (20_000, made("money_of", Some((1700, typmod)), None, 20_001)),
            (20_001, made("_money_of", None, Some(20_000), 0)),
            (20_002, made("more", Some((20_000, -1)), None, 0)),
            (20_003, made("loop", Some((20_003, -1)), None, 0)),
            (20_004, Made { labels: vec!["a".to_owned()], ..made("mood", None, None, 20_005) }),
            (20_005, made("_mood", None, Some(20_004), 0)),
        ]));
        let shown = |oid| {
            let (id, data_type) = types.neutral(oid, -1);
            format!("{id} {data_type}")
        };
        assert_eq!(shown(20_000), "1700 decimal(12,3)");
        assert_eq!(shown(20_002), "1700 decimal(12,3)");
        assert_eq!(shown(20_001), "1231 array of decimal(12,3)");
        assert_eq!(shown(20_003), "20003 native");
        assert_eq!(shown(20_004), "20004 enum of 1");
        assert_eq!(shown(20_005), "20005 array of enum of 1");
        assert_eq!(shown(99_999), "99999 native");
    }
}
