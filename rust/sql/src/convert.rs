//! Conversions of values from text, to text and to JSON, by type.
//!
//! The representation of types in `SQLite`: whole numbers, booleans, and microseconds or days since
//! 1970 are integers; `uuid` is sixteen bytes; `double precision` is a real; everything else is
//! text.

use std::cmp::Ordering;

use rusqlite::types::{Value, ValueRef};

use crate::types::{Modifier, Type};
use crate::value::decimal::Decimal;
use crate::value::hstore::Hstore;
use crate::value::interval::Interval;
use crate::value::json::{self, Json};
use crate::value::{array, number, time, uuid};

/// Parses `text` as a value of type `kind`.
pub(crate) fn from_text(kind: Type, text: &str) -> Result<Value, String> {
    if text.contains('\0') {
        return Err("a text contains the character with code zero".into());
    }
    Ok(match kind {
        Type::Bool => Value::Integer(i64::from(number::parse_bool(text)?)),
        Type::Int4 => Value::Integer(number::parse_int4(text)?),
        Type::Int8 => Value::Integer(number::parse_int8(text)?),
        Type::Numeric => Value::Text(text.parse::<Decimal>()?.to_string()),
        Type::Float8 => Value::Real(number::parse_float(text)?),
        Type::Text | Type::Varchar => Value::Text(text.to_owned()),
        Type::Uuid => Value::Blob(uuid::parse(text)?.to_vec()),
        Type::Date => Value::Integer(time::parse_date(text)?),
        Type::Timestamp => Value::Integer(time::parse_timestamp(text)?),
        Type::Timestamptz => Value::Integer(time::parse_timestamptz(text)?),
        Type::Interval => Value::Text(text.parse::<Interval>()?.to_string()),
        Type::Hstore => Value::Text(Hstore::parse(text)?.encode()),
        Type::Json => {
            Json::parse(text)?;
            Value::Text(text.to_owned())
        }
        Type::Jsonb => Value::Text(Json::parse(text)?.normalised()?.printed()),
        Type::Array(item) => {
            let mut items = array::parse(text)?;
            for item_text in items.iter_mut().flatten() {
                let value = from_text(*item, item_text)?;
                *item_text = to_text(*item, (&value).into())?;
            }
            Value::Text(array::encode(&items))
        }
    })
}

fn wrong(kind: Type) -> String {
    format!(
        "the catalog holds a value that is not of type {}",
        kind.name()
    )
}

fn text_of(kind: Type, value: ValueRef<'_>) -> Result<&str, String> {
    value.as_str().map_err(|_| wrong(kind))
}

fn integer_of(kind: Type, value: ValueRef<'_>) -> Result<i64, String> {
    value.as_i64().map_err(|_| wrong(kind))
}

/// The text of a value that is not null.
pub(crate) fn to_text(kind: Type, value: ValueRef<'_>) -> Result<String, String> {
    Ok(match kind {
        Type::Bool => if integer_of(kind, value)? == 0 {
            "f"
        } else {
            "t"
        }
        .to_owned(),
        Type::Int4 | Type::Int8 => integer_of(kind, value)?.to_string(),
        Type::Float8 => number::format_float(value.as_f64().map_err(|_| wrong(kind))?),
        Type::Uuid => uuid::format(value.as_blob().map_err(|_| wrong(kind))?),
        Type::Date => time::format_date(integer_of(kind, value)?),
        Type::Timestamp => time::format_timestamp(integer_of(kind, value)?, ' '),
        Type::Timestamptz => time::format_timestamptz(integer_of(kind, value)?),
        Type::Hstore => Hstore::decode(text_of(kind, value)?)?.format(),
        Type::Array(_) => array::format(&array::decode(text_of(kind, value)?)?),
        Type::Text | Type::Varchar | Type::Numeric | Type::Interval | Type::Json | Type::Jsonb => {
            text_of(kind, value)?.to_owned()
        }
    })
}

/// Writes a value as `row_to_json` does.
pub(crate) fn write_json(kind: Type, value: ValueRef<'_>, out: &mut String) -> Result<(), String> {
    if matches!(value, ValueRef::Null) {
        out.push_str("null");
        return Ok(());
    }
    match kind {
        Type::Bool => out.push_str(if integer_of(kind, value)? == 0 {
            "false"
        } else {
            "true"
        }),
        Type::Int4 | Type::Int8 | Type::Numeric | Type::Float8 | Type::Json | Type::Jsonb => {
            out.push_str(&to_text(kind, value)?);
        }
        Type::Timestamp => {
            let text = time::format_timestamp(integer_of(kind, value)?, 'T');
            json::escape(&text, out);
        }
        Type::Timestamptz => {
            json::escape(&time::json_timestamptz(integer_of(kind, value)?), out);
        }
        Type::Hstore => out.push_str(&Hstore::decode(text_of(kind, value)?)?.to_json()),
        Type::Array(item) => {
            out.push('[');
            for (index, text) in array::decode(text_of(kind, value)?)?.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                match text {
                    None => out.push_str("null"),
                    Some(text) => write_json(*item, (&from_text(*item, text)?).into(), out)?,
                }
            }
            out.push(']');
        }
        Type::Text | Type::Varchar | Type::Uuid | Type::Date | Type::Interval => {
            json::escape(&to_text(kind, value)?, out);
        }
    }
    Ok(())
}

/// A copy of a value, which outlives its row.
pub(crate) fn owned(value: ValueRef<'_>) -> Result<Value, String> {
    Value::try_from(value).map_err(|_| "a text is not in UTF-8".to_owned())
}

