//! Running calls in the engine: with one answer, or with a stream of answers at the speed of its
//! reader.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;

use pingthings_storage::Error;
use pingthings_types::Code;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Shared;
use crate::account::share;
use crate::active_call::MIN_COUNTED_BYTES;
use crate::budget::Hold;
use crate::caller::Caller;
use crate::message::check_length;
use crate::permits::Permit;
use crate::status::{Refusal, Refuse};

/// The answers of a call with a stream of answers.
pub(crate) struct Answers<M> {
    messages: ReceiverStream<Result<M, Status>>,
    /// The hold that counts the waiting answers.
    hold: Option<Arc<Hold>>,
    /// Released with the last answer.
    _slot: Option<AnswerSlot>,
}

/// The slot of an open answer: one of all, and one of the account.
pub(super) struct AnswerSlot {
    _of_all: OwnedSemaphorePermit,
    _of_account: OwnedSemaphorePermit,
}

impl<M> Answers<M> {
    /// Answers from a channel. The slot is released with the last one.
    pub(super) fn new(
        answers: mpsc::Receiver<Result<M, Status>>,
        slot: Option<AnswerSlot>,
    ) -> Self {
        Self {
            messages: ReceiverStream::new(answers),
            hold: None,
            _slot: slot,
        }
    }

    /// A stream with only a refusal.
    pub(super) fn refused(refusal: Refusal) -> Self
    where
        M: Refuse,
    {
        let (answers, reader) = mpsc::channel(1);
        // The channel has room for one answer.
        let _ = answers.try_send(Ok(M::refuse(refusal)));
        Self::new(reader, None)
    }
}

impl<M: Refuse> Stream for Answers<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = Pin::new(&mut self.messages).poll_next(cx);
        // The body of the answer counts the message from here on, until the transport has sent it.
        if let (Poll::Ready(Some(Ok(message))), Some(hold)) = (&answer, &self.hold)
            && let Some(bytes) = counted_bytes(message)
        {
            hold.release(bytes);
        }
        answer
    }
}

/// The bytes that are counted for a waiting message.
fn counted_bytes<M: Refuse>(message: &M) -> Option<usize> {
    Some(message.encoded_len()).filter(|bytes| *bytes >= MIN_COUNTED_BYTES)
}

/// Takes a slot for an open answer, because an unread answer keeps messages in memory.
///
/// # Errors
/// If there is no slot: the answer with the refusal.
pub(super) fn take_slot<M: Refuse>(
    shared: &Shared,
    caller: &Caller,
) -> Result<AnswerSlot, Answers<M>> {
    let refused = |max: usize, whose: &str| {
        let refusal = Refusal::new(
            Code::ResourceDepleted,
            format!("{max} answers {whose} are open already: read those, or try again later"),
        );
        shared.metrics.count_refusal(refusal.code);
        Answers::refused(refusal)
    };
    let max = shared.limits.open_answers;
    let of_account = Arc::clone(&caller.account.answers).try_acquire_owned();
    let of_account = of_account.map_err(|_| refused(share(max), "of yours"))?;
    let of_all = Arc::clone(&shared.answer_slots).try_acquire_owned();
    let of_all = of_all.map_err(|_| refused(max, "of all callers"))?;
    caller.answer.mark_open_answer();
    Ok(AnswerSlot {
        _of_all: of_all,
        _of_account: of_account,
    })
}

/// The messages of a stream of answers, which are made while the client reads. They end after an
/// error.
pub(super) type Messages<M> = Box<dyn Iterator<Item = Result<M, Refusal>> + Send>;

/// The maximum number of messages prepared ahead of the reader.
const MESSAGES_AHEAD: usize = 2;

/// Does the work on a blocking thread with a permit, and returns its answer.
pub(super) async fn unary<M: Refuse>(
    shared: &Arc<Shared>,
    caller: &Caller,
    work: impl FnOnce(&Shared) -> Result<M, Refusal> + Send + 'static,
) -> M {
    let answer = async {
        let permit = tokio::select! {
            permit = shared.permits.acquire(&caller.account.calls) => permit?,
            refusal = caller.request.revoked() => return Err(refusal),
        };
        let request = Arc::clone(&caller.request);
        request.make_irrevocable();
        let shared = Arc::clone(shared);
        // The permit is released after the work. If the client disconnects, the work continues.
        spawn_blocking(move || {
            let answer = work(&shared).and_then(check_length);
            drop((permit, request));
            answer
        })
        .await?
    };
    answer
        .await
        .unwrap_or_else(|refusal| shared.refuse(refusal))
}

/// Makes messages on blocking threads while the reader has room for them.
///
/// A slow reader occupies neither a thread nor a permit, only the messages that it has not read. If
/// the client disconnects, the work ends after the current batch.
pub(super) fn stream<M: Refuse>(
    shared: Arc<Shared>,
    caller: Caller,
    open: impl FnOnce(&Shared) -> Result<Messages<M>, Refusal> + Send + 'static,
) -> Answers<M> {
    let slot = match take_slot(&shared, &caller) {
        Ok(slot) => slot,
        Err(refused) => return refused,
    };
    let (answers, reader) = mpsc::channel(MESSAGES_AHEAD);
    let hold = Some(Arc::clone(&caller.answer));
    tokio::spawn(async move {
        if let Err(refusal) = make_messages(&shared, caller, open, &answers).await {
            // This fails only if the client has disconnected.
            let _ = answers.send(Ok(shared.refuse(refusal))).await;
        }
    });
    Answers {
        hold,
        ..Answers::new(reader, Some(slot))
    }
}

