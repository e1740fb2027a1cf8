//! The payload of a leaf.
#![no_main]

use pingthings_storage::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::leaf(data);
});
