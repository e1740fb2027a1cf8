//! How large a message of an answer may be, and what goes into one.

use std::iter::Peekable;

use pingthings_types::Code;

use crate::status::{Refusal, Refuse};

/// Most bytes of a message: peers with gRPC's usual limit, 4 MiB, can read every one.
pub(crate) const MOST_BYTES: usize = 4_000_000;

/// About how many bytes of a list go into one message. Bigger ones gain nothing.
const LIST_BYTES: usize = 1 << 20;

/// Members of a list in one message, as far as they fit.
const LIST_LENGTH: usize = 1_000;

/// What a member of a list takes beside its own bytes: numbers of fields, and lengths.
const FRAME_BYTES: usize = 16;

/// The message, unless its reader might not be able to take it.
///
/// What can be cut into several messages is; this is for what cannot, such as a row of SQL.
pub(crate) fn checked<M: Refuse>(message: M) -> Result<M, Refusal> {
    match message.encoded_len() {
        ..=MOST_BYTES => Ok(message),
        bytes => Err(Refusal::new(
            Code::InvalidParameter,
            format!(
                "an answer takes a message of {bytes} bytes, above {MOST_BYTES}: ask for less at a \
                 time"
            ),
        )),
    }
}

/// How many rows of so many bytes, `most` at most, go into one message beside what it begins with.
pub(crate) fn rows(most: usize, head_bytes: usize, row_bytes: usize) -> usize {
    most.min(MOST_BYTES.saturating_sub(head_bytes) / row_bytes.max(1))
}

/// The next members of a list that go into one message; `None` when nothing is left.
pub(crate) fn fill<T>(
    list: &mut Peekable<impl Iterator<Item = T>>,
    size: impl Fn(&T) -> usize,
) -> Option<Vec<T>> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < LIST_LENGTH
        && let Some(next) = list.next_if(|next| {
            bytes += size(next) + FRAME_BYTES;
            batch.is_empty() || bytes <= LIST_BYTES
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
        fn lists_are_cut_where_a_message_is_full(
            sizes in prop::collection::vec(prop_oneof![0..200_usize, 0..(2_usize << 20)], 0..30),
        ) {
            let list: Vec<String> = sizes.iter().map(|&size| "x".repeat(size)).collect();
            let mut rest = list.clone().into_iter().peekable();
            let mut found = Vec::new();
            while let Some(batch) = fill(&mut rest, String::len) {
                let length = batch.len();
                let bytes = message(batch.clone()).encoded_len();
                prop_assert!(length == 1 || bytes <= LIST_BYTES);
                found.extend(batch);
            }
            prop_assert_eq!(found, list);
        }
    }

    #[test]
    fn short_members_are_counted() {
        let mut list = std::iter::repeat_n(String::new(), LIST_LENGTH + 1).peekable();
        let mut next = || fill(&mut list, String::len).map(|batch| batch.len());
        assert_eq!([next(), next(), next()], [Some(LIST_LENGTH), Some(1), None]);
    }

    #[test]
    fn a_message_above_the_limit_is_refused() {
        // Five bytes of it are the number of the field and its length.
        let fits = message(vec!["x".repeat(MOST_BYTES - 5)]);
        assert_eq!(fits.encoded_len(), MOST_BYTES);
        assert!(checked(fits).is_ok());
        let refusal = checked(message(vec!["x".repeat(MOST_BYTES - 4)])).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidParameter);
        assert!(refusal.message.contains("4000001"), "{}", refusal.message);
    }

    #[test]
    fn rows_fill_what_is_left_of_a_message() {
        assert_eq!(rows(100, 0, 16), 100);
        assert_eq!(rows(usize::MAX, 0, 16), MOST_BYTES / 16);
        assert_eq!(rows(100, MOST_BYTES - 160, 16), 10);
        assert_eq!(rows(100, MOST_BYTES + 1, 16), 0);
    }
}
