//! What changed between two versions of a stream, and the version at a time.

use std::collections::VecDeque;

use pingthings_proto::{management, v5api};
use pingthings_types::PointWidth;
use tonic::Streaming;
use uuid::Uuid;

use crate::{
    Client,
    call::{Answers, ManagementRpc, Rpc},
    channels::Lane,
    error::Error,
    metadata::uuid_bytes,
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
            let answer = self.answers.next().await;
            match answer {
                Ok(Some(answer)) => self.take(answer),
                end => {
                    if let Some(call) = self.call.take() {
                        call.end(&end);
                    }
                    return match end {
                        Ok(_) => Ok(None),
                        Err(error) => Err(error.on_stream(self.uuid)),
                    };
                }
            }
        }
    }

    fn take(&mut self, answer: v5api::ChangesResponse) {
        let ranges = answer.ranges.into_iter();
        self.ranges
            .extend(ranges.map(|range| (range.start, range.end)));
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
        let ranges = self.collected(
            "Changes",
            request,
            |mut rpc: Rpc, q| async move { rpc.changes(q).await },
            |answer: v5api::ChangesResponse| {
                let ranges = answer.ranges.into_iter();
                Ok(ranges.map(|range| (range.start, range.end)).collect())
            },
        );
        ranges.await.map_err(|error| error.on_stream(uuid))
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
                    "Changes",
                    Lane::AtLeisure,
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
                changes.take(first);
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
                "GetVersionAtTime",
                request,
                |mut rpc: ManagementRpc, q| async move { rpc.get_version_at_time(q).await },
            )
            .await;
        answer
            .map(|answer| answer.version_major)
            .map_err(|error| error.on_stream(uuid))
    }
}
