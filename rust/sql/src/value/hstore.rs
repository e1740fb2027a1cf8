//! `hstore`: pairs of texts whose values may be null. In a statement, it is a JSON object.

use super::json::{self, Json};
use crate::budget::use_memory;

/// Overhead of a pair, which includes the growth and sorting of the list.
const PAIR_BYTES: usize = 256;

/// Pairs in the order of `PostgreSQL`: shorter keys first, then by bytes; each key once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Hstore {
    pairs: Vec<(String, Option<String>)>,
}

impl Hstore {
    /// Creates an hstore; the first of several pairs with the same key is kept.
    pub(crate) fn new(mut pairs: Vec<(String, Option<String>)>) -> Self {
        pairs.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        pairs.dedup_by(|(later, _), (first, _)| later == first);
        Self { pairs }
    }

    pub(crate) fn pairs(&self) -> &[(String, Option<String>)] {
        &self.pairs
    }

    fn pair(&self, key: &str) -> Option<&(String, Option<String>)> {
        self.pairs
            .binary_search_by(|(own, _)| (own.len(), own.as_str()).cmp(&(key.len(), key)))
            .ok()
            .and_then(|index| self.pairs.get(index))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.pair(key).is_some()
    }

    /// The value; `None` if it or the key is missing.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pair(key).and_then(|(_, value)| value.as_deref())
    }

    /// Whether it contains the key with exactly this value, or null.
    pub(crate) fn holds(&self, key: &str, value: Option<&str>) -> bool {
        self.pair(key)
            .is_some_and(|(_, own)| own.as_deref() == value)
    }

    /// Parses `a=>1, "b c"=>NULL`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let malformed = || format!("invalid input syntax for type hstore: `{text}`");
        use_memory(text.len() * 12)?;
        let mut reader = Reader {
            characters: text.chars().collect(),
            at: 0,
        };
        let mut pairs = Vec::new();
        reader.skip_space();
        while !reader.at_end() {
            let (key, _) = reader.word(true).ok_or_else(malformed)?;
            reader.skip_space();
            if !(reader.take('=') && reader.take('>')) {
                return Err(malformed());
            }
            reader.skip_space();
            let (value, quoted) = reader.word(false).ok_or_else(malformed)?;
            let is_null = !quoted && value.eq_ignore_ascii_case("null");
            use_memory(PAIR_BYTES + key.len() + value.len())?;
            pairs.push((key, (!is_null).then_some(value)));
            reader.skip_space();
            if reader.at_end() {
                break;
            }
            if !reader.take(',') {
                return Err(malformed());
            }
            reader.skip_space();
        }
        Ok(Self::new(pairs))
    }

    /// Decodes the JSON object that represents an hstore in a statement.
    pub(crate) fn decode(stored: &str) -> Result<Self, String> {
        let Json::Object(members) = Json::parse(stored)? else {
            return Err("annotations are not stored as an object".into());
        };
        let mut pairs = Vec::with_capacity(members.len());
        for (key, value) in members {
            match value {
                Json::Null => pairs.push((key, None)),
                Json::Text(text) => pairs.push((key, Some(text))),
                _ => return Err("annotations hold a value that is not text".into()),
            }
        }
        Ok(Self::new(pairs))
    }

    /// Encodes it as the JSON object that represents it in a statement, in the format of `SQLite`.
    pub(crate) fn encode(&self) -> String {
        self.object(",", ":")
    }

    /// The result of `hstore_to_json`.
    pub(crate) fn to_json(&self) -> String {
        self.object(", ", ": ")
    }

    fn object(&self, comma: &str, colon: &str) -> String {
        let mut out = String::from("{");
        for (index, (key, value)) in self.pairs.iter().enumerate() {
            out.push_str(if index == 0 { "" } else { comma });
            json::escape(key, &mut out);
            out.push_str(colon);
            match value {
                None => out.push_str("null"),
                Some(text) => json::escape(text, &mut out),
            }
        }
        out.push('}');
        out
    }

    /// `"a"=>"1", "b"=>NULL`.
    pub(crate) fn format(&self) -> String {
        fn quote(text: &str, out: &mut String) {
            out.push('"');
            for character in text.chars() {
                if matches!(character, '"' | '\\') {
                    out.push('\\');
                }
                out.push(character);
            }
            out.push('"');
        }
        let mut out = String::new();
        for (index, (key, value)) in self.pairs.iter().enumerate() {
            out.push_str(if index == 0 { "" } else { ", " });
            quote(key, &mut out);
            out.push_str("=>");
            match value {
                None => out.push_str("NULL"),
                Some(text) => quote(text, &mut out),
            }
        }
        out
    }

    /// The pairs of both; for equal keys those of `other`.
    pub(crate) fn merged(&self, other: &Self) -> Self {
        Self::new(other.pairs.iter().chain(&self.pairs).cloned().collect())
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str, Option<&str>) -> bool) {
        self.pairs
            .retain(|(key, value)| keep(key, value.as_deref()));
    }

    pub(crate) fn contains(&self, other: &Self) -> bool {
        other
            .pairs
            .iter()
            .all(|(key, value)| self.holds(key, value.as_deref()))
    }
}

struct Reader {
    characters: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn at_end(&self) -> bool {
        self.at == self.characters.len()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += 1;
        Some(character)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// A key or a value, and whether it was quoted.
    fn word(&mut self, is_key: bool) -> Option<(String, bool)> {
        let mut word = String::new();
        if self.take('"') {
            loop {
                match self.next()? {
                    '"' => return Some((word, true)),
                    '\\' => word.push(self.next()?),
                    other => word.push(other),
                }
            }
        }
        loop {
            match self.peek() {
                Some('\\') => {
                    self.at += 1;
                    word.push(self.next()?);
                }
                Some('=') if is_key && self.characters.get(self.at + 1) == Some(&'>') => break,
                Some('=') if is_key && word.is_empty() => return None,
                Some(',') if !is_key => break,
                Some(',') if word.is_empty() => return None,
                Some(space) if space.is_ascii_whitespace() => break,
                Some('"') => return None,
                Some(_) => word.push(self.next()?),
                None => break,
            }
        }
        (!word.is_empty()).then_some((word, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hstore_texts_are_read_and_written() {
        let hstore = Hstore::parse(r#" bb=>1 , "a b"=>NULL, c=>"null", a=>"" "#).unwrap();
        assert_eq!(
            hstore.format(),
            r#""a"=>"", "c"=>"null", "bb"=>"1", "a b"=>NULL"#
        );
        assert_eq!(
            hstore.to_json(),
            r#"{"a": "", "c": "null", "bb": "1", "a b": null}"#
        );
        assert_eq!(Hstore::decode(&hstore.encode()).unwrap(), hstore);
        assert_eq!(Hstore::parse("").unwrap(), Hstore::default());
        for text in ["a", "a=>", "=>1", "a=>1 b=>2", "a=>1,,b=>2", "\"a=>1"] {
            assert!(Hstore::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_right_side_wins_a_merge() {
        let left = Hstore::parse("a=>1,b=>2").unwrap();
        let right = Hstore::parse("b=>3").unwrap();
        assert_eq!(left.merged(&right).format(), r#""a"=>"1", "b"=>"3""#);
        assert!(left.contains(&Hstore::parse("a=>1").unwrap()));
        assert!(!left.contains(&right));
    }
}
