//! The roles of all calls of all services.

use std::fmt::Write as _;
use std::path::Path;

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Role};
use sha2::{Digest, Sha256};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::fixture::Fixture;
use crate::reflection::paths;

const ROLES: [Role; 3] = [Role::Read, Role::Write, Role::Admin];

/// The calls that write in the platform's contract. All others read.
const WRITING: [&str; 7] = [
    "SetStreamAnnotations",
    "SetStreamTags",
    "Create",
    "Insert",
    "ArrowInsert",
    "Delete",
    "Flush",
];
/// The calls that cannot be undone, or that affect all users.
const GOVERNING: [&str; 10] = [
    "FaultInject",
    "Obliterate",
    "SetStreamRetention",
    "SetCollectionRetention",
    "CreateDevice",
    "UpdateDevice",
    "DeleteDevice",
    "CreateUnit",
    "UpdateUnit",
    "DeleteUnit",
];

/// The role that a call should need, or `None` if it needs no key.
fn needed(path: &str) -> Option<Role> {
    let name = path.rsplit('/').next().unwrap();
    if path.starts_with("/grpc.health.v1.") {
        None
    } else if GOVERNING.contains(&name) {
        Some(Role::Admin)
    } else if WRITING.contains(&name) {
        Some(Role::Write)
    } else {
        Some(Role::Read)
    }
}

pub(crate) fn line(name: &str, role: Role, key: &str) -> String {
    let mut line = format!("{name} {} ", role.name());
    for byte in Sha256::digest(key) {
        write!(line, "{byte:02x}").unwrap();
    }
    line + "\n"
}

fn write_keys(path: &Path, keys: &[(Role, &str)]) {
    let lines = keys.iter().map(|(role, key)| line("key", *role, key));
    std::fs::write(path, lines.collect::<String>()).unwrap();
}

/// Makes a call with an empty request. Only a refusal for its role or key is an error.
async fn call(channel: &Channel, path: &str, key: Option<&str>) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(v5::InfoParams {});
    if let Some(key) = key {
        let value = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let codec = tonic_prost::ProstCodec::<v5::InfoParams, v5::InfoParams>::default();
    let path = path.parse().unwrap();
    grpc.server_streaming(request, path, codec)
        .await
        .map(|_| ())
}

#[tokio::test]
async fn every_call_of_every_service_needs_its_role() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let named: Vec<_> = ROLES.iter().map(|role| (*role, role.name())).collect();
    write_keys(&keys, &named);
    let fixture = Fixture::with(Config {
        key_file: Some(keys),
        ..Config::default()
    })
    .await;
    let channel = fixture.channel().await;
    let paths = paths(&channel, Some("read")).await.unwrap();
    assert_eq!(paths.len(), 45, "{paths:?}");
    let mut refused = 0;
    for path in &paths {
        let needed = needed(path);
        for role in ROLES {
            let found = call(&channel, path, Some(role.name())).await;
            let code = found.as_ref().map_or_else(Status::code, |()| Code::Ok);
            if needed.is_some_and(|needed| role < needed) {
                assert_eq!(code, Code::PermissionDenied, "{path} as {}", role.name());
                let message = found.unwrap_err().message().to_owned();
                assert!(message.contains(role.name()), "{message}");
                refused += 1;
            } else {
                assert_ne!(code, Code::PermissionDenied, "{path} as {}", role.name());
                assert_ne!(code, Code::Unauthenticated, "{path} as {}", role.name());
            }
        }
        for key in [None, Some("wrong")] {
            let found = call(&channel, path, key).await;
            let code = found.map_or_else(|status| status.code(), |()| Code::Ok);
            let is_refused = code == Code::Unauthenticated;
            assert_eq!(is_refused, needed.is_some(), "{path} with {key:?}");
        }
    }
    assert_eq!(refused, WRITING.len() + 2 * GOVERNING.len());
}

#[tokio::test]
async fn unknown_calls_are_unimplemented_for_every_key() {
    let fixture = Fixture::with(Config {
        api_keys: vec!["key".to_owned()],
        ..Config::default()
    })
    .await;
    let channel = fixture.channel().await;
    for path in ["/v5api.BTrDB/Nothing", "/nobody.Service/Call"] {
        let found = call(&channel, path, Some("key")).await.unwrap_err();
        assert_eq!(found.code(), Code::Unimplemented, "{path}");
        let found = call(&channel, path, None).await.unwrap_err();
        assert_eq!(found.code(), Code::Unauthenticated, "{path}");
    }
}

#[tokio::test]
async fn keys_change_without_a_restart() {
    const INFO: &str = "/v5api.BTrDB/Info";
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    write_keys(&keys, &[(Role::Read, "first")]);
    let fixture = Fixture::with(Config {
        key_file: Some(keys.clone()),
        ..Config::default()
    })
    .await;
    let channel = fixture.channel().await;
    call(&channel, INFO, Some("first")).await.unwrap();
    call(&channel, INFO, Some("second")).await.unwrap_err();
    write_keys(&keys, &[(Role::Read, "second")]);
    fixture.server.reload();
    fixture
        .until(async || call(&channel, INFO, Some("second")).await.is_ok())
        .await;
    let revoked = call(&channel, INFO, Some("first")).await.unwrap_err();
    assert_eq!(revoked.message(), "invalid api key");
    // An invalid or missing file changes nothing.
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "nonsense").unwrap();
    std::fs::rename(&broken, &keys).unwrap();
    fixture.server.reload();
    call(&channel, INFO, Some("second")).await.unwrap();
    // The file is also checked periodically.
    write_keys(&keys, &[(Role::Read, "third")]);
    fixture
        .until(async || call(&channel, INFO, Some("third")).await.is_ok())
        .await;
}
