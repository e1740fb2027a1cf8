//! Streams as they are described: collection, tags, annotations.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::Error;

/// Most bytes of a stream's annotations together, and what is counted for each of them beside its
/// text. With that, an answer about a stream stays below 4 MB, which clients can read.
const MAX_ANNOTATIONS: usize = 3_980_000;
const PER_ANNOTATION: usize = 24;

/// The tags every stream has.
pub(crate) const TAG_KEYS: [&str; 4] = ["name", "unit", "ingress", "distiller"];

/// A stream to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewStream {
    /// Identity, chosen by the caller and never used again after the stream is obliterated.
    pub uuid: Uuid,
    /// The collection it belongs to, 1 to 256 bytes.
    pub collection: String,
    /// Some of `name`, `unit`, `ingress` and `distiller`; the others, and those without a value,
    /// read as empty.
    pub tags: BTreeMap<String, Option<String>>,
    /// Free-form metadata; a value may be null.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// What is known of a stream besides its data.
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
    /// Rises by one with each change of collection, tags or annotations; 1 at first.
    pub property_version: u64,
}

/// Which streams to look up: all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamQuery {
    /// Name of the collection, or its first bytes.
    pub collection: String,
    /// Whether `collection` need only be how the name begins.
    pub is_prefix: bool,
    /// Tags the stream must have; without a value, any will do.
    pub tags: Vec<(String, Option<String>)>,
    /// Annotations the stream must have; without a value, any will do.
    pub annotations: Vec<(String, Option<String>)>,
}

/// Which metadata streams have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataUsage {
    /// The four tags, each with count 0, as the platform answers.
    pub tags: Vec<(String, u64)>,
    /// Annotation keys, sorted, with the number of streams that have them.
    pub annotations: Vec<(String, u64)>,
}

impl NewStream {
    /// The values of the four tags, in the order of [`TAG_KEYS`], empty where not given.
    pub(crate) fn tag_values(&self) -> [&str; 4] {
        TAG_KEYS.map(|key| {
            self.tags
                .get(key)
                .and_then(Option::as_deref)
                .unwrap_or_default()
        })
    }

    /// Refuses names and values the platform refuses.
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

/// Refuses more annotations than an answer about the stream could hold.
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

/// Refuses a collection name that is empty, too long or has a NUL.
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

/// Refuses a tag key that is not one of the four, and a value too long or with a NUL.
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

/// Refuses annotations beyond any use: keys above 256 bytes, values above 1 MiB.
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
