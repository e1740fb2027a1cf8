//! Functions on text. Lengths and positions count characters.

use std::collections::{HashMap, HashSet};

use rusqlite::types::Value;

use super::{Function, boolean, bounded, check_length};
use crate::types::Type::{self, Bool, Int4, Int8, Text};
use crate::value::array::{Items, collect, encode};

const WORDS: Type = Type::TEXT_ARRAY;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::strict("length", &[Text], Int4, |a| {
        count(a.text(0)?.chars().count())
    }),
    Function::strict("char_length", &[Text], Int4, |a| {
        count(a.text(0)?.chars().count())
    }),
    Function::strict("character_length", &[Text], Int4, |a| {
        count(a.text(0)?.chars().count())
    }),
    Function::strict("octet_length", &[Text], Int4, |a| count(a.text(0)?.len())),
    Function::strict("bit_length", &[Text], Int4, |a| count(a.text(0)?.len() * 8)),
    Function::strict("upper", &[Text], Text, |a| bounded(upper(a.text(0)?))),
    Function::strict("lower", &[Text], Text, |a| bounded(lower(a.text(0)?))),
    Function::strict("initcap", &[Text], Text, |a| bounded(initcap(a.text(0)?))),
    Function::strict("reverse", &[Text], Text, |a| {
        bounded(a.text(0)?.chars().rev().collect())
    }),
    Function::strict("btrim", &[Text], Text, |a| {
        bounded(trim(a.text(0)?, " ", true, true))
    }),
    Function::strict("ltrim", &[Text], Text, |a| {
        bounded(trim(a.text(0)?, " ", true, false))
    }),
    Function::strict("rtrim", &[Text], Text, |a| {
        bounded(trim(a.text(0)?, " ", false, true))
    }),
    Function::strict("btrim", &[Text, Text], Text, |a| {
        bounded(trim(a.text(0)?, a.text(1)?, true, true))
    }),
    Function::strict("ltrim", &[Text, Text], Text, |a| {
        bounded(trim(a.text(0)?, a.text(1)?, true, false))
    }),
    Function::strict("rtrim", &[Text, Text], Text, |a| {
        bounded(trim(a.text(0)?, a.text(1)?, false, true))
    }),
    Function::strict("substr", &[Text, Int4], Text, |a| {
        part(a.text(0)?, a.int(1)?, None)
    }),
    Function::strict("substr", &[Text, Int4, Int4], Text, |a| {
        part(a.text(0)?, a.int(1)?, Some(a.int(2)?))
    }),
    Function::strict("substring", &[Text, Int4], Text, |a| {
        part(a.text(0)?, a.int(1)?, None)
    }),
    Function::strict("substring", &[Text, Int4, Int4], Text, |a| {
        part(a.text(0)?, a.int(1)?, Some(a.int(2)?))
    }),
    Function::strict("overlay", &[Text, Text, Int4], Text, |a| {
        let length = i64::try_from(a.text(1)?.chars().count()).unwrap_or(i64::MAX);
        overlay(a.text(0)?, a.text(1)?, a.int(2)?, length)
    }),
    Function::strict("overlay", &[Text, Text, Int4, Int4], Text, |a| {
        overlay(a.text(0)?, a.text(1)?, a.int(2)?, a.int(3)?)
    }),
    Function::strict("left", &[Text, Int4], Text, |a| {
        let text = a.text(0)?;
        bounded(text.chars().take(kept(text, a.int(1)?)).collect())
    }),
    Function::strict("right", &[Text, Int4], Text, |a| {
        let text = a.text(0)?;
        let dropped = text.chars().count() - kept(text, a.int(1)?);
        bounded(text.chars().skip(dropped).collect())
    }),
    Function::strict("lpad", &[Text, Int4], Text, |a| {
        pad(a.text(0)?, a.int(1)?, " ", true)
    }),
    Function::strict("rpad", &[Text, Int4], Text, |a| {
        pad(a.text(0)?, a.int(1)?, " ", false)
    }),
    Function::strict("lpad", &[Text, Int4, Text], Text, |a| {
        pad(a.text(0)?, a.int(1)?, a.text(2)?, true)
    }),
    Function::strict("rpad", &[Text, Int4, Text], Text, |a| {
        pad(a.text(0)?, a.int(1)?, a.text(2)?, false)
    }),
    Function::strict("repeat", &[Text, Int4], Text, |a| {
        let times = usize::try_from(a.int(1)?).unwrap_or(0);
        check_length(a.text(0)?.len().saturating_mul(times))?;
        bounded(a.text(0)?.repeat(times))
    }),
    Function::strict("replace", &[Text, Text, Text], Text, |a| {
        let (text, from, to) = (a.text(0)?, a.text(1)?, a.text(2)?);
        if from.is_empty() {
            return bounded(text.to_owned());
        }
        let grown = text.matches(from).count().saturating_mul(to.len());
        check_length(text.len().saturating_add(grown))?;
        bounded(text.replace(from, to))
    }),
    Function::strict("translate", &[Text, Text, Text], Text, |a| {
        bounded(translate(a.text(0)?, a.text(1)?, a.text(2)?))
    }),
    Function::strict("split_part", &[Text, Text, Int4], Text, |a| {
        split_part(a.text(0)?, a.text(1)?, a.int(2)?)
    }),
    Function::strict("strpos", &[Text, Text], Int4, |a| {
        position(a.text(0)?, a.text(1)?)
    }),
    Function::strict("position", &[Text, Text], Int4, |a| {
        position(a.text(0)?, a.text(1)?)
    }),
    Function::strict("starts_with", &[Text, Text], Bool, |a| {
        Ok(boolean(a.text(0)?.starts_with(a.text(1)?)))
    }),
    Function::strict("^@", &[Text, Text], Bool, |a| {
        Ok(boolean(a.text(0)?.starts_with(a.text(1)?)))
    }),
    Function::strict("ascii", &[Text], Int4, |a| {
        Ok(Value::Integer(
            a.text(0)?
                .chars()
                .next()
                .map_or(0, |c| i64::from(u32::from(c))),
        ))
    }),
    Function::strict("chr", &[Int4], Text, |a| {
        u32::try_from(a.int(0)?)
            .ok()
            .and_then(char::from_u32)
            .filter(|character| *character != '\0')
            .map(|character| Value::Text(character.to_string()))
            .ok_or_else(|| format!("there is no character of code {}", a.int(0).unwrap_or(0)))
    }),
    Function::strict("to_hex", &[Int4], Text, |a| {
        #[allow(clippy::cast_possible_truncation, reason = "an integer has 32 bits")]
        let bits = a.int(0)? as i32;
        Ok(Value::Text(format!("{bits:x}")))
    }),
    Function::strict("to_hex", &[Int8], Text, |a| {
        Ok(Value::Text(format!("{:x}", a.int(0)?)))
    }),
    Function::strict("quote_literal", &[Text], Text, |a| {
        let text = a.text(0)?;
        let prefix = if text.contains('\\') { "E" } else { "" };
        let quoted = text.replace('\'', "''").replace('\\', "\\\\");
        bounded(format!("{prefix}'{quoted}'"))
    }),
    Function::strict("string_to_array", &[Text, Text], WORDS, |a| {
        split(a.text(0)?, a.optional_text(1)?, None)
    })
    .with_nulls(),
    Function::strict("string_to_array", &[Text, Text, Text], WORDS, |a| {
        split(a.text(0)?, a.optional_text(1)?, a.optional_text(2)?)
    })
    .with_nulls(),
    Function::strict("||", &[Text, Text], Text, |a| {
        check_length(a.text(0)?.len() + a.text(1)?.len())?;
        bounded(format!("{}{}", a.text(0)?, a.text(1)?))
    }),
];

