//! Streams as they are described: collection, tags, annotations.

use std::collections::BTreeMap;

use uuid::Uuid;

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