/// Converts a value of type `from` to type `to`, as an explicit cast does.
///
/// The translator only uses pairs for which [`is_castable`] is true.
pub(crate) fn cast(from: Type, to: Type, value: ValueRef<'_>) -> Result<Value, String> {
    let integer = |value: i64| match to {
        Type::Int4 if i32::try_from(value).is_err() => Err("integer out of range".to_owned()),
        _ => Ok(Value::Integer(value)),
    };
    match (from, to) {
        (Type::Int4 | Type::Int8, Type::Int4 | Type::Int8) => integer(integer_of(from, value)?),
        (Type::Int4 | Type::Int8, Type::Numeric) => {
            Ok(Value::Text(integer_of(from, value)?.to_string()))
        }
        #[allow(clippy::cast_precision_loss, reason = "as PostgreSQL's cast does")]
        (Type::Int4 | Type::Int8, Type::Float8) => Ok(Value::Real(integer_of(from, value)? as f64)),
        (Type::Numeric, Type::Int4 | Type::Int8) => {
            integer(text_of(from, value)?.parse::<Decimal>()?.to_int()?)
        }
        (Type::Numeric, Type::Float8) => Ok(Value::Real(
            text_of(from, value)?.parse::<Decimal>()?.to_float(),
        )),
        (Type::Float8, Type::Int4 | Type::Int8) => {
            let value = value.as_f64().map_err(|_| wrong(from))?;
            let whole = number::float_to_int(value, "bigint", i64::MIN, i64::MAX)?;
            integer(whole)
        }
        (Type::Float8, Type::Numeric) => {
            let value = value.as_f64().map_err(|_| wrong(from))?;
            Ok(Value::Text(Decimal::from_float(value)?.to_string()))
        }
        (Type::Bool, Type::Int4) => Ok(Value::Integer(integer_of(from, value)?)),
        (Type::Int4, Type::Bool) => Ok(Value::Integer(i64::from(integer_of(from, value)? != 0))),
        (Type::Date, Type::Timestamp | Type::Timestamptz) => {
            let days = integer_of(from, value)?;
            if !time::is_finite(days) {
                return Ok(Value::Integer(days));
            }
            time::checked(days.checked_mul(86_400_000_000)).map(Value::Integer)
        }
        (Type::Timestamp | Type::Timestamptz, Type::Date) => {
            let micros = integer_of(from, value)?;
            if !time::is_finite(micros) {
                return Ok(Value::Integer(micros));
            }
            Ok(Value::Integer(micros.div_euclid(86_400_000_000)))
        }
        (Type::Hstore, Type::Json) => Ok(Value::Text(
            Hstore::decode(text_of(from, value)?)?.to_json(),
        )),
        (Type::Hstore | Type::Json, Type::Jsonb) => Ok(Value::Text(
            Json::parse(text_of(from, value)?)?.normalised()?.printed(),
        )),
        (Type::Jsonb, Type::Json)
        | (Type::Timestamp, Type::Timestamptz)
        | (Type::Timestamptz, Type::Timestamp) => owned(value),
        (Type::Text | Type::Varchar, _) => from_text(to, text_of(from, value)?),
        (_, Type::Text | Type::Varchar) if from == Type::Bool => {
            let word = if integer_of(from, value)? == 0 {
                "false"
            } else {
                "true"
            };
            Ok(Value::Text(word.to_owned()))
        }
        (_, Type::Text | Type::Varchar) => Ok(Value::Text(to_text(from, value)?)),
        (Type::Array(own), Type::Array(wanted)) => {
            let mut items = array::decode(text_of(from, value)?)?;
            for text in items.iter_mut().flatten() {
                let item = from_text(*own, text)?;
                let item = cast(*own, *wanted, (&item).into())?;
                *text = to_text(*wanted, (&item).into())?;
            }
            Ok(Value::Text(array::encode(&items)))
        }
        _ => Err(format!("no cast from {} to {}", from.name(), to.name())),
    }
}

/// Whether there is an explicit cast from `from` to `to`.
pub(crate) fn is_castable(from: Type, to: Type) -> bool {
    if from == to || from.becomes(to) || from.is_text() || to.is_text() {
        return true;
    }
    match (from, to) {
        (Type::Int4 | Type::Int8 | Type::Numeric | Type::Float8, _) if from != Type::Int4 => {
            to.category() == from.category()
        }
        (Type::Int4, Type::Bool)
        | (Type::Bool, Type::Int4)
        | (Type::Timestamp | Type::Timestamptz, Type::Date | Type::Timestamp)
        | (Type::Hstore, Type::Json | Type::Jsonb)
        | (Type::Json, Type::Jsonb)
        | (Type::Jsonb, Type::Json) => true,
        (Type::Array(own), Type::Array(wanted)) => is_castable(*own, *wanted),
        _ => false,
    }
}

/// Applies a type modifier, such as the length in `varchar(8)`, to a value.
pub(crate) fn fit(modifier: Modifier, text: &str) -> Result<String, String> {
    match modifier {
        Modifier::None => Ok(text.to_owned()),
        Modifier::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Ok(text.chars().take(length).collect())
        }
        Modifier::Digits { precision, scale } => {
            Ok(text.parse::<Decimal>()?.fit(precision, scale)?.to_string())
        }
    }
}

/// Compares texts that represent values of type `kind`.
pub(crate) fn compare(kind: Type, left: &str, right: &str) -> Ordering {
    fn parsed<T: Ord + std::str::FromStr>(left: &str, right: &str) -> Ordering {
        match (left.parse::<T>(), right.parse::<T>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            _ => left.cmp(right),
        }
    }
    match kind {
        Type::Numeric => parsed::<Decimal>(left, right),
        Type::Interval => parsed::<Interval>(left, right),
        _ => left.cmp(right),
    }
}
