//! Creating, changing and validating records.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::engine::Engine;
use crate::error::Error;
use crate::record::{Record, RecordKind};

/// Maximum size of the fields of a record as JSON text, in bytes.
const MAX_FIELDS: usize = 1 << 20;
/// Maximum nesting depth of a value; many JSON readers do not support more.
const MAX_DEPTH: usize = 64;

impl Engine {
    /// All records of a kind, by number.
    pub fn records(&self, kind: RecordKind) -> Result<Vec<Record>, Error> {
        self.store.check_open()?;
        self.store.catalog.records(kind)
    }

    /// The record with this number.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`] if there is none.
    pub fn record(&self, kind: RecordKind, id: i64) -> Result<Record, Error> {
        self.store.check_open()?;
        self.store.catalog.record(kind, id)
    }

    /// Adds a record, and returns it with its number. `fields` is the text of a JSON object with
    /// all keys except `id` and `name`, or empty for none.
    ///
    /// # Errors
    /// [`Error::NoRecordName`] if the name is empty, [`Error::RecordExists`] if another record of
    /// the kind has it, [`Error::InvalidRecord`] if `fields` is not such an object.
    pub fn create_record(
        &self,
        kind: RecordKind,
        name: &str,
        fields: &str,
    ) -> Result<Record, Error> {
        self.store.check_open()?;
        check_name(kind, name)?;
        let fields = Fields::parse(kind, fields)?;
        let fields = fields.text();
        self.store
            .catalog_writer
            .change(|catalog| catalog.add_record(kind, name, &fields))
    }

    /// Changes the name of a record, if one is given, and the keys in `fields`; other keys stay as
    /// they are. Returns the complete record.
    ///
    /// # Errors
    /// As [`Engine::create_record`], and [`Error::NoSuchRecord`].
    pub fn update_record(
        &self,
        kind: RecordKind,
        id: i64,
        name: Option<&str>,
        fields: &str,
    ) -> Result<Record, Error> {
        self.store.check_open()?;
        if let Some(name) = name {
            check_name(kind, name)?;
        }
        let changed = Fields::parse(kind, fields)?;
        let merge = |present: &str| {
            let text = Fields::parse(kind, present)?.with(changed).text();
            check_length(kind, &text)?;
            Ok(text)
        };
        self.store
            .catalog_writer
            .change(|catalog| catalog.change_record(kind, id, name, Box::new(merge)))
    }

    /// Removes a record. Its number is never reused; its name may be.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`] if there is none.
    pub fn delete_record(&self, kind: RecordKind, id: i64) -> Result<(), Error> {
        self.store.check_open()?;
        self.store
            .catalog_writer
            .change(|catalog| catalog.delete_record(kind, id))
    }
}

fn check_name(kind: RecordKind, name: &str) -> Result<(), Error> {
    let problem = match name {
        name if name.trim().is_empty() => return Err(Error::NoRecordName { kind }),
        name if name.chars().count() > 255 => "has a name longer than 255 characters",
        name if name.contains('\0') => "has a NUL in its name",
        _ => return Ok(()),
    };
    Err(invalid(kind, problem))
}

fn check_length(kind: RecordKind, fields: &str) -> Result<(), Error> {
    if fields.len() > MAX_FIELDS {
        let problem = format!(
            "has fields of {} bytes, above the limit of {MAX_FIELDS}",
            fields.len()
        );
        return Err(invalid(kind, problem));
    }
    Ok(())
}

fn invalid(kind: RecordKind, problem: impl Into<String>) -> Error {
    Error::InvalidRecord {
        kind,
        problem: problem.into(),
    }
}

/// The keys of a JSON object with the text of their values, so that numbers keep every digit.
#[derive(Debug, Default)]
struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    fn parse(kind: RecordKind, text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        check_length(kind, text)?;
        if depth(text) > MAX_DEPTH {
            let problem = format!("has values nested deeper than {MAX_DEPTH} levels");
            return Err(invalid(kind, problem));
        }
        let fields: Self = serde_json::from_str(text).map_err(|error| {
            invalid(
                kind,
                format!("has fields that are not a JSON object: {error}"),
            )
        })?;
        match fields
            .0
            .iter()
            .find(|(key, _)| key == "id" || key == "name")
        {
            Some((key, _)) => Err(invalid(kind, format!("has `{key}` among its fields"))),
            None => Ok(fields),
        }
    }

    /// These keys with the values of `changed` where it has them, then the keys that only `changed`
    /// has.
    fn with(mut self, changed: Self) -> Self {
        for (key, value) in changed.0 {
            match self.0.iter_mut().find(|(present, _)| *present == key) {
                Some((_, present)) => *present = value,
                None => self.0.push((key, value)),
            }
        }
        self
    }

    fn text(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str())))
            .collect();
        format!("{{{}}}", pairs.join(","))
    }
}

/// The deepest nesting of brackets in a JSON text.
fn depth(text: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                open += 1;
                deepest = deepest.max(open);
            }
            b']' | b'}' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut seen = std::collections::HashSet::new();
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("`{key}` occurs twice")));
            }
            pairs.push((key, value));
        }
        Ok(Fields(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(present: &str, changed: &str) -> String {
        let parse = |text| Fields::parse(RecordKind::Unit, text).unwrap();
        parse(present).with(parse(changed)).text()
    }

    #[test]
    fn values_keep_their_text_and_keys_their_order() {
        let text = r#"{"z":1e400,"a":123456789012345678901234567890,"é\n":[1.50,{"b":null}]}"#;
        assert_eq!(merged(text, ""), text);
        assert_eq!(merged(" { \"z\" : 1.0 } ", ""), r#"{"z":1.0}"#);
        assert_eq!(
            merged(r#"{"a":1,"b":2}"#, r#"{"c":3,"a":null}"#),
            r#"{"a":null,"b":2,"c":3}"#
        );
    }

    #[test]
    fn invalid_fields_are_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64));
        for text in [
            "[]",
            "1",
            "null",
            "{",
            r#"{"a":NaN}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"id":1}"#,
            r#"{"name":"x"}"#,
            r#"{"a":1} x"#,
            &deep,
        ] {
            let error = Fields::parse(RecordKind::Device, text).unwrap_err();
            assert_eq!(error.code().number(), 438, "{text}: {error}");
        }
        let brackets = format!(r#"{{"a":"{}\"["}}"#, "[".repeat(100));
        assert!(Fields::parse(RecordKind::Device, &brackets).is_ok());
    }
}
