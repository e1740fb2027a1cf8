//! Counts the fields of a protobuf message while it arrives.
//!
//! Two bytes of a message can become a list entry of fifty bytes. Entries are therefore counted
//! before the message is decoded.

/// The position of the next byte in a message.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Tag,
    /// Within a tag of several bytes, of which the first is kept.
    LongTag(u8),
    Varint,
    Length {
        value: u64,
        shift: u32,
    },
    Skip(u64),
    /// The message is invalid. Its decoder will report that.
    Broken,
}

/// Counts the fields of a message, without those of nested messages.
#[derive(Debug, Default)]
pub(crate) struct FieldCounter {
    state: State,
    count: usize,
}

impl FieldCounter {
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Processes the next bytes of the message.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Skip(left) = self.state {
                let skipped =
                    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                bytes = &bytes[skipped..];
                let left = left - skipped as u64;
                self.state = if left == 0 {
                    State::Tag
                } else {
                    State::Skip(left)
                };
                continue;
            }
            bytes = rest;
            let is_last = byte & 0x80 == 0;
            self.state = match self.state {
                State::Tag if is_last => self.begin(byte),
                State::Tag => State::LongTag(byte),
                State::LongTag(first) if is_last => self.begin(first),
                State::Varint if is_last => State::Tag,
                State::Length { value, shift } => {
                    let value = value | u64::from(byte & 0x7f) << shift;
                    match (is_last, shift) {
                        (true, _) if value == 0 => State::Tag,
                        (true, _) => State::Skip(value),
                        (false, 0..56) => State::Length {
                            value,
                            shift: shift + 7,
                        },
                        (false, _) => State::Broken,
                    }
                }
                State::Broken => return,
                within => within,
            };
        }
    }

    fn begin(&mut self, tag: u8) -> State {
        self.count += 1;
        match tag & 7 {
            0 => State::Varint,
            1 => State::Skip(8),
            2 => State::Length { value: 0, shift: 0 },
            // The fields of a group follow its tag, and another tag ends it.
            3 | 4 => State::Tag,
            5 => State::Skip(4),
            _ => State::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use pingthings_proto::v5api as v5;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn count(bytes: &[u8], step: usize) -> usize {
        let mut fields = FieldCounter::default();
        for part in bytes.chunks(step) {
            fields.advance(part);
        }
        fields.count()
    }

    proptest! {
        #[test]
        fn entries_are_counted_in_parts_of_any_size(
            keys in prop::collection::vec(".{0,200}", 0..20),
            prefix in any::<bool>(),
            step in 1..300usize,
        ) {
            let pair = |key: &String| v5::KeyOptValue { key: key.clone(), val: None };
            let params = v5::LookupStreamsParams {
                collection: "x".to_owned(),
                is_collection_prefix: prefix,
                tags: keys.iter().map(pair).collect(),
                annotations: keys.iter().map(pair).collect(),
                ..v5::LookupStreamsParams::default()
            };
            let expected = 1 + usize::from(prefix) + 2 * keys.len();
            prop_assert_eq!(count(&params.encode_to_vec(), step), expected);
        }

        #[test]
        fn points_are_counted(points in prop::collection::vec(any::<(i64, f64)>(), 0..50), step in 1..9usize) {
            let params = v5::InsertParams {
                values: points.iter().map(|&(time, value)| v5::RawPoint { time, value }).collect(),
                ..Default::default()
            };
            prop_assert_eq!(count(&params.encode_to_vec(), step), points.len());
        }

        #[test]
        fn arbitrary_bytes_are_counted_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1..300usize) {
            prop_assert!(count(&bytes, step) <= bytes.len());
            prop_assert_eq!(count(&bytes, step), count(&bytes, 300));
        }
    }
}
