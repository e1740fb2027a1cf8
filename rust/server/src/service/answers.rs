//! Getting work done: one answer, or a stream of them at the pace of its reader.

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
use crate::budget::Hold;
use crate::caller::Caller;
use crate::gate::Turn;
use crate::message::checked;
use crate::ongoing::COUNTED;
use crate::owner::share;
use crate::status::{Refusal, Refuse};

/// The answers of a streaming call.
pub(crate) struct Answers<M> {
    made: ReceiverStream<Result<M, Status>>,
    /// What those that wait were counted by.
    hold: Option<Arc<Hold>>,
    /// Given back once all of it is taken.
    _place: Option<Place>,
}

/// One of the answers that may be open, of all and of one owner.
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_owner: OwnedSemaphorePermit,
}

impl<M> Answers<M> {
    /// Those that come out of a channel; `place` is given back with the last.
    pub(super) fn new(answers: mpsc::Receiver<Result<M, Status>>, place: Option<Place>) -> Self {
        Self {
            made: ReceiverStream::new(answers),
            hold: None,
            _place: place,
        }
    }

    /// Nothing but the reason why.
    pub(super) fn refused(refusal: Refusal) -> Self
    where
        M: Refuse,
    {
        let (answers, reader) = mpsc::channel(1);
        // There is room for one.
        let _ = answers.try_send(Ok(M::refuse(refusal)));
        Self::new(reader, None)
    }
}

impl<M: Refuse> Stream for Answers<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = Pin::new(&mut self.made).poll_next(cx);
        // From here on the body of the answer counts it, until the transport has sent it.
        if let (Poll::Ready(Some(Ok(message))), Some(hold)) = (&answer, &self.hold)
            && let Some(bytes) = counted(message)
        {
            hold.give(bytes);
        }
        answer
    }
}

/// How much of what may be held a message is that waits.
fn counted<M: Refuse>(message: &M) -> Option<usize> {
    Some(message.encoded_len()).filter(|bytes| *bytes >= COUNTED)
}

/// Takes one of the places for open answers: an unread one holds what was made ahead.
///
/// If there is none, gives the answer that says so.
pub(super) fn place<M: Refuse>(shared: &Shared, caller: &Caller) -> Result<Place, Answers<M>> {
    let refused = |most: usize, whose: &str| {
        let refusal = Refusal::new(
            Code::ResourceDepleted,
            format!("{most} answers {whose} are open already: read those, or try again later"),
        );
        shared.metrics.refused(refusal.code);
        Answers::refused(refusal)
    };
    let most = shared.limits.open_answers;
    let of_owner = Arc::clone(&caller.owner.answers).try_acquire_owned();
    let of_owner = of_owner.map_err(|_| refused(share(most), "of yours"))?;
    let of_all = Arc::clone(&shared.places).try_acquire_owned();
    let of_all = of_all.map_err(|_| refused(most, "of all callers"))?;
    caller.answer.place();
    Ok(Place {
        _of_all: of_all,
        _of_owner: of_owner,
    })
}

/// What a streaming call will answer, made one by one while somebody reads; ends after an error.
pub(super) type Messages<M> = Box<dyn Iterator<Item = Result<M, Refusal>> + Send>;

/// Answers made ahead of a reader.
const AHEAD: usize = 2;

/// Works on a blocking thread, in its turn, and answers.
pub(super) async fn unary<M: Refuse>(
    shared: &Arc<Shared>,
    caller: &Caller,
    work: impl FnOnce(&Shared) -> Result<M, Refusal> + Send + 'static,
) -> M {
    let answer = async {
        let turn = tokio::select! {
            turn = shared.gate.enter(&caller.owner.calls) => turn?,
            refusal = caller.request.revoked() => return Err(refusal),
        };
        let request = Arc::clone(&caller.request);
        request.fix();
        let shared = Arc::clone(shared);
        // The turn ends with the work, not with the call: a client that goes away frees nothing.
        spawn_blocking(move || {
            let answer = work(&shared).and_then(checked);
            drop((turn, request));
            answer
        })
        .await?
    };
    answer
        .await
        .unwrap_or_else(|refusal| shared.refuse(refusal))
}

