//! Operators and functions on `hstore`.

use std::collections::HashSet;

use rusqlite::types::Value;

use super::{Function, boolean, bounded, optional};
use crate::types::Type::{self, Bool, Hstore, Json, Jsonb, Text};
use crate::value::array::{Items, encode};
use crate::value::hstore::Hstore as Pairs;
use crate::value::json::Json as Document;

const WORDS: Type = Type::TEXT_ARRAY;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::strict("->", &[Hstore, Text], Text, |a| {
        Ok(optional(a.hstore(0)?.get(a.text(1)?).map(str::to_owned)))
    }),
    Function::strict("->", &[Hstore, WORDS], WORDS, |a| {
        let hstore = a.hstore(0)?;
        let items: Items = a
            .items(1)?
            .iter()
            .map(|key| {
                let key = key.as_deref()?;
                hstore.get(key).map(str::to_owned)
            })
            .collect();
        bounded(encode(&items))
    }),
    Function::strict("?", &[Hstore, Text], Bool, |a| {
        Ok(boolean(a.hstore(0)?.has(a.text(1)?)))
    }),
    Function::strict("exist", &[Hstore, Text], Bool, |a| {
        Ok(boolean(a.hstore(0)?.has(a.text(1)?)))
    }),
    Function::strict("defined", &[Hstore, Text], Bool, |a| {
        Ok(boolean(a.hstore(0)?.get(a.text(1)?).is_some()))
    }),
    Function::strict("?|", &[Hstore, WORDS], Bool, |a| {
        let hstore = a.hstore(0)?;
        let keys = a.items(1)?;
        Ok(boolean(keys.iter().flatten().any(|key| hstore.has(key))))
    }),
    Function::strict("?&", &[Hstore, WORDS], Bool, |a| {
        let hstore = a.hstore(0)?;
        let keys = a.items(1)?;
        Ok(boolean(keys.iter().flatten().all(|key| hstore.has(key))))
    }),
    Function::strict("@>", &[Hstore, Hstore], Bool, |a| {
        Ok(boolean(a.hstore(0)?.contains(&a.hstore(1)?)))
    }),
    Function::strict("<@", &[Hstore, Hstore], Bool, |a| {
        Ok(boolean(a.hstore(1)?.contains(&a.hstore(0)?)))
    }),
    Function::strict("||", &[Hstore, Hstore], Hstore, |a| {
        bounded(a.hstore(0)?.merged(&a.hstore(1)?).encode())
    }),
    Function::strict("-", &[Hstore, Text], Hstore, |a| {
        let mut hstore = a.hstore(0)?;
        let dropped = a.text(1)?;
        hstore.retain(|key, _| key != dropped);
        bounded(hstore.encode())
    }),
    Function::strict("-", &[Hstore, WORDS], Hstore, |a| {
        let mut hstore = a.hstore(0)?;
        let items = a.items(1)?;
        let dropped: HashSet<&str> = items.iter().flatten().map(String::as_str).collect();
        hstore.retain(|key, _| !dropped.contains(key));
        bounded(hstore.encode())
    }),
    Function::strict("-", &[Hstore, Hstore], Hstore, |a| {
        let mut hstore = a.hstore(0)?;
        let dropped = a.hstore(1)?;
        hstore.retain(|key, value| !dropped.holds(key, value));
        bounded(hstore.encode())
    }),
    Function::strict("slice", &[Hstore, WORDS], Hstore, |a| {
        let mut hstore = a.hstore(0)?;
        let items = a.items(1)?;
        let kept: HashSet<&str> = items.iter().flatten().map(String::as_str).collect();
        hstore.retain(|key, _| kept.contains(key));
        bounded(hstore.encode())
    }),
    Function::strict("akeys", &[Hstore], WORDS, |a| {
        let hstore = a.hstore(0)?;
        let keys: Items = hstore
            .pairs()
            .iter()
            .map(|(key, _)| Some(key.clone()))
            .collect();
        bounded(encode(&keys))
    }),
    Function::strict("avals", &[Hstore], WORDS, |a| {
        let hstore = a.hstore(0)?;
        let values: Items = hstore
            .pairs()
            .iter()
            .map(|(_, value)| value.clone())
            .collect();
        bounded(encode(&values))
    }),
    Function::strict(".hstore_pairs", &[Hstore], Json, |a| {
        let pairs = a
            .hstore(0)?
            .pairs()
            .iter()
            .map(|(key, value)| {
                let value = value.clone().map_or(Document::Null, Document::Text);
                Document::Array(vec![Document::Text(key.clone()), value])
            })
            .collect();
        bounded(Document::Array(pairs).printed())
    }),
    Function::strict("hstore_to_json", &[Hstore], Json, |a| {
        bounded(a.hstore(0)?.to_json())
    }),
    Function::strict("hstore_to_jsonb", &[Hstore], Jsonb, |a| {
        bounded(a.hstore(0)?.to_json())
    }),
    Function::strict("hstore_to_array", &[Hstore], WORDS, |a| {
        let hstore = a.hstore(0)?;
        let items: Items = hstore
            .pairs()
            .iter()
            .flat_map(|(key, value)| [Some(key.clone()), value.clone()])
            .collect();
        bounded(encode(&items))
    }),
    Function::strict("hstore", &[Text, Text], Hstore, |a| {
        let Some(key) = a.optional_text(0)? else {
            return Ok(Value::Null);
        };
        let value = a.optional_text(1)?.map(str::to_owned);
        bounded(Pairs::new(vec![(key.to_owned(), value)]).encode())
    })
    .with_nulls(),
    Function::strict("hstore", &[WORDS, WORDS], Hstore, |a| {
        if a.is_null(0) {
            return Ok(Value::Null);
        }
        let keys = a.items(0)?;
        let values = if a.is_null(1) {
            vec![None; keys.len()]
        } else {
            a.items(1)?
        };
        if keys.len() != values.len() {
            return Err("the arrays of keys and values differ in length".into());
        }
        let pairs = keys
            .into_iter()
            .zip(values)
            .map(|(key, value)| Ok((key.ok_or("a key of an hstore is null")?, value)))
            .collect::<Result<Vec<_>, String>>()?;
        bounded(Pairs::new(pairs).encode())
    })
    .with_nulls(),
];
