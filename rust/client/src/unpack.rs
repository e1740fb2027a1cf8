//! Compressed messages, of which several are unpacked at the same time.

use std::{collections::VecDeque, io::Read, time::Instant};

use tokio::task::JoinHandle;

use crate::{
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
    message: std::io::Result<Vec<u8>>,
    took_ns: u64,
}

impl Unpacking {
    pub(crate) const fn new(what: &'static str, encoding: Encoding) -> Self {
        Self {
            what,
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
        self.bytes += packed.len();
        self.running.push_back(Running {
            packed: packed.len(),
            message: tokio::spawn(async move {
                let begun = Instant::now();
                let message = unpack(encoding, packed, memory);
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
        let message = unpacked
            .message
            .map_err(|error| Error::decode(self.what, error))?;
        if message.len() >= LONGEST_MESSAGE {
            return Err(self.unreadable("a message does not end"));
        }
        Ok(message)
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

fn unpack(encoding: Encoding, packed: Vec<u8>, mut message: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let limit = LONGEST_MESSAGE as u64;
    message.clear();
    match encoding {
        Encoding::Identity => return Ok(packed),
        Encoding::Gzip => flate2::read::GzDecoder::new(&*packed)
            .take(limit)
            .read_to_end(&mut message)?,
        Encoding::Zstd => zstd::stream::read::Decoder::new(&*packed)?
            .take(limit)
            .read_to_end(&mut message)?,
    };
    Ok(message)
}
