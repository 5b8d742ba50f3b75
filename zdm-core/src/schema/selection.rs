//! Which tables a run moves.

use serde::{Deserialize, Serialize};

use super::TableName;
use crate::{Error, ErrorKind, Result};

/// Which tables a run moves: patterns over `schema.name`, with `*` for any
/// characters and `?` for one.
///
/// ```
/// use zdm_core::schema::{Selection, TableName};
///
/// let selection = Selection::new(["public.*"])?.except(["public.log_*"])?;
/// assert!(selection.matches(&TableName::new("public", "orders")));
/// assert!(!selection.matches(&TableName::new("public", "log_2024")));
/// assert!(!selection.matches(&TableName::new("audit", "orders")));
/// # Ok::<(), zdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Default for Selection {
    fn default() -> Self {
        Self::all()
    }
}

impl Selection {
    /// Every table that is not the engine's own.
    pub fn all() -> Self {
        Self { include: vec!["*.*".to_owned()], exclude: Vec::new() }
    }

    /// The tables that match one of the patterns.
    ///
    /// # Errors
    /// `Config` for a pattern without a dot.
    pub fn new<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Result<Self> {
        Ok(Self { include: checked(patterns)?, exclude: Vec::new() })
    }

    /// The same, without the tables that match one of these patterns.
    ///
    /// # Errors
    /// `Config` for a pattern without a dot.
    pub fn except<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Result<Self> {
        self.exclude.extend(checked(patterns)?);
        Ok(self)
    }

    /// Whether the run moves the table of that name.
    pub fn matches(&self, table: &TableName) -> bool {
        let name = table.to_string();
        let any = |patterns: &[String]| patterns.iter().any(|p| glob(p.as_bytes(), name.as_bytes()));
        any(&self.include) && !any(&self.exclude)
    }

    /// The patterns that choose tables.
    pub fn patterns(&self) -> &[String] {
        &self.include
    }
}

fn checked<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Result<Vec<String>> {
    patterns
        .into_iter()
        .map(|pattern| {
            let pattern = pattern.into();
            if pattern.contains('.') {
                return Ok(pattern);
            }
            Err(Error::new(ErrorKind::Config, "write a table pattern as schema.table, for example public.*")
                .with("got", pattern))
        })
        .collect()
}

/// Matches with one remembered star: linear in the name for each star.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_like_a_shell() {
        for (pattern, name, matches) in [
            ("public.*", "public.a", true),
            ("*.orders", "shop.orders", true),
            ("p?.x*y*z", "pa.x1y2z", true),
            ("p?.x*y*z", "pa.x1y2", false),
            ("a.b", "a.bc", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn pattern_without_schema_is_refused() {
        assert_eq!(Selection::new(["orders"]).unwrap_err().kind(), ErrorKind::Config);
    }
}
