//! ListOffsets (key 2), versions 1–11.
//!
//! Looks offsets up by time: −1 latest (the high watermark, or the last stable offset for read committed), −2
//! earliest, −3 the record with the largest timestamp (v7, KIP-734), −4 earliest on local disk (v8), −5 latest in
//! remote storage (v9) and −6 earliest waiting for upload (v11), of which there is none here. v4 adds leader epochs,
//! v10 a timeout that only remote storage needs.
//!
//! A partition that stands twice is answered once: INVALID_REQUEST.
//!
//! What only records can tell (−3 and points in time) is looked up by the blocking pool, without the partition's lock.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use milena_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use milena_state::partition::each_once::{Asked, each_once};
use tokio::sync::Semaphore;

use crate::partition::{Isolation, OffsetAndTimestamp, Partition, ReadError, Timestamp};
use crate::server::{Reply, RequestContext};

/// Lookups in records that run at once: they take threads of the blocking pool, of which cold reads need some too,
/// and one may hold a whole unpacked batch.
const LOOKUPS_MAX: usize = 4;

static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

pub async fn handle(cx: &RequestContext, request: ListOffsetsRequest<'_>) -> Reply {
    let isolation = Isolation::of(request.replica_id, request.isolation_level);
    let mut lookups = Vec::new();
    let mut response = ListOffsetsResponse::default();
    let topics = request.topics.iter().map(|topic| (&*topic.name, &*topic.partitions));
    for (name, all_asked) in each_once(topics, |asked| asked.partition_index) {
        let mut partitions = Vec::with_capacity(all_asked.len());
        for Asked { partition: asked, is_repeated } in all_asked {
            let place = (response.topics.len(), partitions.len());
            let found = if is_repeated {
                Err(ErrorCode::InvalidRequest)
            } else {
                by_name(cx, name, asked, isolation)
            };
            let answer = match found {
                Ok(Found::Offset(found)) => answer(cx, asked.partition_index, Ok(found)),
                Ok(Found::InRecords(lookup)) => {
                    lookups.push((place, lookup));
                    ListOffsetsPartitionResponse::default()
                }
                Err(error) => answer(cx, asked.partition_index, Err(error)),
            };
            partitions.push(answer);
        }
        response.topics.push(ListOffsetsTopicResponse { name: name.into(), partitions });
    }
    for ((topic, partition), index, found) in look_up(cx, lookups, isolation).await {
        response.topics[topic].partitions[partition] = answer(cx, index, found);
    }
    cx.reply(&response)
}

enum Found {
    Offset(OffsetAndTimestamp),
    InRecords(InRecords),
}

/// A lookup that may wait for the disk.
struct InRecords {
    partition: Arc<Partition>,
    timestamp: Timestamp,
    current_leader_epoch: i32,
}

/// Places in the response: topic and partition.
type Place = (usize, usize);

fn by_name(
    cx: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Found, ErrorCode> {
    let timestamp = timestamp(cx.version, asked.timestamp)?;
    let partition = cx.node.partitions.by_name(topic, asked.partition_index)?;
    let current_leader_epoch = asked.current_leader_epoch;
    let known = partition.offset_by_name(timestamp, isolation, current_leader_epoch);
    Ok(match known.map_err(ReadError::code)? {
        Some(found) => Found::Offset(found),
        None => Found::InRecords(InRecords { partition, timestamp, current_leader_epoch }),
    })
}

/// Does the lookups one after the other, away from the reactor.
async fn look_up(
    cx: &RequestContext,
    lookups: Vec<(Place, InRecords)>,
    isolation: Isolation,
) -> Vec<(Place, i32, Result<OffsetAndTimestamp, ErrorCode>)> {
    if lookups.is_empty() {
        return Vec::new();
    }
    let permit = LOOKUPS.acquire().await;
    let places: Vec<_> = lookups.iter().map(|(place, lookup)| (*place, lookup.partition.index())).collect();
    let looking = cx.run_blocking(move || {
        // Held by the work and not by the request, which may be dropped with its connection.
        let _permit = permit;
        let found = lookups.iter().map(|(_, lookup)| {
            let InRecords { partition, timestamp, current_leader_epoch } = lookup;
            partition.offset_by_time(*timestamp, isolation, *current_leader_epoch).map_err(ReadError::code)
        });
        found.collect::<Vec<_>>()
    });
    // It only fails by a bug that was logged, or when the process stops.
    let found = looking.await.unwrap_or_else(|_| vec![Err(ErrorCode::UnknownServerError); places.len()]);
    places.into_iter().zip(found).map(|((place, index), found)| (place, index, found)).collect()
}

fn answer(
    cx: &RequestContext,
    partition_index: i32,
    found: Result<OffsetAndTimestamp, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    match found {
        Ok(OffsetAndTimestamp { offset, timestamp, leader_epoch }) => ListOffsetsPartitionResponse {
            partition_index,
            error_code: ErrorCode::None.into(),
            timestamp,
            offset,
            // Version 4 brought the field.
            leader_epoch: if cx.version >= 4 { leader_epoch } else { -1 },
        },
        Err(error) => {
            ListOffsetsPartitionResponse { partition_index, error_code: error.into(), ..Default::default() }
        }
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
