//! Expressions in words that every engine knows.
//!
//! Defaults, computed columns, checks and the keys of indexes are texts in
//! their engine's language. What of them is plain enough to mean the same
//! everywhere is also kept as an [`Expr`]: an engine's crate [reads](Syntax)
//! its own texts into it and writes it in its own words, so that no crate
//! knows the language of another. What is not plain enough stays a text, is
//! not moved to another engine, and the report says so: an expression that is
//! only nearly the same would be worse than none.

mod read;
mod write;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use read::Syntax;
pub use write::Words;

/// An expression over the columns of one table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Expr {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as it is written: `-1`, `12.50`.
    Number(String),
    /// Characters.
    Text(String),
    /// Octets.
    Bytes(Vec<u8>),
    /// Bits, as `0` and `1`.
    Bits(String),
    /// A column, by its name here.
    Column(SmolStr),
    /// `NOT x`.
    Not(Box<Self>),
    /// Two expressions and what is between them.
    Binary(Box<Self>, Operator, Box<Self>),
    /// Whether an expression is null.
    IsNull(Box<Self>),
    /// Whether an expression is one of a list.
    In(Box<Self>, Vec<Self>),
    /// A function of expressions.
    Call(Function, Vec<Self>),
}

/// What stands between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operator {
    /// Both are true.
    And,
    /// One is true.
    Or,
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// More.
    More,
    /// More or equal.
    MoreOrEqual,
    /// The sum.
    Plus,
    /// The difference.
    Minus,
    /// The product. There is no quotient: whole numbers divide in one way
    /// here and in another there.
    Times,
    /// One text behind the other; null if one is.
    Concat,
    /// Matches a pattern with `%` and `_`, which a backslash makes literal.
    Like,
}

/// A function that means the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Function {
    /// The moment at which the statement or transaction began, with that many
    /// digits of a second's fraction.
    Now(u8),
    /// The day of that.
    Today,
    /// A new random uuid.
    Uuid,
    /// Small letters.
    Lower,
    /// Capital letters.
    Upper,
    /// How many characters.
    Length,
    /// A number without its sign.
    Abs,
    /// The first of them that is not null.
    Coalesce,
}

impl Expr {
    /// The same with columns under other names.
    #[must_use]
    pub fn renamed(&self, name: &impl Fn(&str) -> Option<SmolStr>) -> Self {
        let boxed = |of: &Self| Box::new(of.renamed(name));
        let all = |of: &[Self]| of.iter().map(|e| e.renamed(name)).collect();
        match self {
            Self::Column(column) => Self::Column(name(column).unwrap_or_else(|| column.clone())),
            Self::Not(of) => Self::Not(boxed(of)),
            Self::Binary(a, operator, b) => Self::Binary(boxed(a), *operator, boxed(b)),
            Self::IsNull(of) => Self::IsNull(boxed(of)),
            Self::In(of, list) => Self::In(boxed(of), all(list)),
            Self::Call(function, of) => Self::Call(*function, all(of)),
            literal => literal.clone(),
        }
    }

    /// Calls a function for each column that it reads.
    pub fn columns(&self, found: &mut impl FnMut(&str)) {
        match self {
            Self::Column(name) => found(name),
            Self::Not(of) | Self::IsNull(of) => of.columns(found),
            Self::Binary(a, _, b) => {
                a.columns(found);
                b.columns(found);
            }
            Self::In(of, list) => {
                of.columns(found);
                list.iter().for_each(|e| e.columns(found));
            }
            Self::Call(_, of) => of.iter().for_each(|e| e.columns(found)),
            _ => {}
        }
    }

    /// Whether it is a value that is written out.
    pub fn is_literal(&self) -> bool {
        matches!(
            self,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Bytes(_) | Self::Bits(_)
        )
    }
}
