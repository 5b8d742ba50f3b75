//! What a column is when nobody says: in the target's words.

use std::borrow::Cow;

use super::super::Cast;
use super::super::cast::coerce;
use super::Walk;
use super::places::Place;
use crate::change::Value;
use crate::schema::{Column, DataType, Expr, Table};

impl Walk<'_> {
    /// Gives a column its default, or says why it has none there.
    pub(super) fn default(
        &self,
        table: &Table,
        from: &Column,
        place: &Place,
        cast: Option<&Cast>,
        column: &mut Column,
    ) -> Result<(), String> {
        let Some(native) = &from.default else { return Ok(()) };
        if let Some(text) = self.kindred(table, place, native, Some(column)) {
            column.default = Some(text);
            column.neutral.clone_from(&from.neutral);
            return Ok(());
        }
        let lost = |why: &str| Err(format!("it has no default there: {why}: {native}"));
        let Some(expr) = &from.neutral else {
            return lost("its text is not the same in every engine");
        };
        if *expr == Expr::Null {
            return Ok(());
        }
        let mut reads = false;
        expr.columns(&mut |_| reads = true);
        if reads {
            return lost("it reads other columns");
        }
        let expr = if expr.is_literal() {
            match literal(expr, from, cast) {
                Ok(expr) => expr,
                Err(why) => return lost(&why),
            }
        } else {
            expr.clone()
        };
        match self.dialect.expression(&expr, Some(column)) {
            Some(text) => {
                column.default = Some(text);
                column.neutral = Some(expr);
                Ok(())
            }
            None => lost("the target cannot compute it for such a column"),
        }
    }
}

/// A literal as the target's column has it, by the cast of its values.
fn literal(expr: &Expr, from: &Column, cast: Option<&Cast>) -> Result<Expr, String> {
    if let DataType::Array(_) | DataType::Geometry = from.data_type {
        return Err(format!("it is of {}", from.data_type));
    }
    let given = match expr {
        // As PostgreSQL shows octets.
        Expr::Text(text) if matches!(from.data_type, DataType::Bytes { .. }) && text.starts_with("\\x") => {
            Value::Bytes(octets(&text[2..]).ok_or("its octets are not understood")?.into())
        }
        Expr::Bits(bits) => Value::Bits(Cow::Borrowed(bits)),
        Expr::Bool(yes) => Value::Bool(*yes),
        Expr::Number(number) => Value::Decimal(Cow::Borrowed(number)),
        Expr::Text(text) => Value::Text(Cow::Borrowed(text)),
        Expr::Bytes(octets) => Value::Bytes(Cow::Borrowed(octets)),
        other => return Ok(other.clone()),
    };
    // As a value of the source first: `'1'` is a number for a column of such.
    let value = coerce(&given, &from.data_type).map_err(|misfit| misfit.reason)?.unwrap_or(given);
    let value = match cast {
        Some(cast) => cast.apply(&value).map_err(|misfit| misfit.reason)?.unwrap_or(value),
        None => value,
    };
    Ok(match value {
        Value::Null => Expr::Null,
        Value::Bool(yes) => Expr::Bool(yes),
        Value::Int(_) | Value::UInt(_) | Value::Decimal(_) | Value::Float32(_) | Value::Float64(_) => {
            Expr::Number(value.to_string())
        }
        Value::Bytes(octets) => Expr::Bytes(octets.into_owned()),
        Value::Bits(bits) => Expr::Bits(bits.into_owned()),
        other => Expr::Text(other.to_string()),
    })
}

/// Pairs of hexadecimal digits.
fn octets(digits: &str) -> Option<Vec<u8>> {
    (0..digits.len())
        .step_by(2)
        .map(|at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}
