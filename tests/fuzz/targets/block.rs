//! A block, with the checksum it has and with one that fits.
#![no_main]

use pingthings_storage::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::block(data);
});
