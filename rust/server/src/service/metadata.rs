//! Streams, collections, tags and annotations.

use std::collections::BTreeMap;

use pingthings_proto::v5api as v5;
use pingthings_storage::{NewStream, PropertyChange, StreamDescriptor, StreamQuery};
use pingthings_types::{Code, Version};
use prost::Message as _;

use super::Shared;
use super::answers::{Messages, batches};
use super::request::{pairs, uuid};
use crate::message::fill;
use crate::status::Refusal;

/// The maximum number of tags and annotations in one lookup. Each makes the query of the catalog
/// longer.
const MAX_PAIRS: usize = 256;

pub(super) fn stream_info(
    shared: &Shared,
    params: &v5::StreamInfoParams,
) -> Result<v5::StreamInfoResponse, Refusal> {
    if params.omit_version && params.omit_descriptor {
        return Err(Refusal::new(
            Code::WrongArgs,
            "both the version and the descriptor are to be left out: ask for one of them",
        ));
    }
    let uuid = uuid(&params.uuid)?;
    let version = if params.omit_version {
        Version::default()
    } else {
        shared.engine.version(uuid)?
    };
    let descriptor = if params.omit_descriptor {
        None
    } else {
        Some(descriptor(shared.engine.stream(uuid)?))
    };
    Ok(v5::StreamInfoResponse {
        stat: None,
        version_major: version.major,
        version_minor: version.minor,
        descriptor,
    })
}

pub(super) fn create(
    shared: &Shared,
    params: &v5::CreateParams,
) -> Result<v5::CreateResponse, Refusal> {
    shared.engine.create(NewStream {
        uuid: uuid(&params.uuid)?,
        collection: params.collection.clone(),
        tags: pairs(&params.tags),
        annotations: pairs(&params.annotations),
    })?;
    Ok(v5::CreateResponse { stat: None })
}

pub(super) fn set_stream_annotations(
    shared: &Shared,
    params: &v5::SetStreamAnnotationsParams,
) -> Result<v5::SetStreamAnnotationsResponse, Refusal> {
    let change = PropertyChange {
        expected: params.expected_property_version,
        annotations: pairs(&params.changes),
        removed: params.removals.clone(),
        ..PropertyChange::default()
    };
    shared.engine.set_properties(uuid(&params.uuid)?, &change)?;
    Ok(v5::SetStreamAnnotationsResponse { stat: None })
}

pub(super) fn set_stream_tags(
    shared: &Shared,
    params: &v5::SetStreamTagsParams,
) -> Result<v5::SetStreamTagsResponse, Refusal> {
    // A removed tag becomes empty. A tag that is both removed and set is set.
    let mut tags: BTreeMap<_, _> = params
        .remove
        .iter()
        .map(|key| (key.clone(), None))
        .collect();
    tags.extend(pairs::<Vec<_>>(&params.tags));
    let change = PropertyChange {
        expected: params.expected_property_version,
        // An empty name means that the collection does not change.
        collection: Some(params.collection.clone()).filter(|name| !name.is_empty()),
        tags,
        ..PropertyChange::default()
    };
    shared.engine.set_properties(uuid(&params.uuid)?, &change)?;
    Ok(v5::SetStreamTagsResponse { stat: None })
}

pub(super) fn obliterate(
    shared: &Shared,
    params: &v5::ObliterateParams,
) -> Result<v5::ObliterateResponse, Refusal> {
    shared.engine.obliterate(uuid(&params.uuid)?)?;
    Ok(v5::ObliterateResponse { stat: None })
}

pub(super) fn get_metadata_usage(
    shared: &Shared,
    params: &v5::MetadataUsageParams,
) -> Result<v5::MetadataUsageResponse, Refusal> {
    let usage = shared.engine.metadata_usage(&params.prefix)?;
    Ok(v5::MetadataUsageResponse {
        stat: None,
        tags: key_counts(usage.tags),
        annotations: key_counts(usage.annotations),
    })
}

pub(super) fn lookup_streams(
    shared: &Shared,
    params: &v5::LookupStreamsParams,
) -> Result<Messages<v5::LookupStreamsResponse>, Refusal> {
    let requested = params.tags.len() + params.annotations.len();
    if requested > MAX_PAIRS {
        return Err(Refusal::parameter(format!(
            "a lookup by {requested} tags and annotations: give {MAX_PAIRS} at most"
        )));
    }
    let query = StreamQuery {
        collection: params.collection.clone(),
        is_prefix: params.is_collection_prefix,
        tags: pairs(&params.tags),
        annotations: pairs(&params.annotations),
    };
    let found = shared.engine.lookup(&query)?;
    let mut found = found.into_iter().map(descriptor).peekable();
    Ok(batches(
        move || Ok(fill(&mut found, v5::StreamDescriptor::encoded_len)),
        |results| {
            Ok(v5::LookupStreamsResponse {
                stat: None,
                results,
            })
        },
    ))
}

pub(super) fn list_collections(
    shared: &Shared,
    params: &v5::ListCollectionsParams,
) -> Result<Messages<v5::ListCollectionsResponse>, Refusal> {
    let found = shared.engine.collections(&params.prefix)?;
    let mut found = found.into_iter().peekable();
    Ok(batches(
        move || Ok(fill(&mut found, String::len)),
        |collections| {
            Ok(v5::ListCollectionsResponse {
                stat: None,
                collections,
            })
        },
    ))
}

fn descriptor(stream: StreamDescriptor) -> v5::StreamDescriptor {
    v5::StreamDescriptor {
        uuid: stream.uuid.into_bytes().to_vec().into(),
        collection: stream.collection,
        tags: stream
            .tags
            .into_iter()
            .map(|(key, value)| pair(key, Some(value)))
            .collect(),
        annotations: stream
            .annotations
            .into_iter()
            .map(|(key, value)| pair(key, value))
            .collect(),
        property_version: stream.property_version,
    }
}

fn key_counts(counts: Vec<(String, u64)>) -> Vec<v5::KeyCount> {
    counts
        .into_iter()
        .map(|(key, count)| v5::KeyCount { key, count })
        .collect()
}

fn pair(key: String, value: Option<String>) -> v5::KeyOptValue {
    v5::KeyOptValue {
        key,
        val: value.map(|value| v5::OptValue { value }),
    }
}
