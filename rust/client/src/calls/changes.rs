//! What changed between two versions of a stream, and the version at a time.

use std::collections::VecDeque;

use pingthings_proto::{management, v5api};
use pingthings_types::PointWidth;
use tonic::Streaming;
use uuid::Uuid;

use crate::{
    answer::rpc::{ManagementRpc, Rpc},
    error::{Error, ErrorKind},
    method::{Lane, Method},
    session::{
        call::{Answers, uuid_bytes},
        client::Client,
    },
    stats::{Counted, Kind},
};

/// Ranges of time as they arrive. Dropping it ends the call.
#[derive(Debug)]
pub struct Changes {
    uuid: Uuid,
    answers: Answers<Streaming<v5api::ChangesResponse>>,
    ranges: VecDeque<(i64, i64)>,
    /// Until it has ended.
    call: Option<Counted>,
}

impl Changes {
    /// The next ranges, each from its first instant to the one after its last, at least one;
    /// `None` at the end.
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

/// What an answer says; an error if it makes no sense.
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
                "the server says that something changed from {start} to {end}, which is no range"
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
    /// The ranges in which a stream may differ between two versions, the first exclusive, the
    /// second inclusive (0 = latest), widened to multiples of 2^`resolution` ns.
    pub async fn changes(
        &self,
        uuid: Uuid,
        from: u64,
        to: u64,
        resolution: PointWidth,
    ) -> Result<Vec<(i64, i64)>, Error> {
        let request = request(uuid, from, to, resolution);
        let found = self.collected(
            Method::Changes,
            request,
            |mut rpc: Rpc, q| async move { rpc.changes(q).await },
            ranges,
        );
        found.await.map_err(|error| error.on_stream(uuid))
    }

    /// The same as they arrive.
    pub async fn changes_iter(
        &self,
        uuid: Uuid,
        from: u64,
        to: u64,
        resolution: PointWidth,
    ) -> Result<Changes, Error> {
        let request = request(uuid, from, to, resolution);
        let call = self.begin(Kind::Changes);
        let opened = async {
            let answers = self
                .streaming(
                    Method::Changes,
                    Lane::Iterator,
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
        let opened = opened.await;
        let Ok(mut changes) = opened else {
            call.end(&opened);
            return opened.map_err(|error: Error| error.on_stream(uuid));
        };
        changes.call = Some(call);
        Ok(changes)
    }

    /// The last version committed at or before an instant of the server's clock.
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
