//! Compressed messages, of which several are unpacked at the same time.

use std::{collections::VecDeque, io::Read, sync::Arc, time::Instant};

use tokio::task::JoinHandle;

use crate::{
    answer::budget::{Budget, Incomplete},
    error::{Error, ErrorKind},
    stats::Counters,
};

/// No server makes messages that are longer, and a wrong length must not take all memory.
pub(crate) const LONGEST_MESSAGE: usize = 1 << 30;

/// Messages of one answer that are unpacked at a time, or wait for the one before.
const AT_ONCE: usize = 4;

/// Bytes of them, compressed, beyond which no further one is begun: it may be a thousand times as
/// many that come of them.
const BYTES_AT_ONCE: usize = 1 << 20;

/// What a compressed message may refer back to, as a power of two: what every reader of zstd allows.
const LARGEST_WINDOW: u32 = 23;

/// By how much the memory of a message grows while it is unpacked.
const STEP: usize = 256 << 10;

/// How messages are compressed that say they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// The messages of an answer, unpacked on the threads of the runtime, in their order.
#[derive(Debug)]
pub(crate) struct Unpacking {
    what: &'static str,
    budget: Arc<Budget>,
    encoding: Encoding,
    running: VecDeque<Running>,
    bytes: usize,
    /// Memory of messages that were taken.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Running {
    packed: usize,
    message: JoinHandle<Unpacked>,
}

#[derive(Debug)]
struct Unpacked {
    message: Result<Vec<u8>, Error>,
    took_ns: u64,
}

impl Unpacking {
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
        self.running.len() < AT_ONCE && self.bytes < BYTES_AT_ONCE
    }

    /// Begins a message; one that is not compressed waits for those before it all the same.
    pub(crate) fn push(&mut self, is_compressed: bool, packed: Vec<u8>) {
        let encoding = if is_compressed {
            self.encoding
        } else {
            Encoding::Identity
        };
        let memory = self.spare.pop().unwrap_or_default();
        let (what, mut incomplete) = (self.what, Incomplete::new(Arc::clone(&self.budget)));
        self.bytes += packed.len();
        self.running.push_back(Running {
            packed: packed.len(),
            message: tokio::spawn(async move {
                let begun = Instant::now();
                let message = match encoding {
                    Encoding::Identity => Ok(packed),
                    _ => unpack(what, encoding, &packed, memory, &mut incomplete),
                };
                let took_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                Unpacked { message, took_ns }
            }),
        });
    }

    /// The oldest message, to be given back; never, if there is none. It may be given up and called again.
    pub(crate) async fn next(&mut self, counters: &Counters) -> Result<Vec<u8>, Error> {
        let Some(oldest) = self.running.front_mut() else {
            return std::future::pending().await;
        };
        let unpacked = (&mut oldest.message).await;
        self.bytes -= oldest.packed;
        self.running.pop_front();
        let unpacked = unpacked.map_err(|error| self.unreadable(&error.to_string()))?;
        counters.decode_ns.add(unpacked.took_ns);
        unpacked.message
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

/// A message as it was before it was packed. What it takes is asked for step by step, so that a small
/// one that was packed well, or on purpose, cannot take all memory.
pub(crate) fn unpack(
    what: &'static str,
    encoding: Encoding,
    packed: &[u8],
    mut message: Vec<u8>,
    incomplete: &mut Incomplete,
) -> Result<Vec<u8>, Error> {
    let unreadable = |error| Error::decode(what, error);
    match encoding {
        Encoding::Identity => message.extend_from_slice(packed),
        Encoding::Gzip => {
            let mut reader = flate2::read::GzDecoder::new(packed);
            inflate(what, &mut reader, &mut message, incomplete)?;
        }
        Encoding::Zstd => {
            let mut reader = zstd::stream::read::Decoder::new(packed).map_err(unreadable)?;
            // What a frame refers back to is kept while it is read.
            reader.window_log_max(LARGEST_WINDOW).map_err(unreadable)?;
            inflate(what, &mut reader, &mut message, incomplete)?;
        }
    }
    Ok(message)
}

fn inflate(
    what: &'static str,
    reader: &mut impl Read,
    message: &mut Vec<u8>,
    incomplete: &mut Incomplete,
) -> Result<(), Error> {
    // Memory of a message before is written again.
    incomplete.resize(message.capacity() as u64)?;
    message.resize(message.capacity(), 0);
    let mut length = 0;
    loop {
        if length == message.len() {
            let room = (2 * length).clamp(STEP, LONGEST_MESSAGE + 1);
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
        if length > LONGEST_MESSAGE {
            let message =
                format!("the server's answer to {what} cannot be read: a message does not end");
            return Err(Error::new(ErrorKind::Decode, message));
        }
    }
}
