//! Points and schemas that a client sends as Arrow IPC.
#![no_main]

use pingthings_server::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::points(data);
    fuzzing::template(data);
});
