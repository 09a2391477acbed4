//! DeleteRecords (key 21), versions 0–2.
//!
//! Moves the log start offset of a partition up (KIP-107); −1 stands for the high watermark. The answer carries the
//! low watermark: the lowest log start offset of the replicas. The leader waits until that of every replica that is
//! alive has reached the offset, at most the time of the request (REQUEST_TIMED_OUT).
//! A topic that is only compacted refuses (POLICY_VIOLATION), an offset above the high watermark is OFFSET_OUT_OF_RANGE.

use std::sync::Arc;
use std::time::Duration;

use milena_log::Directory;
use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest};
use milena_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use milena_state::partition::validate::may_write;
use tokio::time::Instant;

use crate::partition::Partition;
use crate::server::{Reply, RequestContext};

/// Pause between two looks at how far the followers are: they hear of deletions with their next fetch.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// A deletion that followers have yet to do, and its place in the response.
struct Wait {
    place: (usize, usize),
    partition: Arc<Partition>,
    offset: i64,
}

pub async fn handle(cx: &RequestContext, request: DeleteRecordsRequest<'_>) -> Reply {
    let mut moved = Vec::new();
    // A topic that is named without partitions has no answer.
    let named = request.topics.iter().filter(|topic| !topic.partitions.is_empty());
    let topics = named.map(|topic| DeleteRecordsTopicResult {
        name: (&*topic.name).into(),
        partitions: topic.partitions.iter().map(|asked| delete(cx, &topic.name, asked, &mut moved)).collect(),
    });
    let mut response = DeleteRecordsResponse { topics: topics.collect(), ..Default::default() };
    if !make_durable(cx, moved).await {
        let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        partitions.filter(|deleted| deleted.error_code == i16::from(ErrorCode::None)).for_each(|deleted| {
            deleted.low_watermark = -1;
            deleted.error_code = ErrorCode::KafkaStorageError.into();
        });
    }
    let waits = waits(cx, &response);
    if !waits.is_empty() {
        await_replicas(waits, &mut response, cx.deadline(request.timeout_ms)).await;
    }
    cx.reply(&response)
}

/// What other replicas than ours have to delete.
fn waits(cx: &RequestContext, response: &DeleteRecordsResponse<'_>) -> Vec<Wait> {
    let mut waits = Vec::new();
    for (at, topic) in response.topics.iter().enumerate() {
        for (index, deleted) in topic.partitions.iter().enumerate() {
            let partition = cx.node.partitions.by_name(&topic.name, deleted.partition_index);
            let Ok(partition) = partition else { continue };
            if deleted.error_code == i16::from(ErrorCode::None) && partition.has_followers() {
                waits.push(Wait { place: (at, index), partition, offset: deleted.low_watermark });
            }
        }
    }
    waits
}

async fn await_replicas(mut waits: Vec<Wait>, response: &mut DeleteRecordsResponse<'_>, deadline: Instant) {
    while !waits.is_empty() {
        let is_late = Instant::now() >= deadline;
        waits.retain(|Wait { place: (topic, index), partition, offset }| {
            let error = match partition.low_watermark() {
                Ok(Some(low)) if low >= *offset => return false,
                Ok(_) if is_late => ErrorCode::RequestTimedOut,
                Ok(_) => return true,
                Err(error) => error,
            };
            let deleted = &mut response.topics[*topic].partitions[*index];
            (deleted.low_watermark, deleted.error_code) = (-1, error.into());
            false
        });
        if !waits.is_empty() {
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_PAUSE)).await;
        }
    }
}

/// Deletes the records, and notes whose log start has to become durable.
fn delete(
    cx: &RequestContext,
    topic: &str,
    asked: &DeleteRecordsPartition,
    moved: &mut Vec<Arc<Directory>>,
) -> DeleteRecordsPartitionResult {
    let partition = cx.node.partitions.by_name(topic, asked.partition_index);
    let partition = partition.and_then(|partition| may_write(topic).map(|()| partition));
    let deleted = partition.and_then(|partition| {
        let low_watermark = partition.delete_records(asked.offset)?;
        if !moved.iter().any(|directory| Arc::ptr_eq(directory, &partition.directory())) {
            moved.push(partition.directory());
        }
        Ok(low_watermark)
    });
    let (low_watermark, error) = deleted.map_or_else(|error| (-1, error), |offset| (offset, ErrorCode::None));
    DeleteRecordsPartitionResult {
        partition_index: asked.partition_index,
        low_watermark,
        error_code: error.into(),
    }
}

/// Writes the log starts of these directories, so that no crash brings back what the client knows to be deleted.
async fn make_durable(cx: &RequestContext, directories: Vec<Arc<Directory>>) -> bool {
    if directories.is_empty() {
        return true;
    }
    // A failure was logged when it took its directory offline.
    let writing = cx.run_blocking(move || directories.iter().all(|directory| directory.checkpoint().is_ok()));
    writing.await.unwrap_or(false)
}
