//! Inner nodes and runs: the statistics and addresses of the blocks below them.

use pingthings_types::Stat;

use super::{Cursor, Malformed};
use crate::tree::{Address, BlockKind, Child, Inner, Run};

/// Flag: every min and max of the node is exactly representable as f32.
const NARROW: u8 = 1;
/// Flag: some bucket has 2^32 or more points.
const LONG: u8 = 2;

/// Upper bound of the points of a bucket; it keeps sums of counts far below 2^64.
const MAX_COUNT: u64 = 1 << 48;

fn put_address(payload: &mut Vec<u8>, address: Address) {
    payload.extend_from_slice(&address.segment.to_le_bytes());
    payload.extend_from_slice(&address.offset.to_le_bytes());
    payload.extend_from_slice(&address.length.to_le_bytes());
}

fn address(cursor: &mut Cursor<'_>) -> Result<Address, Malformed> {
    Ok(Address {
        segment: cursor.u32()?,
        offset: cursor.u32()?,
        length: cursor.u32()?,
    })
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "checks whether truncation loses anything"
)]
fn is_narrow(value: f64) -> bool {
    f64::from(value as f32).to_bits() == value.to_bits()
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "called only if truncation loses nothing"
)]
fn put_extreme(payload: &mut Vec<u8>, value: f64, narrow: bool) {
    if narrow {
        payload.extend_from_slice(&(value as f32).to_le_bytes());
    } else {
        payload.extend_from_slice(&value.to_le_bytes());
    }
}

fn extreme(cursor: &mut Cursor<'_>, narrow: bool) -> Result<f64, Malformed> {
    if narrow {
        cursor
            .array()
            .map(|bytes| f64::from(f32::from_le_bytes(bytes)))
    } else {
        cursor.f64()
    }
}

/// The buckets set in `bits`, ascending.
fn buckets(bits: u64) -> impl Iterator<Item = u8> {
    (0..64u8).filter(move |bucket| bits >> bucket & 1 == 1)
}

/// The content of an inner node without its children, whose addresses are assigned last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InnerParts<'a> {
    pub(crate) start: i64,
    pub(crate) exponent: u32,
    pub(crate) stats: &'a [Stat],
}

/// Encodes the payload of an inner node.
///
/// A bucket is occupied if its count is not zero; `children` cover exactly the occupied buckets.
pub(crate) fn encode_inner(parts: InnerParts<'_>, children: &[Child]) -> Vec<u8> {
    let stats: Vec<&Stat> = parts.stats.iter().filter(|stat| stat.count > 0).collect();
    let mut occupied = 0u64;
    for (bucket, stat) in parts.stats.iter().enumerate() {
        occupied |= u64::from(stat.count > 0) << bucket;
    }
    let starts = children
        .iter()
        .fold(0u64, |bits, child| bits | 1 << child.first);
    let narrow = stats
        .iter()
        .all(|stat| is_narrow(stat.min) && is_narrow(stat.max));
    let long = stats.iter().any(|stat| u32::try_from(stat.count).is_err());
    let flags = (u8::from(narrow) * NARROW) | (u8::from(long) * LONG);
    let mut payload = Vec::with_capacity(28 + stats.len() * 40 + children.len() * 13);
    payload.extend_from_slice(&parts.start.to_le_bytes());
    payload.extend_from_slice(&[u8::try_from(parts.exponent).unwrap_or(u8::MAX), flags, 0, 0]);
    payload.extend_from_slice(&occupied.to_le_bytes());
    payload.extend_from_slice(&starts.to_le_bytes());
    for stat in &stats {
        match u32::try_from(stat.count) {
            Ok(count) if !long => payload.extend_from_slice(&count.to_le_bytes()),
            _ => payload.extend_from_slice(&stat.count.to_le_bytes()),
        }
    }
    for stat in &stats {
        put_extreme(&mut payload, stat.min, narrow);
    }
    for stat in &stats {
        put_extreme(&mut payload, stat.max, narrow);
    }
    for stat in &stats {
        payload.extend_from_slice(&stat.mean.to_le_bytes());
    }
    for stat in &stats {
        payload.extend_from_slice(&stat.m2.to_le_bytes());
    }
    for child in children {
        payload.push(child.kind.to_byte());
        put_address(&mut payload, child.address);
    }
    payload
}

