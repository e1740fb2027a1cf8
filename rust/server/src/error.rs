//! Errors of starting and stopping a server.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server could not start or stop cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Without a key every caller in the network could read and write.
    #[error(
        "refusing to serve `{listen}` to anybody: give an API key, allow anonymous access, or \
         listen on a loopback address"
    )]
    OpenToNetwork {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// An empty key would admit every caller that sends an empty header.
    #[error("an API key is empty: leave it out, or give it a value")]
    EmptyKey,
    /// The limit leaves no room for rows in a message.
    #[error("`rows_per_message` is 0: give at least 1")]
    NoRows,
    /// The key file cannot be read or is invalid.
    #[error("cannot take API keys from `{path}`: {problem}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate or its private key is invalid.
    #[error("the TLS certificate or its key cannot be used: {0}")]
    Certificate(String),
    /// The directory has no data of a server.
    #[error("`{path}` holds no data of a server: give the directory one was started with")]
    NoStorage {
        /// The directory.
        path: PathBuf,
    },
    /// The log cannot be set up.
    #[error("cannot log: {problem}")]
    Log {
        /// What is wrong.
        problem: String,
    },
    /// A fault names a call that does not exist.
    #[error("there is no call `{name}`: give the name of one in the contract, such as `Insert`")]
    UnknownCall {
        /// The name.
        name: String,
    },
    /// The built-in descriptors of the contracts are damaged.
    #[error("the contracts of this build cannot be reflected: {0}")]
    Reflection(String),
    /// The server cannot listen on the address.
    #[error("cannot listen on `{listen}`: {source}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The engine could not open, or could not commit everything when it closed.
    #[error(transparent)]
    Storage(#[from] pingthings_storage::Error),
    /// The transport failed.
    #[error("serving failed: {}", root(.0))]
    Transport(#[from] tonic::transport::Error),
    /// A task of the server panicked or was cancelled by its runtime.
    #[error("a task of the server did not finish: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The last cause of an error. The transport's own texts say only that there is an error.
fn root(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root
}
