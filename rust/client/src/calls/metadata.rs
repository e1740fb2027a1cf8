//! Metadata: creating, changing and looking up streams, and listing collections.

use std::collections::BTreeMap;

use pingthings_proto::v5api::{self, KeyOptValue, OptValue};
use pingthings_types::Version;
use uuid::Uuid;

use crate::{
    answer::rpc::{Item, Rpc},
    error::{Error, ErrorKind},
    method::Method,
    session::{call::uuid_bytes, client::Client},
};

/// The metadata of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The uuid.
    pub uuid: Uuid,
    /// The collection.
    pub collection: String,
    /// The tags: name, unit and others.
    pub tags: BTreeMap<String, String>,
    /// The annotations.
    pub annotations: BTreeMap<String, Option<String>>,
    /// The version of these metadata.
    pub property_version: u64,
    /// The version of its points; `None` in the results of a look-up.
    pub version: Option<Version>,
}

/// A stream to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStream {
    /// The uuid.
    pub uuid: Uuid,
    /// The collection.
    pub collection: String,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// The annotations.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// A change of metadata. Everything that is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamChange {
    /// The property version that the change is based on; 0 for any version.
    pub expected: u64,
    /// The new collection.
    pub collection: Option<String>,
    /// Tags to set.
    pub tags: BTreeMap<String, String>,
    /// Annotations to set.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Annotations to remove.
    pub removed: Vec<String>,
}

/// A filter of streams. A stream must match all conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamFilter {
    /// The name of a collection, or a prefix of it.
    pub collection: String,
    /// Whether `collection` is a prefix.
    pub is_prefix: bool,
    /// Required tags. A tag must have the given value, or any value if it is `None`.
    pub tags: BTreeMap<String, Option<String>>,
    /// Required annotations, likewise.
    pub annotations: BTreeMap<String, Option<String>>,
}

fn pairs<V: Into<Option<String>>>(map: BTreeMap<String, V>) -> Vec<KeyOptValue> {
    map.into_iter()
        .map(|(key, value)| KeyOptValue {
            key,
            val: value.into().map(|value| OptValue { value }),
        })
        .collect()
}

impl TryFrom<v5api::StreamDescriptor> for StreamInfo {
    type Error = Error;

    fn try_from(descriptor: v5api::StreamDescriptor) -> Result<Self, Error> {
        let uuid = Uuid::from_slice(&descriptor.uuid)
            .map_err(|error| Error::decode("a look-up of streams", error))?;
        let value = |pair: KeyOptValue| (pair.key, pair.val.map(|v| v.value));
        Ok(Self {
            uuid,
            collection: descriptor.collection,
            tags: descriptor
                .tags
                .into_iter()
                .map(|pair| (pair.key, pair.val.map(|v| v.value).unwrap_or_default()))
                .collect(),
            annotations: descriptor.annotations.into_iter().map(value).collect(),
            property_version: descriptor.property_version,
            version: None,
        })
    }
}

impl Item for StreamInfo {
    fn heap_bytes(&self) -> usize {
        // A `BTreeMap` allocates nodes for at least eleven entries.
        const ENTRY: usize = 2 * size_of::<String>();
        const MAP: usize = 12 * ENTRY;
        let tags = self
            .tags
            .iter()
            .map(|(key, value)| key.len() + value.len() + ENTRY);
        let annotations = self.annotations.iter();
        let annotations = annotations
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len) + ENTRY);
        self.collection.len() + 2 * MAP + tags.chain(annotations).sum::<usize>()
    }
}

