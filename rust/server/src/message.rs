//! Limits on the messages of answers, and splitting of answers into messages.

use std::iter::Peekable;

use pingthings_types::Code;

use crate::status::{Refusal, Refuse};

/// The maximum length of a message. Peers with gRPC's default limit of 4 MiB can read every
/// message.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4_000_000;

/// The target length of a message with a part of a list. Longer messages gain no throughput.
const TARGET_LIST_BYTES: usize = 1 << 20;

/// The maximum number of elements of a list in one message.
const MAX_LIST_LENGTH: usize = 1_000;

/// The encoding overhead of a list element: field numbers and lengths.
const ELEMENT_OVERHEAD: usize = 16;

/// Refuses a message that is too long for some readers.
///
/// Answers are split into messages before. This finds parts that cannot be split, such as a row of
/// SQL.
pub(crate) fn check_length<M: Refuse>(message: M) -> Result<M, Refusal> {
    match message.encoded_len() {
        ..=MAX_MESSAGE_BYTES => Ok(message),
        bytes => Err(Refusal::new(
            Code::InvalidParameter,
            format!(
                "an answer takes a message of {bytes} bytes, above {MAX_MESSAGE_BYTES}: ask for \
                 less at a time"
            ),
        )),
    }
}

/// How many rows fit into one message after its header, at most `max`.
pub(crate) fn rows(max: usize, head_bytes: usize, row_bytes: usize) -> usize {
    max.min(MAX_MESSAGE_BYTES.saturating_sub(head_bytes) / row_bytes.max(1))
}

/// The next elements of a list that fit into one message, or `None` at the end.
pub(crate) fn fill<T>(
    list: &mut Peekable<impl Iterator<Item = T>>,
    size: impl Fn(&T) -> usize,
) -> Option<Vec<T>> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < MAX_LIST_LENGTH
        && let Some(next) = list.next_if(|next| {
            bytes += size(next) + ELEMENT_OVERHEAD;
            batch.is_empty() || bytes <= TARGET_LIST_BYTES
        })
    {
        batch.push(next);
    }
    (!batch.is_empty()).then_some(batch)
}

#[cfg(test)]
mod tests {
    use pingthings_proto::v5api::ListCollectionsResponse;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn message(collections: Vec<String>) -> ListCollectionsResponse {
        ListCollectionsResponse {
            stat: None,
            collections,
        }
    }

    proptest! {
        #[test]
        fn lists_are_split_where_a_message_is_full(
            sizes in prop::collection::vec(prop_oneof![0..200_usize, 0..(2_usize << 20)], 0..30),
        ) {
            let list: Vec<String> = sizes.iter().map(|&size| "x".repeat(size)).collect();
            let mut rest = list.clone().into_iter().peekable();
            let mut found = Vec::new();
            while let Some(batch) = fill(&mut rest, String::len) {
                let length = batch.len();
                let bytes = message(batch.clone()).encoded_len();
                prop_assert!(length == 1 || bytes <= TARGET_LIST_BYTES);
                found.extend(batch);
            }
            prop_assert_eq!(found, list);
        }
    }

    #[test]
    fn short_elements_are_counted() {
        let mut list = std::iter::repeat_n(String::new(), MAX_LIST_LENGTH + 1).peekable();
        let mut next = || fill(&mut list, String::len).map(|batch| batch.len());
        assert_eq!(
            [next(), next(), next()],
            [Some(MAX_LIST_LENGTH), Some(1), None]
        );
    }

    #[test]
    fn a_message_above_the_limit_is_refused() {
        // The field number and its length take five bytes.
        let fits = message(vec!["x".repeat(MAX_MESSAGE_BYTES - 5)]);
        assert_eq!(fits.encoded_len(), MAX_MESSAGE_BYTES);
        assert!(check_length(fits).is_ok());
        let refusal = check_length(message(vec!["x".repeat(MAX_MESSAGE_BYTES - 4)])).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidParameter);
        assert!(refusal.message.contains("4000001"), "{}", refusal.message);
    }

    #[test]
    fn rows_fill_the_message_after_its_header() {
        assert_eq!(rows(100, 0, 16), 100);
        assert_eq!(rows(usize::MAX, 0, 16), MAX_MESSAGE_BYTES / 16);
        assert_eq!(rows(100, MAX_MESSAGE_BYTES - 160, 16), 10);
        assert_eq!(rows(100, MAX_MESSAGE_BYTES + 1, 16), 0);
    }
}
