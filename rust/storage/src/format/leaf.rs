//! A leaf: a column of times and a column of values, each with its own encoding.

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress_into};
use pingthings_types::{MAX_INSERT_TIME, MIN_TIME, Points};

use super::times::Line;
use super::{Cursor, Malformed};

/// Most points of a leaf; checked before memory is allocated for them.
const MAX_POINTS: u32 = 4_096;

/// Eight bytes for each number.
const RAW: u8 = 0;
/// The `pco` standalone format.
const PCO: u8 = 1;
/// One straight line; for times only.
const LINE: u8 = 2;

/// `pco` has to save at least a tenth. Otherwise the column is stored raw, which is free to decode.
const fn wins(packed: usize, raw: usize) -> bool {
    packed + raw / 10 < raw
}

fn pack<T: pco::data_types::Number>(column: &[T], level: usize) -> Option<Vec<u8>> {
    let config = ChunkConfig::default().with_compression_level(level);
    simple_compress(column, &config)
        .ok()
        .filter(|packed| wins(packed.len(), size_of_val(column)))
}

fn encode_times(times: &[i64], level: usize) -> (u8, Vec<u8>) {
    if let Some(line) = Line::fit(times) {
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(&line.start.to_le_bytes());
        bytes.extend_from_slice(&line.phase.to_le_bytes());
        bytes.extend_from_slice(&line.numerator.to_le_bytes());
        bytes.extend_from_slice(&line.denominator.to_le_bytes());
        (LINE, bytes)
    } else if let Some(packed) = pack(times, level) {
        (PCO, packed)
    } else {
        (RAW, times.iter().flat_map(|t| t.to_le_bytes()).collect())
    }
}

fn encode_values(values: &[f64], level: usize) -> (u8, Vec<u8>) {
    pack(values, level).map_or_else(
        || (RAW, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        |packed| (PCO, packed),
    )
}

/// The payload of a leaf with these points, which are sorted by time.
pub(crate) fn encode_leaf(
    times: &[i64],
    values: &[f64],
    level: usize,
) -> Result<Vec<u8>, Malformed> {
    let too_long = |_| Malformed("the leaf has too many points");
    let count = u32::try_from(times.len()).map_err(too_long)?;
    let (time_code, time_bytes) = encode_times(times, level);
    let (value_code, value_bytes) = encode_values(values, level);
    let mut payload = Vec::with_capacity(12 + time_bytes.len() + value_bytes.len());
    payload.extend_from_slice(&count.to_le_bytes());
    payload.extend_from_slice(&[time_code, value_code, 0, 0]);
    payload.extend_from_slice(
        &u32::try_from(time_bytes.len())
            .map_err(too_long)?
            .to_le_bytes(),
    );
    payload.extend_from_slice(&time_bytes);
    payload.extend_from_slice(&value_bytes);
    Ok(payload)
}

fn unpack<T: pco::data_types::Number + Default>(
    bytes: &[u8],
    count: usize,
) -> Result<Vec<T>, Malformed> {
    let mut column = vec![T::default(); count];
    let progress = simple_decompress_into(bytes, &mut column)
        .map_err(|_| Malformed("a column cannot be decompressed"))?;
    if progress.n_processed == count && progress.finished {
        Ok(column)
    } else {
        Err(Malformed("a column and its leaf have different lengths"))
    }
}

fn raw<T>(bytes: &[u8], count: usize, from: fn([u8; 8]) -> T) -> Result<Vec<T>, Malformed> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    if chunks.len() != count || !rest.is_empty() {
        return Err(Malformed("a column and its leaf have different lengths"));
    }
    Ok(chunks.iter().copied().map(from).collect())
}

fn line(bytes: &[u8], count: usize) -> Result<Vec<i64>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let line = Line {
        start: cursor.i64()?,
        phase: cursor.u32()?,
        numerator: cursor.u64()?,
        denominator: cursor.u32()?,
    };
    cursor.end()?;
    line.times(count)
        .ok_or(Malformed("the line of the times is invalid"))
}

/// Decodes the points of a leaf.
pub(crate) fn decode_leaf(payload: &[u8]) -> Result<Points, Malformed> {
    let mut cursor = Cursor::new(payload);
    let count = cursor.u32()?;
    let [time_code, value_code, 0, 0] = cursor.array::<4>()? else {
        return Err(Malformed("reserved bytes of the leaf are not zero"));
    };
    if count == 0 || count > MAX_POINTS {
        return Err(Malformed(
            "the number of points of the leaf is out of range",
        ));
    }
    let count = count as usize;
    let time_length = cursor.u32()? as usize;
    let time_bytes = cursor.take(time_length)?;
    let value_bytes = cursor.rest();
    let times = match time_code {
        RAW => raw(time_bytes, count, i64::from_le_bytes)?,
        PCO => unpack(time_bytes, count)?,
        LINE => line(time_bytes, count)?,
        _ => return Err(Malformed("the encoding of the times is unknown")),
    };
    let values = match value_code {
        RAW => raw(value_bytes, count, f64::from_le_bytes)?,
        PCO => unpack(value_bytes, count)?,
        _ => return Err(Malformed("the encoding of the values is unknown")),
    };
    if !times.is_sorted() {
        return Err(Malformed("the times of the leaf are not ascending"));
    }
    let ends = times.first().zip(times.last());
    if ends.is_none_or(|(&first, &last)| first < MIN_TIME || last > MAX_INSERT_TIME) {
        return Err(Malformed("the leaf has a time that no stream can hold"));
    }
    Ok(Points { times, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(points: &Points) -> Vec<u8> {
        let payload = encode_leaf(&points.times, &points.values, 4).unwrap();
        let back = decode_leaf(&payload).unwrap();
        assert_eq!(back.times, points.times);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.values), bits(&points.values));
        payload
    }

    #[test]
    fn special_values_survive_bit_for_bit() {
        let special = [
            0.0,
            -0.0,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            -f64::from_bits(1),
            f64::from_bits(0x000f_ffff_ffff_ffff),
            f64::EPSILON,
            1.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
        ];
        for repeat in [1, 40, 300] {
            let values: Vec<f64> = special.iter().copied().cycle().take(13 * repeat).collect();
            let times = (0..values.len() as i64).map(|i| i * i).collect();
            round_trip(&Points { times, values });
        }
    }

    #[test]
    fn regular_measurements_take_two_bytes_a_point() {
        let mut state = 1u64;
        let mut level = 7_200.0f64;
        let mut points = Points::default();
        for i in 0..4_096i64 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            level += ((state >> 40) as f64 / (1u64 << 24) as f64 - 0.5) * 0.2;
            points
                .times
                .push(1_500_000_000_000_000_000 + i * 1_000_000_000 / 60);
            points.values.push(f64::from(level as f32));
        }
        assert!(round_trip(&points).len() <= 2 * points.len());
    }

    proptest! {
        #[test]
        fn any_columns_survive(
            columns in prop::collection::vec((MIN_TIME..=MAX_INSERT_TIME, any::<f64>()), 1..300),
        ) {
            let (mut times, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
            times.sort_unstable();
            round_trip(&Points { times, values });
        }

        #[test]
        fn times_no_stream_can_hold_are_refused(time in any::<i64>()) {
            let payload = encode_leaf(&[time], &[1.0], 4).unwrap();
            let is_valid = (MIN_TIME..=MAX_INSERT_TIME).contains(&time);
            prop_assert_eq!(decode_leaf(&payload).is_ok(), is_valid);
        }

        #[test]
        fn any_bytes_are_refused_or_decoded(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_leaf(&bytes);
        }
    }
}
