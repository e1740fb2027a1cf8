//! Decompression of messages, several at a time.

use std::{collections::VecDeque, io::Read, sync::Arc, time::Instant};

use tokio::task::JoinHandle;

use crate::{
    answer::budget::{Budget, MessageMemory},
    error::{Error, ErrorKind},
    stats::Counters,
};

/// The maximum length of a message. No server sends longer ones, and a wrong length must not take
/// all memory.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// Maximum number of messages of one answer that are being decompressed or wait for an earlier one.
const MAX_MESSAGES: usize = 4;

/// Number of compressed bytes from which no further message is started. Decompressed data may be a
/// thousand times as large.
const MAX_COMPRESSED_BYTES: usize = 1 << 20;

/// Maximum size of a zstd window, as a power of two. Every zstd decoder supports this size.
const MAX_WINDOW_LOG: u32 = 23;

/// The minimum growth of the memory of a message while it is decompressed.
const GROWTH_BYTES: usize = 256 << 10;

/// The compression of messages that are flagged as compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Decompresses the messages of an answer on the threads of the runtime, and returns them in order.
#[derive(Debug)]
pub(crate) struct Decompressor {
    answer_name: &'static str,
    budget: Arc<Budget>,
    encoding: Encoding,
    running: VecDeque<DecompressionTask>,
    bytes: usize,
    /// Memory of finished messages, for reuse.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct DecompressionTask {
    compressed_bytes: usize,
    message: JoinHandle<DecompressedMessage>,
}

#[derive(Debug)]
struct DecompressedMessage {
    message: Result<Vec<u8>, Error>,
    took_ns: u64,
}

impl Decompressor {
    pub(crate) const fn new(
        answer_name: &'static str,
        encoding: Encoding,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            answer_name,
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

    /// Starts to decompress a message. A message that is not compressed also waits for those before
    /// it.
    pub(crate) fn push(&mut self, is_compressed: bool, compressed: Vec<u8>) {
        let encoding = if is_compressed {
            self.encoding
        } else {
            Encoding::Identity
        };
        let memory = self.spare.pop().unwrap_or_default();
        let (answer_name, mut incomplete) = (
            self.answer_name,
            MessageMemory::new(Arc::clone(&self.budget)),
        );
        self.bytes += compressed.len();
        self.running.push_back(DecompressionTask {
            compressed_bytes: compressed.len(),
            message: tokio::spawn(async move {
                let begun = Instant::now();
                let message = match encoding {
                    Encoding::Identity => Ok(compressed),
                    _ => decompress(answer_name, encoding, &compressed, memory, &mut incomplete),
                };
                let took_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                DecompressedMessage { message, took_ns }
            }),
        });
    }

    /// The oldest message, which should be returned with [`recycle`](Self::recycle); waits for ever
    /// if there is none. Cancel safe.
    pub(crate) async fn next(&mut self, counters: &Counters) -> Result<Vec<u8>, Error> {
        let Some(oldest) = self.running.front_mut() else {
            return std::future::pending().await;
        };
        let decompressed = (&mut oldest.message).await;
        self.bytes -= oldest.compressed_bytes;
        self.running.pop_front();
        let decompressed = decompressed.map_err(|error| self.unreadable(&error.to_string()))?;
        counters.decode_ns.add(decompressed.took_ns);
        decompressed.message
    }

    /// Takes back the memory of a message, for reuse.
    pub(crate) fn recycle(&mut self, message: Vec<u8>) {
        self.spare.push(message);
    }

    pub(crate) fn unreadable(&self, why: &str) -> Error {
        let answer_name = self.answer_name;
        let message = format!("the server's answer to {answer_name} cannot be read: {why}");
        Error::new(ErrorKind::Decode, message)
    }
}

/// Decompresses a message. Memory is reserved step by step, so that a small message that expands to
/// a large one cannot take all memory.
pub(crate) fn decompress(
    answer_name: &'static str,
    encoding: Encoding,
    compressed: &[u8],
    mut message: Vec<u8>,
    incomplete: &mut MessageMemory,
) -> Result<Vec<u8>, Error> {
    let unreadable = |error| Error::decode(answer_name, error);
    match encoding {
        Encoding::Identity => message.extend_from_slice(compressed),
        Encoding::Gzip => {
            let mut reader = flate2::read::GzDecoder::new(compressed);
            inflate(answer_name, &mut reader, &mut message, incomplete)?;
        }
        Encoding::Zstd => {
            let mut reader = zstd::stream::read::Decoder::new(compressed).map_err(unreadable)?;
            // The decoder keeps a window of each frame in memory.
            reader.window_log_max(MAX_WINDOW_LOG).map_err(unreadable)?;
            inflate(answer_name, &mut reader, &mut message, incomplete)?;
        }
    }
    Ok(message)
}

fn inflate(
    answer_name: &'static str,
    reader: &mut impl Read,
    message: &mut Vec<u8>,
    incomplete: &mut MessageMemory,
) -> Result<(), Error> {
    // The buffer may be that of an earlier message; it is overwritten.
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
        let read = read.map_err(|error| Error::decode(answer_name, error))?;
        if read == 0 {
            message.truncate(length);
            return Ok(());
        }
        length += read;
        if length > MAX_MESSAGE_BYTES {
            let message = format!(
                "the server's answer to {answer_name} cannot be read: a message is too long"
            );
            return Err(Error::new(ErrorKind::Decode, message));
        }
    }
}
