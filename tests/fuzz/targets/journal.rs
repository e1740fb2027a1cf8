//! A journal file, as it is or of frames whose checksums fit: opening it is refused, or what it
//! holds is there, and there again after the next start.
#![no_main]

use pingthings_fuzz::{Bytes, STREAM, Store, question, read};
use pingthings_storage::{Durability, FileKind, FileName, Options, fuzzing};
use pingthings_types::TimeRange;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let shape = bytes.byte();
    let mut file = fuzzing::first_header(FileKind::Journal);
    if shape % 2 == 0 {
        file.truncate(usize::from(shape) / 2);
        file.extend_from_slice(bytes.0);
    }
    while shape % 2 == 1 && !bytes.is_empty() {
        let durability = if bytes.byte() % 2 == 0 {
            Durability::Synced
        } else {
            Durability::Relaxed
        };
        fuzzing::frame(&mut file, durability, bytes.part());
    }
    let store = Store::new();
    store.put(FileName::journal(1), &file);
    let Ok(engine) = store.open(Options::default()) else {
        return;
    };
    let snapshot = engine.snapshot(STREAM, 0).unwrap();
    let found = read(&snapshot).unwrap();
    assert_eq!(snapshot.version().minor, found.len() as u64);
    question(&snapshot, TimeRange::ALL, 1 << 50).unwrap();
    drop(engine);
    let engine = store.open(Options::default()).unwrap();
    let snapshot = engine.snapshot(STREAM, 0).unwrap();
    assert_eq!(read(&snapshot).unwrap(), found);
});
