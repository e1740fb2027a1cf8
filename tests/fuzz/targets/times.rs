//! Columns that are encoded: any, and lines of times with a few points off them.
#![no_main]

use pingthings_fuzz::Bytes;
use pingthings_storage::fuzzing;
use pingthings_types::{MAX_INSERT_TIME, MIN_TIME};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    if bytes.byte() % 2 == 0 {
        let points = fuzzing::points(bytes.0);
        if !points.is_empty() {
            fuzzing::columns(&points.times, &points.values);
        }
        return;
    }
    let start = i128::from(bytes.number::<8>() as i64);
    let numerator = i128::from(bytes.number::<8>());
    let denominator = i128::from(bytes.number::<4>().max(1));
    // As many as a leaf may have.
    let count = i128::from(1 + bytes.number::<2>() % 4_096);
    let time = |at: i128| start + at * numerator / denominator;
    let mut times: Vec<i64> = (0..count)
        .map_while(|at| i64::try_from(time(at)).ok())
        .collect();
    let mut values = Vec::with_capacity(times.len());
    while !bytes.is_empty() && !times.is_empty() {
        let at = bytes.number::<2>() as usize % times.len();
        times[at] = times[at].saturating_add(i64::from(bytes.byte() as i8));
        values.push(f64::from(bytes.byte()));
    }
    values.resize(times.len(), 1.5);
    for time in &mut times {
        *time = (*time).clamp(MIN_TIME, MAX_INSERT_TIME);
    }
    times.sort_unstable();
    if !times.is_empty() {
        fuzzing::columns(&times, &values);
    }
});
