//! Connections that end at any time and in different ways. No call may hang because of that.
//!
//! `PINGTHINGS_CALLS` sets the number of calls.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests, and figures"
)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use pingthings_client::{Client, Config, Endpoint};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

const CONCURRENCY: u64 = 64;

/// A call that takes longer hangs. The longest series of retries takes a sixth of this time.
const HANG: Duration = Duration::from_mins(1);

/// The maximum life of a connection. It is short, so that most connections end while calls are in
/// flight.
const MAX_LIFE_US: u64 = 20_000;

/// An answer to Info: a server of version 5.30.
const INFO: &[u8] = &[0, 0, 0, 0, 6, 0x18, 5, 0x20, 30, 0x32, 0];

/// An empty message.
const EMPTY: &[u8] = &[0; 5];

/// Pseudo-random numbers, the same in every run.
#[derive(Debug)]
struct Random(AtomicU64);

impl Random {
    fn below(&self, limit: u64) -> u64 {
        // A step of splitmix64.
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// A server whose connections end after a short time. It counts them.
async fn serve(listener: TcpListener, random: Arc<Random>, connections: Arc<AtomicU64>) {
    while let Ok((socket, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::Relaxed);
        let work = serve_briefly(socket, Arc::clone(&random));
        // Connections that are shut down gracefully have some more time.
        tokio::spawn(timeout(Duration::from_millis(100), work));
    }
}

async fn serve_briefly(socket: TcpStream, random: Arc<Random>) {
    let streams = [4, 200][usize::from(random.below(2) == 0)];
    let mut server = h2::server::Builder::new();
    let handshake = server.max_concurrent_streams(streams).handshake(socket);
    let Ok(mut connection) = handshake.await else {
        return;
    };
    let life = Duration::from_micros(random.below(MAX_LIFE_US));
    let (mut life, mut is_ending) = (Box::pin(sleep(life)), false);
    loop {
        tokio::select! {
            call = connection.accept() => {
                let Some(Ok((request, respond))) = call else { return };
                let is_info = request.uri().path().ends_with("/Info");
                let message = Bytes::from_static(if is_info { INFO } else { EMPTY });
                let late = Duration::from_micros(random.below(2) * random.below(3_000));
                tokio::spawn(answer(respond, message, late));
            }
            () = &mut life, if !is_ending => {
                is_ending = true;
                match random.below(4) {
                    0 => return,
                    1 => connection.graceful_shutdown(),
                    2 => connection.abrupt_shutdown(Reason::NO_ERROR),
                    _ => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
                }
            }
        }
    }
}

async fn answer(mut respond: SendResponse<Bytes>, message: Bytes, late: Duration) {
    sleep(late).await;
    let response = http::Response::builder().header("content-type", "application/grpc");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    // Errors are ignored, because the connection may have ended.
    if let Ok(mut body) = respond.send_response(response.body(()).unwrap(), false)
        && body.send_data(message, false).is_ok()
    {
        let _ = body.send_trailers(trailers);
    }
}

async fn connect(address: SocketAddr, retry_for: Duration) -> Client {
    let config = Config {
        retry_for,
        ..Config::new(Endpoint::parse(&address.to_string(), None).unwrap())
    };
    loop {
        if let Ok(client) = Client::connect(config.clone()).await {
            return client;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_hangs() {
    let calls = std::env::var("PINGTHINGS_CALLS").map_or(20_000, |calls| calls.parse().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (random, connections) = (Arc::new(Random(AtomicU64::new(1))), Arc::default());
    let server = tokio::spawn(serve(listener, random, Arc::clone(&connections)));

    let with_retries = connect(address, Duration::from_secs(10)).await;
    let without_retries = connect(address, Duration::ZERO).await;
    let unreported: Arc<AtomicU64> = Arc::default();
    let mut callers = JoinSet::new();
    for number in 0..CONCURRENCY {
        let client = if number % 2 == 0 {
            &with_retries
        } else {
            &without_retries
        }
        .clone();
        let unreported = Arc::clone(&unreported);
        callers.spawn(async move {
            let mut failed = 0_u64;
            for _ in 0..calls / CONCURRENCY {
                let call = timeout(HANG, client.nearest(Uuid::nil(), 0, 0, false));
                let Ok(answer) = call.await else {
                    panic!("a call hung: {:?}", client.stats());
                };
                failed += u64::from(answer.is_err());
                if let Err(error) = answer
                    && error.to_string().contains("did not report it")
                {
                    unreported.fetch_add(1, Ordering::Relaxed);
                }
            }
            failed
        });
    }
    let failed: u64 = callers.join_all().await.into_iter().sum();
    let connections = connections.load(Ordering::Relaxed);
    let unreported = unreported.load(Ordering::Relaxed);
    eprintln!(
        "{calls} calls over {connections} connections, {failed} failed, {unreported} of them because \
         the transport did not report the end of the connection"
    );
    // Calls of the client without retries fail in some cases.
    assert!(connections > 100 && failed > 0);
    server.abort();
}