/// Decodes the payload of an inner node.
pub(crate) fn decode_inner(payload: &[u8]) -> Result<Inner, Malformed> {
    let mut cursor = Cursor::new(payload);
    let start = cursor.i64()?;
    let [exponent, flags, 0, 0] = cursor.array::<4>()? else {
        return Err(Malformed("reserved bytes of the inner node are not zero"));
    };
    if flags & !(NARROW | LONG) != 0 || exponent > 56 {
        return Err(Malformed(
            "the flags or the exponent of the inner node are invalid",
        ));
    }
    let (occupied, starts) = (cursor.u64()?, cursor.u64()?);
    if occupied == 0
        || starts & !occupied != 0
        || starts.trailing_zeros() != occupied.trailing_zeros()
    {
        return Err(Malformed("the buckets of the inner node are inconsistent"));
    }
    let mut stats = Box::new([Stat::EMPTY; 64]);
    let (narrow, long) = (flags & NARROW != 0, flags & LONG != 0);
    for bucket in buckets(occupied) {
        let count = if long {
            cursor.u64()?
        } else {
            u64::from(cursor.u32()?)
        };
        if count == 0 || count > MAX_COUNT {
            return Err(Malformed(
                "the number of points of a bucket is out of range",
            ));
        }
        stats[usize::from(bucket)].count = count;
    }
    for bucket in buckets(occupied) {
        stats[usize::from(bucket)].min = extreme(&mut cursor, narrow)?;
    }
    for bucket in buckets(occupied) {
        stats[usize::from(bucket)].max = extreme(&mut cursor, narrow)?;
    }
    for bucket in buckets(occupied) {
        stats[usize::from(bucket)].mean = cursor.f64()?;
    }
    for bucket in buckets(occupied) {
        stats[usize::from(bucket)].m2 = cursor.f64()?;
    }
    let mut children = Vec::new();
    for first in buckets(starts) {
        let kind = BlockKind::from_byte(cursor.u8()?)
            .ok_or(Malformed("the kind of a child is unknown"))?;
        // A child ends at the last occupied bucket before the next child begins.
        let later = starts & (u64::MAX << first) & !(1 << first);
        let within = 1u64
            .checked_shl(later.trailing_zeros())
            .map_or(u64::MAX, |bit| bit - 1);
        let last = (occupied & within)
            .checked_ilog2()
            .and_then(|bit| u8::try_from(bit).ok());
        let last = last.ok_or(Malformed("a child of the inner node covers no bucket"))?;
        let is_valid = match kind {
            BlockKind::Leaf => true,
            // Otherwise a node could refer to itself.
            BlockKind::Inner => first == last && exponent > 0,
            BlockKind::Run => first == last && exponent == 0,
        };
        if !is_valid {
            return Err(Malformed("a child of the inner node is invalid"));
        }
        children.push(Child {
            first,
            last,
            kind,
            address: address(&mut cursor)?,
        });
    }
    cursor.end()?;
    Ok(Inner {
        start,
        exponent: u32::from(exponent),
        stats,
        children,
    })
}

/// Encodes the payload of a run.
pub(crate) fn encode_run(time: i64, leaves: &[(Address, Stat)]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(12 + leaves.len() * 52);
    payload.extend_from_slice(&time.to_le_bytes());
    for (address, stat) in leaves {
        put_address(&mut payload, *address);
        payload.extend_from_slice(&stat.count.to_le_bytes());
        for value in [stat.min, stat.max, stat.mean, stat.m2] {
            payload.extend_from_slice(&value.to_le_bytes());
        }
    }
    payload
}

