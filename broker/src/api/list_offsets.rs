//! ListOffsets (key 2), versions 1–11.
//!
//! Looks offsets up by time: −1 latest (the high watermark, or the last stable offset for read committed), −2
//! earliest, −3 the record with the largest timestamp (v7, KIP-734), −4 earliest on local disk (v8), −5 latest in
//! remote storage (v9) and −6 earliest waiting for upload (v11), of which there is none here. v4 adds leader epochs,
//! v10 a timeout that only remote storage needs.

use milena_protocol::ErrorCode;
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use milena_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use crate::partition::{Isolation, OffsetAndTimestamp, ReadError, Timestamp};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: ListOffsetsRequest<'_>) -> Reply {
    let isolation = match (request.replica_id, request.isolation_level) {
        (replica, _) if replica >= 0 => Isolation::LogEnd,
        (_, 1) => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: (&*topic.name).into(),
        partitions: topic.partitions.iter().map(|asked| look_up(cx, &topic.name, asked, isolation)).collect(),
    });
    cx.reply(&ListOffsetsResponse { topics: topics.collect(), ..Default::default() })
}

fn look_up(
    cx: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> ListOffsetsPartitionResponse {
    let found = timestamp(cx.version, asked.timestamp).and_then(|timestamp| {
        let partition = cx.node.partitions.by_name(topic, asked.partition_index)?;
        partition.offset_for(timestamp, isolation, asked.current_leader_epoch).map_err(ReadError::code)
    });
    match found {
        Ok(OffsetAndTimestamp { offset, timestamp, leader_epoch }) => ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code: ErrorCode::None.into(),
            timestamp,
            offset,
            // Version 4 brought the field.
            leader_epoch: if cx.version >= 4 { leader_epoch } else { -1 },
        },
        Err(error) => ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code: error.into(),
            ..Default::default()
        },
    }
}

/// What the number means in this version; an unknown negative one is UNSUPPORTED_VERSION.
fn timestamp(version: i16, number: i64) -> Result<Timestamp, ErrorCode> {
    match number {
        0.. => Ok(Timestamp::At(number)),
        -1 => Ok(Timestamp::Latest),
        -2 => Ok(Timestamp::Earliest),
        -3 if version >= 7 => Ok(Timestamp::MaxTimestamp),
        -4 if version >= 8 => Ok(Timestamp::EarliestLocal),
        -5 if version >= 9 => Ok(Timestamp::LatestTiered),
        // Nothing is ever uploaded, so nothing waits for it: answered like what is tiered, with no offset.
        -6 if version >= 11 => Ok(Timestamp::LatestTiered),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_exist_from_their_version_on() {
        for (number, since) in [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
            for version in 1..=11 {
                assert_eq!(timestamp(version, number).is_ok(), version >= since, "{number} in v{version}");
            }
        }
        assert_eq!(timestamp(11, -7), Err(ErrorCode::UnsupportedVersion));
        assert_eq!(timestamp(1, 0), Ok(Timestamp::At(0)));
    }
}
