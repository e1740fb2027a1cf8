//! A server that answers every question with messages that were made beforehand.
//!
//! It stands in for a server wherever a client is measured: an answer is encoded once, and then
//! sent as often as it is asked for, so that nearly all the time is the client's. What is inserted
//! is counted and dropped. It listens on four ports, prints them as JSON, and ends when its
//! standard input does.

#![allow(
    clippy::print_stdout,
    reason = "the ports are what a caller reads from it"
)]

mod answers;
mod connection;

use std::{io, sync::Arc};

use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::answers::Answers;

/// What one port answers like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    /// The name of the port in the output.
    name: &'static str,
    /// Rows in one message of points or windows.
    rows: usize,
    /// Whether it speaks Arrow.
    has_arrow: bool,
    /// Whether answers are compressed.
    is_gzip: bool,
}

const FACES: [Face; 4] = [
    Face {
        name: "small",
        rows: 5_000,
        has_arrow: true,
        is_gzip: false,
    },
    Face {
        name: "large",
        rows: 65_536,
        has_arrow: true,
        is_gzip: false,
    },
    Face {
        name: "points",
        rows: 5_000,
        has_arrow: false,
        is_gzip: false,
    },
    Face {
        name: "gzip",
        rows: 5_000,
        has_arrow: true,
        is_gzip: true,
    },
];

#[allow(
    clippy::disallowed_methods,
    reason = "a program of its own, on one thread so that it takes one core at most"
)]
fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run())
}

async fn run() -> io::Result<()> {
    let mut ports = Vec::new();
    for face in FACES {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        ports.push(format!(
            "\"{}\": {}",
            face.name,
            listener.local_addr()?.port()
        ));
        tokio::spawn(listen(listener, Arc::new(Answers::new(face))));
    }
    println!("{{{}}}", ports.join(", "));
    let mut nothing = [0];
    while tokio::io::stdin().read(&mut nothing).await? > 0 {}
    Ok(())
}

async fn listen(listener: TcpListener, answers: Arc<Answers>) -> io::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(connection::serve(socket, Arc::clone(&answers)));
    }
}
