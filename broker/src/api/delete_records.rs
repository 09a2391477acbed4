//! DeleteRecords (key 21), versions 0–2.
//!
//! Moves the log start offset of a partition up (KIP-107); −1 stands for the high watermark. The answer carries the
//! low watermark: the lowest log start offset of the replicas, of which the leader waits for all.
//! A topic that is only compacted refuses (POLICY_VIOLATION), an offset above the high watermark is OFFSET_OUT_OF_RANGE.

use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest};
use milena_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use milena_state::metadata::image::is_internal_topic;

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: DeleteRecordsRequest<'_>) -> Reply {
    let topics = request.topics.iter().map(|topic| DeleteRecordsTopicResult {
        name: (&*topic.name).into(),
        partitions: topic.partitions.iter().map(|asked| delete(cx, &topic.name, asked)).collect(),
    });
    cx.reply(&DeleteRecordsResponse { topics: topics.collect(), ..Default::default() })
}

fn delete(cx: &RequestContext, topic: &str, asked: &DeleteRecordsPartition) -> DeleteRecordsPartitionResult {
    let deleted = if is_internal_topic(topic) {
        Err(ErrorCode::InvalidTopicException)
    } else {
        let partition = cx.node.partitions.by_name(topic, asked.partition_index);
        partition.and_then(|partition| partition.delete_records(asked.offset))
    };
    let (low_watermark, error) = deleted.map_or_else(|error| (-1, error), |offset| (offset, ErrorCode::None));
    DeleteRecordsPartitionResult {
        partition_index: asked.partition_index,
        low_watermark,
        error_code: error.into(),
    }
}