fn count(length: usize) -> Result<Value, String> {
    i64::try_from(length)
        .map(Value::Integer)
        .map_err(|_| "integer out of range".into())
}

/// Maps one character to one: `ß` stays, as in the C library.
fn single(mut mapped: impl Iterator<Item = char>, original: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(character), None) => character,
        _ => original,
    }
}

pub(super) fn upper(text: &str) -> String {
    text.chars().map(|c| single(c.to_uppercase(), c)).collect()
}

pub(super) fn lower(text: &str) -> String {
    text.chars()
        // The only letter whose lower-case form is longer.
        .map(|c| if c == 'İ' { 'I' } else { c })
        .map(|c| single(c.to_lowercase(), c))
        .collect()
}

fn initcap(text: &str) -> String {
    let mut in_word = false;
    text.chars()
        .map(|c| {
            let mapped = if in_word {
                single(c.to_lowercase(), c)
            } else {
                single(c.to_uppercase(), c)
            };
            in_word = c.is_alphanumeric();
            mapped
        })
        .collect()
}

fn trim(text: &str, set: &str, left: bool, right: bool) -> String {
    let set: HashSet<char> = set.chars().collect();
    let is_in_set = |character: char| set.contains(&character);
    let text = if left {
        text.trim_start_matches(is_in_set)
    } else {
        text
    };
    let text = if right {
        text.trim_end_matches(is_in_set)
    } else {
        text
    };
    text.to_owned()
}

