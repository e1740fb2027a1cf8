//! The changes between two versions of a stream, and the version at a time.

use std::collections::VecDeque;

use pingthings_proto::{management, v5api};
use pingthings_types::PointWidth;
use tonic::Streaming;
use uuid::Uuid;

use crate::{
    answer::rpc::{ManagementRpc, Rpc},
    error::{Error, ErrorKind},
    method::{ConnectionClass, Method},
    session::{
        call::{AnswerStream, uuid_bytes},
        client::Client,
    },
    stats::{CallGuard, CallKind},
};

/// Time ranges, received one message at a time. Dropping it cancels the call.
#[derive(Debug)]
pub struct Changes {
    uuid: Uuid,
    answers: AnswerStream<Streaming<v5api::ChangesResponse>>,
    ranges: VecDeque<(i64, i64)>,
    /// Counts the call; `None` after its end.
    call: Option<CallGuard>,
}

impl Changes {
    /// The next ranges, at least one; `None` at the end. Each has an inclusive start and an
    /// exclusive end.
    pub async fn next(&mut self) -> Result<Option<Vec<(i64, i64)>>, Error> {
        loop {
            if !self.ranges.is_empty() {
                return Ok(Some(self.ranges.drain(..).collect()));
            }
            self.answers.begin_call();
            let end = match self.answers.next().await {
                Ok(None) => Ok(()),
                Ok(Some(answer)) => match ranges(answer) {
                    Ok(ranges) => {
                        self.ranges.extend(ranges);
                        continue;
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            if let Some(call) = self.call.take() {
                call.end(&end);
            }
            return end
                .map(|()| None)
                .map_err(|error| error.on_stream(self.uuid));
        }
    }
}

/// The ranges of an answer. Fails if one of them is empty or reversed.
fn ranges(answer: v5api::ChangesResponse) -> Result<Vec<(i64, i64)>, Error> {
    let ranges = answer
        .ranges
        .into_iter()
        .map(|range| (range.start, range.end));
    let ranges: Vec<_> = ranges.collect();
    match ranges.iter().find(|(start, end)| start >= end) {
        None => Ok(ranges),
        Some((start, end)) => Err(Error::new(
            ErrorKind::Decode,
            format!(
                "the server reported a change from {start} to {end}, which is not a valid range"
            ),
        )),
    }
}

fn request(uuid: Uuid, from: u64, to: u64, resolution: PointWidth) -> v5api::ChangesParams {
    v5api::ChangesParams {
        uuid: uuid_bytes(uuid),
        from_major: from,
        to_major: to,
        resolution: resolution.exponent(),
    }
}

impl Client {
    /// The ranges in which a stream may differ between version `from` (exclusive) and version `to`
    /// (inclusive; 0 = latest). They are widened to multiples of 2^`resolution` ns.
    pub async fn changes(
        &self,
        uuid: Uuid,
        from: u64,
        to: u64,
        resolution: PointWidth,
    ) -> Result<Vec<(i64, i64)>, Error> {
        let request = request(uuid, from, to, resolution);
        let found = self.collect_stream(
            Method::Changes,
            request,
            |mut rpc: Rpc, q| async move { rpc.changes(q).await },
            ranges,
        );
        found.await.map_err(|error| error.on_stream(uuid))
    }

    /// Like [`changes`](Self::changes), but returns the ranges one message at a time.
    pub async fn changes_iter(
        &self,
        uuid: Uuid,
        from: u64,
        to: u64,
        resolution: PointWidth,
    ) -> Result<Changes, Error> {
        let request = request(uuid, from, to, resolution);
        let call = self.count_call(CallKind::Changes);
        let stream = async {
            let answers = self
                .streaming(
                    Method::Changes,
                    ConnectionClass::Iterator,
                    request,
                    |mut rpc: Rpc, q| async move { rpc.changes(q).await },
                )
                .await?;
            let mut changes = Changes {
                uuid,
                answers,
                ranges: VecDeque::new(),
                call: None,
            };
            if let Some(first) = changes.answers.next().await? {
                changes.ranges.extend(ranges(first)?);
            }
            Ok(changes)
        };
        let stream = stream.await;
        let Ok(mut changes) = stream else {
            call.end(&stream);
            return stream.map_err(|error: Error| error.on_stream(uuid));
        };
        changes.call = Some(call);
        Ok(changes)
    }

    /// The last version that was committed at or before this time of the server's clock.
    pub async fn version_at_time(&self, uuid: Uuid, time: i64) -> Result<u64, Error> {
        let request = management::GetVersionAtTimeParams {
            uuid: uuid_bytes(uuid),
            time,
        };
        let answer: Result<management::GetVersionAtTimeResponse, Error> = self
            .unary(
                Method::GetVersionAtTime,
                request,
                |mut rpc: ManagementRpc, q| async move { rpc.get_version_at_time(q).await },
            )
            .await;
        answer
            .map(|answer| answer.version_major)
            .map_err(|error| error.on_stream(uuid))
    }
}
