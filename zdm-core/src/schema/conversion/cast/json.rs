//! Arrays as JSON, and back.
//!
//! Whole numbers, truths and nulls are JSON's own. Everything else is a JSON
//! string of its text: an engine that parses JSON would round a decimal to
//! the nearest double.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::Misfit;
use super::coerce::{coerce, not_a};
use super::text::text_of;
use crate::change::{Array, Value};
use crate::schema::DataType;

/// JSON of a value.
pub(super) fn json<'a>(value: &Value<'a>) -> Result<Option<Value<'a>>, Misfit> {
    Ok(Some(Value::Json(match value {
        Value::Json(_) => return Ok(None),
        Value::Text(text) | Value::Native(text) => {
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| not_a(value, "JSON text"))?;
            text.clone()
        }
        Value::Array(of) => Cow::Owned(text(of)?),
        scalar => Cow::Owned(element(scalar)?.to_string()),
    })))
}

/// The JSON text of an array.
pub(super) fn text(of: &Array<'_>) -> Result<String, Misfit> {
    if of.dimensions.iter().any(|(_, lower)| *lower != 1) {
        return Err(Misfit::range("an array whose index does not begin at 1 would begin at 1"));
    }
    let elements = of.elements.iter().map(element).collect::<Result<Vec<_>, _>>()?;
    let lengths: Vec<usize> = of.dimensions.iter().map(|(length, _)| *length as usize).collect();
    Ok(nest(&lengths, &mut elements.into_iter()).to_string())
}

fn nest(lengths: &[usize], elements: &mut dyn Iterator<Item = Json>) -> Json {
    Json::Array(match lengths {
        [] => Vec::new(),
        [last] => Iterator::take(elements, *last).collect(),
        [first, rest @ ..] => (0..*first).map(|_| nest(rest, elements)).collect(),
    })
}

fn element(value: &Value<'_>) -> Result<Json, Misfit> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(yes) => Json::Bool(*yes),
        Value::Int(number) => Json::from(*number),
        Value::UInt(number) => Json::from(*number),
        other => Json::String(text_of(other)?.into_owned()),
    })
}

/// An array of what JSON text or another array holds.
pub(super) fn array<'a>(value: &Value<'a>, of: &DataType) -> Result<Option<Value<'a>>, Misfit> {
    // An array of arrays is one array of more dimensions.
    if let DataType::Array(inner) = of {
        return array(value, inner);
    }
    match value {
        Value::Array(array) => {
            let mut changed = false;
            let mut elements = Vec::with_capacity(array.elements.len());
            for element in &array.elements {
                let coerced = coerce(element, of)?;
                changed |= coerced.is_some();
                elements.push(coerced.unwrap_or_else(|| element.clone()));
            }
            let array = || Value::Array(Box::new(Array { dimensions: array.dimensions.clone(), elements }));
            Ok(changed.then(array))
        }
        // MariaDB's JSON is a text like others.
        Value::Json(text) | Value::Text(text) => {
            let parsed: Json = serde_json::from_str(text).map_err(|_| not_a(value, "JSON text"))?;
            read(&parsed, of).map(Some)
        }
        other => Err(not_a(other, "array")),
    }
}

/// An array of the labels of a set, which are no JSON.
pub(super) fn array_of_labels(labels: &str, of: &DataType) -> Result<Value<'static>, Misfit> {
    let elements = labels
        .split(',')
        .filter(|_| !labels.is_empty())
        .map(|label| {
            let label = Value::Text(Cow::Owned(label.to_owned()));
            Ok(coerce(&label, of)?.unwrap_or(label))
        })
        .collect::<Result<Vec<_>, Misfit>>()?;
    Ok(Value::Array(Box::new(Array { dimensions: dimensions(&[elements.len()])?, elements })))
}

fn read(json: &Json, of: &DataType) -> Result<Value<'static>, Misfit> {
    let mut lengths = Vec::new();
    let mut level = json;
    while let Json::Array(elements) = level {
        lengths.push(elements.len());
        match elements.first() {
            Some(first) => level = first,
            None => break,
        }
    }
    if lengths.is_empty() {
        return Err(Misfit::kind("it is JSON, but no array"));
    }
    let mut elements = Vec::new();
    flatten(json, &lengths, of, &mut elements)?;
    Ok(Value::Array(Box::new(Array { dimensions: dimensions(&lengths)?, elements })))
}

fn flatten(
    json: &Json,
    lengths: &[usize],
    of: &DataType,
    elements: &mut Vec<Value<'static>>,
) -> Result<(), Misfit> {
    match (json, lengths) {
        (Json::Array(inner), [length, rest @ ..]) if inner.len() == *length => {
            inner.iter().try_for_each(|json| flatten(json, rest, of, elements))
        }
        (Json::Array(_), _) => Err(Misfit::range("its rows are not of one length")),
        (scalar, []) => {
            let value = match scalar {
                Json::Null => Value::Null,
                Json::Bool(yes) => Value::Bool(*yes),
                Json::String(text) => Value::Text(Cow::Owned(text.clone())),
                other => Value::Decimal(Cow::Owned(other.to_string())),
            };
            let coerced = coerce(&value, of)?;
            elements.push(coerced.unwrap_or(value));
            Ok(())
        }
        _ => Err(Misfit::range("its rows are not of one length")),
    }
}

fn dimensions(lengths: &[usize]) -> Result<Vec<(u32, i32)>, Misfit> {
    if lengths.iter().product::<usize>() == 0 {
        return Ok(Vec::new());
    }
    lengths
        .iter()
        .map(|length| {
            u32::try_from(*length).map(|length| (length, 1)).map_err(|_| Misfit::range("it is too long"))
        })
        .collect()
}
