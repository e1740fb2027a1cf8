//! Why a server could not start or stop cleanly.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server could not start or stop cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Without a key anybody could read and write.
    #[error(
        "refusing to serve `{listen}` to anybody: give an API key, allow anonymous access, or \
         listen on a loopback address"
    )]
    OpenToNetwork {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// An empty key would let in whoever sends an empty header.
    #[error("an API key is empty: leave it out, or give it a value")]
    EmptyKey,
    /// No message could hold anything.
    #[error("`rows_per_message` is 0: give at least 1")]
    NoRows,
    /// The key file cannot be read, or is not one.
    #[error("cannot take API keys from `{path}`: {problem}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate or its key is not what it should be.
    #[error("the TLS certificate or its key cannot be used: {0}")]
    Certificate(String),
    /// There are no data in the directory.
    #[error("`{path}` holds no data of a server: give the directory one was started with")]
    NoStorage {
        /// The directory.
        path: PathBuf,
    },
    /// The log cannot be written as asked.
    #[error("cannot log: {problem}")]
    Log {
        /// Why not.
        problem: String,
    },
    /// A fault is to happen at a call that does not exist.
    #[error("there is no call `{name}`: give the name of one in the contract, such as `Insert`")]
    UnknownCall {
        /// The name.
        name: String,
    },
    /// The descriptors of the contracts that are built in are damaged.
    #[error("the contracts of this build cannot be reflected: {0}")]
    Reflection(String),
    /// The address cannot be listened on.
    #[error("cannot listen on `{listen}`: {source}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The engine could not open, or could not commit everything when it closed.
    #[error(transparent)]
    Storage(#[from] pingthings_storage::Error),
    /// The transport failed.
    #[error("serving failed: {}", root(.0))]
    Transport(#[from] tonic::transport::Error),
    /// A task of the server panicked or was cut short by its runtime.
    #[error("a task of the server did not finish: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The last cause of an error: the transport's own texts say only that it is one.
fn root(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root
}
