//! Writes expressions in an engine's words.

use super::{Expr, Function, Operator};

/// How an engine writes what the expressions are made of.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// A quoted name.
    pub name: fn(&str) -> String,
    /// A text.
    pub text: fn(&str) -> String,
    /// Octets.
    pub bytes: fn(&[u8]) -> String,
    /// The function that puts texts behind each other, where it is not `||`.
    pub concat: Option<&'static str>,
    /// A function; `None` where the engine has no such.
    pub call: fn(Function, &[String]) -> Option<String>,
}

impl Words {
    /// Writes an expression, with parentheses wherever there could be doubt;
    /// `None` where the engine lacks a function.
    pub fn write(&self, expr: &Expr) -> Option<String> {
        Some(match expr {
            Expr::Null => "NULL".to_owned(),
            Expr::Bool(true) => "TRUE".to_owned(),
            Expr::Bool(false) => "FALSE".to_owned(),
            Expr::Number(number) => number.clone(),
            Expr::Text(text) => (self.text)(text),
            Expr::Bytes(octets) => (self.bytes)(octets),
            Expr::Bits(bits) => format!("B'{bits}'"),
            Expr::Column(name) => (self.name)(name),
            Expr::Not(of) => format!("(NOT {})", self.write(of)?),
            Expr::IsNull(of) => format!("({} IS NULL)", self.write(of)?),
            Expr::Binary(a, Operator::Concat, b) if self.concat.is_some() => {
                format!("{}({}, {})", self.concat?, self.write(a)?, self.write(b)?)
            }
            Expr::Binary(a, operator, b) => {
                format!("({} {} {})", self.write(a)?, sign(*operator), self.write(b)?)
            }
            // An empty list has no spelling.
            Expr::In(_, list) if list.is_empty() => return None,
            Expr::In(of, list) => format!("({} IN ({}))", self.write(of)?, self.list(list)?.join(", ")),
            Expr::Call(function, of) => (self.call)(*function, &self.list(of)?)?,
        })
    }

    fn list(&self, list: &[Expr]) -> Option<Vec<String>> {
        list.iter().map(|expr| self.write(expr)).collect()
    }
}

const fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::And => "AND",
        Operator::Or => "OR",
        Operator::Equal => "=",
        Operator::NotEqual => "<>",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::More => ">",
        Operator::MoreOrEqual => ">=",
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Times => "*",
        Operator::Concat => "||",
        Operator::Like => "LIKE",
    }
}
