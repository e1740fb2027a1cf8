//! JSON: it keeps numbers as written, prints like `jsonb`, and escapes like `PostgreSQL`.

use std::fmt::Write as _;

use super::decimal::Decimal;
use crate::budget::{Rounds, use_memory};

/// Maximum nesting of a document.
const MOST_NESTING: usize = 100;
/// Overhead of an array item, which includes the growth of the array and one copy.
const ITEM_BYTES: usize = 128;
/// Overhead of an object member.
const MEMBER_BYTES: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.at == text.len() {
            Ok(value)
        } else {
            Err(reader.invalid())
        }
    }

    /// The value as `jsonb` stores it: keys sorted and unique, numbers in decimal form.
    pub(crate) fn normalised(self) -> Result<Self, String> {
        Ok(match self {
            Self::Number(number) => Self::Number(number.parse::<Decimal>()?.to_string()),
            Self::Array(items) => Self::Array(
                items
                    .into_iter()
                    .map(Self::normalised)
                    .collect::<Result<_, _>>()?,
            ),
            Self::Object(members) => {
                let mut sorted: Vec<(String, Self)> = Vec::with_capacity(members.len());
                for (key, value) in members {
                    sorted.push((key, value.normalised()?));
                }
                // The last of equal keys is kept.
                sorted.reverse();
                sorted.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
                sorted.dedup_by(|(later, _), (first, _)| later == first);
                Self::Object(sorted)
            }
            other => other,
        })
    }

    /// The text of `jsonb`: one space after colons and commas.
    pub(crate) fn print(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => escape(text, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.print(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    escape(key, out);
                    out.push_str(": ");
                    value.print(out);
                }
                out.push('}');
            }
        }
    }

    pub(crate) fn printed(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }

    pub(crate) fn member(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The item at `index`, counted from the end if negative.
    pub(crate) fn item(&self, index: i64) -> Option<&Self> {
        let Self::Array(items) = self else {
            return None;
        };
        let length = i64::try_from(items.len()).ok()?;
        let index = if index < 0 { index + length } else { index };
        items.get(usize::try_from(index).ok()?)
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The result of `->>`: text without quotes; `None` for a JSON null.
    pub(crate) fn as_text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text.clone()),
            other => Some(other.printed()),
        }
    }

    /// Whether it contains `other`, as `@>` of `jsonb` defines it.
    pub(crate) fn contains(&self, other: &Self, rounds: &mut Rounds) -> Result<bool, String> {
        rounds.next()?;
        Ok(match (self, other) {
            (Self::Object(own), Self::Object(wanted)) => {
                for (key, value) in wanted {
                    // Each key takes time proportional to the number of keys.
                    for _ in 0..own.len() {
                        rounds.next()?;
                    }
                    match self.member(key) {
                        Some(own) if own.contains(value, rounds)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Self::Array(own), Self::Array(wanted)) => {
                for value in wanted {
                    if !contains_item(own, value, rounds)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Number(own), Self::Number(wanted)) => {
                match (own.parse::<Decimal>(), wanted.parse::<Decimal>()) {
                    (Ok(own), Ok(wanted)) => own.cmp(&wanted).is_eq(),
                    _ => false,
                }
            }
            _ => self == other,
        })
    }
}

/// Whether one of `items` contains `value`.
pub(crate) fn contains_item(
    items: &[Json],
    value: &Json,
    rounds: &mut Rounds,
) -> Result<bool, String> {
    for item in items {
        if item.contains(value, rounds)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The length of the output of [`escape`].
pub(crate) fn escaped_length(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        control if control < b' ' => 6,
        _ => 1,
    };
    2 + text.bytes().map(length).sum::<usize>()
}

/// Writes `text` in quotes.
pub(crate) fn escape(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn invalid(&self) -> String {
        format!("invalid input syntax for type json at byte {}", self.at + 1)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        self.skip_space();
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.invalid())
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, String> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.invalid())
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MOST_NESTING {
            return Err(format!("json is nested deeper than {MOST_NESTING} levels"));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => self.number(),
            None => Err(self.invalid()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.take(b'{')?;
        let mut members = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.take(b':')?;
            use_memory(MEMBER_BYTES)?;
            members.push((key, self.value(depth + 1)?));
            self.skip_space();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            self.take(b'}')?;
            return Ok(Json::Object(members));
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        self.take(b'[')?;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            use_memory(ITEM_BYTES)?;
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            self.take(b']')?;
            return Ok(Json::Array(items));
        }
    }

    fn digits(&mut self) -> Result<(), String> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if start == self.at {
            Err(self.invalid())
        } else {
            Ok(())
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        use_memory(self.at - start)?;
        Ok(Json::Number(self.text[start..self.at].to_owned()))
    }

    fn string(&mut self) -> Result<String, String> {
        if self.peek() != Some(b'"') {
            return Err(self.invalid());
        }
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest
                .find(|character: char| matches!(character, '"' | '\\') || character < ' ')
                .ok_or_else(|| self.invalid())?;
            use_memory(2 * plain)?;
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    use_memory(2)?;
                    out.push(self.escaped()?);
                }
                _ => return Err(self.invalid()),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let byte = self.peek().ok_or_else(|| self.invalid())?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let code = if (0xd800..0xdc00).contains(&first) {
                    self.take(b'\\')?;
                    self.take(b'u')?;
                    let second = self.unit()?;
                    if !(0xdc00..0xe000).contains(&second) {
                        return Err(self.invalid());
                    }
                    0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                } else {
                    first
                };
                match char::from_u32(code) {
                    Some(character) if character != '\0' => character,
                    _ => return Err(self.invalid()),
                }
            }
            _ => return Err(self.invalid()),
        })
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or_else(|| self.invalid())?;
        let unit = u32::from_str_radix(digits, 16).map_err(|_| self.invalid())?;
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonb_sorts_keys_by_length_and_keeps_the_last() {
        let json = Json::parse(r#"{"bb": 1, "a": [1e2, "\u00e9\ud83d\ude00"], "bb": null}"#);
        assert_eq!(
            json.unwrap().normalised().unwrap().printed(),
            r#"{"a": [100, "é😀"], "bb": null}"#
        );
    }

    #[test]
    fn invalid_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "01",
            "\"\\x\"",
            "nul",
            "1 2",
            "\"\\ud800\"",
            "\u{1}",
        ] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        let deep = "[".repeat(5000);
        assert!(Json::parse(&deep).is_err());
    }
}
