//! Operators and functions on `json` and `jsonb`.

use std::collections::HashSet;

use rusqlite::types::Value;

use super::{Function, boolean, bounded, optional};
use crate::budget::Rounds;
use crate::types::Type::{self, Bool, Int4, Json, Jsonb, Text};
use crate::value::array::{Items, encode};
use crate::value::json::{Json as Document, contains_item};

const WORDS: Type = Type::TEXT_ARRAY;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::strict("->", &[Jsonb, Text], Jsonb, |a| {
        let document = Document::parse(a.text(0)?)?;
        Ok(optional(document.member(a.text(1)?).map(Document::printed)))
    }),
    Function::strict("->", &[Jsonb, Int4], Jsonb, |a| {
        let document = Document::parse(a.text(0)?)?;
        Ok(optional(document.item(a.int(1)?).map(Document::printed)))
    }),
    Function::strict("->>", &[Jsonb, Text], Text, |a| {
        let document = Document::parse(a.text(0)?)?;
        Ok(optional(
            document.member(a.text(1)?).and_then(Document::as_text),
        ))
    }),
    Function::strict("->>", &[Jsonb, Int4], Text, |a| {
        let document = Document::parse(a.text(0)?)?;
        Ok(optional(
            document.item(a.int(1)?).and_then(Document::as_text),
        ))
    }),
    Function::strict("->>", &[Json, Text], Text, |a| {
        let document = Document::parse(a.text(0)?)?;
        match document.member(a.text(1)?) {
            Some(Document::Array(_) | Document::Object(_)) => Err(
                "extracting an array or an object from `json` is not supported: cast it to jsonb"
                    .into(),
            ),
            member => Ok(optional(member.and_then(Document::as_text))),
        }
    }),
    Function::strict("#>", &[Jsonb, WORDS], Jsonb, |a| {
        let document = Document::parse(a.text(0)?)?;
        Ok(optional(
            at_path(&document, &a.items(1)?).map(Document::printed),
        ))
    }),
    Function::strict("#>>", &[Jsonb, WORDS], Text, |a| {
        let document = Document::parse(a.text(0)?)?;
        Ok(optional(
            at_path(&document, &a.items(1)?).and_then(Document::as_text),
        ))
    }),
    Function::strict("?", &[Jsonb, Text], Bool, |a| {
        let document = Document::parse(a.text(0)?)?;
        Ok(boolean(names(&document).contains(a.text(1)?)))
    }),
    Function::strict("?|", &[Jsonb, WORDS], Bool, |a| {
        let document = Document::parse(a.text(0)?)?;
        let names = names(&document);
        let keys = a.items(1)?;
        let mut keys = keys.iter().flatten();
        Ok(boolean(keys.any(|key| names.contains(key.as_str()))))
    }),
    Function::strict("?&", &[Jsonb, WORDS], Bool, |a| {
        let document = Document::parse(a.text(0)?)?;
        let names = names(&document);
        let keys = a.items(1)?;
        let mut keys = keys.iter().flatten();
        Ok(boolean(keys.all(|key| names.contains(key.as_str()))))
    }),
    Function::strict("@>", &[Jsonb, Jsonb], Bool, |a| {
        let (own, wanted) = (Document::parse(a.text(0)?)?, Document::parse(a.text(1)?)?);
        contains_at_top(&own, &wanted).map(boolean)
    }),
    Function::strict("<@", &[Jsonb, Jsonb], Bool, |a| {
        let (wanted, own) = (Document::parse(a.text(0)?)?, Document::parse(a.text(1)?)?);
        contains_at_top(&own, &wanted).map(boolean)
    }),
    Function::strict("jsonb_typeof", &[Jsonb], Text, |a| {
        Ok(Value::Text(
            match Document::parse(a.text(0)?)? {
                Document::Null => "null",
                Document::Bool(_) => "boolean",
                Document::Number(_) => "number",
                Document::Text(_) => "string",
                Document::Array(_) => "array",
                Document::Object(_) => "object",
            }
            .to_owned(),
        ))
    }),
    Function::strict(
        "jsonb_array_length",
        &[Jsonb],
        Int4,
        |a| match Document::parse(a.text(0)?)? {
            Document::Array(items) => i64::try_from(items.len())
                .map(Value::Integer)
                .map_err(|_| "integer out of range".into()),
            _ => Err("cannot get array length of a value that is no array".into()),
        },
    ),
    Function::strict(".jsonb_keys", &[Jsonb], WORDS, |a| {
        match Document::parse(a.text(0)?)? {
            Document::Object(members) => {
                let keys: Items = members.into_iter().map(|(key, _)| Some(key)).collect();
                bounded(encode(&keys))
            }
            _ => Err("cannot take the keys of a value that is no object".into()),
        }
    }),
    Function::strict(".jsonb_pairs", &[Jsonb], Json, |a| {
        match Document::parse(a.text(0)?)? {
            Document::Object(members) => {
                let pairs = members
                    .into_iter()
                    .map(|(key, value)| {
                        let value = value.as_text().map_or(Document::Null, Document::Text);
                        Document::Array(vec![Document::Text(key), value])
                    })
                    .collect();
                bounded(Document::Array(pairs).printed())
            }
            _ => Err("cannot take apart a value that is no object".into()),
        }
    }),
];

fn at_path<'a>(document: &'a Document, path: &[Option<String>]) -> Option<&'a Document> {
    path.iter().try_fold(document, |at, step| {
        let step = step.as_deref()?;
        match at {
            Document::Object(_) => at.member(step),
            Document::Array(_) => at.item(step.parse().ok()?),
            _ => None,
        }
    })
}

/// Whether `own` contains `wanted`; at the top level, an array may also contain a single scalar.
fn contains_at_top(own: &Document, wanted: &Document) -> Result<bool, String> {
    let mut rounds = Rounds::default();
    match (own, wanted) {
        (Document::Array(_), Document::Array(_) | Document::Object(_)) => {
            own.contains(wanted, &mut rounds)
        }
        (Document::Array(items), single) => contains_item(items, single, &mut rounds),
        _ => own.contains(wanted, &mut rounds),
    }
}

/// The texts at the top level: keys, items, or the value itself.
fn names(document: &Document) -> HashSet<&str> {
    match document {
        Document::Object(members) => members.iter().map(|(key, _)| key.as_str()).collect(),
        Document::Array(items) => items.iter().filter_map(Document::text).collect(),
        single => single.text().into_iter().collect(),
    }
}