/// Works on blocking threads whenever the reader has room, and answers as a stream.
///
/// A reader that is slow holds no thread and no turn, only the answers it has not taken. One that
/// goes away ends the work after the batch at hand.
pub(super) fn stream<M: Refuse>(
    shared: Arc<Shared>,
    caller: Caller,
    open: impl FnOnce(&Shared) -> Result<Messages<M>, Refusal> + Send + 'static,
) -> Answers<M> {
    let place = match place(&shared, &caller) {
        Ok(place) => place,
        Err(refused) => return refused,
    };
    let (answers, reader) = mpsc::channel(AHEAD);
    let hold = Some(Arc::clone(&caller.answer));
    tokio::spawn(async move {
        if let Err(refusal) = pump(&shared, caller, open, &answers).await {
            // If this fails, nobody is left to tell.
            let _ = answers.send(Ok(shared.refuse(refusal))).await;
        }
    });
    Answers {
        hold,
        ..Answers::new(reader, Some(place))
    }
}

async fn pump<M: Refuse>(
    shared: &Arc<Shared>,
    caller: Caller,
    open: impl FnOnce(&Shared) -> Result<Messages<M>, Refusal> + Send + 'static,
    answers: &mpsc::Sender<Result<M, Status>>,
) -> Result<(), Refusal> {
    let Caller {
        owner,
        request,
        answer,
    } = caller;
    // A call that was given up leaves the queue at once.
    let turn = tokio::select! {
        turn = shared.gate.enter(&owner.calls) => turn?,
        () = answers.closed() => return Ok(()),
        refusal = request.revoked() => return Err(refusal),
    };
    request.fix();
    let opening = {
        let (shared, answers) = (Arc::clone(shared), answers.clone());
        let answer = Arc::clone(&answer);
        move || {
            let messages = open(&shared)?;
            drop(request);
            fill(turn, messages, &answers, &answer)
        }
    };
    let mut state = spawn_blocking(opening).await??;
    while let ControlFlow::Continue((message, messages)) = state {
        let Ok(room) = answers.reserve().await else {
            return Ok(());
        };
        room.send(Ok(message));
        let turn = tokio::select! {
            turn = shared.gate.reenter(&owner.calls) => turn?,
            () = answers.closed() => return Ok(()),
        };
        let (answers, answer) = (answers.clone(), Arc::clone(&answer));
        state = spawn_blocking(move || fill(turn, messages, &answers, &answer)).await??;
    }
    Ok(())
}

/// Makes answers while the reader has room. Continues with the one that found none, ends when
/// there are no more or nobody reads.
fn fill<M: Refuse>(
    turn: Turn,
    mut messages: Messages<M>,
    answers: &mpsc::Sender<Result<M, Status>>,
    hold: &Hold,
) -> Result<ControlFlow<(), (M, Messages<M>)>, Refusal> {
    let _turn = turn;
    while let Some(message) = messages.next() {
        let message = checked(message?)?;
        if let Some(bytes) = counted(&message) {
            hold.take(bytes)?;
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

/// One message per batch of a reader, and one of an empty batch if there is none: the version
/// comes with a message, so even an empty answer has one.
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

    /// The codes of all answers, 0 for those with data, when `last` comes after `count` of them.
    async fn codes(
        count: usize,
        last: impl Fn() -> Result<RawValuesResponse, Refusal> + Send + 'static,
    ) -> Vec<u32> {
        let engine = Engine::in_memory(Arc::new(SystemClock), Options::default()).unwrap();
        let (working, _idle) = mpsc::channel(1);
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let shared = Shared::new(
            Arc::new(engine),
            Config::default().limits,
            true,
            Arc::default(),
            stopping,
            working,
        );
        let data = std::iter::repeat_with(|| Ok(RawValuesResponse::default()));
        let more = data.take(count);
        let messages = data
            .take(count)
            .chain(std::iter::once_with(last))
            .chain(more);
        let open = |_: &Shared| Ok(Box::new(messages) as Messages<_>);
        let caller = Caller::of_nobody(&shared.limits);
        let answers: Vec<Result<RawValuesResponse, _>> =
            stream(Arc::new(shared), caller, open).collect().await;
        answers
            .into_iter()
            .map(|answer| answer.unwrap().stat.map_or(0, |stat| stat.code))
            .collect()
    }

    #[tokio::test]
    async fn an_error_after_data_is_the_last_answer() {
        for count in [0, 1, AHEAD, 3 * AHEAD] {
            let error = || Err(Refusal::new(Code::StorageError, "gone"));
            let found = codes(count, error).await;
            let (last, data) = found.split_last().unwrap();
            assert_eq!(*last, Code::StorageError.number());
            assert_eq!(data, vec![0; count]);
        }
    }

    #[tokio::test]
    async fn a_panic_after_data_is_answered_too() {
        let found = codes(3 * AHEAD, || panic!("secret")).await;
        let (last, data) = found.split_last().unwrap();
        assert_eq!(*last, Code::InvariantFailure.number());
        assert_eq!(data, vec![0; 3 * AHEAD]);
    }
}
