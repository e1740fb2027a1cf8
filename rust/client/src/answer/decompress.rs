//! Compressed messages, of which several are decompressed at the same time.

use std::{collections::VecDeque, io::Read, sync::Arc, time::Instant};

use tokio::task::JoinHandle;

use crate::{
    answer::budget::{Budget, MessageMemory},
    error::{Error, ErrorKind},
    stats::Counters,
};

/// No server makes messages that are longer, and a wrong length must not take all memory.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// Messages of one answer that are decompressed at a time, or wait for the one before.
const MAX_MESSAGES: usize = 4;

/// Bytes of them, compressed, beyond which no further one is begun: it may be a thousand times as
/// many that come of them.
const MAX_COMPRESSED_BYTES: usize = 1 << 20;

/// What a compressed message may refer back to, as a power of two: what every reader of zstd allows.
const MAX_WINDOW_LOG: u32 = 23;

/// By how much the memory of a message grows while it is decompressed.
const GROWTH_BYTES: usize = 256 << 10;

/// How messages are compressed that say they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// The messages of an answer, decompressed on the threads of the runtime, in their order.
#[derive(Debug)]
pub(crate) struct Decompressor {
    what: &'static str,
    budget: Arc<Budget>,
    encoding: Encoding,
    running: VecDeque<DecompressionTask>,
    bytes: usize,
    /// Memory of messages that were taken.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct DecompressionTask {
    compressed: usize,
    message: JoinHandle<DecompressedMessage>,
}

#[derive(Debug)]
struct DecompressedMessage {
    message: Result<Vec<u8>, Error>,
    took_ns: u64,
}

impl Decompressor {
    pub(crate) const fn new(what: &'static str, encoding: Encoding, budget: Arc<Budget>) -> Self {
        Self {
            what,
            budget,
            encoding,
            running: VecDeque::new(),
            bytes: 0,
            spare: Vec::new(),
        }
    }

    pub(crate) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.running.len() < MAX_MESSAGES && self.bytes < MAX_COMPRESSED_BYTES
    }

    /// Begins a message; one that is not compressed waits for those before it all the same.
    pub(crate) fn push(&mut self, is_compressed: bool, compressed: Vec<u8>) {
        let encoding = if is_compressed {
            self.encoding
        } else {
            Encoding::Identity
        };
        let memory = self.spare.pop().unwrap_or_default();
        let (what, mut incomplete) = (self.what, MessageMemory::new(Arc::clone(&self.budget)));
        self.bytes += compressed.len();
        self.running.push_back(DecompressionTask {
            compressed: compressed.len(),
            message: tokio::spawn(async move {
                let begun = Instant::now();
                let message = match encoding {
                    Encoding::Identity => Ok(compressed),
                    _ => decompress(what, encoding, &compressed, memory, &mut incomplete),
                };
                let took_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                DecompressedMessage { message, took_ns }
            }),
        });
    }

    /// The oldest message, to be given back; never, if there is none. It may be given up and called again.
    pub(crate) async fn next(&mut self, counters: &Counters) -> Result<Vec<u8>, Error> {
        let Some(oldest) = self.running.front_mut() else {
            return std::future::pending().await;
        };
        let decompressed = (&mut oldest.message).await;
        self.bytes -= oldest.compressed;
        self.running.pop_front();
        let decompressed = decompressed.map_err(|error| self.unreadable(&error.to_string()))?;
        counters.decode_ns.add(decompressed.took_ns);
        decompressed.message
    }

    /// Takes the memory of a message back, for another one.
    pub(crate) fn recycle(&mut self, message: Vec<u8>) {
        self.spare.push(message);
    }

    pub(crate) fn unreadable(&self, why: &str) -> Error {
        let what = self.what;
        let message = format!("the server's answer to {what} cannot be read: {why}");
        Error::new(ErrorKind::Decode, message)
    }
}

/// A message as it was before it was compressed. What it takes is asked for step by step, so that a small
/// one that was compressed well, or on purpose, cannot take all memory.
pub(crate) fn decompress(
    what: &'static str,
    encoding: Encoding,
    compressed: &[u8],
    mut message: Vec<u8>,
    incomplete: &mut MessageMemory,
) -> Result<Vec<u8>, Error> {
    let unreadable = |error| Error::decode(what, error);
    match encoding {
        Encoding::Identity => message.extend_from_slice(compressed),
        Encoding::Gzip => {
            let mut reader = flate2::read::GzDecoder::new(compressed);
            inflate(what, &mut reader, &mut message, incomplete)?;
        }
        Encoding::Zstd => {
            let mut reader = zstd::stream::read::Decoder::new(compressed).map_err(unreadable)?;
            // What a frame refers back to is kept while it is read.
            reader.window_log_max(MAX_WINDOW_LOG).map_err(unreadable)?;
            inflate(what, &mut reader, &mut message, incomplete)?;
        }
    }
    Ok(message)
}

fn inflate(
    what: &'static str,
    reader: &mut impl Read,
    message: &mut Vec<u8>,
    incomplete: &mut MessageMemory,
) -> Result<(), Error> {
    // Memory of a message before is written again.
    incomplete.resize(message.capacity() as u64)?;
    message.resize(message.capacity(), 0);
    let mut length = 0;
    loop {
        if length == message.len() {
            let room = (2 * length).clamp(GROWTH_BYTES, MAX_MESSAGE_BYTES + 1);
            incomplete.resize(room as u64)?;
            message.resize(room, 0);
        }
        let read = reader.read(&mut message[length..]);
        let read = read.map_err(|error| Error::decode(what, error))?;
        if read == 0 {
            message.truncate(length);
            return Ok(());
        }
        length += read;
        if length > MAX_MESSAGE_BYTES {
            let message =
                format!("the server's answer to {what} cannot be read: a message does not end");
            return Err(Error::new(ErrorKind::Decode, message));
        }
    }
}