/// Characters `start` to `start + length`, counted from 1; positions before the first count as
/// well.
fn part(text: &str, start: i64, length: Option<i64>) -> Result<Value, String> {
    let end = match length {
        Some(length) if length < 0 => return Err("negative substring length not allowed".into()),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let first = start.max(1);
    let skipped = usize::try_from(first - 1).unwrap_or(usize::MAX);
    let taken = usize::try_from(end.saturating_sub(first)).unwrap_or(0);
    bounded(text.chars().skip(skipped).take(taken).collect())
}

fn overlay(text: &str, with: &str, start: i64, length: i64) -> Result<Value, String> {
    if start <= 0 {
        return Err("negative substring length not allowed".into());
    }
    let before = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let after = usize::try_from(start.saturating_add(length).saturating_sub(1)).unwrap_or(0);
    let mut out: String = text.chars().take(before).collect();
    out.push_str(with);
    out.extend(text.chars().skip(after));
    bounded(out)
}

/// The number of characters that `left(text, count)` keeps; if `count` is negative, all but the
/// last `-count`.
fn kept(text: &str, count: i64) -> usize {
    let length = text.chars().count();
    let distance = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 {
        length.saturating_sub(distance)
    } else {
        distance.min(length)
    }
}

fn pad(text: &str, length: i64, fill: &str, left: bool) -> Result<Value, String> {
    let length = usize::try_from(length).unwrap_or(0);
    check_length(length)?;
    let own = text.chars().count();
    if own >= length {
        return bounded(text.chars().take(length).collect());
    }
    let padding: String = fill.chars().cycle().take(length - own).collect();
    bounded(if left {
        padding + text
    } else {
        text.to_owned() + &padding
    })
}

fn translate(text: &str, from: &str, to: &str) -> String {
    let mut places = to.chars();
    let mut mapped = HashMap::new();
    for character in from.chars() {
        let place = places.next();
        // The first of equal characters is used.
        mapped.entry(character).or_insert(place);
    }
    text.chars()
        .filter_map(|character| mapped.get(&character).copied().unwrap_or(Some(character)))
        .collect()
}

fn split_part(text: &str, delimiter: &str, field: i64) -> Result<Value, String> {
    if field == 0 {
        return Err("field position must not be zero".into());
    }
    let distance = usize::try_from(field.unsigned_abs()).unwrap_or(usize::MAX);
    let found = match (delimiter, field > 0) {
        ("", _) => (distance == 1).then_some(text),
        (delimiter, true) => text.split(delimiter).nth(distance - 1),
        (delimiter, false) => {
            let count = text.split(delimiter).count();
            let index = count.checked_sub(distance);
            index.and_then(|index| text.split(delimiter).nth(index))
        }
    };
    bounded(found.unwrap_or_default().to_owned())
}

fn position(text: &str, wanted: &str) -> Result<Value, String> {
    match text.find(wanted) {
        None => Ok(Value::Integer(0)),
        Some(at) => count(text[..at].chars().count() + 1),
    }
}

fn split(text: &str, delimiter: Option<&str>, null: Option<&str>) -> Result<Value, String> {
    let or_null = |part| (Some(part) != null).then_some(part);
    let mut buffer = [0; 4];
    let items = match delimiter {
        _ if text.is_empty() => Items::new(),
        None => {
            let letters = text.chars().map(|letter| {
                let part: &str = letter.encode_utf8(&mut buffer);
                (Some(part) != null).then(|| part.to_owned())
            });
            collect(letters)?
        }
        Some("") => collect(std::iter::once(or_null(text)))?,
        Some(delimiter) => collect(text.split(delimiter).map(or_null))?,
    };
    bounded(encode(&items))
}