impl Client {
    /// Changes the metadata of a stream and returns the new metadata.
    ///
    /// Tags and collection are changed in one call, annotations in another. If the second call is
    /// refused, the first one has taken effect, and the error says so.
    pub async fn update(&self, uuid: Uuid, change: StreamChange) -> Result<StreamInfo, Error> {
        let mut expected = change.expected;
        let has_tags = change.collection.is_some() || !change.tags.is_empty();
        if has_tags {
            let request = v5api::SetStreamTagsParams {
                uuid: uuid_bytes(uuid),
                expected_property_version: expected,
                tags: pairs(change.tags),
                collection: change.collection.unwrap_or_default(),
                remove: Vec::new(),
            };
            let answer: Result<v5api::SetStreamTagsResponse, Error> = self
                .unary(
                    Method::SetStreamTags,
                    request,
                    |mut rpc: Rpc, q| async move { rpc.set_stream_tags(q).await },
                )
                .await;
            answer.map_err(|error| error.on_stream(uuid))?;
            expected += u64::from(expected > 0);
        }
        if !change.annotations.is_empty() || !change.removed.is_empty() {
            let request = v5api::SetStreamAnnotationsParams {
                uuid: uuid_bytes(uuid),
                expected_property_version: expected,
                changes: pairs(change.annotations),
                removals: change.removed,
            };
            let answer: Result<v5api::SetStreamAnnotationsResponse, Error> = self
                .unary(
                    Method::SetStreamAnnotations,
                    request,
                    |mut rpc: Rpc, q| async move { rpc.set_stream_annotations(q).await },
                )
                .await;
            answer.map_err(|error| {
                let error = error.on_stream(uuid);
                if has_tags {
                    error.with_context("tags and collection were changed, annotations were not")
                } else {
                    error
                }
            })?;
        }
        self.stream_info(uuid).await
    }

    /// Creates a stream.
    pub async fn create(&self, stream: NewStream) -> Result<(), Error> {
        let uuid = stream.uuid;
        let request = v5api::CreateParams {
            uuid: uuid_bytes(uuid),
            collection: stream.collection,
            tags: pairs(stream.tags),
            annotations: pairs(stream.annotations),
        };
        self.unary(Method::Create, request, |mut rpc: Rpc, q| async move {
            rpc.create(q).await
        })
        .await
        .map(drop)
        .map_err(|error: Error| error.on_stream(uuid))
    }

    /// The metadata of a stream, with the version of its points.
    pub async fn stream_info(&self, uuid: Uuid) -> Result<StreamInfo, Error> {
        let answer = self.request_stream_info(uuid, false).await?;
        let version = Version {
            major: answer.version_major,
            minor: answer.version_minor,
        };
        let descriptor = answer.descriptor.ok_or_else(|| {
            Error::new(
                ErrorKind::Decode,
                "the server's answer contains no description of the stream",
            )
            .on_stream(uuid)
        })?;
        let found = StreamInfo {
            version: Some(version),
            ..descriptor.try_into()?
        };
        if found.uuid != uuid {
            let message = format!(
                "the server's answer describes another stream, `{}`",
                found.uuid
            );
            return Err(Error::new(ErrorKind::Decode, message).on_stream(uuid));
        }
        Ok(found)
    }

    /// The version of a stream's points.
    pub async fn version(&self, uuid: Uuid) -> Result<Version, Error> {
        let answer = self.request_stream_info(uuid, true).await?;
        Ok(Version {
            major: answer.version_major,
            minor: answer.version_minor,
        })
    }

    async fn request_stream_info(
        &self,
        uuid: Uuid,
        omit_descriptor: bool,
    ) -> Result<v5api::StreamInfoResponse, Error> {
        let request = v5api::StreamInfoParams {
            uuid: uuid_bytes(uuid),
            omit_version: false,
            omit_descriptor,
            role: None,
        };
        self.unary(Method::StreamInfo, request, |mut rpc: Rpc, q| async move {
            rpc.stream_info(q).await
        })
        .await
        .map_err(|error: Error| error.on_stream(uuid))
    }

    /// The streams that match the filter, in the server's order.
    pub async fn lookup_streams(&self, filter: StreamFilter) -> Result<Vec<StreamInfo>, Error> {
        let request = v5api::LookupStreamsParams {
            collection: filter.collection,
            is_collection_prefix: filter.is_prefix,
            tags: pairs(filter.tags),
            annotations: pairs(filter.annotations),
            role: None,
        };
        self.collect_stream(
            Method::LookupStreams,
            request,
            |mut rpc: Rpc, q| async move { rpc.lookup_streams(q).await },
            |answer: v5api::LookupStreamsResponse| {
                answer.results.into_iter().map(TryInto::try_into).collect()
            },
        )
        .await
    }

    /// The collections whose names begin with `prefix`, in the server's order.
    pub async fn list_collections(&self, prefix: String) -> Result<Vec<String>, Error> {
        let request = v5api::ListCollectionsParams { prefix, role: None };
        self.collect_stream(
            Method::ListCollections,
            request,
            |mut rpc: Rpc, q| async move { rpc.list_collections(q).await },
            |answer: v5api::ListCollectionsResponse| Ok(answer.collections),
        )
        .await
    }
}