async fn make_messages<M: Refuse>(
    shared: &Arc<Shared>,
    caller: Caller,
    open: impl FnOnce(&Shared) -> Result<Messages<M>, Refusal> + Send + 'static,
    answers: &mpsc::Sender<Result<M, Status>>,
) -> Result<(), Refusal> {
    let Caller {
        account,
        request,
        answer,
    } = caller;
    // A cancelled call leaves the queue at once.
    let permit = tokio::select! {
        permit = shared.permits.acquire(&account.calls) => permit?,
        () = answers.closed() => return Ok(()),
        refusal = request.revoked() => return Err(refusal),
    };
    request.make_irrevocable();
    let opening = {
        let (shared, answers) = (Arc::clone(shared), answers.clone());
        let answer = Arc::clone(&answer);
        move || {
            let messages = open(&shared)?;
            drop(request);
            prepare(permit, messages, &answers, &answer)
        }
    };
    let mut state = spawn_blocking(opening).await??;
    while let ControlFlow::Continue((message, messages)) = state {
        let Ok(room) = answers.reserve().await else {
            return Ok(());
        };
        room.send(Ok(message));
        let permit = tokio::select! {
            permit = shared.permits.reacquire(&account.calls) => permit?,
            () = answers.closed() => return Ok(()),
        };
        let (answers, answer) = (answers.clone(), Arc::clone(&answer));
        state = spawn_blocking(move || prepare(permit, messages, &answers, &answer)).await??;
    }
    Ok(())
}

/// Makes messages while the reader has room for them. Continues with the message that found no
/// room; breaks at the end or if the client has disconnected.
fn prepare<M: Refuse>(
    permit: Permit,
    mut messages: Messages<M>,
    answers: &mpsc::Sender<Result<M, Status>>,
    hold: &Hold,
) -> Result<ControlFlow<(), (M, Messages<M>)>, Refusal> {
    let _permit = permit;
    while let Some(message) = messages.next() {
        let message = check_length(message?)?;
        if let Some(bytes) = counted_bytes(&message) {
            hold.reserve(bytes)?;
        }
        match answers.try_send(Ok(message)) {
            Ok(()) => {}
            Err(TrySendError::Full(Ok(message))) => {
                return Ok(ControlFlow::Continue((message, messages)));
            }
            Err(TrySendError::Full(Err(_)) | TrySendError::Closed(_)) => break,
        }
    }
    Ok(ControlFlow::Break(()))
}

/// One message for each batch. If there is no batch, one message with an empty batch, because the
/// version is a part of a message.
pub(super) fn batches<B, M>(
    mut next: impl FnMut() -> Result<Option<B>, Error> + Send + 'static,
    encode: impl Fn(B) -> Result<M, Refusal> + Send + 'static,
) -> Messages<M>
where
    B: Default,
{
    let mut begun = false;
    Box::new(std::iter::from_fn(move || {
        let batch = match next() {
            Ok(Some(batch)) => batch,
            Ok(None) if begun => return None,
            Ok(None) => B::default(),
            Err(error) => return Some(Err(error.into())),
        };
        begun = true;
        Some(encode(batch))
    }))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use pingthings_proto::v5api::RawValuesResponse;
    use pingthings_storage::{Engine, Options, SystemClock};
    use pingthings_types::Code;

    use super::*;
    use crate::Config;

    /// The status codes of all answers, where 0 means data. `last` follows `count` answers with
    /// data.
    async fn codes(
        count: usize,
        last: impl Fn() -> Result<RawValuesResponse, Refusal> + Send + 'static,
    ) -> Vec<u32> {
        let engine = Engine::in_memory(Arc::new(SystemClock), Options::default()).unwrap();
        let (guard, _idle) = mpsc::channel(1);
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let shared = Shared::new(
            Arc::new(engine),
            Config::default().limits,
            true,
            Arc::default(),
            stopping,
            guard,
        );
        let data = std::iter::repeat_with(|| Ok(RawValuesResponse::default()));
        let more = data.take(count);
        let messages = data
            .take(count)
            .chain(std::iter::once_with(last))
            .chain(more);
        let open = |_: &Shared| Ok(Box::new(messages) as Messages<_>);
        let caller = Caller::for_tests(&shared.limits);
        let answers: Vec<Result<RawValuesResponse, _>> =
            stream(Arc::new(shared), caller, open).collect().await;
        answers
            .into_iter()
            .map(|answer| answer.unwrap().stat.map_or(0, |stat| stat.code))
            .collect()
    }

    #[tokio::test]
    async fn an_error_after_data_is_the_last_answer() {
        for count in [0, 1, MESSAGES_AHEAD, 3 * MESSAGES_AHEAD] {
            let error = || Err(Refusal::new(Code::StorageError, "gone"));
            let found = codes(count, error).await;
            let (last, data) = found.split_last().unwrap();
            assert_eq!(*last, Code::StorageError.number());
            assert_eq!(data, vec![0; count]);
        }
    }

    #[tokio::test]
    async fn a_panic_after_data_is_answered_too() {
        let found = codes(3 * MESSAGES_AHEAD, || panic!("secret")).await;
        let (last, data) = found.split_last().unwrap();
        assert_eq!(*last, Code::InvariantFailure.number());
        assert_eq!(data, vec![0; 3 * MESSAGES_AHEAD]);
    }
}
