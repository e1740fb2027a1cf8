//! Raw points of a stream.

use pingthings_proto::v5api;
use pingthings_types::{Points, RawPoint, TimeRange, Version};
use uuid::Uuid;

use crate::{
    Client,
    arrow::{Table, Wanted, decode, points_batch},
    call::Rpc,
    error::Error,
    metadata::uuid_bytes,
};

const WHAT: &str = "raw values";

impl Client {
    /// The points of a stream in a range, ascending by time, at a version (0 = latest).
    pub async fn raw_values(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        if self.server.has_arrow() {
            match self.raw_values_arrow(uuid, range, version, wanted).await {
                Err(error) if error.is_unimplemented() => self.server.forgo_arrow(),
                done => return done.map_err(|error| error.on_stream(uuid)),
            }
        }
        self.raw_values_points(uuid, range, version, wanted)
            .await
            .map_err(|error| error.on_stream(uuid))
    }

    async fn raw_values_arrow(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        let request = v5api::ArrowRawValuesParams {
            uuid: uuid_bytes(uuid),
            start: range.start(),
            end: range.end(),
            version_major: version,
            template_bytes: wanted.template()?,
        };
        let mut answers = self
            .streaming("ArrowRawValues", request, |mut rpc: Rpc, q| async move {
                rpc.arrow_raw_values(q).await
            })
            .await?;
        let mut table = wanted.table();
        while let Some(answer) = answers.next().await? {
            let answer: v5api::ArrowRawValuesResponse = answer;
            table.version = Version {
                major: answer.version_major,
                minor: answer.version_minor,
            };
            table.append(wanted, WHAT, decode(WHAT, answer.arrow_bytes)?.1)?;
        }
        Ok(table)
    }

    async fn raw_values_points(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        let request = v5api::RawValuesParams {
            uuid: uuid_bytes(uuid),
            start: range.start(),
            end: range.end(),
            version_major: version,
        };
        let mut answers = self
            .streaming("RawValues", request, |mut rpc: Rpc, q| async move {
                rpc.raw_values(q).await
            })
            .await?;
        let mut table = wanted.table();
        while let Some(answer) = answers.next().await? {
            let answer: v5api::RawValuesResponse = answer;
            table.version = Version {
                major: answer.version_major,
                minor: answer.version_minor,
            };
            let points: Points = answer
                .values
                .iter()
                .map(|p| RawPoint {
                    time: p.time,
                    value: p.value,
                })
                .collect();
            let batch = points_batch(points).map_err(|error| Error::decode(WHAT, error))?;
            table.append(wanted, WHAT, vec![batch])?;
        }
        Ok(table)
    }
}
