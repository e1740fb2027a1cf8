//! Reflection of all services.

use std::collections::BTreeSet;

use prost::Message as _;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{FileDescriptorResponse, ServerReflectionRequest};

use crate::fixture::Fixture;

async fn ask(
    channel: &Channel,
    key: Option<&str>,
    message: MessageRequest,
) -> Result<MessageResponse, Status> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let mut request = Request::new(tokio_stream::once(request));
    if let Some(key) = key {
        let value = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(request).await?.into_inner();
    let answer = answers.next().await.unwrap()?;
    Ok(answer.message_response.unwrap())
}

/// The paths of all calls of all services.
pub(crate) async fn paths(
    channel: &Channel,
    key: Option<&str>,
) -> Result<BTreeSet<String>, Status> {
    let services = ask(channel, key, MessageRequest::ListServices(String::new())).await?;
    let MessageResponse::ListServicesResponse(services) = services else {
        panic!("{services:?}");
    };
    let mut paths = BTreeSet::new();
    for service in services.service {
        let symbol = MessageRequest::FileContainingSymbol(service.name.clone());
        let MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto,
        }) = ask(channel, key, symbol).await?
        else {
            panic!("no file for {}", service.name);
        };
        for bytes in file_descriptor_proto {
            let file = prost_types::FileDescriptorProto::decode(&bytes[..]).unwrap();
            for found in &file.service {
                let name = format!("{}.{}", file.package(), found.name());
                if name == service.name {
                    let calls = found.method.iter();
                    paths.extend(calls.map(|call| format!("/{name}/{}", call.name())));
                }
            }
        }
    }
    Ok(paths)
}

#[tokio::test]
async fn all_services_are_reflected() {
    let fixture = Fixture::open().await;
    let paths = paths(&fixture.channel().await, None).await.unwrap();
    for path in [
        "/v5api.BTrDB/Insert",
        "/pingthings.management.v1.Management/GetDevice",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        assert!(paths.contains(path), "{path}: {paths:?}");
    }
}
