//! One-dimensional arrays. In a statement, an array is a JSON list of the texts of its items and
//! nulls.

use super::json::{self, Json};
use crate::budget::use_memory;

pub(crate) type Items = Vec<Option<String>>;

/// Overhead of an item, which includes the growth of the list and one copy.
const ITEM_BYTES: usize = 128;

/// Collects the items of `texts`, within the memory that is left.
pub(crate) fn collect<T: Into<String>>(
    texts: impl Iterator<Item = Option<T>>,
) -> Result<Items, String> {
    let mut items = Items::new();
    for text in texts {
        let text = text.map(Into::into);
        use_memory(ITEM_BYTES + text.as_ref().map_or(0, String::len))?;
        items.push(text);
    }
    Ok(items)
}

/// Parses `{a,"b c",NULL}`.
pub(crate) fn parse(text: &str) -> Result<Items, String> {
    let malformed = || format!("malformed array literal: `{text}`");
    let inner = text
        .trim_matches([' ', '\t', '\n', '\r'])
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(malformed)?;
    let mut items = Items::new();
    if inner.trim().is_empty() {
        return Ok(items);
    }
    let mut characters = inner.chars().peekable();
    loop {
        while characters.next_if(char::is_ascii_whitespace).is_some() {}
        let quoted = characters.next_if_eq(&'"').is_some();
        let mut item = String::new();
        let mut escaped = false;
        if quoted {
            loop {
                match characters.next().ok_or_else(malformed)? {
                    '"' => break,
                    '\\' => item.push(characters.next().ok_or_else(malformed)?),
                    other => item.push(other),
                }
            }
            while characters.next_if(char::is_ascii_whitespace).is_some() {}
        } else {
            while let Some(character) = characters.next_if(|c| *c != ',') {
                match character {
                    '\\' => {
                        escaped = true;
                        item.push(characters.next().ok_or_else(malformed)?);
                    }
                    '{' | '}' => {
                        return Err(format!(
                            "`{text}` is an array of arrays, which is not supported"
                        ));
                    }
                    '"' => return Err(malformed()),
                    other => item.push(other),
                }
            }
            item.truncate(item.trim_end_matches([' ', '\t', '\n', '\r']).len());
            if item.is_empty() {
                return Err(malformed());
            }
        }
        let is_null = !quoted && !escaped && item.eq_ignore_ascii_case("null");
        use_memory(ITEM_BYTES + item.len())?;
        items.push((!is_null).then_some(item));
        match characters.next() {
            None => return Ok(items),
            Some(',') => {}
            Some(_) => return Err(malformed()),
        }
    }
}

/// Writes `{a,"b c",NULL}`.
pub(crate) fn format(items: &[Option<String>]) -> String {
    let mut out = String::from("{");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item {
            None => out.push_str("NULL"),
            Some(text) if needs_quotes(text) => {
                out.push('"');
                for character in text.chars() {
                    if matches!(character, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(character);
                }
                out.push('"');
            }
            Some(text) => out.push_str(text),
        }
    }
    out.push('}');
    out
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case("null")
        || text.chars().any(|character| {
            matches!(
                character,
                '{' | '}' | ',' | '"' | '\\' | ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}'
            )
        })
}

/// Decodes the JSON list that represents an array in a statement.
pub(crate) fn decode(stored: &str) -> Result<Items, String> {
    let Json::Array(items) = Json::parse(stored)? else {
        return Err("an array is not stored as a list".into());
    };
    items
        .into_iter()
        .map(|item| match item {
            Json::Null => Ok(None),
            Json::Text(text) => Ok(Some(text)),
            _ => Err("an array holds an item that is not text".into()),
        })
        .collect()
}

pub(crate) fn encode(items: &[Option<String>]) -> String {
    encode_all(items.iter().map(Option::as_deref))
}

pub(crate) fn encode_all<'t>(items: impl Iterator<Item = Option<&'t str>> + Clone) -> String {
    // Reserves the full length at once, because a growing text takes three times its memory.
    let lengths = items
        .clone()
        .map(|item| item.map_or(4, json::escaped_length) + 1);
    let mut out = String::with_capacity(lengths.sum::<usize>() + 2);
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item {
            None => out.push_str("null"),
            Some(text) => json::escape(text, &mut out),
        }
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_texts_survive_reading_and_writing() {
        for text in ["{}", "{a,b}", r#"{"b c",NULL,"NULL","a\"\\"}"#, r#"{""}"#] {
            let items = parse(text).unwrap();
            assert_eq!(format(&items), text);
            assert_eq!(decode(&encode(&items)).unwrap(), items);
        }
        assert_eq!(parse("{ a , null }").unwrap(), [Some("a".into()), None]);
        for text in ["", "a", "{a", "{a,}", "{{a}}", "{\"a\"b}", "{\\", "{\"a}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
