//! OffsetForLeaderEpoch (key 23), versions 2–4.
//!
//! Where a leader epoch ends in this leader's history (KIP-101, KIP-320): a consumer that comes back learns from it
//! whether its position was truncated away. Epoch and offset are −1 when the epoch is not known here.

use milena_protocol::ErrorCode;
use milena_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use milena_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::partition::ReadError;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: OffsetForLeaderEpochRequest<'_>) -> Reply {
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: (&*topic.topic).into(),
        partitions: topic.partitions.iter().map(|asked| end_of_epoch(cx, &topic.topic, asked)).collect(),
    });
    cx.reply(&OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
}

fn end_of_epoch(cx: &RequestContext, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let partition = asked.partition;
    let found = cx.node.partitions.by_name(topic, partition).map_err(ReadError::Code);
    match found.and_then(|found| found.end_of_epoch(asked.leader_epoch, asked.current_leader_epoch)) {
        Ok(Some(end)) => EpochEndOffset {
            error_code: ErrorCode::None.into(),
            partition,
            leader_epoch: end.epoch,
            end_offset: end.end_offset,
        },
        Ok(None) => {
            EpochEndOffset { error_code: ErrorCode::None.into(), partition, leader_epoch: -1, end_offset: -1 }
        }
        Err(error) => EpochEndOffset { error_code: error.code().into(), partition, ..Default::default() },
    }
}
