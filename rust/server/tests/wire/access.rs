//! Access to the server, its description of itself, and calls that it does not have.

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Error, Limits, Server, Tls};
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};

use crate::fixture::{Fixture, arrow_points};

/// Every call of the contract.
const CALLS: [&str; 26] = [
    "RawValues",
    "ArrowRawValues",
    "ArrowMultiValues",
    "AlignedWindows",
    "ArrowAlignedWindows",
    "Windows",
    "ArrowWindows",
    "StreamInfo",
    "SetStreamAnnotations",
    "SetStreamTags",
    "Create",
    "ListCollections",
    "LookupStreams",
    "Nearest",
    "Changes",
    "Insert",
    "ArrowInsert",
    "Delete",
    "Info",
    "FaultInject",
    "Flush",
    "Obliterate",
    "GetMetadataUsage",
    "GenerateCSV",
    "SQLQuery",
    "Subscribe",
];

/// Makes a call with an empty request. `stat` has the same field number in every answer, and a
/// single answer can be read as a stream of one.
async fn call(
    channel: &Channel,
    name: &str,
    authorization: Option<&str>,
) -> Result<Vec<v5::CreateResponse>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(v5::InfoParams {});
    if let Some(value) = authorization {
        let value = MetadataValue::try_from(value).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let codec = tonic_prost::ProstCodec::<v5::InfoParams, v5::CreateResponse>::default();
    let path = format!("/v5api.BTrDB/{name}").parse().unwrap();
    let mut stream = grpc
        .server_streaming(request, path, codec)
        .await?
        .into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

async fn channel(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", server.addr())).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test]
async fn every_call_needs_a_valid_key() {
    let server = Server::start(Config {
        api_keys: vec!["first".to_owned(), "second".to_owned()],
        ..Config::default()
    })
    .await
    .unwrap();
    let channel = channel(&server).await;
    for name in CALLS {
        let status = call(&channel, name, Some("Bearer third"))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{name}");
        assert_eq!(status.message(), "invalid api key", "{name}");
        let status = call(&channel, name, None).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{name}");
        for valid in ["Bearer first", "bearer second"] {
            // The empty request names no stream, and a subscription to no stream ends at once.
            let answers = usize::from(name != "Subscribe");
            let found = call(&channel, name, Some(valid)).await;
            assert_eq!(found.unwrap().len(), answers, "{name}");
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn anonymous_callers_are_served_if_configured() {
    let server = Server::start(Config {
        api_keys: vec!["first".to_owned()],
        anonymous: true,
        ..Config::default()
    })
    .await
    .unwrap();
    let channel = channel(&server).await;
    assert!(call(&channel, "Info", None).await.is_ok());
    let status = call(&channel, "Info", Some("Bearer second"))
        .await
        .unwrap_err();
    assert_eq!(status.message(), "invalid api key");
}

#[tokio::test]
async fn a_server_without_keys_refuses_to_listen_on_the_network() {
    let error = Server::start(Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..Config::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, Error::OpenToNetwork { .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_keeps_keys_and_data_secret() {
    let certificate = include_bytes!("certificate/certificate.pem");
    let tls = Tls::Pem {
        certificate: certificate.to_vec(),
        key: include_bytes!("certificate/key.pem").to_vec(),
    };
    let config = Config {
        api_keys: vec!["first".to_owned()],
        tls: Some(tls),
        ..Config::default()
    };
    let server = Server::start(config.clone()).await.unwrap();
    let trusted = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate));
    let address = format!("https://localhost:{}", server.addr().port());
    let endpoint = Channel::from_shared(address)
        .unwrap()
        .tls_config(trusted)
        .unwrap();
    let channel = endpoint.connect().await.unwrap();
    assert!(call(&channel, "Info", Some("Bearer first")).await.is_ok());
    assert!(call(&channel, "Info", Some("Bearer other")).await.is_err());
    let in_clear = Channel::from_shared(format!("http://{}", server.addr())).unwrap();
    let refused = match in_clear.connect().await {
        Ok(channel) => call(&channel, "Info", Some("Bearer first")).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);

    let tls = Tls::Pem {
        certificate: b"no certificate".to_vec(),
        key: b"no key".to_vec(),
    };
    let error = Server::start(Config {
        tls: Some(tls),
        ..config
    })
    .await
    .unwrap_err();
    assert!(matches!(error, Error::Certificate(_)), "{error}");
    assert!(!error.to_string().contains("transport error"), "{error}");
}

#[tokio::test]
async fn info_has_the_version_and_an_empty_cluster_map() {
    let mut fixture = Fixture::open().await;
    let info = fixture
        .client
        .info(v5::InfoParams {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.stat, None);
    assert_eq!((info.major_version, info.minor_version), (5, 34));
    assert!(
        info.build.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        info.build
    );
    assert_eq!(info.proxy, Some(v5::ProxyInfo::default()));
    assert_eq!(info.mash, None);
}

#[tokio::test]
async fn without_arrow_the_server_reports_an_older_version() {
    let mut fixture = Fixture::with(Config {
        arrow: false,
        ..Config::default()
    })
    .await;
    let info = fixture
        .client
        .info(v5::InfoParams {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!((info.major_version, info.minor_version), (5, 29));
    let channel = channel(&fixture.server).await;
    for name in CALLS {
        let answers = call(&channel, name, None).await;
        if name.starts_with("Arrow") || name == "Subscribe" {
            assert_eq!(answers.unwrap_err().code(), Code::Unimplemented, "{name}");
        } else {
            assert_eq!(answers.unwrap().len(), 1, "{name}");
        }
    }
    let stream = fixture.stream().await;
    stream.insert(&[(1, 1.0)]).await.unwrap();
    let params = v5::ArrowInsertParams {
        uuid: stream.id(),
        arrow_bytes: arrow_points(&[(2, 2.0)]),
        ..v5::ArrowInsertParams::default()
    };
    let refused = fixture.client.arrow_insert(params).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn faults_are_not_injected_from_outside() {
    let fixture = Fixture::open().await;
    let channel = channel(&fixture.server).await;
    let answers = call(&channel, "FaultInject", None).await.unwrap();
    assert_eq!(answers[0].stat.as_ref().unwrap().code, 424);
}

#[tokio::test]
async fn an_overloaded_server_refuses_at_once() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            concurrent_calls: 0,
            waiting_calls: 0,
            sql_statements: 0,
            sql_waiting: 0,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let channel = channel(&fixture.server).await;
    // Calls that do not need the engine are always answered.
    let idle = ["Info", "FaultInject", "Subscribe"];
    for name in CALLS.into_iter().filter(|name| !idle.contains(name)) {
        let answers = call(&channel, name, None).await.unwrap();
        let codes: Vec<_> = answers
            .iter()
            .map(|a| a.stat.as_ref().unwrap().code)
            .collect();
        assert_eq!(codes, [426], "{name}");
    }
    assert!(
        call(&channel, "Info", None).await.unwrap()[0]
            .stat
            .is_none()
    );
}

#[tokio::test]
async fn a_uuid_is_sixteen_bytes() {
    let fixture = Fixture::open().await;
    let channel = channel(&fixture.server).await;
    for name in [
        "StreamInfo",
        "SetStreamAnnotations",
        "SetStreamTags",
        "Create",
        "Nearest",
        "Changes",
        "Insert",
        "Flush",
        "Obliterate",
    ] {
        // The uuid of the empty request has no bytes.
        let answers = call(&channel, name, None).await.unwrap();
        assert_eq!(answers[0].stat.as_ref().unwrap().code, 438, "{name}");
    }
}
