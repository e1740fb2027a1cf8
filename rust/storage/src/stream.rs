//! Descriptions of streams: collection, tags and annotations.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::Error;

/// Maximum size of the annotations of a stream in bytes, and the overhead that is counted for each
/// annotation. They keep a response about one stream below 4 MB, the limit of many clients.
const MAX_ANNOTATIONS: usize = 3_980_000;
const PER_ANNOTATION: usize = 24;

/// The tags every stream has.
pub(crate) const TAG_KEYS: [&str; 4] = ["name", "unit", "ingress", "distiller"];

/// A stream to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewStream {
    /// Identity, chosen by the caller and never reused after the stream is obliterated.
    pub uuid: Uuid,
    /// The collection it belongs to, 1 to 256 bytes.
    pub collection: String,
    /// Any of `name`, `unit`, `ingress` and `distiller`; missing ones, and those without a value,
    /// read as empty.
    pub tags: BTreeMap<String, Option<String>>,
    /// Free-form metadata; a value may be null.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// The description of a stream: everything but its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescriptor {
    /// Identity.
    pub uuid: Uuid,
    /// The collection it belongs to.
    pub collection: String,
    /// Always `name`, `unit`, `ingress` and `distiller`.
    pub tags: BTreeMap<String, String>,
    /// Free-form metadata; a value may be null.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Increases by one with each change of collection, tags or annotations; starts at 1.
    pub property_version: u64,
}

/// Conditions of a lookup; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamQuery {
    /// Name of the collection, or a prefix of it.
    pub collection: String,
    /// Whether `collection` is a prefix.
    pub is_prefix: bool,
    /// Tags the stream must have; without a value, any will do.
    pub tags: Vec<(String, Option<String>)>,
    /// Annotations the stream must have; without a value, any will do.
    pub annotations: Vec<(String, Option<String>)>,
}

/// The tags and annotations in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataUsage {
    /// The four tags, each with count 0, as in answers of the hosted platform.
    pub tags: Vec<(String, u64)>,
    /// Annotation keys, sorted, with the number of streams that have them.
    pub annotations: Vec<(String, u64)>,
}

impl NewStream {
    /// The values of the four tags, in the order of [`TAG_KEYS`]; empty if not given.
    pub(crate) fn tag_values(&self) -> [&str; 4] {
        TAG_KEYS.map(|key| {
            self.tags
                .get(key)
                .and_then(Option::as_deref)
                .unwrap_or_default()
        })
    }

    /// Refuses names and values that the hosted platform refuses.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_collection(&self.collection)?;
        for (key, value) in &self.tags {
            check_tag(key, value.as_deref())?;
        }
        for (key, value) in &self.annotations {
            check_annotation(key, value.as_deref())?;
        }
        check_annotations(self.uuid, &self.annotations)
    }
}

/// Refuses annotations that are too large for a response about the stream.
pub(crate) fn check_annotations(
    uuid: Uuid,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<(), Error> {
    let size = |(key, value): (&String, &Option<String>)| {
        key.len() + value.as_ref().map_or(0, String::len) + PER_ANNOTATION
    };
    let bytes: usize = annotations.iter().map(size).sum();
    if bytes > MAX_ANNOTATIONS {
        let most = MAX_ANNOTATIONS;
        return Err(Error::AnnotationsTooBig { uuid, bytes, most });
    }
    Ok(())
}

/// Refuses a collection name that is empty, too long or contains a NUL.
pub(crate) fn check_collection(collection: &str) -> Result<(), Error> {
    let problem = match collection {
        "" => "is empty: a stream needs a collection",
        name if name.len() > 256 => "is longer than 256 bytes",
        name if name.contains('\0') => "contains a NUL",
        _ => return Ok(()),
    };
    Err(Error::InvalidCollection {
        collection: collection.to_owned(),
        problem,
    })
}

/// Refuses a tag key that is not one of the four, and a value that is too long or contains a NUL.
pub(crate) fn check_tag(key: &str, value: Option<&str>) -> Result<(), Error> {
    if !TAG_KEYS.contains(&key) {
        return Err(Error::InvalidTagKey {
            key: key.to_owned(),
        });
    }
    let problem = match value {
        Some(value) if value.chars().count() > 255 => "is longer than 255 characters",
        Some(value) if value.contains('\0') => "contains a NUL",
        _ => return Ok(()),
    };
    Err(Error::InvalidTagValue {
        key: key.to_owned(),
        problem,
    })
}

/// Refuses annotations with keys above 256 bytes or values above 1 MiB.
pub(crate) fn check_annotation(key: &str, value: Option<&str>) -> Result<(), Error> {
    let problem = match value {
        _ if key.is_empty() => "has an empty key",
        _ if key.len() > 256 => "has a key longer than 256 bytes",
        Some(value) if value.len() > 1 << 20 => "has a value longer than 1 MiB",
        _ => return Ok(()),
    };
    Err(Error::InvalidAnnotation {
        key: key.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(collection: &str, tags: &[(&str, &str)]) -> NewStream {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), Some((*value).to_owned()));
        NewStream {
            uuid: Uuid::from_u128(1),
            collection: collection.to_owned(),
            tags: tags.iter().map(own).collect(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn names_are_checked_as_the_platform_does() {
        let long = "é".repeat(255);
        assert!(stream("a/b", &[("name", &long)]).check().is_ok());
        let code = |stream: NewStream| stream.check().unwrap_err().code().number();
        assert_eq!(code(stream("", &[])), 407);
        assert_eq!(code(stream(&"a".repeat(257), &[])), 407);
        assert_eq!(code(stream("a\0", &[])), 407);
        assert_eq!(code(stream("a", &[("colour", "red")])), 408);
        assert_eq!(code(stream("a", &[("name", "a\0b")])), 409);
        assert_eq!(code(stream("a", &[("name", &"a".repeat(256))])), 409);
    }
}
