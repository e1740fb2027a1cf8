//! The payload of an inner node or a run.
#![no_main]

use pingthings_fuzz::Bytes;
use pingthings_storage::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    if bytes.byte() % 2 == 0 {
        fuzzing::inner(bytes.0);
    } else {
        fuzzing::run(bytes.0);
    }
});
