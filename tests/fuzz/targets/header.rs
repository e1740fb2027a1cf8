//! The headers of files and frames, and the inserts in a frame.
#![no_main]

use pingthings_fuzz::Bytes;
use pingthings_storage::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    fuzzing::header(u32::from(bytes.byte()), bytes.0);
    fuzzing::inserts(bytes.0);
});
