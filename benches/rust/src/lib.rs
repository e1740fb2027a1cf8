//! Data for the benchmarks.

use pingthings_types::Points;

/// Voltage magnitudes as a synchrophasor sends them: 60 Hz, single precision widened, points
/// `first..first + count` of one long recording.
pub fn synchrophasor(first: usize, count: usize) -> Points {
    recording(60, first, count)
}

/// The same with another number of points in a second.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "numbers of points stay far below 2^52"
)]
pub fn recording(rate: i64, first: usize, count: usize) -> Points {
    let mut points = Points::with_capacity(count);
    for i in first..first + count {
        let mut noise = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        noise = (noise ^ (noise >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let noise = (noise >> 40) as f64 / f64::from(1 << 24) - 0.5;
        let slow = (i as f64 / 36_000.0).sin() * 40.0 + (i as f64 / 700.0).sin() * 3.0;
        points
            .times
            .push(1_500_000_000_000_000_000 + i as i64 * 1_000_000_000 / rate);
        points
            .values
            .push(f64::from((7_200.0 + slow + noise * 0.5) as f32));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_continues_where_it_was_cut() {
        let whole = synchrophasor(0, 100);
        let rest = synchrophasor(40, 60);
        assert_eq!(whole.times[40..], rest.times);
        assert_eq!(whole.values[40..], rest.values);
    }
}