/// Decodes the payload of a run.
pub(crate) fn decode_run(payload: &[u8]) -> Result<Run, Malformed> {
    let mut cursor = Cursor::new(payload);
    let time = cursor.i64()?;
    let mut leaves = Vec::with_capacity(cursor.rest().len() / 52);
    while !cursor.rest().is_empty() {
        let address = address(&mut cursor)?;
        let count = cursor.u64()?;
        let (min, max) = (cursor.f64()?, cursor.f64()?);
        let (mean, m2) = (cursor.f64()?, cursor.f64()?);
        leaves.push((
            address,
            Stat {
                count,
                min,
                max,
                mean,
                m2,
            },
        ));
    }
    if leaves.is_empty() {
        return Err(Malformed("the run has no leaves"));
    }
    Ok(Run { time, leaves })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inner_node_round_trips() {
        let (inner, run) = (BlockKind::Inner, BlockKind::Run);
        for (wide, many, exponent, deep) in [
            (0.0, 0, 38, inner),
            (1e-12, 0, 2, inner),
            (0.0, 1 << 33, 0, run),
        ] {
            let mut stats = Box::new([Stat::EMPTY; 64]);
            for bucket in [0, 1, 5, 9, 62, 63] {
                stats[bucket] = Stat::of_slice(&[1.5 + wide, -0.0, bucket as f64]);
                stats[bucket].count += many;
            }
            let at = |n: u32| Address {
                segment: n,
                offset: n * 7,
                length: n + 100,
            };
            let children = vec![
                Child {
                    first: 0,
                    last: 5,
                    kind: BlockKind::Leaf,
                    address: at(1),
                },
                Child {
                    first: 9,
                    last: 9,
                    kind: deep,
                    address: at(2),
                },
                Child {
                    first: 62,
                    last: 62,
                    kind: BlockKind::Leaf,
                    address: at(3),
                },
                Child {
                    first: 63,
                    last: 63,
                    kind: BlockKind::Leaf,
                    address: at(4),
                },
            ];
            let parts = InnerParts {
                start: -(1 << 60),
                exponent,
                stats: &stats[..],
            };
            let payload = encode_inner(parts, &children);
            let inner = decode_inner(&payload).unwrap();
            assert_eq!((inner.start, inner.exponent), (parts.start, parts.exponent));
            assert_eq!(inner.stats, stats);
            assert_eq!(inner.children, children);
            assert!(decode_inner(&payload[..payload.len() - 1]).is_err());
        }
    }

    /// A node could refer to itself, and a walk would never end.
    #[test]
    fn invalid_children_are_refused() {
        let address = Address {
            segment: 1,
            offset: 16,
            length: 100,
        };
        let mut stats = Box::new([Stat::EMPTY; 64]);
        stats[3] = Stat::of(1.0);
        stats[4] = Stat::of(1.0);
        let decode = |exponent, kind, last| {
            let parts = InnerParts {
                start: 0,
                exponent,
                stats: &stats[..],
            };
            let child = |first, last| Child {
                first,
                last,
                kind,
                address,
            };
            let each = [child(3, 3), child(4, 4)];
            let children = if last == 3 { &each[..] } else { &[child(3, 4)] };
            decode_inner(&encode_inner(parts, children)).is_ok()
        };
        for (exponent, kind, last, is_valid) in [
            (2, BlockKind::Leaf, 4, true),
            (2, BlockKind::Inner, 3, true),
            (2, BlockKind::Inner, 4, false),
            (0, BlockKind::Inner, 3, false),
            (0, BlockKind::Run, 3, true),
            (0, BlockKind::Run, 4, false),
            (2, BlockKind::Run, 3, false),
        ] {
            assert_eq!(
                decode(exponent, kind, last),
                is_valid,
                "{kind:?} at {exponent}"
            );
        }
    }

    #[test]
    fn a_run_round_trips() {
        let address = Address {
            segment: 1,
            offset: 2,
            length: 3,
        };
        let leaves = vec![(address, Stat::of_slice(&[1.0, 4.0])); 3];
        let run = decode_run(&encode_run(-5, &leaves)).unwrap();
        assert_eq!((run.time, run.leaves), (-5, leaves));
    }
}
