//! Functions on arrays.

use std::collections::HashSet;

use rusqlite::types::Value;

use super::{Arguments, Function, boolean, bounded};
use crate::types::Type::{self, Bool, Int4, Text};
use crate::value::array::encode;

const WORDS: Type = Type::TEXT_ARRAY;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::strict("array_length", &[WORDS, Int4], Int4, |a| {
        let length = a.items(0)?.len();
        if a.int(1)? != 1 || length == 0 {
            return Ok(Value::Null);
        }
        number(length)
    })
    .of_any_array(),
    Function::strict("array_upper", &[WORDS, Int4], Int4, |a| {
        let length = a.items(0)?.len();
        if a.int(1)? != 1 || length == 0 {
            return Ok(Value::Null);
        }
        number(length)
    })
    .of_any_array(),
    Function::strict("cardinality", &[WORDS], Int4, |a| number(a.items(0)?.len())).of_any_array(),
    Function::strict("array_to_string", &[WORDS, Text], Text, |a| joined(a, None)).of_any_array(),
    Function::strict("array_to_string", &[WORDS, Text, Text], Text, |a| {
        if a.is_null(0) || a.is_null(1) {
            return Ok(Value::Null);
        }
        joined(a, a.optional_text(2)?)
    })
    .with_nulls()
    .of_any_array(),
    Function::strict("@>", &[WORDS, WORDS], Bool, |a| contains(a, 0, 1)).of_any_array(),
    Function::strict("<@", &[WORDS, WORDS], Bool, |a| contains(a, 1, 0)).of_any_array(),
    Function::strict("&&", &[WORDS, WORDS], Bool, |a| {
        let (left, right) = (a.items(0)?, a.items(1)?);
        let left: HashSet<&String> = left.iter().flatten().collect();
        Ok(boolean(
            right.iter().flatten().any(|item| left.contains(item)),
        ))
    })
    .of_any_array(),
    Function::strict(".item", &[WORDS, Int4], Text, |a| {
        let index = usize::try_from(a.int(1)? - 1).unwrap_or(usize::MAX);
        Ok(super::optional(
            a.items(0)?.into_iter().nth(index).flatten(),
        ))
    })
    .of_any_array(),
];

fn number(length: usize) -> Result<Value, String> {
    i64::try_from(length)
        .map(Value::Integer)
        .map_err(|_| "integer out of range".into())
}

fn joined(a: &Arguments<'_>, null: Option<&str>) -> Result<Value, String> {
    let items = a.items(0)?;
    let parts: Vec<&str> = items
        .iter()
        .filter_map(|item| item.as_deref().or(null))
        .collect();
    bounded(parts.join(a.text(1)?))
}

/// An array never contains a null.
fn contains(a: &Arguments<'_>, whole: usize, part: usize) -> Result<Value, String> {
    let (whole, part) = (a.items(whole)?, a.items(part)?);
    let whole: HashSet<&String> = whole.iter().flatten().collect();
    let is_held = |item: &Option<String>| item.as_ref().is_some_and(|item| whole.contains(item));
    Ok(boolean(part.iter().all(is_held)))
}

/// Concatenates two arrays, or an array and an item; both are given as arrays.
pub(super) fn append(a: &Arguments<'_>) -> Result<Value, String> {
    let mut items = Vec::new();
    for index in 0..a.len() {
        if !a.is_null(index) {
            items.extend(a.items(index)?);
        }
    }
    bounded(encode(&items))
}
